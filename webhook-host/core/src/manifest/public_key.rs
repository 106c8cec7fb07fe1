//! Public keys that verify signatures, as PEM text.
//!
//! Only the frame is read here (RFC 5280's SubjectPublicKeyInfo, for the kinds of keys that cosign
//! knows); the cryptography is the host's. Invariant: a key has a known kind and the length of one.

use super::names::checked_text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A public key. Displays as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    /// The whole SubjectPublicKeyInfo, in DER.
    der: Vec<u8>,
    /// Where the key itself begins in it.
    start: usize,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on the curve P-256, which `cosign generate-key-pair` makes.
    EcdsaP256,
    /// ECDSA on the curve P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA, of 2048 to 8192 bits.
    Rsa,
}

impl PublicKey {
    /// Returns the kind.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Returns the key as its algorithm writes it: the uncompressed point, the 32 bytes of Ed25519,
    /// the RSAPublicKey of RFC 8017.
    pub fn bytes(&self) -> &[u8] {
        &self.der[self.start..]
    }

    /// Returns the SubjectPublicKeyInfo, in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Frames a key.
    pub fn new(kind: KeyKind, bytes: &[u8]) -> Self {
        let prefix = match kind {
            KeyKind::EcdsaP256 => P256.to_vec(),
            KeyKind::EcdsaP384 => P384.to_vec(),
            KeyKind::Ed25519 => ED25519.to_vec(),
            KeyKind::Rsa => {
                let bits = [bit_string(bytes.len() + 1), vec![0]].concat();
                let inner = [RSA, &bits].concat();
                [sequence(inner.len() + bytes.len()), inner].concat()
            }
        };
        Self {
            kind,
            start: prefix.len(),
            der: [&prefix, bytes].concat(),
        }
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let fixed = [
            (KeyKind::EcdsaP256, P256, P256.len() + 65),
            (KeyKind::EcdsaP384, P384, P384.len() + 97),
            (KeyKind::Ed25519, ED25519, ED25519.len() + 32),
        ];
        for (kind, prefix, length) in fixed {
            if der.starts_with(prefix) && der.len() == length {
                let key = Self::new(kind, &der[prefix.len()..]);
                // Points are written in full, which begins with 4.
                let is_point = kind == KeyKind::Ed25519 || key.bytes()[0] == 4;
                return is_point.then_some(key);
            }
        }
        let (kind, at) = (
            KeyKind::Rsa,
            der.windows(RSA.len()).position(|part| part == RSA)?,
        );
        let bits = der.get(at + RSA.len()..)?;
        // The tag, the length's three bytes and the count of unused bits, for 2048 bits or more.
        let key = Self::new(kind, bits.get(5..)?);
        let is_sized = (256..=1100).contains(&key.bytes().len());
        (is_sized && key.der == der).then_some(key)
    }
}

/// The bytes of a SubjectPublicKeyInfo before the key.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
const ED25519: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// The AlgorithmIdentifier of RSA.
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// Returns the tag and length of a sequence, of 256 to 65535 bytes.
fn sequence(length: usize) -> Vec<u8> {
    header(0x30, length)
}

fn bit_string(length: usize) -> Vec<u8> {
    header(0x03, length)
}

fn header(tag: u8, length: usize) -> Vec<u8> {
    let [.., high, low] = length.to_be_bytes();
    vec![tag, 0x82, high, low]
}

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("PRIVATE KEY-----") {
            return Err(
                "this is a private key, which must stay with whoever signs; write the \
                public one here (openssl pkey -in FILE -pubout)"
                    .to_owned(),
            );
        }
        let inner = text
            .trim()
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(END));
        let Some(inner) = inner else {
            return Err(format!(
                "this is no public key; write one key in PEM, from {BEGIN} to {END}"
            ));
        };
        let base64: String = inner.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(base64);
        der.ok()
            .and_then(|der| Self::from_der(&der))
            .ok_or_else(|| {
                "this is no public key of a kind that is known; use ECDSA P-256 or P-384, Ed25519, \
                 or RSA with 2048 bits or more"
                    .to_owned()
            })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{BEGIN}")?;
        let text = STANDARD.encode(&self.der);
        for start in (0..text.len()).step_by(64) {
            writeln!(f, "{}", &text[start..text.len().min(start + 64)])?;
        }
        writeln!(f, "{END}")
    }
}

checked_text!(PublicKey, "^[ \\n]*-----BEGIN PUBLIC KEY-----");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Verification;
    use serde_json::json;

    const EC256: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEVntGWFWnd3FMCYnElPJE0peicBkt\n\
        nIwmDR+YlDsWEOO22hocFTFa9Mj+pjlTE/vulMrMw8GZCzRs+lufvA0KWA==\n\
        -----END PUBLIC KEY-----\n";
    const EC384: &str = "-----BEGIN PUBLIC KEY-----\n\
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAES/3ZwUuNKjRE0TK7S/KAqy47ogpXBczb\n\
        pUR0+LZZRRxgENz4By3DpZv3bUdSbG8PfvcI1LVu75SMVcANOxjo0MDmTVBV2iP2\n\
        b3TcwndumXcuaWKGfUsJsQ3ClIA9K/80\n\
        -----END PUBLIC KEY-----\n";
    const ED: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAtcL5589LAcjgtsqyeKQOV3n6X5OFzaEyH/lcaYGtUtc=\n\
        -----END PUBLIC KEY-----\n";
    const RSA2048: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuiQ8pu3b/S+g3TQuj4ah\n\
        snk+WMGoLOp8fYmdowhJaWaGja80hMRon1JenE+yZwfQcy/6Ddq+gmHm52mFtL/K\n\
        s50iXMjcH9gdq5k1dYRa5MSt/phVc78tsddAx9vk3V1LEjKxiEnb88nW49q0RpMO\n\
        YSMhOQ5l9cP71Mn7YLzKbtt2N0jBI7I13eqq6OWe3Xz1mVKXeSibkucPHF33MFsB\n\
        wHtgrS4/JeRWmxIVC5Nj8bXqauvIjAqGdn5L51ZHdsdApaXl45Vdk/iXYKPZescC\n\
        JxykyWWkXA/MH3m5LMSOwTsnWRHGJNwcud6Mb939WCZOh8RJqc3Bm3dyr67l7OuY\n\
        kQIDAQAB\n\
        -----END PUBLIC KEY-----\n";
    const RSA1024: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDIDX9Ky5kTLlV59u8OI1WCmMxg\n\
        +4RtU8uhqjHSrK9XSF4TjkqHgH2qcrp8FhzyzhiqnZz2ldWtrqhDQNfLjFQOAel+\n\
        zn8ZkW4D3hC35j3bzJhdd4HAqfnuBBnyzNy340pmnIBjsJHzOWdgEHfRjOxB+84z\n\
        fo9uvM74JSII0CIwsQIDAQAB\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn each_kind_of_key_is_read_and_written_alike() {
        for (kind, length, pem) in [
            (KeyKind::EcdsaP256, 65, EC256),
            (KeyKind::EcdsaP384, 97, EC384),
            (KeyKind::Ed25519, 32, ED),
            (KeyKind::Rsa, 270, RSA2048),
        ] {
            let key: PublicKey = pem.parse().expect("a key");
            assert_eq!((key.kind(), key.bytes().len()), (kind, length));
            assert_eq!(key.to_string(), pem);
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_place() {
        let key = |text: &str| {
            let value = json!({"repositories": ["ghcr.io/acme/*"], "keys": [text]});
            let read = crate::decode::from_value::<Verification>(&value);
            read.expect_err("no key").to_string()
        };
        let private = key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        assert!(private.contains("this is a private key"), "{private}");
        assert!(key("cosign.pub").contains("this is no public key; write one key"));
        assert!(key(&RSA1024.replace('\n', " ")).contains("of a kind that is known"));
        assert!(key(&format!("{EC256}{EC256}")).contains("of a kind that is known"));
        let none = json!({"repositories": ["ghcr.io/acme/*"], "keys": []});
        let none = crate::decode::from_value::<Verification>(&none).expect_err("none");
        assert!(
            none.to_string().starts_with("keys: it has no key"),
            "{none}"
        );
    }
}
