//! Sigstore bundles of version 0.3: a statement of in-toto in a DSSE envelope, as cosign writes it
//! since version 3, or a signature of the artefact's manifest.
//!
//! cosign's statements name no repository. Sallyport's own statements do, and then the repository
//! must match.

use super::simple::names;
use super::verify::{decode, signer};
use super::{KeyError, Refusal, Signed, SigningKey, fingerprint, media};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sallyport_core::excerpt::excerpt;
use sallyport_core::manifest::{Digest, PublicKey};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The predicate of a statement that is a signature. Others are attestations, which say something
/// else about an artefact than that it may be used.
pub(crate) const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// As bundles were first called.
const OLD_BUNDLE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    dsse_envelope: Option<Envelope>,
    #[serde(default)]
    message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    signature: String,
    #[serde(default)]
    message_digest: Option<MessageDigest>,
}

#[derive(Deserialize)]
struct MessageDigest {
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

pub(super) fn sign(key: &SigningKey, signed: Signed<'_>) -> Result<String, KeyError> {
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": [{
            "name": signed.repository.to_string(),
            "digest": {"sha256": signed.digest.hex()},
        }],
        "predicateType": PREDICATE_TYPE,
        "predicate": {},
    });
    let payload = statement.to_string();
    let signature = key.sign(&pre_authentication(PAYLOAD_TYPE, payload.as_bytes()))?;
    let bundle = json!({
        "mediaType": media::BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": fingerprint(&key.public())}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    });
    Ok(bundle.to_string())
}

pub(super) fn verify<'k>(
    text: &str,
    signed: Signed<'_>,
    keys: &'k [PublicKey],
) -> Result<&'k PublicKey, Refusal> {
    let unreadable = |problem: String| Refusal::Unreadable(problem);
    let bundle: Bundle =
        serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    if ![media::BUNDLE, OLD_BUNDLE].contains(&bundle.media_type.as_str()) {
        let found = excerpt(&bundle.media_type);
        return Err(unreadable(format!(
            "it is {found:?}, and no bundle of version 0.3"
        )));
    }
    match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => of_envelope(&envelope, signed, keys),
        (None, Some(message)) => of_message(&message, signed, keys),
        _ => Err(unreadable("it holds no signature".to_owned())),
    }
}

fn of_envelope<'k>(
    envelope: &Envelope,
    signed: Signed<'_>,
    keys: &'k [PublicKey],
) -> Result<&'k PublicKey, Refusal> {
    let payload = decode(&envelope.payload).map_err(Refusal::Unreadable)?;
    let message = pre_authentication(&envelope.payload_type, &payload);
    let mut key = None;
    // A bundle has one signature.
    for signature in envelope.signatures.iter().take(1) {
        let signature = decode(&signature.sig).map_err(Refusal::Unreadable)?;
        key = signer(keys, &message, &signature);
    }
    let key = key.ok_or(Refusal::OtherKey)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        let problem = format!("its payload is {:?}", excerpt(&envelope.payload_type));
        return Err(Refusal::Unreadable(problem));
    }
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|error| Refusal::Unreadable(error.to_string()))?;
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        let problem = format!(
            "it states {:?}, which is no signature",
            excerpt(&statement.predicate_type)
        );
        return Err(Refusal::Unreadable(problem));
    }
    let is_it = |subject: &&Subject| {
        subject.digest.get("sha256").map(String::as_str) == Some(signed.digest.hex())
    };
    let Some(subject) = statement.subject.iter().find(is_it) else {
        let first = statement.subject.first();
        let digest = first.and_then(|subject| subject.digest.get("sha256"));
        let digest = digest.map_or("none", String::as_str);
        return Err(Refusal::OtherArtefact(format!(
            "sha256:{}",
            excerpt(digest)
        )));
    };
    if !subject.name.is_empty() {
        names(&subject.name, signed.repository)?;
    }
    Ok(key)
}

/// Verifies a signature of the manifest itself.
fn of_message<'k>(
    message: &MessageSignature,
    signed: Signed<'_>,
    keys: &'k [PublicKey],
) -> Result<&'k PublicKey, Refusal> {
    let signature = decode(&message.signature).map_err(Refusal::Unreadable)?;
    if let Some(MessageDigest { digest }) = &message.message_digest {
        let digest = decode(digest).map_err(Refusal::Unreadable)?;
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if hex != signed.digest.hex() {
            let digest = format!("sha256:{}", excerpt(&hex));
            return Err(Refusal::OtherArtefact(digest));
        }
    }
    debug_assert_eq!(Digest::of(signed.manifest), *signed.digest);
    signer(keys, signed.manifest, &signature).ok_or(Refusal::OtherKey)
}

/// Returns the bytes that a DSSE envelope's signature is about.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Material;
    use serde_json::Value;

    const MANIFEST: &[u8] = b"{}";

    fn key() -> SigningKey {
        let pair = rcgen::KeyPair::generate().expect("a key");
        SigningKey::from_pem(&pair.serialize_pem()).expect("a key")
    }

    /// Verifies a bundle of this statement.
    fn stated(statement: &Value) -> Result<(), Refusal> {
        let key = key();
        let payload = statement.to_string();
        let message = pre_authentication(PAYLOAD_TYPE, payload.as_bytes());
        let signature = key.sign(&message).expect("signed");
        checked(
            &key,
            &json!({
                "mediaType": media::BUNDLE,
                "dsseEnvelope": {
                    "payload": STANDARD.encode(payload), "payloadType": PAYLOAD_TYPE,
                    "signatures": [{"sig": STANDARD.encode(signature)}],
                },
            }),
        )
    }

    fn checked(key: &SigningKey, bundle: &Value) -> Result<(), Refusal> {
        by(key.public(), bundle.to_string())
    }

    /// Verifies a bundle about [`MANIFEST`].
    fn by(key: PublicKey, bundle: String) -> Result<(), Refusal> {
        let keys = [key];
        let repository = "ghcr.io/acme/p".parse().expect("a repository");
        let signed = Signed {
            repository: &repository,
            digest: &Digest::of(MANIFEST),
            manifest: MANIFEST,
        };
        Material::Bundle(bundle).verify(signed, &keys).map(drop)
    }

    #[test]
    fn a_bundle_by_sigstores_own_library_counts() {
        let key: PublicKey = include_str!("testdata/sigstore-js.pub")
            .parse()
            .expect("a key");
        let bundle = include_str!("testdata/sigstore-js.json");
        assert_eq!(by(key.clone(), bundle.to_owned()), Ok(()));
        let forged = bundle.replace("\"MEUCIQC0", "\"MEUCIQC1");
        assert_ne!(forged, bundle);
        assert_eq!(by(key, forged), Err(Refusal::OtherKey));
    }

    #[test]
    fn a_statement_of_cosign_names_no_repository() {
        let digest = Digest::of(MANIFEST);
        let statement = |predicate: &str| {
            json!({
                "_type": STATEMENT_TYPE, "predicateType": predicate, "predicate": {},
                "subject": [{"digest": {"sha256": digest.hex()}, "annotations": {}}],
            })
        };
        assert_eq!(stated(&statement(PREDICATE_TYPE)), Ok(()));
        let refusal = stated(&statement("https://slsa.dev/provenance/v1"));
        let text = refusal.expect_err("an attestation").to_string();
        assert!(text.ends_with("which is no signature"), "{text}");
    }

    #[test]
    fn a_signature_of_the_manifest_counts() {
        let key = key();
        let bundle = |content: &[u8]| {
            let signature = STANDARD.encode(key.sign(content).expect("signed"));
            checked(
                &key,
                &json!({
                    "mediaType": media::BUNDLE,
                    "messageSignature": {"signature": signature},
                }),
            )
        };
        assert_eq!(bundle(MANIFEST), Ok(()));
        assert_eq!(bundle(b"other"), Err(Refusal::OtherKey));
    }
}
