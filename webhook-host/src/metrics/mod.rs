//! The host's metrics in the OpenMetrics format.
//!
//! Labels come from small, closed sets: functions, results, policies, modes, error kinds, status
//! codes, reasons, time-outs. Updated by `server` and `live`; read by the admin port.

mod audit;
mod certificate;
mod connections;
mod engine;
mod feed;
mod policy;
mod records;
mod registry;
mod set;
mod tally;

pub(crate) use audit::{AuditMetrics, Totals, ViolationKind};
pub(crate) use certificate::{CertificateMetrics, CertificateOwner, ClientRefused};
pub(crate) use connections::{GaugeGuard, TimedOut};
pub use policy::EvaluationCounts;
pub(crate) use policy::PolicyMetrics;
pub(crate) use records::{Recorded, RecordedReviews};
pub(crate) use tally::Tally;

use crate::watchers::Watched;
use connections::ConnectionMetrics;
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
use records::RecordMetrics;
use registry::RegistryMetrics;
use sallyport_core::admission::{AdmissionRequest, Function, Outcome};
use sallyport_core::manifest::Mode;
use sallyport_core::policy::Policy;
use set::SetMetrics;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
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
    namespaces: Family<ResultLabel, Counter>,
    checks: Family<ResultLabel, Counter>,
    candidates: Tallies,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) engine: EngineMetrics,
    pub(crate) records: RecordMetrics,
    pub(crate) registry_pulls: RegistryMetrics,
    pub(crate) set: SetMetrics,
    pub(crate) certificates: CertificateMetrics,
    pub(crate) audit: AuditMetrics,
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
        let connections = ConnectionMetrics::register(&mut registry);
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION")),
            ("contract", sallyport_core::contract::VERSION),
        ]);
        registry.register("build", "The host's version and the contract's", build);
        let set = SetMetrics::register(&mut registry);
        let candidates = Tallies::register(&mut registry);
        let records = RecordMetrics::register(&mut registry);
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
            namespaces,
            checks,
            candidates,
            connections,
            engine,
            records,
            registry_pulls,
            set,
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

    /// Returns the counters of candidates.
    pub(crate) fn candidates(&self) -> &Tallies {
        &self.candidates
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
