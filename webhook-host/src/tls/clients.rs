//! The clients that are accepted: those with a certificate that one of the authorities signed and
//! that has one of the names, if names are given.
//!
//! Other clients get a TLS alert that says why: `certificate_required`, `unknown_ca`,
//! `access_denied` and the like.

use super::{Certificate, TlsError, certificates};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The clients that are accepted.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    authority: Certificate,
}

impl Clients {
    /// Reads the PEM text of one or more authorities. Without names, every client with a
    /// certificate by them is accepted; else its common name or an alternative name must be one of
    /// the names.
    ///
    /// # Errors
    ///
    /// Returns a [`TlsError`], to which the caller adds the file.
    pub fn from_pem(authorities: &[u8], names: BTreeSet<String>) -> Result<Self, TlsError> {
        let invalid = |error: String| TlsError::Authority(error);
        let mut roots = RootCertStore::empty();
        let mut parsed = vec![];
        for der in certificates(authorities)? {
            parsed.push(Certificate::from_der(&der)?);
            roots.add(der).map_err(|error| invalid(error.to_string()))?;
        }
        let provider = Arc::new(ring::default_provider());
        let chain_verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let chain_verifier = chain_verifier.map_err(|error| invalid(error.to_string()))?;
        let authority = parsed
            .into_iter()
            .min_by_key(|certificate| certificate.not_after)
            .ok_or(TlsError::NoCertificate)?;
        Ok(Self {
            verifier: Arc::new(NameVerifier {
                chain_verifier,
                names,
            }),
            authority,
        })
    }

    /// Returns the authority that expires first.
    pub fn authority(&self) -> &Certificate {
        &self.authority
    }
}

/// Checks the certificate chain, then the name.
#[derive(Debug)]
struct NameVerifier {
    chain_verifier: Arc<dyn ClientCertVerifier>,
    /// The accepted names; all when empty.
    names: BTreeSet<String>,
}

impl ClientCertVerifier for NameVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain_verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain_verifier
            .verify_client_cert(end_entity, intermediates, now)?;
        if self.names.is_empty() {
            return Ok(verified);
        }
        let certificate =
            Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if certificate
            .names
            .iter()
            .any(|name| self.names.contains(name))
        {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain_verifier
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain_verifier
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain_verifier.supported_verify_schemes()
    }
}
