//! Private keys that `sallyport sign` signs with: PKCS #8 in PEM, as openssl writes it.

use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use sallyport_core::manifest::{KeyKind, PublicKey};

/// An error: a key can't be used, or does not sign.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct KeyError(String);

/// A private key.
pub(crate) struct SigningKey {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Ecdsa(KeyKind, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    /// Reads a key in PEM.
    ///
    /// # Errors
    ///
    /// When it is encrypted, of another form, or of a kind that is not supported.
    pub(crate) fn from_pem(text: &str) -> Result<Self, KeyError> {
        let fail = |why: &str| Err(KeyError(why.to_owned()));
        if text.contains("-----BEGIN ENCRYPTED ") {
            return fail(
                "the key is encrypted, which is not supported; use one that openssl made \
                 (openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256), or sign with \
                 cosign itself: its signatures are verified all the same",
            );
        }
        if text.contains("-----BEGIN EC PRIVATE KEY") || text.contains("-----BEGIN RSA PRIVATE") {
            return fail("the key has an old form; convert it with openssl pkcs8 -topk8 -nodes");
        }
        let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()) else {
            return fail(
                "this is no private key; expected PKCS #8 in PEM, from -----BEGIN PRIVATE KEY-----",
            );
        };
        let der = der.secret_pkcs8_der();
        let random = SystemRandom::new();
        let kinds = [
            (KeyKind::EcdsaP256, &ECDSA_P256_SHA256_ASN1_SIGNING),
            (KeyKind::EcdsaP384, &ECDSA_P384_SHA384_ASN1_SIGNING),
        ];
        let ecdsa = kinds.into_iter().find_map(|(kind, algorithm)| {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, der, &random).ok()?;
            Some(Pair::Ecdsa(kind, pair))
        });
        let ed25519 = || {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
            Some(Pair::Ed25519(pair))
        };
        let rsa = || Some(Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(der).ok()?)));
        match ecdsa.or_else(ed25519).or_else(rsa) {
            Some(pair) => Ok(Self { pair, random }),
            None => fail(
                "the key is of no kind that is known; use ECDSA P-256 or P-384, Ed25519, or RSA \
                 with 2048 to 4096 bits",
            ),
        }
    }

    /// Returns the public key.
    pub(crate) fn public(&self) -> PublicKey {
        match &self.pair {
            Pair::Ecdsa(kind, pair) => PublicKey::new(*kind, pair.public_key().as_ref()),
            Pair::Ed25519(pair) => PublicKey::new(KeyKind::Ed25519, pair.public_key().as_ref()),
            Pair::Rsa(pair) => PublicKey::new(KeyKind::Rsa, pair.public().as_ref()),
        }
    }

    /// Signs a message.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError("the key can't sign".to_owned());
        match &self.pair {
            Pair::Ecdsa(_, pair) => {
                let signature = pair.sign(&self.random, message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(pem: &str) -> String {
        let key = SigningKey::from_pem(pem).err().expect("no key");
        key.to_string()
    }

    #[test]
    fn a_key_of_another_form_is_refused_with_the_way_out() {
        let cosign = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
        assert!(problem(cosign).contains("sign with cosign itself"));
        assert!(problem("-----BEGIN EC PRIVATE KEY-----\n").contains("pkcs8 -topk8"));
        assert!(problem("hello").contains("this is no private key"));
        let other = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        assert!(problem(other).contains("of no kind that is known"));
    }

    #[test]
    fn the_public_key_belongs_to_the_private_one() {
        let pair = rcgen::KeyPair::generate().expect("a key");
        let key = SigningKey::from_pem(&pair.serialize_pem()).expect("a key");
        let expected = pair.public_key_pem().parse::<PublicKey>();
        assert_eq!(Ok(key.public()), expected);
    }
}
