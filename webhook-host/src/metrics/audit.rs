//! Totals of the background audit. Read at each scrape; absent on hosts that do none.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most series of violations. All further ones share one more series, so that a cluster with
/// many namespaces can't overload Prometheus.
const MAX_SERIES: usize = 500;

/// The labels of the rest.
const OTHERS: &str = "(others)";

/// A kind of violations in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ViolationKind {
    pub(crate) policy: String,
    pub(crate) rule: String,
    pub(crate) namespace: String,
}

/// The totals of one pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// Services that were judged.
    pub(crate) services: u64,
    /// Services without a verdict.
    pub(crate) unjudged: u64,
    /// Reports that exist in the cluster.
    pub(crate) reports: u64,
    /// Services whose Reports are left out, because there are too many.
    pub(crate) left_out: u64,
    /// Denials and warnings.
    pub(crate) violations: BTreeMap<ViolationKind, u64>,
}

impl Totals {
    /// Counts a violation. Kinds beyond the limit share one series.
    pub(crate) fn count(&mut self, kind: ViolationKind) {
        let is_known = self.violations.contains_key(&kind);
        let kind = if is_known || self.violations.len() < MAX_SERIES {
            kind
        } else {
            ViolationKind {
                policy: OTHERS.to_owned(),
                rule: OTHERS.to_owned(),
                namespace: OTHERS.to_owned(),
            }
        };
        *self.violations.entry(kind).or_default() += 1;
    }
}

#[derive(Debug, Default)]
struct State {
    leads: bool,
    /// `None` until this host has made a pass.
    totals: Option<Totals>,
    /// Seconds since 1970.
    last_success: Option<i64>,
    /// Successful and failed passes.
    passes: [u64; 2],
    /// Writes of Reports by operation.
    writes: BTreeMap<&'static str, u64>,
}

/// The metrics of the background audit, once there is one. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditMetrics(Arc<Mutex<Option<State>>>);

impl AuditMetrics {
    /// Sets whether this host leads. A host that no longer leads drops its totals: the leader
    /// reports its own.
    pub(crate) fn leads(&self, leads: bool) {
        self.with(|state| {
            state.leads = leads;
            if !leads {
                state.totals = None;
            }
        });
    }

    pub(crate) fn wrote(&self, operation: &'static str) {
        self.with(|state| *state.writes.entry(operation).or_default() += 1);
    }

    pub(crate) fn passed(&self, totals: Totals, now: i64) {
        self.with(|state| {
            state.totals = Some(totals);
            state.last_success = Some(now);
            state.passes[0] += 1;
        });
    }

    pub(crate) fn failed(&self) {
        self.with(|state| state.passes[1] += 1);
    }

    fn with(&self, act: impl FnOnce(&mut State)) {
        act(self.lock().get_or_insert_default());
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for AuditMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.lock();
        let Some(state) = &*state else {
            return Ok(());
        };
        let mut gauge = |name, help, unit: Option<&Unit>, value: u64| {
            let encoder = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
        };
        let help = "1 when this host holds the Lease of the background audit";
        gauge("audit_leader", help, None, state.leads.into())?;
        if let Some(last) = state.last_success.and_then(|last| u64::try_from(last).ok()) {
            let help = "The end of the last complete pass of the background audit, since 1970";
            gauge(
                "audit_last_pass_timestamp",
                help,
                Some(&Unit::Seconds),
                last,
            )?;
        }
        if let Some(totals) = &state.totals {
            for (name, help, value) in [
                (
                    "audit_services",
                    "Services that the last pass judged",
                    totals.services,
                ),
                (
                    "audit_unjudged_services",
                    "Services about which some policy had no verdict in the last pass",
                    totals.unjudged,
                ),
                (
                    "audit_reports",
                    "Reports that stand after the last pass",
                    totals.reports,
                ),
                (
                    "audit_left_out_reports",
                    "Services with violations that have no Report, because there are too many",
                    totals.left_out,
                ),
            ] {
                gauge(name, help, None, value)?;
            }
            let help = "Violations that the last pass found, by policy, rule and namespace";
            let mut family =
                encoder.encode_descriptor("audit_violations", help, None, MetricType::Gauge)?;
            for (kind, count) in &totals.violations {
                let labels = [
                    ("policy", &*kind.policy),
                    ("rule", &*kind.rule),
                    ("namespace", &*kind.namespace),
                ];
                let count = i64::try_from(*count).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Passes of the background audit, by result";
        let mut family =
            encoder.encode_descriptor("audit_passes", help, None, MetricType::Counter)?;
        for (result, count) in [("success", state.passes[0]), ("failure", state.passes[1])] {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        let help = "Writes of Reports by the background audit, by operation";
        let mut family =
            encoder.encode_descriptor("audit_report_writes", help, None, MetricType::Counter)?;
        for (operation, count) in &state.writes {
            ConstCounter::new(*count)
                .encode(family.encode_family(&[("operation", *operation)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_without_end_make_a_bounded_number_of_series() {
        let mut totals = Totals::default();
        for number in 0..10 * MAX_SERIES {
            totals.count(ViolationKind {
                policy: "p".to_owned(),
                rule: "S01".to_owned(),
                namespace: format!("n{number}"),
            });
        }
        assert_eq!(totals.violations.len(), MAX_SERIES + 1);
        let sum: u64 = totals.violations.values().sum();
        assert_eq!(sum, 10 * MAX_SERIES as u64);
    }
}
