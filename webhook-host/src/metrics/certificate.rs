//! Counters and gauges of certificates, registered by `metrics` and updated by `tls` and `server`.

use crate::status::SelfManagedStatus;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    certificate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The owner of a certificate that expires.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CertificateOwner {
    /// The host's own certificate.
    Server,
    /// The authority that signs the host's own certificates.
    Authority,
    /// The authority of clients' certificates.
    Clients,
}

impl CertificateOwner {
    fn label(self) -> CertificateLabel {
        let certificate = match self {
            Self::Server => "server",
            Self::Authority => "authority",
            Self::Clients => "client-authority",
        };
        CertificateLabel { certificate }
    }
}

/// The reason for which a client's certificate was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ClientRefused {
    /// The client showed none.
    Missing,
    /// It is signed by another authority, has expired, or has another name.
    Invalid,
}

impl ClientRefused {
    const ALL: [Self; 2] = [Self::Missing, Self::Invalid];

    fn label(self) -> ReasonLabel {
        let reason = match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
        };
        ReasonLabel { reason }
    }
}

/// The metrics of certificates. Clones share them.
#[derive(Clone)]
pub(crate) struct CertificateMetrics {
    expiry: Family<CertificateLabel, Gauge>,
    reloads: Family<ResultLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    leader: Gauge,
    troubles: Family<ReasonLabel, Counter>,
}

impl CertificateMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            expiry: Family::default(),
            reloads: Family::default(),
            refused: Family::default(),
            leader: Gauge::default(),
            troubles: Family::default(),
        };
        for result in [SUCCESS, FAILURE] {
            drop(metrics.reloads.get_or_create(&ResultLabel { result }));
        }
        for why in ClientRefused::ALL {
            drop(metrics.refused.get_or_create(&why.label()));
        }
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "The last second of a certificate, since 1970: the server's own, its authority's when \
             the host makes it, the clients' authority's",
            Unit::Seconds,
            metrics.expiry.clone(),
        );
        registry.register(
            "certificate_reload",
            "Reloads of certificates, by result",
            metrics.reloads.clone(),
        );
        registry.register(
            "tls_client_refusals",
            "Handshakes refused for the client's certificate, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            "certificate_leader",
            "1 when this host holds the Lease of the self-managed certificate",
            metrics.leader.clone(),
        );
        registry.register(
            "certificate_troubles",
            "Rounds in which the self-managed certificate could not be looked after, by reason",
            metrics.troubles.clone(),
        );
        metrics
    }

    pub(crate) fn expires(&self, of: CertificateOwner, end: Timestamp) {
        self.expiry.get_or_create(&of.label()).set(end.as_second());
    }

    pub(crate) fn reloaded(&self, success: bool) {
        self.reloads
            .get_or_create(&ResultLabel {
                result: if success { SUCCESS } else { FAILURE },
            })
            .inc();
    }

    pub(crate) fn client_refused(&self, why: ClientRefused) {
        self.refused.get_or_create(&why.label()).inc();
    }

    pub(crate) fn self_managed(&self, state: &SelfManagedStatus) {
        self.leader.set(state.leader.into());
        if let Some(end) = state
            .authority_until
            .as_ref()
            .and_then(|end| end.parse().ok())
        {
            self.expires(CertificateOwner::Authority, end);
        }
        for trouble in &state.troubles {
            self.troubles
                .get_or_create(&ReasonLabel {
                    reason: trouble.reason.word(),
                })
                .inc();
        }
    }
}

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";
