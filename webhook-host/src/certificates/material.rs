//! The content of the Secret: authorities, the newest one's key, and a certificate signed by one of
//! them.
//!
//! Invariant: the key belongs to the newest authority, and one of the authorities signed the
//! certificate.

use super::mint;
use crate::tls::{Certificate, Identity, TlsError};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The keys of the Secret: those of kubernetes.io/tls, and the authority's key.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";

/// The reason why a Secret can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// A key of the Secret is absent.
    #[error("{0}: is absent")]
    Absent(&'static str),
    /// A key of the Secret holds no usable text.
    #[error("{0}: {1}")]
    Unusable(&'static str, String),
    /// No authority of the Secret vouches for the certificate.
    #[error("{CERTIFICATE}: is not by an authority in {AUTHORITIES}: {0}")]
    Untrusted(String),
}

/// The decoded content of a Secret.
#[derive(Debug, Clone)]
pub struct Material {
    /// The newest first, at least one.
    authorities: Vec<Authority>,
    key: String,
    leaf: Option<Leaf>,
}

#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) pem: String,
    pub(super) certificate: Certificate,
}

#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) identity: Identity,
    chain: String,
    key: String,
    /// True when the newest authority signed it, false when an older one did.
    pub(super) by_newest: bool,
}

impl Material {
    /// Creates a first authority and a certificate signed by it.
    ///
    /// # Errors
    ///
    /// When the random source fails.
    pub fn begin(
        names: &[String],
        life: (SignedDuration, SignedDuration),
        now: Timestamp,
    ) -> Result<Self, TlsError> {
        let (authority_life, leaf_life) = life;
        let (pem, key) = mint::authority(authority_life, now)?;
        let certificate = Certificate::from_der(&der(pem.as_bytes())?)?;
        let mut material = Self {
            authorities: vec![Authority { pem, certificate }],
            key,
            leaf: None,
        };
        material.renew(names, leaf_life, now)?;
        Ok(material)
    }

    /// Decodes the data of a Secret. A certificate that can't be used is left out and returned as a
    /// [`Defect`]; the authorities are used without it.
    ///
    /// # Errors
    ///
    /// [`Defect`] when there is no authority that could sign a certificate.
    pub fn from_data(
        data: &BTreeMap<String, ByteString>,
    ) -> Result<(Self, Option<Defect>), Defect> {
        let authorities = authorities(value(data, AUTHORITIES)?)?;
        let key = text(AUTHORITY_KEY, value(data, AUTHORITY_KEY)?)?;
        let newest =
            der(authorities[0].pem.as_bytes()).map_err(|error| unusable(AUTHORITIES, &error))?;
        if !fits(&newest, &key).map_err(|error| Defect::Unusable(AUTHORITY_KEY, error))? {
            return Err(Defect::Unusable(
                AUTHORITY_KEY,
                format!("does not fit the first certificate of {AUTHORITIES}"),
            ));
        }
        let (leaf, defect) = match Leaf::from_data(data, &authorities) {
            Ok(leaf) => (Some(leaf), None),
            Err(defect) => (None, Some(defect)),
        };
        Ok((
            Self {
                authorities,
                key,
                leaf,
            },
            defect,
        ))
    }

    /// Encodes the material as the data of a Secret.
    pub fn to_data(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::from([
            (AUTHORITIES.to_owned(), self.bundle()),
            (AUTHORITY_KEY.to_owned(), self.key.clone()),
        ]);
        if let Some(leaf) = &self.leaf {
            data.insert(CERTIFICATE.to_owned(), leaf.chain.clone());
            data.insert(KEY.to_owned(), leaf.key.clone());
        }
        data.into_iter()
            .map(|(key, text)| (key, ByteString(text.into_bytes())))
            .collect()
    }

    /// Returns the certificates of all authorities (PEM), for clients to trust.
    pub fn bundle(&self) -> String {
        self.authorities
            .iter()
            .map(|authority| authority.pem.as_str())
            .collect()
    }

    /// Returns the certificate and key to serve; `None` when there is no usable certificate.
    pub fn identity(&self) -> Option<&Identity> {
        self.leaf.as_ref().map(|leaf| &leaf.identity)
    }

    /// Returns the newest authority, which signs all further certificates.
    pub fn authority(&self) -> &Certificate {
        &self.newest().certificate
    }

    pub(super) fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_ref()
    }

    pub(super) fn older(&self) -> &[Authority] {
        &self.authorities[1..]
    }

    /// Adds a new authority in front of the old ones and keeps the certificate. The old authority's
    /// key is dropped, so it signs nothing more.
    pub(super) fn rotate(&mut self, life: SignedDuration, now: Timestamp) -> Result<(), TlsError> {
        let (pem, key) = mint::authority(life, now)?;
        let certificate = Certificate::from_der(&der(pem.as_bytes())?)?;
        self.authorities.insert(0, Authority { pem, certificate });
        self.retire(|old| old.certificate.not_after < now);
        self.key = key;
        if let Some(leaf) = &mut self.leaf {
            leaf.by_newest = false;
        }
        Ok(())
    }

    /// Replaces the certificate by one that the newest authority signs.
    pub(super) fn renew(
        &mut self,
        names: &[String],
        life: SignedDuration,
        now: Timestamp,
    ) -> Result<(), TlsError> {
        let newest = self.newest();
        let end = (now + life).min(newest.certificate.not_after);
        let (chain, key) = mint::leaf(&newest.pem, &self.key, names, (now, end))?;
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes())?;
        self.leaf = Some(Leaf {
            identity,
            chain,
            key,
            by_newest: true,
        });
        Ok(())
    }

    /// Removes the old authorities for which `gone` is true, never the newest one.
    pub(super) fn retire(&mut self, gone: impl Fn(&Authority) -> bool) {
        let mut index = 0;
        self.authorities.retain(|authority| {
            index += 1;
            index == 1 || !gone(authority)
        });
    }

    fn newest(&self) -> &Authority {
        self.authorities
            .first()
            .expect("a Material has at least one authority")
    }
}

impl Leaf {
    fn from_data(
        data: &BTreeMap<String, ByteString>,
        authorities: &[Authority],
    ) -> Result<Self, Defect> {
        let (chain, key) = (
            text(CERTIFICATE, value(data, CERTIFICATE)?)?,
            text(KEY, value(data, KEY)?)?,
        );
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes())
            .map_err(|error| unusable(CERTIFICATE, &error))?;
        vouched(&chain, &identity, authorities).map_err(Defect::Untrusted)?;
        let by_newest = vouched(&chain, &identity, &authorities[..1]).is_ok();
        Ok(Self {
            identity,
            chain,
            key,
            by_newest,
        })
    }
}

/// Checks that one of the authorities signed this certificate, regardless of validity periods.
fn vouched(chain: &str, identity: &Identity, authorities: &[Authority]) -> Result<(), String> {
    let (mut roots, at) = (RootCertStore::empty(), identity.certificate().not_before);
    for authority in authorities {
        let der = der(authority.pem.as_bytes()).map_err(|error| error.to_string())?;
        roots.add(der).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|error| error.to_string())?;
    let der = der(chain.as_bytes()).map_err(|error| error.to_string())?;
    // The subject alternative names come last, and are the only names that count.
    let name = identity
        .certificate()
        .names
        .iter()
        .rev()
        .find_map(|name| ServerName::try_from(name.as_str()).ok());
    let name = name.ok_or("it has no name")?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().unsigned_abs()));
    verifier
        .verify_server_cert(&der, &[], &name, &[], at)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn fits(authority: &CertificateDer<'_>, key: &str) -> Result<bool, String> {
    let key = KeyPair::from_pem(key).map_err(|error| error.to_string())?;
    let (_, parsed) = X509Certificate::from_der(authority).map_err(|error| error.to_string())?;
    Ok(parsed.public_key().raw == key.subject_public_key_info())
}

fn authorities(pem: &[u8]) -> Result<Vec<Authority>, Defect> {
    let mut authorities = vec![];
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|error| Defect::Unusable(AUTHORITIES, error.to_string()))?;
        let certificate =
            Certificate::from_der(&der).map_err(|error| unusable(AUTHORITIES, &error))?;
        authorities.push(Authority {
            pem: mint::pem(&der),
            certificate,
        });
    }
    if authorities.is_empty() {
        return Err(Defect::Unusable(
            AUTHORITIES,
            "no certificate in it".to_owned(),
        ));
    }
    Ok(authorities)
}

fn der(pem: &[u8]) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem).map_err(|error| TlsError::Pem(error.to_string()))
}

fn value<'a>(
    data: &'a BTreeMap<String, ByteString>,
    key: &'static str,
) -> Result<&'a [u8], Defect> {
    data.get(key)
        .map(|value| value.0.as_slice())
        .ok_or(Defect::Absent(key))
}

fn text(key: &'static str, value: &[u8]) -> Result<String, Defect> {
    String::from_utf8(value.to_owned()).map_err(|_| Defect::Unusable(key, "not text".to_owned()))
}

fn unusable(key: &'static str, error: &TlsError) -> Defect {
    Defect::Unusable(key, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> BTreeMap<String, ByteString> {
        let life = (
            SignedDuration::from_hours(24 * 365),
            SignedDuration::from_hours(24 * 90),
        );
        let now = Timestamp::now();
        Material::begin(&["sallyport.test.svc".to_owned()], life, now)
            .expect("made")
            .to_data()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let data = data();
        let (material, defect) = Material::from_data(&data).expect("whole");
        assert!(
            defect.is_none() && material.leaf().is_some_and(|leaf| leaf.by_newest),
            "{defect:?}"
        );
        assert_eq!(material.to_data(), data);
    }

    #[test]
    fn garbage_in_any_key_is_a_defect_that_names_the_key() {
        for key in [CERTIFICATE, KEY, AUTHORITIES, AUTHORITY_KEY] {
            for garbage in [
                &b""[..],
                b"garbage",
                b"\xff\xfe",
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ] {
                let mut data = data();
                data.insert(key.to_owned(), ByteString(garbage.to_owned()));
                let defect = match Material::from_data(&data) {
                    Ok((_, defect)) => defect.expect("the garbage is seen"),
                    Err(defect) => defect,
                };
                assert!(
                    defect
                        .to_string()
                        .starts_with(if key == KEY { "tls." } else { key }),
                    "{key}: {defect}"
                );
            }
        }
    }

    #[test]
    fn the_key_of_another_authority_is_a_defect() {
        let mut data = data();
        data.insert(
            AUTHORITY_KEY.to_owned(),
            self::data()[AUTHORITY_KEY].clone(),
        );
        let defect = Material::from_data(&data).expect_err("they don't fit");
        assert!(
            defect.to_string().starts_with("ca.key: does not fit"),
            "{defect}"
        );
    }

    #[test]
    fn a_certificate_of_another_authority_is_left_out() {
        let (mut data, other) = (data(), data());
        for key in [CERTIFICATE, KEY] {
            data.insert(key.to_owned(), other[key].clone());
        }
        let (material, defect) = Material::from_data(&data).expect("the authority is good");
        assert!(
            material.identity().is_none() && matches!(defect, Some(Defect::Untrusted(_))),
            "{defect:?}"
        );
    }
}
