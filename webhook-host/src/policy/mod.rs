//! One policy: a component with its manifest, loaded once, asked for every review on a fresh
//! instance.
//!
//! A policy that can't be loaded is a policy all the same: it answers with an evaluation error, and
//! `admission` applies its failurePolicy. Called by `admission`; built by `cli` and `suite`.

pub mod backstop;
mod breaker;
mod compiling;
mod inspection;
mod keys;
mod schema;
mod settings;
mod spare;

pub use inspection::Inspection;
pub(crate) use keys::Keys;
pub use spare::Used;

use crate::contract::description::{About, Compared, Context, Description};
use crate::contract::review::{Operation, Phase, Resource, Review};
use crate::contract::service::{Pair, Service};
use crate::contract::verdict::Verdict;
use crate::decode::{DecodeError, join};
use crate::engine::{
    Budget, Candidate, Engine, Guest, LoadProblem, Order, Prepared, State, call_configure,
    shortened,
};
use crate::excerpt::{MAX_MESSAGE, cut, excerpt};
use crate::manifest::ServicePolicy;
use crate::units::{Bytes, Millis};
use backstop::Backstop;
use breaker::{Breaker, Change, Ended};
use serde_json::Value;
use spare::{Slot, Spare};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::Instance;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

/// A policy that has not answered after so long loops, whatever its own deadline: a review takes
/// microseconds.
const PLENTY: Duration = Duration::from_millis(250);

/// Problems of one policy's settings that are told one by one.
const MAX_PROBLEMS: usize = 20;

/// Why a policy can't be used. Says what is wrong, with its place in the manifest, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct LoadError {
    problems: Vec<String>,
}

impl LoadError {
    /// An error that the caller found, such as a missing file.
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            problems: vec![problem.into()],
        }
    }

    /// Each problem, with its place where it has one.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The same, with the module's file.
    #[must_use]
    pub fn in_module(mut self, module: &str) -> Self {
        // Problems of the settings have their own place already.
        for problem in self
            .problems
            .iter_mut()
            .filter(|problem| !problem.starts_with("spec."))
        {
            *problem = format!("spec.module.file: {module} {problem}");
        }
        self
    }

    /// The same, of a candidate: what it states itself has its place below `spec.candidate`.
    #[must_use]
    pub fn in_candidate(mut self, stated: &crate::manifest::Candidate) -> Self {
        for problem in &mut self.problems {
            let own = (stated.settings.is_some() && problem.starts_with("spec.settings"))
                || (stated.module.is_some() && problem.starts_with("spec.module"));
            *problem = match problem.strip_prefix("spec.") {
                Some(rest) if own => format!("spec.candidate.{rest}"),
                _ => format!("spec.candidate: {problem}"),
            };
        }
        self
    }

    /// The same, with the manifest's file.
    #[must_use]
    pub fn in_manifest(mut self, manifest: &str) -> Self {
        for problem in &mut self.problems {
            *problem = format!("{manifest}: {problem}");
        }
        self
    }
}

impl From<LoadProblem> for LoadError {
    fn from(problem: LoadProblem) -> Self {
        match problem {
            LoadProblem::Several(problems) => Self { problems },
            problem => Self::new(shortened(problem.to_string())),
        }
    }
}

/// What is wrong with the settings by their type.
impl From<Vec<DecodeError>> for LoadError {
    fn from(errors: Vec<DecodeError>) -> Self {
        let more = errors.len().saturating_sub(MAX_PROBLEMS);
        let place = |error: DecodeError| {
            DecodeError::new(join("spec.settings", &error.path), error.problem).to_string()
        };
        let mut problems: Vec<_> = errors.into_iter().take(MAX_PROBLEMS).map(place).collect();
        problems.extend((more > 0).then(|| format!("spec.settings: and {more} more")));
        Self { problems }
    }
}

/// What a policy's own `configure` refused: path and message, cut, and no more of them than anybody
/// reads.
impl From<Vec<(String, String)>> for LoadError {
    fn from(errors: Vec<(String, String)>) -> Self {
        const TOLD: usize = 20;
        let more = errors.len().saturating_sub(TOLD);
        let place = |(path, message): (String, String)| {
            let path = join("spec.settings", &excerpt(&path));
            DecodeError::new(path, cut(&message, MAX_MESSAGE)).to_string()
        };
        let mut problems: Vec<_> = errors.into_iter().take(TOLD).map(place).collect();
        problems.extend((more > 0).then(|| format!("spec.settings: and {more} more")));
        Self { problems }
    }
}

/// Why a policy has no opinion on a review.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// Its own limit.
    #[error("it did not answer within its deadline of {0}; see spec.limits.deadline")]
    Deadline(Millis),
    /// The request's.
    #[error("the request's deadline was reached before it could answer")]
    RequestDeadline,
    /// Its own limit.
    #[error("it needs more than its memory limit of {0}; see spec.limits.memory")]
    Memory(Bytes),
    /// The guest ended itself: a panic, a failed bounds check, an exhausted stack.
    #[error("it trapped: {0}")]
    Trap(String),
    /// It answered what the contract forbids.
    #[error("its answer can't be used: {0}")]
    Answer(String),
    /// More evaluations at once than the pool has slots.
    #[error("too many evaluations at the same time")]
    Busy,
    /// It missed its deadline several times in a row, and is not asked for a while.
    #[error(
        "it is not asked for now, since it kept missing its deadline of {0}; it is tried again \
         once a second"
    )]
    ShortCircuit(Millis),
    /// It was never loaded.
    #[error("it could not be loaded: {0}")]
    Load(Arc<LoadError>),
}

impl EvaluationError {
    /// A stable word for metrics and suites.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Deadline(_) => "deadline",
            Self::RequestDeadline => "request-deadline",
            Self::Memory(_) => "memory",
            Self::Trap(_) => "trap",
            Self::Answer(_) => "answer",
            Self::Busy => "busy",
            Self::ShortCircuit(_) => "short-circuit",
            Self::Load(_) => "load",
        }
    }
}

/// Entries and bytes of annotations beyond which a review is no evidence against a policy that
/// misses its deadline: whoever may create a Service could otherwise have the policy set aside for
/// everybody.
const LARGE: usize = 500;
const LARGE_ANNOTATIONS: usize = 64 << 10;

/// Whether a Service is so large that it may take long.
fn is_large(review: &Review) -> bool {
    [Some(&review.service), review.old_service.as_ref()]
        .into_iter()
        .flatten()
        .any(
            |Service {
                 metadata,
                 spec,
                 status,
                 ..
             }| {
                let entries = metadata.labels.len()
                    + metadata.annotations.len()
                    + spec.selector.len()
                    + spec.ports.len()
                    + spec.external_ips.len()
                    + spec.load_balancer_source_ranges.len()
                    + status
                        .load_balancer_ingress
                        .iter()
                        .map(|ingress| 1 + ingress.ports.len())
                        .sum::<usize>();
                let annotations: usize = metadata
                    .annotations
                    .iter()
                    .map(|(key, value)| key.len() + value.len())
                    .sum();
                entries > LARGE || annotations > LARGE_ANNOTATIONS
            },
        )
}

/// One policy, ready to be asked or known to be broken.
pub struct Policy {
    name: Arc<str>,
    manifest: ServicePolicy,
    digest: Option<String>,
    loaded: Result<Arc<Loaded>, Arc<LoadError>>,
    breaker: Breaker,
}

struct Loaded {
    prepared: Prepared,
    settings: Value,
    backstop: Option<Backstop>,
    /// The keys of annotations that it compares.
    annotations: Keys,
    /// The keys of labels that it compares.
    labels: Keys,
    engine: Arc<Engine>,
    /// Its own limits.
    budget: Budget,
    spare: Slot,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("error", &self.load_error())
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// Loads a component with its manifest: contract, settings, pre-initialisation.
    ///
    /// # Errors
    ///
    /// When the component or the settings can't be used. [`Policy::broken`] makes a policy of that.
    pub fn load(
        engine: &Arc<Engine>,
        manifest: ServicePolicy,
        component: &[u8],
    ) -> Result<Self, LoadError> {
        let name: Arc<str> = manifest.metadata.name.as_str().into();
        let limit = manifest.spec.limits.memory;
        if limit > engine.memory() {
            let allowed = engine.memory();
            return Err(LoadError::new(format!(
                "spec.limits.memory: {limit} is more than the host allows, {allowed}"
            )));
        }
        let candidate = Candidate::read(component)?;
        let written = &manifest.spec.settings;
        let mut merged = Value::Null;
        let settle = |configure: &crate::engine::Configure, defaults| {
            let settings = settings::merge(&configure.settings, &defaults, written)?;
            merged = settings::to_value(&settings);
            Ok::<_, LoadError>(settings)
        };
        let order = Order {
            candidate: &candidate,
            name: &name,
            memory: limit.get(),
            written,
        };
        let prepared = engine.prepare(&order, settle)?;
        if !candidate.has_settings() && !written.is_empty() {
            return Err(LoadError::new(
                "spec.settings: this policy has no settings; remove them",
            ));
        }
        let backstop = candidate
            .backstop
            .as_deref()
            .map(|text| Backstop::parse(text, &merged))
            .transpose()?;
        let digest = Some(Candidate::digest(component));
        let limits = manifest.spec.limits;
        let budget = Budget {
            time: limits.deadline.duration(),
            memory: limits.memory.get(),
            output: limits.output.get(),
        };
        let (engine, spare) = (Arc::clone(engine), Slot::default());
        let compares = prepared.description.compares.iter();
        let annotations = compares.clone().filter_map(|compared| match compared {
            Compared::Annotation(key) => Some(key.as_str()),
            _ => None,
        });
        let labels = compares.clone().filter_map(|compared| match compared {
            Compared::Label(key) => Some(key.as_str()),
            _ => None,
        });
        let (annotations, labels) = (annotations.collect(), labels.collect());
        let loaded = Loaded {
            prepared,
            settings: merged,
            backstop,
            annotations,
            labels,
            engine,
            budget,
            spare,
        };
        Ok(Self {
            name,
            manifest,
            digest,
            loaded: Ok(Arc::new(loaded)),
            breaker: Breaker::new(),
        })
    }

    /// A policy that can't be loaded.
    pub fn broken(manifest: ServicePolicy, error: LoadError) -> Self {
        Self {
            name: manifest.metadata.name.as_str().into(),
            manifest,
            digest: None,
            loaded: Err(Arc::new(error)),
            breaker: Breaker::new(),
        }
    }

    /// The same under a name that tells it from the live policy in the log: `name (candidate)`.
    #[must_use]
    pub fn as_candidate(self) -> Self {
        Self {
            name: format!("{} (candidate)", self.manifest.metadata.name).into(),
            ..self
        }
    }

    /// Whether loading these gave the same policy again.
    pub fn is(&self, manifest: &ServicePolicy, component: &[u8]) -> bool {
        let value = |manifest| serde_json::to_value(manifest).ok();
        self.loaded.is_ok()
            && value(&self.manifest) == value(manifest)
            && self.digest.as_deref() == Some(&*Candidate::digest(component))
    }

    /// `metadata.name`; of a candidate with a word that says so.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// As its user wrote it.
    pub fn manifest(&self) -> &ServicePolicy {
        &self.manifest
    }

    /// `sha256:…` of the component, when it was read.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Why it is broken, if it is.
    pub fn load_error(&self) -> Option<&LoadError> {
        self.loaded.as_ref().err().map(AsRef::as_ref)
    }

    /// What it says about itself; `None` when it is broken.
    pub fn description(&self) -> Option<&Description> {
        self.loaded
            .as_ref()
            .ok()
            .map(|loaded| &loaded.prepared.description)
    }

    /// Its settings as they were merged over its defaults; `None` when it is broken, null when it
    /// has none.
    pub fn settings(&self) -> Option<&Value> {
        self.loaded.as_ref().ok().map(|loaded| &loaded.settings)
    }

    /// Its rules in CEL; `None` when it brings none, or is broken.
    pub fn backstop(&self) -> Option<&Backstop> {
        self.loaded.as_ref().ok()?.backstop.as_ref()
    }

    /// Why its settings are not part of a snapshot, so that every instance is configured anew;
    /// `None` when they are.
    pub fn configured_per_instance(&self) -> Option<&str> {
        let prepared = &self.loaded.as_ref().ok()?.prepared;
        prepared
            .per_instance
            .as_ref()
            .and(prepared.no_snapshot.as_deref())
    }

    /// Whether it wants to be asked. What a broken policy wants is not known: it is asked, and
    /// answers with its error.
    pub(crate) fn wants(&self, function: Phase, operation: Operation, resource: Resource) -> bool {
        self.description().is_none_or(|description| {
            description.phases.contains(&function)
                && description.operations.contains(&operation)
                && description.resources.contains(&resource)
        })
    }

    /// Whether it may have something to say about a Service, or about what the Service was before,
    /// with this about them. A broken policy has its error to say.
    pub(crate) fn is_about(&self, found: About, service: &Service, old: Option<&Service>) -> bool {
        let Ok(loaded) = &self.loaded else {
            return true;
        };
        let wanted = loaded.prepared.description.about;
        wanted == About::empty()
            || wanted.intersects(found)
            || loaded.compares_keys_of(wanted, service, old)
    }

    /// The keys of annotations and of labels that it compares.
    pub(crate) fn compared_keys(&self) -> Option<(&Keys, &Keys)> {
        self.loaded
            .as_ref()
            .ok()
            .map(|loaded| (&loaded.annotations, &loaded.labels))
    }

    /// Whether it asks for a part of the context.
    pub(crate) fn needs(&self, context: Context) -> bool {
        self.description()
            .is_some_and(|description| description.context.contains(&context))
    }

    /// Asks `validate`, which may not patch.
    pub(crate) fn validate(
        &self,
        review: &Review,
        deadline: Instant,
        used: &mut Used,
    ) -> Result<Verdict, EvaluationError> {
        let ask = |guest: &Guest, store: &mut Store<State>, instance: &Instance| {
            guest.validate(store, instance, review)
        };
        let verdict = self.call(review, deadline, used, ask)?;
        if verdict.patch.is_empty() {
            return Ok(verdict);
        }
        Err(EvaluationError::Answer(
            "validate answered with a patch; only mutate may".to_owned(),
        ))
    }

    /// Asks `mutate`, which may not deny.
    pub(crate) fn mutate(
        &self,
        review: &Review,
        deadline: Instant,
        used: &mut Used,
    ) -> Result<Verdict, EvaluationError> {
        let ask = |guest: &Guest, store: &mut Store<State>, instance: &Instance| {
            guest.mutate(store, instance, review)
        };
        let verdict = self.call(review, deadline, used, ask)?;
        if verdict.violations.is_empty() {
            return Ok(verdict);
        }
        Err(EvaluationError::Answer(
            "mutate answered with a violation; only validate may".to_owned(),
        ))
    }

    /// A fresh instance and one call; what is left of one that has answered is kept for its owner
    /// to clear up.
    fn call(
        &self,
        review: &Review,
        deadline: Instant,
        used: &mut Used,
        ask: impl FnOnce(&Guest, &mut Store<State>, &Instance) -> wasmtime::Result<Verdict>,
    ) -> Result<Verdict, EvaluationError> {
        let loaded = self
            .loaded
            .as_ref()
            .map_err(|error| EvaluationError::Load(Arc::clone(error)))?;
        let limits = self.manifest.spec.limits;
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        if left == Duration::ZERO {
            return Err(EvaluationError::RequestDeadline);
        }
        let permit = self
            .breaker
            .admit(now)
            .ok_or(EvaluationError::ShortCircuit(limits.deadline))?;
        let time = left.min(limits.deadline.duration());
        let (mut store, spare, room) = match loaded.spare.take() {
            Some(Spare {
                store,
                instance,
                room,
            }) => (store, Some(instance), Some(room)),
            None => (loaded.engine.store(&self.name, loaded.budget), None, None),
        };
        loaded.engine.give_time(&mut store, time);
        let instance = spare.map_or_else(|| loaded.instantiate(&mut store), Ok);
        let answer =
            instance.and_then(|instance| ask(&loaded.prepared.guest, &mut store, &instance));
        let answer = answer.map_err(|error| self.classify(&error, &store, left));
        let ended = match answer {
            Err(EvaluationError::Deadline(_) | EvaluationError::RequestDeadline)
                if is_large(review) =>
            {
                Ended::CutShort
            }
            Err(EvaluationError::Deadline(_)) => Ended::Missed,
            Err(EvaluationError::RequestDeadline) if time >= PLENTY => Ended::Missed,
            Err(EvaluationError::RequestDeadline) => Ended::CutShort,
            _ => Ended::InTime,
        };
        if answer.is_ok() {
            used.keep(loaded, store, room);
        }
        match permit.end(ended, Instant::now()) {
            None => {}
            Some(Change::Opened) => {
                tracing::error!(
                    policy = &*self.name,
                    "is not asked for now: it missed its deadline again and again"
                );
            }
            Some(Change::Closed) => {
                tracing::info!(policy = &*self.name, "is asked again: it answered in time")
            }
        }
        answer
    }

    /// Whether it is not asked for now, because it missed its deadline again and again.
    pub fn is_short_circuited(&self) -> bool {
        self.breaker.is_open()
    }

    /// Asks it again whatever it missed. For a harness, whose cases must not depend on one another.
    pub(crate) fn forget_misses(&self) {
        self.breaker.reset();
    }

    fn classify(
        &self,
        error: &wasmtime::Error,
        store: &Store<State>,
        left: Duration,
    ) -> EvaluationError {
        let limits = self.manifest.spec.limits;
        if store.data().memory_refused() {
            return EvaluationError::Memory(limits.memory);
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) if left < limits.deadline.duration() => {
                EvaluationError::RequestDeadline
            }
            Some(Trap::Interrupt) => EvaluationError::Deadline(limits.deadline),
            Some(trap) => EvaluationError::Trap(trap.to_string()),
            None if error.is::<PoolConcurrencyLimitError>() => EvaluationError::Busy,
            // The guest returned, and what it returned can't be read: too much, no UTF-8, not in
            // its memory.
            None => EvaluationError::Answer(format!(
                "{}; spec.limits.output is {}",
                error.root_cause(),
                limits.output
            )),
        }
    }
}

impl Loaded {
    fn compares_keys_of(&self, wanted: About, service: &Service, old: Option<&Service>) -> bool {
        let has = |flag: About, keys: &Keys, pairs: fn(&Service) -> &[Pair]| {
            let among = |service: &Service| pairs(service).iter().any(|(key, _)| keys.contain(key));
            wanted.contains(flag) && (among(service) || old.is_some_and(among))
        };
        has(About::COMPARED_ANNOTATIONS, &self.annotations, |service| {
            &service.metadata.annotations
        }) || has(About::COMPARED_LABELS, &self.labels, |service| {
            &service.metadata.labels
        })
    }

    /// An instance that is configured.
    fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        let instance = self.prepared.guest.instantiate(store)?;
        if let Some(settings) = &self.prepared.per_instance {
            // They were accepted at load; a pure function accepts them again.
            call_configure(store, &instance, settings)?;
        }
        Ok(instance)
    }
}
