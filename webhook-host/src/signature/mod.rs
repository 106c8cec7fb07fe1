//! Signatures of artefacts in registries, as cosign makes them with keys: simple signing and
//! Sigstore bundles of version 0.3.
//!
//! Pure functions: bytes come in, a verdict goes out. Fetching and attaching signatures is the
//! work of `registry`. Invariant: a signature counts only for the artefact and the repository that
//! its signed text names; text that was not signed by one of the keys is never believed.
//!
//! Transparency logs and certificates are not checked. An old artefact stays signed, so only a
//! pinned digest prevents a rollback.

mod bundle;
mod private_key;
mod simple;
mod verify;

pub(crate) use private_key::{KeyError, SigningKey};

use sallyport_core::manifest::{Digest, PublicKey, Repository};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Media types and annotations under which signatures are found in registries.
pub(crate) mod media {
    /// A layer with a payload of simple signing.
    pub(crate) const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
    /// The annotation of such a layer with its signature.
    pub(crate) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
    /// A bundle, as artifact type and as layer.
    pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
    /// The annotation with the kind of a bundle's content.
    pub(crate) const CONTENT: &str = "dev.sigstore.bundle.content";
    /// The annotation with the predicate type of a bundle's statement.
    pub(crate) const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
}

pub(crate) use bundle::PREDICATE_TYPE;

/// The artefact that a signature has to be about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// As its user names it, and not that of a mirror.
    pub(crate) repository: &'a Repository,
    pub(crate) digest: &'a Digest,
    /// The manifest with this digest.
    pub(crate) manifest: &'a [u8],
}

/// A signature as it was found, not verified. Kept in the cache in this form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Material {
    /// The payload, and the base64 of its signature.
    Simple { payload: String, signature: String },
    /// A bundle's JSON.
    Bundle(String),
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    OtherKey,
    OtherArtefact(String),
    OtherRepository(String),
    Unreadable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKey => f.write_str("it was made with another key"),
            Self::OtherArtefact(digest) => write!(f, "it is about another artefact, {digest}"),
            Self::OtherRepository(name) => write!(f, "it is about another repository, {name}"),
            Self::Unreadable(problem) => write!(f, "it can't be read: {problem}"),
        }
    }
}

impl Material {
    /// Signs an artefact in the form of simple signing.
    pub(crate) fn simple(key: &SigningKey, signed: Signed<'_>) -> Result<Self, KeyError> {
        simple::sign(key, signed)
    }

    /// Signs an artefact in the form of a bundle.
    pub(crate) fn bundle(key: &SigningKey, signed: Signed<'_>) -> Result<Self, KeyError> {
        bundle::sign(key, signed).map(Self::Bundle)
    }

    /// Returns the key that has signed the artefact.
    pub(crate) fn verify<'k>(
        &self,
        signed: Signed<'_>,
        keys: &'k [PublicKey],
    ) -> Result<&'k PublicKey, Refusal> {
        match self {
            Self::Simple { payload, signature } => simple::verify(payload, signature, signed, keys),
            Self::Bundle(text) => bundle::verify(text, signed, keys),
        }
    }
}

/// Returns the key that has signed an artefact by one of several signatures.
///
/// # Errors
///
/// A sentence that says how many signatures there are, and why the last one does not count.
pub(crate) fn verify_any<'k>(
    found: &[Material],
    signed: Signed<'_>,
    keys: &'k [PublicKey],
) -> Result<&'k PublicKey, String> {
    let mut refusals = vec![];
    for material in found {
        match material.verify(signed, keys) {
            Ok(key) => return Ok(key),
            Err(refusal) => refusals.push(refusal),
        }
    }
    // A signature by the right key says most about the cause.
    let telling = refusals
        .iter()
        .find(|refusal| **refusal != Refusal::OtherKey);
    Err(match telling.or(refusals.first()) {
        None => "it is not signed".to_owned(),
        Some(refusal) if refusals.len() == 1 => format!("its signature does not count: {refusal}"),
        Some(refusal) => {
            format!(
                "none of its {} signatures counts: {refusal}",
                refusals.len()
            )
        }
    })
}

/// Returns a short name of a key, for logs and output: the SHA-256 of its SubjectPublicKeyInfo.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    Digest::of(key.der()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    const MANIFEST: &[u8] = b"{\"schemaVersion\":2}";

    /// Returns a new key of each kind that rcgen makes.
    fn keys() -> [SigningKey; 2] {
        [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519].map(|kind| {
            let pair = KeyPair::generate_for(kind).expect("a key");
            SigningKey::from_pem(&pair.serialize_pem()).expect("a key")
        })
    }

    fn repository(text: &str) -> Repository {
        text.parse().expect("a repository")
    }

    fn both(key: &SigningKey, signed: Signed<'_>) -> [Material; 2] {
        [
            Material::simple(key, signed).expect("signed"),
            Material::bundle(key, signed).expect("signed"),
        ]
    }

    #[test]
    fn a_signature_counts_for_its_artefact_repository_and_key_alone() {
        let digest = Digest::of(MANIFEST);
        let (ours, theirs) = (repository("ghcr.io/acme/p"), repository("ghcr.io/evil/p"));
        let signed = Signed {
            repository: &ours,
            digest: &digest,
            manifest: MANIFEST,
        };
        let pairs = keys();
        for (key, other) in [(&pairs[0], &pairs[1]), (&pairs[1], &pairs[0])] {
            let keys = [key.public()];
            let other = [other.public()];
            for material in both(key, signed) {
                assert_eq!(material.verify(signed, &keys), Ok(&keys[0]));
                assert_eq!(material.verify(signed, &other), Err(Refusal::OtherKey));
                let moved = Signed {
                    repository: &theirs,
                    ..signed
                };
                let refusal = material.verify(moved, &keys).expect_err("moved");
                assert_eq!(
                    refusal,
                    Refusal::OtherRepository("ghcr.io/acme/p".to_owned())
                );
                let next = Digest::of(b"other");
                let exchanged = Signed {
                    digest: &next,
                    manifest: b"other",
                    ..signed
                };
                let refusal = material.verify(exchanged, &keys).expect_err("exchanged");
                assert!(matches!(refusal, Refusal::OtherArtefact(_)), "{refusal}");
            }
        }
    }

    #[test]
    fn a_changed_payload_is_nobodys() {
        let digest = Digest::of(MANIFEST);
        let ours = repository("ghcr.io/acme/p");
        let signed = Signed {
            repository: &ours,
            digest: &digest,
            manifest: MANIFEST,
        };
        let [key, _] = keys();
        let keys = [key.public()];
        let Material::Simple { payload, signature } = &both(&key, signed)[0] else {
            panic!("simple signing comes first");
        };
        let payload = payload.replace("acme", "evil");
        let moved = repository("ghcr.io/evil/p");
        let signature = signature.clone();
        let forged = Material::Simple { payload, signature };
        let signed = Signed {
            repository: &moved,
            ..signed
        };
        assert_eq!(forged.verify(signed, &keys), Err(Refusal::OtherKey));
    }

    #[test]
    fn the_reason_that_says_most_is_told() {
        let digest = Digest::of(MANIFEST);
        let (ours, theirs) = (repository("ghcr.io/acme/p"), repository("ghcr.io/evil/p"));
        let signed = Signed {
            repository: &ours,
            digest: &digest,
            manifest: MANIFEST,
        };
        let moved = Signed {
            repository: &theirs,
            ..signed
        };
        let [key, other] = keys();
        let keys = [key.public()];
        assert_eq!(
            verify_any(&[], signed, &keys),
            Err("it is not signed".to_owned())
        );
        let found = [both(&other, signed), both(&key, moved)].concat();
        assert_eq!(
            verify_any(&found, signed, &keys).expect_err("none counts"),
            "none of its 4 signatures counts: it is about another repository, ghcr.io/evil/p"
        );
    }

    #[test]
    fn what_is_no_signature_is_unreadable() {
        let digest = Digest::of(MANIFEST);
        let ours = repository("ghcr.io/acme/p");
        let signed = Signed {
            repository: &ours,
            digest: &digest,
            manifest: MANIFEST,
        };
        let keys = keys().map(|key| key.public());
        let simple = |payload: &str, signature: &str| Material::Simple {
            payload: payload.to_owned(),
            signature: signature.to_owned(),
        };
        for material in [
            simple("{}", "no base64!"),
            Material::Bundle("{".to_owned()),
            Material::Bundle("{\"mediaType\": \"text/plain\"}".to_owned()),
            Material::Bundle(format!("{{\"mediaType\": \"{}\"}}", media::BUNDLE)),
        ] {
            let refusal = material.verify(signed, &keys).expect_err("no signature");
            assert!(matches!(refusal, Refusal::Unreadable(_)), "{refusal}");
        }
    }
}
