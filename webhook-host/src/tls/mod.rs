//! TLS: the certificate that the host shows, the clients that it accepts, and the replacement of
//! both while requests are served.
//!
//! Values are checked before they are published: an [`Identity`] has a certificate that fits its
//! key, [`Clients`] have an authority. [`Tls`] puts them together. Read by `server` at each
//! handshake; written by `certificates` and `cli`, which read the cluster and files.

mod certificate;
mod clients;
mod current;
mod identity;
mod self_signed;

pub use certificate::Certificate;
pub use clients::Clients;
pub use current::Tls;
pub use identity::Identity;
pub use self_signed::{SelfSigned, self_signed};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// An error: a certificate, key or authority can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text holds no certificate.
    #[error("no certificate in it; expected PEM blocks BEGIN CERTIFICATE, the server's own first")]
    NoCertificate,
    /// The PEM text is damaged.
    #[error("not valid PEM: {0}")]
    Pem(String),
    /// The PEM block holds something other than an X.509 certificate.
    #[error("not a valid certificate: {0}")]
    Certificate(String),
    /// The PEM text holds no private key that can be read.
    #[error(
        "no usable private key in it ({0}); expected one unencrypted PEM block BEGIN PRIVATE KEY"
    )]
    NoKey(String),
    /// Certificate and key don't fit, or the key's algorithm is not supported.
    #[error("certificate and key can't be used together: {0}")]
    Mismatch(String),
    /// The authority can't be used to check clients.
    #[error("can't check clients with this authority: {0}")]
    Authority(String),
    /// Generation failed.
    #[error("can't make a certificate: {0}")]
    Generate(String),
}

/// Returns all certificates of a PEM text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| TlsError::Pem(error.to_string()))?;
    if found.is_empty() {
        Err(TlsError::NoCertificate)
    } else {
        Ok(found)
    }
}
