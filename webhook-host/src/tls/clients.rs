//! Which clients are let in: those with a certificate by an authority and, when names are given,
//! with one of these names.
//!
//! A client without is told so by a TLS alert: `certificate_required`, `unknown_ca`,
//! `access_denied` and their like.

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

/// The clients that are let in.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    authority: Certificate,
}

impl Clients {
    /// From the PEM text of one or more authorities. Without names, whoever has a certificate by
    /// them is let in; else who has one of them as common name or alternative name.
    ///
    /// # Errors
    ///
    /// [`TlsError`]; the caller says which file.
    pub fn from_pem(authorities: &[u8], names: BTreeSet<String>) -> Result<Self, TlsError> {
        let invalid = |error: String| TlsError::Authority(error);
        let mut roots = RootCertStore::empty();
        let mut ends = vec![];
        for der in certificates(authorities)? {
            ends.push(Certificate::from_der(&der)?);
            roots.add(der).map_err(|error| invalid(error.to_string()))?;
        }
        let provider = Arc::new(ring::default_provider());
        let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let chains = chains.map_err(|error| invalid(error.to_string()))?;
        let authority = ends
            .into_iter()
            .min_by_key(|certificate| certificate.not_after)
            .ok_or(TlsError::NoCertificate)?;
        Ok(Self {
            verifier: Arc::new(Named { chains, names }),
            authority,
        })
    }

    /// Of the authorities, the one that ends first.
    pub fn authority(&self) -> &Certificate {
        &self.authority
    }
}

/// The usual checks, and then the name.
#[derive(Debug)]
struct Named {
    chains: Arc<dyn ClientCertVerifier>,
    /// Any name when there is none.
    names: BTreeSet<String>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chains
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
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
