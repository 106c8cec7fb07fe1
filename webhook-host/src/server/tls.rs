//! Certificates: from PEM text, or made on the spot for local use. What is published was checked first.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain's text holds none.
    #[error("no certificate in it; expected PEM blocks BEGIN CERTIFICATE, the server's own first")]
    NoCertificate,
    /// The chain's text is damaged.
    #[error("not valid PEM: {0}")]
    Pem(String),
    /// The key's text holds none that can be read.
    #[error("no usable private key in it ({0}); expected one unencrypted PEM block BEGIN PRIVATE KEY")]
    NoKey(String),
    /// They don't fit together, or the key's algorithm is not supported.
    #[error("certificate and key can't be used together: {0}")]
    Mismatch(String),
    /// Generation failed.
    #[error("can't make a certificate: {0}")]
    Generate(String),
}

/// Names for which a self-signed certificate is made: local use, and the Service that `deploy/` installs.
const NAMES: [&str; 5] =
    ["localhost", "127.0.0.1", "::1", "sallyport.sallyport-system.svc", "sallyport.sallyport-system.svc.cluster.local"];

/// A configuration from the PEM text of a certificate chain and its key.
///
/// # Errors
///
/// [`TlsError`]; the caller says which file.
pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::NoKey(error.to_string()))?;
    configure(chain, key)
}

/// A certificate of its own authority, and that authority's certificate as PEM text, for clients to trust.
pub struct SelfSigned {
    /// The server's configuration.
    pub config: Arc<ServerConfig>,
    /// PEM.
    pub ca: String,
}

/// Makes an authority and a certificate by it. Both keys live as long as the process.
///
/// # Errors
///
/// When the random source fails.
pub fn self_signed() -> Result<SelfSigned, TlsError> {
    let failed = |error: rcgen::Error| TlsError::Generate(error.to_string());
    let key = KeyPair::generate().map_err(failed)?;
    let ca = CertifiedIssuer::self_signed(authority(), key).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let mut leaf = CertificateParams::new(NAMES.map(str::to_owned)).map_err(failed)?;
    leaf.distinguished_name = name("sallyport");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&key, &ca).map_err(failed)?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = configure(vec![leaf.der().clone()], der)?;
    Ok(SelfSigned { config, ca: ca.pem() })
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Sallyport self-signed CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn configure(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Mismatch(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_chain_and_its_key_are_accepted() {
        let (cert, key) = pair();
        let (other, _) = pair();
        assert!(from_pem(format!("{cert}\n{other}").as_bytes(), key.as_bytes()).is_ok());
    }

    #[test]
    fn another_key_is_refused() {
        let ((cert, _), (_, key)) = (pair(), pair());
        assert!(matches!(from_pem(cert.as_bytes(), key.as_bytes()), Err(TlsError::Mismatch(_))));
    }

    #[test]
    fn garbage_says_what_is_expected() {
        let (cert, key) = pair();
        assert!(matches!(from_pem(b"garbage", key.as_bytes()), Err(TlsError::NoCertificate)));
        assert!(matches!(from_pem(cert.as_bytes(), b"garbage"), Err(TlsError::NoKey(_))));
        assert!(matches!(from_pem(cert.as_bytes(), cert.as_bytes()), Err(TlsError::NoKey(_))));
    }

    #[test]
    fn a_self_signed_certificate_comes_with_its_authority() {
        assert!(self_signed().expect("made").ca.starts_with("-----BEGIN CERTIFICATE-----"));
    }
}
