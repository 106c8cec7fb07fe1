//! The host's identity: a certificate, its chain, and the key that proves it.

use super::{Certificate, TlsError, certificates};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// A certificate and the key that fits it.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    certificate: Certificate,
}

impl Identity {
    /// Reads the PEM texts of a certificate chain and its key.
    ///
    /// # Errors
    ///
    /// Returns a [`TlsError`], to which the caller adds the file.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::NoKey(error.to_string()));
        Self::from_der(certificates(chain)?, key?)
    }

    pub(crate) fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let certificate = Certificate::from_der(chain.first().ok_or(TlsError::NoCertificate)?)?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| TlsError::Mismatch(error.to_string()))?;
        Ok(Self {
            key: Arc::new(key),
            certificate,
        })
    }

    /// Returns the facts of the chain's first certificate, which is the server's own.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns true if both show the same certificate chain.
    pub fn is_the_same_as(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_chain_and_its_key_are_accepted() {
        let (cert, key) = pair();
        let (other, _) = pair();
        assert!(Identity::from_pem(format!("{cert}\n{other}").as_bytes(), key.as_bytes()).is_ok());
    }

    #[test]
    fn another_key_is_refused() {
        let ((cert, _), (_, key)) = (pair(), pair());
        assert!(matches!(
            Identity::from_pem(cert.as_bytes(), key.as_bytes()),
            Err(TlsError::Mismatch(_))
        ));
    }

    #[test]
    fn garbage_says_what_is_expected() {
        let (cert, key) = pair();
        let from = |cert: &str, key: &str| Identity::from_pem(cert.as_bytes(), key.as_bytes());
        assert!(matches!(
            from("garbage", &key),
            Err(TlsError::NoCertificate)
        ));
        assert!(matches!(from(&cert, "garbage"), Err(TlsError::NoKey(_))));
        assert!(matches!(from(&cert, &cert), Err(TlsError::NoKey(_))));
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(from(empty, &key), Err(TlsError::Certificate(_))));
    }
}
