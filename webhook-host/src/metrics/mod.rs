//! The host's metrics in the OpenMetrics format.
//!
//! Labels come from small, closed sets: functions, results, policies, modes, error kinds, status
//! codes, reasons, time-outs. Updated by `server` and `live`; read by the admin port.

mod audit;
mod certificate;
mod engine;
mod feed;
mod policy;
mod records;
mod registry;
mod tally;

pub(crate) use audit::{AuditMetrics, Totals, ViolationKind};
pub(crate) use certificate::{CertificateMetrics, CertificateOwner, ClientRefused};
pub use policy::EvaluationCounts;
pub(crate) use policy::PolicyMetrics;
pub(crate) use records::{Recorded, RecordedReviews};
pub(crate) use tally::Tally;

use crate::watchers::Watched;
use engine::EngineMetrics;
use feed::FeedMetrics;
use policy::AllCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use registry::RegistryMetrics;
use sallyport_core::admission::{AdmissionRequest, Function, Outcome};
use sallyport_core::manifest::Mode;
use sallyport_core::policy::Policy;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tally::Tallies;

/// The buckets of latency: from 10 us, which one small policy takes, to the 10 s that an API server
/// waits by default.
const LATENCY_BUCKETS: [f64; 16] = [
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.5, 2.0,
    10.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    function: &'static str,
    operation: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabel {
    policy: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    policy: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViolationLabels {
    policy: String,
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExemptionLabels {
    policy: String,
    exemption: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: u16,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabel {
    object: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DigestLabel {
    digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionLabel {
    function: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// All metrics of a host.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    validate_seconds: Histogram,
    mutate_seconds: Histogram,
    evaluations: Family<PolicyLabel, Histogram>,
    violations: Family<ViolationLabels, Counter>,
    exemptions: Family<ExemptionLabels, Counter>,
    counts: AllCounts,
    loaded: Family<PolicyLabel, Gauge>,
    short_circuited: Family<PolicyLabel, Gauge>,
    failures: Family<FailureLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    handshakes: Counter,
    timeouts: Family<KindLabel, Counter>,
    connections: Gauge,
    full: Counter,
    evicted: Counter,
    in_flight: Gauge,
    reloads: Family<ResultLabel, Counter>,
    namespaces: Family<ResultLabel, Counter>,
    checks: Family<ResultLabel, Counter>,
    last_success: Gauge,
    /// One series: the set that serves.
    served: Family<DigestLabel, Gauge>,
    judges_deletions: Gauge,
    /// One series; absent until the host has looked at the webhook configurations.
    registered: Family<ObjectLabel, Gauge>,
    candidates: Tallies,
    recorded: RecordedReviews,
    decision_lines: RecordedReviews,
    events: RecordedReviews,
    otlp_spans: RecordedReviews,
    otlp_metrics: RecordedReviews,
    pub(crate) engine: EngineMetrics,
    pub(crate) registry_pulls: RegistryMetrics,
    pub(crate) certificates: CertificateMetrics,
    pub(crate) audit: AuditMetrics,
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

fn histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

impl Metrics {
    /// Registers all metrics, with the value zero.
    pub(crate) fn new(watched: Option<&Arc<Watched>>) -> Self {
        let mut registry = Registry::with_prefix("sallyport");
        if let Some(watched) = watched {
            registry.register_collector(Box::new(FeedMetrics::new(Arc::clone(watched))));
        }
        let engine = EngineMetrics::default();
        registry.register_collector(Box::new(engine.clone()));
        let registry_pulls = RegistryMetrics::default();
        registry.register_collector(Box::new(registry_pulls.clone()));
        let checks = Family::default();
        registry.register(
            "policy_checks",
            "ServicePolicies that were checked before the cluster had them",
            checks.clone(),
        );
        let namespaces = Family::default();
        registry.register(
            "namespace_waits",
            "Reviews that waited until watchers knew their namespace, by result",
            namespaces.clone(),
        );
        let requests = Family::default();
        registry.register(
            "admission_requests",
            "Reviews answered, by function, operation and result",
            requests.clone(),
        );
        let seconds = Family::<FunctionLabel, Histogram>::new_with_constructor(histogram);
        registry.register_with_unit(
            "admission",
            "Time from the end of the request's head to the response",
            Unit::Seconds,
            seconds.clone(),
        );
        let evaluations = Family::<PolicyLabel, Histogram>::new_with_constructor(histogram);
        registry.register_with_unit(
            "policy_evaluation",
            "Time of one policy for one review",
            Unit::Seconds,
            evaluations.clone(),
        );
        let violations = Family::<ViolationLabels, Counter>::default();
        registry.register(
            "policy_violations",
            "Violations found, by the policy's mode",
            violations.clone(),
        );
        let exemptions = Family::default();
        registry.register(
            "policy_exemptions",
            "Reviews on which a policy was not asked because of its own exemptions, by exemption",
            exemptions.clone(),
        );
        let failures = Family::default();
        registry.register(
            "policy_failures",
            "Reviews on which a policy had no verdict, by kind",
            failures.clone(),
        );
        let loaded = Family::<PolicyLabel, Gauge>::default();
        registry.register(
            "policy_loaded",
            "1 when the policy is loaded, 0 when it is broken",
            loaded.clone(),
        );
        let short_circuited = Family::default();
        registry.register(
            "policy_short_circuited",
            "1 while the policy is not asked, because it missed its deadline again and again",
            short_circuited.clone(),
        );
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
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION")),
            ("contract", sallyport_core::contract::VERSION),
        ]);
        registry.register("build", "The host's version and the contract's", build);
        let reloads = Family::<ResultLabel, Counter>::default();
        registry.register(
            "reload",
            "Reloads of policies and configuration, by result",
            reloads.clone(),
        );
        for result in [SUCCESS, FAILURE] {
            drop(reloads.get_or_create(&ResultLabel { result }));
        }
        let last_success = Gauge::default();
        registry.register_with_unit(
            "reload_last_success_timestamp",
            "When the policies that serve were loaded, since 1970",
            Unit::Seconds,
            last_success.clone(),
        );
        last_success.set(unix(SystemTime::now()));
        let served = Family::default();
        registry.register(
            "served_set_info",
            "1, labelled by the digest of the policies and configuration that serve",
            served.clone(),
        );
        let judges_deletions = Gauge::default();
        registry.register(
            "judges_deletions",
            "1 while some policy or candidate judges deletions, which API servers send to \
             delete.sallyport.dev",
            judges_deletions.clone(),
        );
        let registered = Family::default();
        registry.register(
            "registration_in_shape",
            "1 while the webhook configurations are as this host keeps them, 0 while it can't",
            registered.clone(),
        );
        let candidates = Tallies::register(&mut registry);
        let recorded = RecordedReviews::default();
        registry.register(
            "record_reviews",
            "Answered reviews, by what became of their records",
            recorded.clone(),
        );
        let decision_lines = RecordedReviews::default();
        registry.register(
            "decision_log_lines",
            "Lines of the decision log, by what became of them",
            decision_lines.clone(),
        );
        let events = RecordedReviews::default();
        registry.register(
            "events",
            "Kubernetes Events, by what became of them",
            events.clone(),
        );
        let otlp_spans = RecordedReviews::default();
        registry.register(
            "otlp_spans",
            "Spans of reviews, by what became of them",
            otlp_spans.clone(),
        );
        let otlp_metrics = RecordedReviews::default();
        registry.register(
            "otlp_metric_readings",
            "Readings of all metrics for a collector, by what became of them",
            otlp_metrics.clone(),
        );
        let certificates = CertificateMetrics::register(&mut registry);
        let audit = AuditMetrics::default();
        registry.register_collector(Box::new(audit.clone()));
        Self {
            validate_seconds: seconds.get_or_create_owned(&FunctionLabel {
                function: "validate",
            }),
            mutate_seconds: seconds.get_or_create_owned(&FunctionLabel { function: "mutate" }),
            registry,
            requests,
            evaluations,
            violations,
            exemptions,
            counts: AllCounts::default(),
            loaded,
            short_circuited,
            failures,
            refusals,
            handshakes,
            timeouts,
            connections,
            full,
            evicted,
            in_flight,
            reloads,
            namespaces,
            checks,
            last_success,
            served,
            judges_deletions,
            registered,
            candidates,
            recorded,
            decision_lines,
            events,
            otlp_spans,
            otlp_metrics,
            engine,
            registry_pulls,
            certificates,
            audit,
        }
    }

    /// Returns the metrics of one policy. They continue those of an earlier policy with the same
    /// name.
    pub(crate) fn of(&self, policy: &Policy) -> PolicyMetrics {
        let of = PolicyLabel {
            policy: policy.name().to_string(),
        };
        self.loaded
            .get_or_create(&of)
            .set(policy.load_error().is_none().into());
        let seconds = self.evaluations.get_or_create_owned(&of);
        let counts = self.counts.of(&of.policy);
        let found = ViolationLabels {
            policy: of.policy,
            mode: mode(policy.manifest().spec.mode),
        };
        PolicyMetrics {
            seconds,
            violations: self.violations.get_or_create_owned(&found),
            counts,
        }
    }

    /// Removes the gauges of policies that are no longer served. Their counters stay.
    pub(crate) fn forget(&self, before: &[Arc<Policy>], now: &[Arc<Policy>]) {
        let now: BTreeSet<_> = now.iter().map(|policy| policy.name()).collect();
        for gone in before.iter().filter(|policy| !now.contains(policy.name())) {
            let of = PolicyLabel {
                policy: gone.name().to_string(),
            };
            self.loaded.remove(&of);
            self.short_circuited.remove(&of);
        }
    }

    /// Counts a review that waited until watchers knew its namespace, by whether they did in time.
    pub(crate) fn awaited_namespace(&self, is_known: bool) {
        self.namespaces
            .get_or_create(&ResultLabel {
                result: if is_known { "known" } else { "unknown" },
            })
            .inc();
    }

    /// Counts a check of a ServicePolicy: `allowed`, `denied` or `late`.
    pub(crate) fn checked_policy(&self, result: &'static str) {
        self.checks.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a reload: a success with its time, or a failure.
    pub(crate) fn reloaded(&self, success: Option<SystemTime>) {
        let result = if success.is_some() { SUCCESS } else { FAILURE };
        self.reloads.get_or_create(&ResultLabel { result }).inc();
        if let Some(time) = success {
            self.last_success.set(unix(time));
        }
    }

    /// Names the set that serves from now on, and says if one of its policies judges deletions.
    pub(crate) fn serves(&self, digest: &str, judges_deletions: bool) {
        self.judges_deletions.set(judges_deletions.into());
        self.served.clear();
        let digest = digest.to_owned();
        self.served.get_or_create(&DigestLabel { digest }).set(1);
    }

    /// Sets the state of the webhook configurations.
    pub(crate) fn registered(&self, in_shape: bool) {
        self.registered
            .get_or_create(&ObjectLabel { object: "webhooks" })
            .set(in_shape.into());
    }

    pub(crate) fn reviewed(
        &self,
        function: Function,
        request: &AdmissionRequest<'_>,
        outcome: &Outcome,
        took: Duration,
    ) {
        let (function, seconds) = match function {
            Function::Mutate => ("mutate", &self.mutate_seconds),
            Function::Validate(_) => ("validate", &self.validate_seconds),
        };
        seconds.observe(took.as_secs_f64());
        let labels = RequestLabels {
            function,
            operation: request.operation.as_str(),
            result: result(outcome),
        };
        self.requests.get_or_create(&labels).inc();
        for (policy, exemption) in &outcome.exempted {
            let labels = ExemptionLabels {
                policy: policy.to_string(),
                exemption: exemption.name(),
            };
            self.exemptions.get_or_create(&labels).inc();
        }
        for evaluation in &outcome.evaluations {
            if let Some(error) = &evaluation.error {
                let labels = FailureLabels {
                    policy: evaluation.policy.to_string(),
                    kind: error.kind(),
                };
                self.failures.get_or_create(&labels).inc();
            }
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

    /// Returns the counters of candidates.
    pub(crate) fn candidates(&self) -> &Tallies {
        &self.candidates
    }

    /// Returns the counters of Kubernetes Events.
    pub(crate) fn events(&self) -> &RecordedReviews {
        &self.events
    }

    /// Returns the counters of spans: `sent`, `failed`, `dropped`.
    pub(crate) fn otlp_spans(&self) -> &RecordedReviews {
        &self.otlp_spans
    }

    /// Returns the counters of readings of the metrics: `sent`, `failed`.
    pub(crate) fn otlp_metrics(&self) -> &RecordedReviews {
        &self.otlp_metrics
    }

    /// Returns the counters of lines of the decision log.
    pub(crate) fn decision_lines(&self) -> &RecordedReviews {
        &self.decision_lines
    }

    /// Returns the counters of recorded reviews.
    pub(crate) fn recorded(&self) -> &RecordedReviews {
        &self.recorded
    }

    /// Returns the metrics in the OpenMetrics text format. The state of circuit breakers is read
    /// from the policies at this moment.
    pub(crate) fn to_text(&self, policies: &[Arc<Policy>]) -> String {
        for policy in policies {
            let of = PolicyLabel {
                policy: policy.name().to_string(),
            };
            self.short_circuited
                .get_or_create(&of)
                .set(policy.is_short_circuited().into());
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string can't fail");
        text
    }
}

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";

fn unix(time: SystemTime) -> i64 {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "Enforce",
        Mode::Warn => "Warn",
        Mode::Audit => "Audit",
    }
}

/// Returns the word for the result of a review.
pub(crate) fn result(outcome: &Outcome) -> &'static str {
    match (&outcome.exemption, &outcome.response) {
        (Some(_), _) => "exempt",
        (_, response) if !response.allowed => "denied",
        _ if outcome.break_glass.is_some() => "excused",
        (_, response) if response.patch.is_some() => "patched",
        _ => "allowed",
    }
}
