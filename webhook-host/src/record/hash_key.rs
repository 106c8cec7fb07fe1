//! The key of a file's hashes.

use ring::hmac;
use ring::rand::SystemRandom;
use std::fmt::Write as _;

/// The prefix of every hash.
pub const HASHED: &str = "hashed-";

/// The bytes of an HMAC-SHA256 that are kept: enough to distinguish the values of one file.
const HASH_BYTES: usize = 8;

/// A key for the hashes of one file.
#[derive(Debug, Clone)]
pub struct HashKey(hmac::Key);

impl HashKey {
    /// Makes a random key.
    ///
    /// # Errors
    ///
    /// Fails when the system has no random numbers.
    pub fn random() -> std::io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self)
            .map_err(|_| std::io::Error::other("the system's source of random numbers failed"))
    }

    /// Returns a number of 48 bits in place of another one.
    pub(super) fn number(&self, number: &str) -> u64 {
        let tag = hmac::sign(&self.0, number.as_bytes());
        tag.as_ref()
            .iter()
            .take(6)
            .fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
    }

    /// Returns the hash of a text: `hashed-` and 16 hexadecimal digits.
    pub(super) fn hash(&self, text: &str) -> String {
        let mut hash = HASHED.to_owned();
        for byte in hmac::sign(&self.0, text.as_bytes())
            .as_ref()
            .iter()
            .take(HASH_BYTES)
        {
            let _ = write!(hash, "{byte:02x}");
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_has_other_hashes() {
        let hash = || HashKey::random().expect("random numbers").hash("web");
        assert_ne!(hash(), hash());
    }
}
