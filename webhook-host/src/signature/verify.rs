//! The cryptography of verifying, by ring.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use sallyport_core::manifest::{KeyKind, PublicKey};

/// Returns the key that has signed a message.
pub(super) fn signer<'k>(
    keys: &'k [PublicKey],
    message: &[u8],
    signature: &[u8],
) -> Option<&'k PublicKey> {
    keys.iter().find(|key| {
        algorithms(key.kind()).iter().any(|algorithm| {
            let key = UnparsedPublicKey::new(*algorithm, key.bytes());
            key.verify(message, signature).is_ok()
        })
    })
}

/// Returns the algorithms that cosign signs with, by kind of key. With P-384 it has used SHA-256,
/// and uses SHA-384 since version 3.
fn algorithms(kind: KeyKind) -> Vec<&'static dyn VerificationAlgorithm> {
    match kind {
        KeyKind::EcdsaP256 => vec![&ECDSA_P256_SHA256_ASN1],
        KeyKind::EcdsaP384 => vec![&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1],
        KeyKind::Ed25519 => vec![&ED25519],
        KeyKind::Rsa => vec![&RSA_PKCS1_2048_8192_SHA256],
    }
}

/// Decodes base64 of a signature or a payload.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(text.trim())
        .map_err(|error| format!("no base64: {error}"))
}
