//! What is counted of one policy: its metrics, and the same in few words for a status.
//!
//! A set of policies carries these, so that counting takes no look-up. What was counted belongs to
//! the policy's name and outlives the set. Made by `metrics`, counted by `live`, read by
//! `cluster::counts`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use sallyport_core::admission::Evaluation;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One policy's metrics, looked up once a set.
pub(crate) struct PolicyMetrics {
    pub(crate) seconds: Histogram,
    pub(crate) violations: Counter,
    pub(crate) counts: Arc<Counts>,
}

/// Reviews since the start in which a policy was asked, found violations, and had no verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvaluationCounts {
    /// Reviews that it was asked about.
    pub total: u64,
    /// Of these, the ones in which it found violations.
    pub violating: u64,
    /// Of these, the ones on which it had no verdict.
    pub failed: u64,
}

/// [`EvaluationCounts`] that go on.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    total: AtomicU64,
    violating: AtomicU64,
    failed: AtomicU64,
}

/// By policy. Off the hot path.
#[derive(Debug, Default)]
pub(crate) struct AllCounts(Mutex<BTreeMap<String, Arc<Counts>>>);

impl AllCounts {
    /// Those that a policy of the same name had before.
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
