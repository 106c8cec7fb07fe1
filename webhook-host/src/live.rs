//! The set that decides (policies, inventory, exemptions), and its replacement while requests are
//! served.
//!
//! A request loads the set once, without a lock, and is answered by it as a whole; who has begun
//! with the old set ends with it. The set carries its policies' counters, so that counting takes no
//! look-up that a swap could disturb; counters belong to the policies' names and outlive their
//! sets. Read by `handlers` and `admin`, written by whoever reloads (`cli::reload`), one at a time.

use crate::engine::Engine;
use crate::metrics::{EvaluationCounts, Metrics, PolicyMetrics, Tally};
use crate::status::{RegistrationStatus, Reload, Serving, Status};
use crate::tls::Tls;
use crate::watchers::Watched;
use arc_swap::{ArcSwap, Guard};
use sallyport_core::admission::{Admission, AdmissionRequest, Function, Outcome};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What a host serves now.
pub struct Live {
    current: ArcSwap<Set>,
    metrics: Metrics,
    watched: Option<Arc<Watched>>,
    tls: Tls,
    /// Off the hot path.
    last: Mutex<Option<Reload>>,
    /// Off the hot path; `None` when the host doesn't register itself.
    registration: Mutex<Option<RegistrationStatus>>,
}

/// What decides together.
pub(crate) struct Set {
    pub(crate) admission: Arc<Admission>,
    metrics: BTreeMap<Arc<str>, PolicyMetrics>,
    /// By the names of the policies that have a candidate.
    tallies: BTreeMap<Arc<str>, Tally>,
    /// 1 for the one that the host started with.
    pub(crate) generation: u64,
    pub(crate) since: SystemTime,
}

impl Live {
    /// Starts with a first set. `watched` is what keeps its inventory up to date, if anything does.
    pub fn new(admission: Arc<Admission>, watched: Option<Arc<Watched>>) -> Arc<Self> {
        let metrics = Metrics::new(watched.as_ref());
        let first = Set::new(admission, &metrics, 1);
        let (current, tls) = (
            ArcSwap::from_pointee(first),
            Tls::new(metrics.certificates.clone()),
        );
        Arc::new(Self {
            current,
            metrics,
            watched,
            tls,
            last: Mutex::default(),
            registration: Mutex::default(),
        })
    }

    /// What the engine compiled is told by the metrics from now on.
    pub fn watch_engine(&self, engine: Arc<Engine>) {
        self.metrics.engine.watch(engine);
    }

    /// What keeps the inventory up to date, if anything does.
    pub fn watched(&self) -> Option<&Watched> {
        self.watched.as_deref()
    }

    /// Requests that arrive from now on are answered by this set. Returns its generation.
    pub fn publish(&self, admission: Arc<Admission>) -> u64 {
        let generation = self.generation() + 1;
        self.metrics
            .candidates()
            .forget(self.set().admission.candidates(), admission.candidates());
        let set = Arc::new(Set::new(admission, &self.metrics, generation));
        let old = self.current.swap(Arc::clone(&set));
        self.metrics
            .forget(old.admission.policies(), set.admission.policies());
        self.metrics.reloaded(Some(set.since));
        self.note(Reload {
            at: set.since,
            error: None,
        });
        generation
    }

    /// A set could not be loaded: the current one stays, and why is told by the admin port.
    pub fn refuse(&self, error: impl Into<String>) {
        self.metrics.reloaded(None);
        self.blemish(error);
    }

    /// The same for the first set, which serves all the same: there is no better one.
    pub fn blemish(&self, error: impl Into<String>) {
        self.note(Reload {
            at: SystemTime::now(),
            error: Some(error.into()),
        });
    }

    /// How the webhook configurations stand, when the host keeps them.
    pub fn note_registration(&self, status: RegistrationStatus) {
        self.metrics.registered(status.troubles.is_empty());
        *self
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// What a policy that serves was asked since the start.
    pub fn counts(&self, policy: &str) -> Option<EvaluationCounts> {
        Some(self.set().metrics.get(policy)?.counts())
    }

    /// The set that decides now.
    pub fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.set().admission)
    }

    /// How many sets there have been.
    pub fn generation(&self) -> u64 {
        self.set().generation
    }

    /// What the host counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The metrics in the OpenMetrics text format.
    pub fn metrics_text(&self) -> String {
        self.metrics.to_text(self.set().admission.policies())
    }

    /// What handshakes use.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// What serves, and what came of the last reload.
    pub fn status(&self) -> Status {
        let set = self.set();
        let reviews = |policy: &str| set.tally(policy).map(Tally::counts).unwrap_or_default();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let registration = self
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Status {
            certificate: self.tls.status(),
            registration,
            ..Status::new(&set.serving(self.watched(), &reviews), last.as_ref())
        }
    }

    pub(crate) fn set(&self) -> Guard<Arc<Set>> {
        self.current.load()
    }

    fn note(&self, reload: Reload) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }
}

impl Set {
    fn new(admission: Arc<Admission>, metrics: &Metrics, generation: u64) -> Self {
        let of = |policy: &Arc<sallyport_core::policy::Policy>| {
            (Arc::clone(policy.name()), metrics.of(policy))
        };
        let policies = admission.policies().iter().map(of).collect();
        let of = |candidate: &Arc<sallyport_core::policy::Policy>| {
            (
                candidate.manifest().metadata.name.as_str().into(),
                metrics.candidates().of(candidate),
            )
        };
        let tallies = admission.candidates().iter().map(of).collect();
        Self {
            admission,
            metrics: policies,
            tallies,
            generation,
            since: SystemTime::now(),
        }
    }

    fn serving<'a>(
        &'a self,
        watched: Option<&'a Watched>,
        candidate_reviews: &'a dyn Fn(&str) -> BTreeMap<String, u64>,
    ) -> Serving<'a> {
        Serving {
            admission: &self.admission,
            generation: self.generation,
            since: self.since,
            watched,
            candidate_reviews,
        }
    }

    pub(crate) fn has_candidates(&self) -> bool {
        !self.tallies.is_empty()
    }

    /// What the candidate of a policy counts.
    pub(crate) fn tally(&self, policy: &str) -> Option<&Tally> {
        self.tallies.get(policy)
    }

    /// Counts what this set answered.
    pub(crate) fn count(
        &self,
        metrics: &Metrics,
        function: Function,
        request: &AdmissionRequest<'_>,
        outcome: &Outcome,
        took: Duration,
    ) {
        metrics.reviewed(function, request, outcome, took);
        for evaluation in &outcome.evaluations {
            if let Some(policy) = self.metrics.get(&evaluation.policy) {
                policy.evaluated(evaluation);
            }
        }
    }
}
