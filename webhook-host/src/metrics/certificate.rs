//! What the host counts of certificates.

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
struct Ended {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

/// Whose certificate expires.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    /// The one that the host shows.
    Server,
    /// The authority that the host makes its own by.
    Authority,
    /// The authority of the clients.
    Clients,
}

impl Whose {
    fn label(self) -> CertificateLabel {
        let certificate = match self {
            Self::Server => "server",
            Self::Authority => "authority",
            Self::Clients => "client-authority",
        };
        CertificateLabel { certificate }
    }
}

/// Why a client's certificate was not taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ClientRefused {
    /// It showed none.
    Missing,
    /// It is by another authority, expired, or has another name.
    Invalid,
}

impl ClientRefused {
    const ALL: [Self; 2] = [Self::Missing, Self::Invalid];

    fn label(self) -> Why {
        let reason = match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
        };
        Why { reason }
    }
}

/// Cloned freely; all clones are one.
#[derive(Clone)]
pub(crate) struct CertificateMetrics {
    expiry: Family<CertificateLabel, Gauge>,
    reloads: Family<Ended, Counter>,
    refused: Family<Why, Counter>,
    leader: Gauge,
    troubles: Family<Why, Counter>,
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
            drop(metrics.reloads.get_or_create(&Ended { result }));
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

    pub(crate) fn expires(&self, of: Whose, end: Timestamp) {
        self.expiry.get_or_create(&of.label()).set(end.as_second());
    }

    pub(crate) fn reloaded(&self, well: bool) {
        self.reloads
            .get_or_create(&Ended {
                result: if well { SUCCESS } else { FAILURE },
            })
            .inc();
    }

    pub(crate) fn client_refused(&self, why: ClientRefused) {
        self.refused.get_or_create(&why.label()).inc();
    }

    pub(crate) fn noted(&self, state: &SelfManagedStatus) {
        self.leader.set(state.leader.into());
        if let Some(end) = state
            .authority_until
            .as_ref()
            .and_then(|end| end.parse().ok())
        {
            self.expires(Whose::Authority, end);
        }
        for trouble in &state.troubles {
            self.troubles
                .get_or_create(&Why {
                    reason: trouble.reason.word(),
                })
                .inc();
        }
    }
}

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";
