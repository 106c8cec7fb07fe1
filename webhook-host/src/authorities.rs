//! The TLS configuration of clients. It trusts the authorities of a file, or of the system, or
//! Mozilla's list that is built in. Used for registries and for OpenTelemetry collectors.

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Makes the configuration of a client. `bundle` stands for the system's authorities; `flag` is the
/// one that names it, for errors.
pub(crate) fn client_config(bundle: Option<&Path>, flag: &str) -> Result<ClientConfig, String> {
    let roots = match bundle {
        Some(file) => of_file(file, flag)?,
        None => of_system(flag),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn of_file(file: &Path, flag: &str) -> Result<RootCertStore, String> {
    let fail = |problem: String| format!("{flag} {}: {problem}", file.display());
    let text = std::fs::read(file).map_err(|error| fail(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| fail(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fail("no certificate in it; expected PEM".to_owned()));
    }
    Ok(roots)
}

/// Variables by which a user names the system's authorities.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Returns the system's authorities. If the system has none, as in an image from scratch, returns
/// Mozilla's list as it was built into this program. If the user names a file of authorities, only
/// those count, even if none can be read; then each handshake fails.
fn of_system(flag: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return roots;
    }
    if let Some(name) = VARIABLES
        .iter()
        .find(|name| std::env::var_os(name).is_some())
    {
        tracing::warn!(
            "there are no certificates of authorities where {name} leads, so no server is \
             trusted: correct it, or name a file with {flag}"
        );
        return roots;
    }
    tracing::debug!("this system has no certificates of authorities; using the built-in ones");
    built_in()
}

/// Returns Mozilla's list of authorities.
fn built_in() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let list = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    roots.add_parsable_certificates(list.iter().cloned());
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_authority_can_be_read() {
        let list = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        assert!(list.len() > 100, "{}", list.len());
        assert_eq!(built_in().len(), list.len());
    }
}
