//! The metrics of one policy, and its evaluation counts for the status of a ServicePolicy.
//!
//! A set of policies carries these, so counting needs no look-up. Counters belong to the policy's
//! name and outlive the set. Made by `metrics`, updated by `live`, read by `cluster::counts`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use sallyport_core::admission::Evaluation;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One policy's metrics, looked up once for each set.
pub(crate) struct PolicyMetrics {
    pub(crate) seconds: Histogram,
    pub(crate) violations: Counter,
    pub(crate) counts: Arc<Counts>,
}

/// The evaluations of one policy since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvaluationCounts {
    /// All evaluations.
    pub total: u64,
    /// Evaluations that found violations.
    pub violating: u64,
    /// Evaluations that ended in an error.
    pub failed: u64,
}

/// The counters behind [`EvaluationCounts`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    total: AtomicU64,
    violating: AtomicU64,
    failed: AtomicU64,
}

/// The counters of all policies by name. Not locked by reviews.
#[derive(Debug, Default)]
pub(crate) struct AllCounts(Mutex<BTreeMap<String, Arc<Counts>>>);

impl AllCounts {
    /// Returns the counters of a policy, which are those of an earlier policy with the same name.
    pub(crate) fn of(&self, policy: &str) -> Arc<Counts> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(policy.to_owned()).or_default())
    }
}

impl PolicyMetrics {
    pub(crate) fn evaluated(&self, evaluation: &Evaluation) {
        self.seconds.observe(evaluation.elapsed.as_secs_f64());
        self.violations.inc_by(evaluation.violations.len() as u64);
        let Counts {
            total,
            violating,
            failed,
        } = &*self.counts;
        total.fetch_add(1, Ordering::Relaxed);
        violating.fetch_add(
            (!evaluation.violations.is_empty()).into(),
            Ordering::Relaxed,
        );
        failed.fetch_add(evaluation.error.is_some().into(), Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> EvaluationCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts {
            total,
            violating,
            failed,
        } = &*self.counts;
        EvaluationCounts {
            total: read(total),
            violating: read(violating),
            failed: read(failed),
        }
    }
}
