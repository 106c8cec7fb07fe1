//! Metrics of connections and of requests on their way to a review.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: u16,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// A wait that took longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimedOut {
    /// A TLS handshake.
    Handshake,
    /// A request's head.
    Head,
    /// A request's body.
    Body,
    /// A response, to be read by the client.
    Write,
    /// The next request.
    Idle,
    /// A review that waited for an evaluation permit.
    EvaluationPermit,
}

impl TimedOut {
    const ALL: [Self; 6] = [
        Self::Handshake,
        Self::Head,
        Self::Body,
        Self::Write,
        Self::Idle,
        Self::EvaluationPermit,
    ];

    fn kind(self) -> KindLabel {
        let kind = match self {
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Body => "body",
            Self::Write => "write",
            Self::Idle => "idle",
            Self::EvaluationPermit => "turn",
        };
        KindLabel { kind }
    }
}

/// Increments a gauge while it lives.
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics of connections and requests.
pub(crate) struct ConnectionMetrics {
    refusals: Family<RefusalLabels, Counter>,
    handshakes: Counter,
    timeouts: Family<KindLabel, Counter>,
    connections: Gauge,
    full: Counter,
    evicted: Counter,
    in_flight: Gauge,
}

impl ConnectionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let refusals = Family::default();
        registry.register(
            "http_refusals",
            "Requests answered without a review, by status code and reason",
            refusals.clone(),
        );
        let handshakes = Counter::default();
        registry.register(
            "tls_handshake_failures",
            "Connections that ended before HTTP began",
            handshakes.clone(),
        );
        let connections = Gauge::default();
        registry.register(
            "connections",
            "Open connections, those included that are in their handshake",
            connections.clone(),
        );
        let full = Counter::default();
        registry.register(
            "connections_full",
            "Times that all connections were taken",
            full.clone(),
        );
        let evicted = Counter::default();
        registry.register(
            "connections_evicted",
            "Connections that were closed because they kept the host waiting while others needed \
             what they held",
            evicted.clone(),
        );
        let in_flight = Gauge::default();
        registry.register(
            "reviews_in_flight",
            "Reviews in flight: running, or waiting for an evaluation permit",
            in_flight.clone(),
        );
        let timeouts = Family::<KindLabel, Counter>::default();
        registry.register(
            "timeouts",
            "Waits that took longer than their limit, by kind",
            timeouts.clone(),
        );
        for timed_out in TimedOut::ALL {
            drop(timeouts.get_or_create(&timed_out.kind()));
        }
        Self {
            refusals,
            handshakes,
            timeouts,
            connections,
            full,
            evicted,
            in_flight,
        }
    }

    /// Counts a request that was refused without a review, by HTTP status and reason.
    pub(crate) fn refused(&self, code: u16, reason: &'static str) {
        self.refusals
            .get_or_create(&RefusalLabels { code, reason })
            .inc();
    }

    pub(crate) fn handshake_failed(&self, why: &str) {
        self.handshakes.inc();
        tracing::debug!("a TLS handshake failed: {why}");
    }

    pub(crate) fn timed_out(&self, what: TimedOut) {
        self.timeouts.get_or_create(&what.kind()).inc();
        tracing::debug!("{what:?} took too long");
    }

    pub(crate) fn full(&self) {
        self.full.inc();
    }

    pub(crate) fn evicted(&self, count: usize) {
        self.evicted
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(crate) fn connection(&self) -> GaugeGuard {
        GaugeGuard::new(&self.connections)
    }

    pub(crate) fn in_flight(&self) -> GaugeGuard {
        GaugeGuard::new(&self.in_flight)
    }
}
