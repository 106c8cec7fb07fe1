//! A self-signed certificate authority and a certificate signed by it, made at start for local use.

use super::{Identity, TlsError};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// The names in the certificate: for local use, and for the Service that `deploy/` installs.
const NAMES: [&str; 5] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "sallyport.sallyport-system.svc",
    "sallyport.sallyport-system.svc.cluster.local",
];

/// A server certificate, and the certificate of the authority that signed it.
pub struct SelfSigned {
    /// The certificate that the server shows, with its key.
    pub identity: Identity,
    /// The authority's certificate as PEM, for clients to trust.
    pub ca: String,
}

/// Makes an authority and a certificate by it. Both keys live as long as the process.
///
/// # Errors
///
/// Fails when the random source fails.
pub fn self_signed() -> Result<SelfSigned, TlsError> {
    let failed = |error: rcgen::Error| TlsError::Generate(error.to_string());
    let key = KeyPair::generate().map_err(failed)?;
    let ca = CertifiedIssuer::self_signed(authority(&key), key).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let mut leaf = CertificateParams::new(NAMES.map(str::to_owned)).map_err(failed)?;
    leaf.distinguished_name = name("sallyport");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&key, &ca).map_err(failed)?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Ok(SelfSigned {
        identity: Identity::from_der(vec![leaf.der().clone()], der)?,
        ca: ca.pem(),
    })
}

/// Returns the authority's parameters. Its name ends with the beginning of its key's identifier:
/// with two authorities of one name, a client would report a bad signature instead of an unknown
/// issuer.
fn authority(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let identifier = params.key_identifier(key);
    let beginning: String = identifier
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = name(&format!("Sallyport self-signed CA {beginning}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_comes_with_its_authority() {
        assert!(
            self_signed()
                .expect("made")
                .ca
                .starts_with("-----BEGIN CERTIFICATE-----")
        );
    }

    #[test]
    fn each_authority_has_a_name_of_its_own() {
        let [one, other] = [(); 2].map(|()| {
            let key = KeyPair::generate().expect("made");
            authority(&key).distinguished_name
        });
        assert_ne!(one, other);
    }
}
