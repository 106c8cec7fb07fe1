//! What handshakes use now, and its replacement.
//!
//! A handshake takes the current configuration without a lock; connections that are open live on
//! with the one that they began with. The configuration is swapped as a whole, and its sessions
//! with it: what was resumed before is shaken hands on anew, so that no session outlives the
//! authority that its client was checked with.

use super::{Clients, Identity};
use crate::metrics::{CertificateMetrics, Whose};
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

/// The TLS side of a host. Without an identity, handshakes fail.
pub struct Tls {
    current: ArcSwapOption<ServerConfig>,
    metrics: CertificateMetrics,
    /// Off the hot path.
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    identity: Option<Identity>,
    clients: Option<Clients>,
    last: Option<LastReload>,
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

    /// Handshakes that begin from now on show this certificate.
    pub fn present(&self, identity: Identity) {
        self.change(|parts| parts.identity = Some(identity));
    }

    /// Handshakes that begin from now on let in these clients alone.
    pub fn admit(&self, clients: Clients) {
        self.change(|parts| parts.clients = Some(clients));
    }

    /// New certificates were read, and serve.
    pub fn reloaded(&self) {
        self.metrics.reloaded(true);
        self.parts().last = Some(LastReload {
            at: timestamp::now().to_string(),
            error: None,
        });
    }

    /// New certificates could not be read, or not be used: those from before serve on, and why is
    /// told by the admin port.
    pub fn refuse(&self, error: impl Into<String>) {
        self.metrics.reloaded(false);
        self.parts().last = Some(LastReload {
            at: timestamp::now().to_string(),
            error: Some(error.into()),
        });
    }

    /// How the host and the cluster stand, when the host makes its own certificates.
    pub fn note(&self, state: SelfManagedStatus) {
        self.metrics.noted(&state);
        self.parts().self_managed = Some(state);
    }

    /// Whom clients must trust, when the host makes its own certificates.
    pub fn entrust(&self, authorities: String) {
        self.parts().authorities = Some(authorities);
    }

    /// Those authorities, in PEM.
    pub fn authorities(&self) -> Option<String> {
        self.parts().authorities.clone()
    }

    /// The certificate that is shown.
    pub fn identity(&self) -> Option<Identity> {
        self.parts().identity.clone()
    }

    /// For the admin port; `None` when there is neither a certificate nor anybody who makes one.
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
            trouble: certificate.and_then(|certificate| certificate.trouble(Timestamp::now())),
            clients_until: parts
                .clients
                .as_ref()
                .map(|clients| time(clients.authority().not_after)),
            last_reload: parts.last.clone(),
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
                .expires(Whose::Clients, clients.authority().not_after);
        }
        let Some(identity) = &parts.identity else {
            return;
        };
        self.metrics
            .expires(Whose::Server, identity.certificate().not_after);
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
