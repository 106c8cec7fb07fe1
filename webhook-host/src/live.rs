//! The set that decides (policies, inventory, exemptions), and its replacement while requests are
//! served.
//!
//! Invariants: a request loads the set once, without a lock, and is answered by it as a whole;
//! requests that have begun end with the set that they loaded. Counters belong to the policies'
//! names and outlive their sets; a set carries its policies' counters, so that counting needs no
//! look-up. Read by `server`, written by one thread (`sources::reload`, and `cli::serve` at the
//! start).

use crate::engine::Engine;
use crate::metrics::{EvaluationCounts, Metrics, PolicyMetrics, Tally};
use crate::registry::Registry;
use crate::status::{RegistrationStatus, Reload, Serving, Status};
use crate::tls::Tls;
use crate::watchers::Watched;
use arc_swap::{ArcSwap, Guard};
use sallyport_core::admission::{Admission, AdmissionRequest, Function, Outcome};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The reloads that are kept for the live console: those of some days in most clusters.
const MAX_RELOADS: usize = 20;

/// The state that a host serves: the current set, its TLS configuration, metrics and status.
pub struct Live {
    current: ArcSwap<Set>,
    metrics: Metrics,
    watched: Option<Arc<Watched>>,
    tls: Tls,
    /// The last [`MAX_RELOADS`], the newest at the end. Not locked by reviews.
    reloads: Mutex<VecDeque<Reload>>,
    /// Not locked by reviews. `None` when the host doesn't register itself.
    registration: Mutex<Option<RegistrationStatus>>,
}

/// Policies, inventory and exemptions that decide together.
pub(crate) struct Set {
    pub(crate) admission: Arc<Admission>,
    metrics: BTreeMap<Arc<str>, PolicyMetrics>,
    /// The counters of candidates, by policy.
    tallies: BTreeMap<Arc<str>, Tally>,
    /// 1 for the set that the host started with, one more for each later one.
    pub(crate) generation: u64,
    pub(crate) since: SystemTime,
    /// [`Admission::digest`].
    digest: String,
}

impl Live {
    /// Creates the state with a first set. `watched` is the state of the watchers that keep the
    /// set's inventory up to date, if there are any.
    pub fn new(admission: Arc<Admission>, watched: Option<Arc<Watched>>) -> Arc<Self> {
        let metrics = Metrics::new(watched.as_ref());
        let first = Set::new(admission, &metrics, 1);
        metrics
            .set
            .serves(&first.digest, first.admission.asks_of_deletions());
        let (current, tls) = (
            ArcSwap::from_pointee(first),
            Tls::new(metrics.certificates.clone()),
        );
        Arc::new(Self {
            current,
            metrics,
            watched,
            tls,
            reloads: Mutex::default(),
            registration: Mutex::default(),
        })
    }

    /// Adds the engine's counters to the metrics.
    pub fn watch_engine(&self, engine: Arc<Engine>) {
        self.metrics.engine.watch(engine);
    }

    /// Adds the counters of pulls from registries to the metrics.
    pub(crate) fn watch_registry(&self, registry: Arc<Registry>) {
        self.metrics.registry_pulls.watch(registry);
    }

    /// Returns the watchers' state, if there are any.
    pub fn watched(&self) -> Option<&Watched> {
        self.watched.as_deref()
    }

    /// Makes a set the current one, for requests that arrive from now on. Returns its generation.
    pub fn publish(&self, admission: Arc<Admission>) -> u64 {
        let generation = self.generation() + 1;
        self.metrics
            .candidates()
            .forget(self.set().admission.candidates(), admission.candidates());
        let set = Arc::new(Set::new(admission, &self.metrics, generation));
        let old = self.current.swap(Arc::clone(&set));
        self.metrics
            .forget(old.admission.policies(), set.admission.policies());
        self.metrics
            .set
            .serves(&set.digest, set.admission.asks_of_deletions());
        self.metrics.set.reloaded(Some(set.since));
        self.add_reload(Reload {
            generation,
            at: set.since,
            error: None,
        });
        generation
    }

    /// Notes that a reload failed: the current set stays, and the admin port shows the error.
    pub fn reload_failed(&self, error: impl Into<String>) {
        self.metrics.set.reloaded(None);
        self.note_load_error(error);
    }

    /// Notes an error in loading the set that serves, such as a broken policy. The admin port shows
    /// it.
    pub fn note_load_error(&self, error: impl Into<String>) {
        self.add_reload(Reload {
            generation: self.generation(),
            at: SystemTime::now(),
            error: Some(error.into()),
        });
    }

    /// Sets the status of the webhook configurations, for a host that maintains them.
    pub fn set_registration_status(&self, status: RegistrationStatus) {
        self.metrics.set.registered(status.troubles.is_empty());
        *self
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// Returns the evaluation counts of a policy of the current set since the start, or `None` if
    /// it is not in the set.
    pub fn counts(&self, policy: &str) -> Option<EvaluationCounts> {
        Some(self.set().metrics.get(policy)?.counts())
    }

    /// Returns the current set's policies, inventory and exemptions.
    pub fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.set().admission)
    }

    /// Returns the current set's generation: 1 for the first.
    pub fn generation(&self) -> u64 {
        self.set().generation
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns the metrics in the OpenMetrics text format.
    pub fn metrics_text(&self) -> String {
        self.metrics.to_text(self.set().admission.policies())
    }

    /// Returns the TLS configuration that handshakes use.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Returns the status for the admin port: the current set, certificates, registration and the
    /// last reload.
    pub fn status(&self) -> Status {
        let set = self.set();
        let reviews = |policy: &str| set.tally(policy).map(Tally::counts).unwrap_or_default();
        let reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let registration = self
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Status {
            certificate: self.tls.status(),
            registration,
            ..Status::new(&set.serving(self.watched(), &reviews), reloads.back())
        }
    }

    /// Returns the last reloads, the oldest first.
    pub(crate) fn reloads(&self) -> Vec<Reload> {
        let reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.iter().cloned().collect()
    }

    pub(crate) fn set(&self) -> Guard<Arc<Set>> {
        self.current.load()
    }

    fn add_reload(&self, reload: Reload) {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        if reloads.len() == MAX_RELOADS {
            reloads.pop_front();
        }
        reloads.push_back(reload);
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
            digest: admission.digest(),
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
            digest: &self.digest,
            watched,
            candidate_reviews,
        }
    }

    /// Returns [`Admission::digest`].
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn has_candidates(&self) -> bool {
        !self.tallies.is_empty()
    }

    /// Returns the counters of a policy's candidate.
    pub(crate) fn tally(&self, policy: &str) -> Option<&Tally> {
        self.tallies.get(policy)
    }

    /// Counts a review that this set answered.
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
