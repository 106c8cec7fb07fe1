//! The current TLS configuration, and its replacement.
//!
//! A handshake takes the current configuration without a lock; open connections keep the one that
//! they began with. A configuration is replaced together with its session cache, so no resumed
//! session outlives the authority that its client was checked with.

use super::{Clients, Identity};
use crate::metrics::{CertificateMetrics, CertificateOwner};
use crate::status::LastReload;
use crate::status::{CertificateStatus, SelfManagedStatus};
use crate::timestamp;
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The TLS configuration of a host. Without an identity, handshakes fail.
pub struct Tls {
    current: ArcSwapOption<ServerConfig>,
    metrics: CertificateMetrics,
    /// Not locked by handshakes.
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    identity: Option<Identity>,
    clients: Option<Clients>,
    last_reload: Option<LastReload>,
    self_managed: Option<SelfManagedStatus>,
    authorities: Option<String>,
}

impl Tls {
    pub(crate) fn new(metrics: CertificateMetrics) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            metrics,
            parts: Mutex::default(),
        }
    }

    /// Sets the certificate that later handshakes show.
    pub fn set_identity(&self, identity: Identity) {
        self.change(|parts| parts.identity = Some(identity));
    }

    /// Sets the clients that later handshakes accept. Until the first call no client certificate is
    /// asked for.
    pub fn set_clients(&self, clients: Clients) {
        self.change(|parts| parts.clients = Some(clients));
    }

    /// Notes that certificates were reloaded.
    pub fn reloaded(&self) {
        self.metrics.reloaded(true);
        self.parts().last_reload = Some(LastReload {
            at: timestamp::now().to_string(),
            error: None,
        });
    }

    /// Notes that a reload failed: the previous certificates stay, and the admin port shows the
    /// error.
    pub fn reload_failed(&self, error: impl Into<String>) {
        self.metrics.reloaded(false);
        self.parts().last_reload = Some(LastReload {
            at: timestamp::now().to_string(),
            error: Some(error.into()),
        });
    }

    /// Sets the status of a host that makes its own certificates.
    pub fn set_self_managed_status(&self, state: SelfManagedStatus) {
        self.metrics.self_managed(&state);
        self.parts().self_managed = Some(state);
    }

    /// Sets the authorities that clients must trust, as PEM, when the host makes its own
    /// certificates.
    pub fn set_authorities(&self, authorities: String) {
        self.parts().authorities = Some(authorities);
    }

    /// Returns the authorities of [`Self::set_authorities`], as PEM.
    pub fn authorities(&self) -> Option<String> {
        self.parts().authorities.clone()
    }

    /// Returns the certificate that handshakes show.
    pub fn identity(&self) -> Option<Identity> {
        self.parts().identity.clone()
    }

    /// Returns the status for the admin port; `None` when there is no certificate and the host
    /// makes none.
    pub fn status(&self) -> Option<CertificateStatus> {
        let parts = self.parts();
        if parts.identity.is_none() && parts.self_managed.is_none() {
            return None;
        }
        let certificate = parts.identity.as_ref().map(Identity::certificate);
        let time = |time: Timestamp| time.to_string();
        Some(CertificateStatus {
            names: certificate
                .map(|certificate| certificate.names.clone())
                .unwrap_or_default(),
            not_before: certificate.map(|certificate| time(certificate.not_before)),
            not_after: certificate.map(|certificate| time(certificate.not_after)),
            trouble: certificate.and_then(|certificate| certificate.problem(Timestamp::now())),
            clients_until: parts
                .clients
                .as_ref()
                .map(|clients| time(clients.authority().not_after)),
            last_reload: parts.last_reload.clone(),
            self_managed: parts.self_managed.clone(),
        })
    }

    pub(crate) fn metrics(&self) -> &CertificateMetrics {
        &self.metrics
    }

    pub(crate) fn config(&self) -> Option<Arc<ServerConfig>> {
        self.current.load_full()
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts();
        change(&mut parts);
        if let Some(clients) = &parts.clients {
            self.metrics
                .expires(CertificateOwner::Clients, clients.authority().not_after);
        }
        let Some(identity) = &parts.identity else {
            return;
        };
        self.metrics
            .expires(CertificateOwner::Server, identity.certificate().not_after);
        self.current
            .store(Some(Arc::new(configure(identity, parts.clients.as_ref()))));
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn configure(identity: &Identity, clients: Option<&Clients>) -> ServerConfig {
    let verifier = clients.map_or_else(WebPkiClientVerifier::no_client_auth, |clients| {
        Arc::clone(&clients.verifier)
    });
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
