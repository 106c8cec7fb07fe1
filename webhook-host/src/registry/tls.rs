//! Whom a registry's certificate has to be by: the system's authorities, or those of a file.

use super::error::{Reason, RegistryError};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Makes the configuration of TLS. `bundle` stands for the system's authorities.
pub(super) fn config(bundle: Option<&Path>) -> Result<Arc<ClientConfig>, RegistryError> {
    let roots = match bundle {
        Some(file) => of_file(file)?,
        None => of_system(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| local(error.to_string()))?;
    Ok(Arc::new(
        builder.with_root_certificates(roots).with_no_client_auth(),
    ))
}

fn of_file(file: &Path) -> Result<RootCertStore, RegistryError> {
    let shown = file.display();
    let fail = |problem: String| local(format!("--registry-ca {shown}: {problem}"));
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

/// A system may have none, such as an image from scratch: then each handshake says so.
fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(
            "this system has no certificates of authorities, so no registry is trusted: name some \
             with --registry-ca"
        );
    }
    roots
}

fn local(message: String) -> RegistryError {
    RegistryError::new(Reason::Local, message)
}
