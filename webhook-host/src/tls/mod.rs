//! TLS: what the host shows to clients, which clients it lets in, and the replacement of both while
//! requests are served.
//!
//! What is published was checked first: an [`Identity`] has a certificate that fits its key,
//! [`Clients`] have an authority. [`Tls`] puts them together. Read by `connection` at each
//! handshake, written by who reads files or the cluster (`cli`).

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

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain's text holds none.
    #[error("no certificate in it; expected PEM blocks BEGIN CERTIFICATE, the server's own first")]
    NoCertificate,
    /// The chain's text is damaged.
    #[error("not valid PEM: {0}")]
    Pem(String),
    /// What the PEM block holds is not an X.509 certificate.
    #[error("not a valid certificate: {0}")]
    Certificate(String),
    /// The key's text holds none that can be read.
    #[error(
        "no usable private key in it ({0}); expected one unencrypted PEM block BEGIN PRIVATE KEY"
    )]
    NoKey(String),
    /// They don't fit together, or the key's algorithm is not supported.
    #[error("certificate and key can't be used together: {0}")]
    Mismatch(String),
    /// No client could ever be checked with it.
    #[error("can't check clients with this authority: {0}")]
    Authority(String),
    /// Generation failed.
    #[error("can't make a certificate: {0}")]
    Generate(String),
}

/// All certificates of a PEM text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| TlsError::Pem(error.to_string()))?;
    if found.is_empty() {
        Err(TlsError::NoCertificate)
    } else {
        Ok(found)
    }
}
