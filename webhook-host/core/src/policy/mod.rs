//! One policy as a value: its manifest, what its component says of itself, and an evaluator that
//! asks the component.
//!
//! Role: [`Evaluate`] is the one seam between deciding and running components. A host implements it
//! with a WebAssembly engine and its limits, a browser with its own. Invariants: a policy that
//! can't be loaded is still a policy: it answers with an evaluation error, and `admission`
//! applies its failurePolicy; `validate` never patches and `mutate` never denies, whatever the
//! component answers.

pub mod backstop;
mod inspection;
mod keys;
mod load_error;

pub use inspection::{Inspection, RequiredSetting, documentation};
pub use keys::Keys;
pub use load_error::{LoadError, Problem, Subject};

use crate::component::PolicyComponent;
use crate::contract::description::{About, Compared, Context, Description};
use crate::contract::log::Level;
use crate::contract::review::{Operation, Phase, Resource, Review};
use crate::contract::service::{Pair, Service};
use crate::contract::verdict::Verdict;
use crate::manifest::ServicePolicy;
use crate::printable::printable;
use crate::settings;
use crate::units::{Bytes, Millis};
use backstop::Backstop;
use serde_json::Value;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Asks the component of one policy. Called by [`Policy`] alone.
pub trait Evaluate: Send + Sync {
    /// Asks one question on a fresh instance, within the policy's own limits and the question's
    /// deadline.
    fn evaluate(&self, question: &Question<'_>) -> Answer;

    /// Returns true while the policy is not asked, because it missed its deadline several times in
    /// a row.
    fn is_short_circuited(&self) -> bool {
        false
    }

    /// Closes the circuit breaker: the policy is asked again at once.
    fn forget_misses(&self) {}

    /// Returns the reason why the settings are passed to every instance, which costs time on each
    /// review; `None` when they are part of a snapshot, or there are none.
    fn configured_per_instance(&self) -> Option<&str> {
        None
    }
}

/// A question to a component.
pub struct Question<'a> {
    /// The policy's name, for the log.
    pub policy: &'a Arc<str>,
    /// The function to call.
    pub entry: Entry,
    /// Its argument.
    pub review: &'a Review,
    /// The time by which the answer must be there.
    pub deadline: Deadline,
    /// The place for the lines that the component logs.
    pub log: LogTo,
}

/// The place for the lines that a component logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTo {
    /// The log of this process.
    Process,
    /// [`Answer::log`], for a report.
    Answer,
}

/// A line that a component logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub level: Level,
    /// Its text, as the component chose it.
    pub message: String,
}

impl LogLine {
    /// Returns the severity as a word.
    pub fn severity(&self) -> &'static str {
        match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Displays as `error: panicked at src/lib.rs:7:5: …`, with deceptive characters escaped.
impl Display for LogLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.severity(), printable(&self.message))
    }
}

/// The functions that a component exports for reviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// `validate`, which judges and may not patch.
    Validate,
    /// `mutate`, which patches and may not deny.
    Mutate,
}

/// The time by which an answer must be there. A policy's own deadline holds as well.
#[derive(Debug, Clone, Copy)]
pub enum Deadline {
    /// At that moment: all evaluations of a review together have that long.
    At(Instant),
    /// Each evaluation may take that long: no request waits for the review as a whole.
    Each(Duration),
    /// As `Each`, beside requests that are being served: whatever happens is no evidence for or
    /// against the policy, and a policy that is not asked for now is not tried either.
    Aside(Duration),
}

impl From<Instant> for Deadline {
    fn from(moment: Instant) -> Self {
        Self::At(moment)
    }
}

/// The answer to a question.
#[derive(Debug)]
pub struct Answer {
    /// The component's opinion.
    pub verdict: Result<Verdict, EvaluationError>,
    /// The time from question to answer.
    pub elapsed: Duration,
    /// The lines that the component logged, if the question asked for them ([`LogTo::Answer`]).
    pub log: Vec<LogLine>,
}

/// The reason why a policy has no opinion on a review.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It exceeded its own deadline.
    #[error("it did not answer within its deadline of {0}; see spec.limits.deadline")]
    Deadline(Millis),
    /// The request's deadline came first.
    #[error("the request's deadline was reached before it could answer")]
    RequestDeadline,
    /// It exceeded its own memory limit.
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
    /// Returns a stable word for metrics and suites.
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

/// One policy, ready to be asked or known to be broken.
pub struct Policy {
    name: Arc<str>,
    manifest: ServicePolicy,
    loaded: Result<Facts, Arc<LoadError>>,
}

/// The parts of a policy that was loaded.
struct Facts {
    digest: String,
    description: Description,
    /// The merged settings as a manifest writes them; null when there are none.
    settings: Value,
    backstop: Option<Backstop>,
    /// The keys of annotations that it compares.
    annotations: Keys,
    /// The keys of labels that it compares.
    labels: Keys,
    evaluator: Box<dyn Evaluate>,
}

/// A component that was loaded with a manifest.
pub struct Loaded {
    /// `sha256:…` of the component.
    pub digest: String,
    /// The component's own description.
    pub description: Description,
    /// The settings as they were merged over the defaults; `None` when there are none.
    pub settings: Option<settings::Value>,
    /// Its rules in CEL, where it brings some.
    pub backstop: Option<Backstop>,
    /// Asks the component.
    pub evaluator: Box<dyn Evaluate>,
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
    /// Creates a policy that can be asked.
    pub fn new(manifest: ServicePolicy, loaded: Loaded) -> Self {
        Self {
            name: manifest.metadata.name.as_str().into(),
            manifest,
            loaded: Ok(loaded.into()),
        }
    }

    /// Creates a policy that can't be loaded.
    pub fn broken(manifest: ServicePolicy, error: LoadError) -> Self {
        Self {
            name: manifest.metadata.name.as_str().into(),
            manifest,
            loaded: Err(Arc::new(error)),
        }
    }

    /// Names the policy `name (candidate)`, to distinguish it from the live policy in the log.
    #[must_use]
    pub fn as_candidate(self) -> Self {
        Self {
            name: format!("{} (candidate)", self.manifest.metadata.name).into(),
            ..self
        }
    }

    /// Returns true if loading this manifest and component would give the same policy again.
    pub fn is(&self, manifest: &ServicePolicy, component: &[u8]) -> bool {
        self.manifest == *manifest && self.digest() == Some(&*PolicyComponent::digest(component))
    }

    /// Returns `metadata.name`; for a candidate, followed by ` (candidate)`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the manifest as its user wrote it.
    pub fn manifest(&self) -> &ServicePolicy {
        &self.manifest
    }

    /// `sha256:…` of the component, when it was read.
    pub fn digest(&self) -> Option<&str> {
        self.loaded.as_ref().ok().map(|facts| facts.digest.as_str())
    }

    /// Returns the load error of a broken policy.
    pub fn load_error(&self) -> Option<&LoadError> {
        self.loaded.as_ref().err().map(AsRef::as_ref)
    }

    /// Its component's description; `None` when it is broken.
    pub fn description(&self) -> Option<&Description> {
        self.loaded.as_ref().ok().map(|facts| &facts.description)
    }

    /// Its settings as they were merged over its defaults; `None` when it is broken, null when it
    /// has none.
    pub fn settings(&self) -> Option<&Value> {
        self.loaded.as_ref().ok().map(|facts| &facts.settings)
    }

    /// Its rules in CEL; `None` when it brings none, or is broken.
    pub fn backstop(&self) -> Option<&Backstop> {
        self.loaded.as_ref().ok()?.backstop.as_ref()
    }

    /// Why its settings are not part of a snapshot, so that every instance is configured anew;
    /// `None` when they are.
    pub fn configured_per_instance(&self) -> Option<&str> {
        self.evaluator()?.configured_per_instance()
    }

    /// Returns true if the policy's description asks for these requests. A broken policy has no
    /// description, so it is always asked, and answers with its error.
    pub fn wants(&self, function: Phase, operation: Operation, resource: Resource) -> bool {
        self.description().is_none_or(|description| {
            description.phases.contains(&function)
                && description.operations.contains(&operation)
                && description.resources.contains(&resource)
        })
    }

    /// Returns true if its description asks for the operation DELETE.
    pub fn asks_of_deletions(&self) -> bool {
        self.description().is_some_and(|description| {
            description.operations.contains(&Operation::Delete)
                && description.phases.contains(&Phase::Validating)
        })
    }

    /// Returns true if it may have something to say about a Service, or about what the Service was
    /// before, with this about them. A broken policy has its error to say.
    pub(crate) fn is_about(&self, found: About, service: &Service, old: Option<&Service>) -> bool {
        let Ok(facts) = &self.loaded else {
            return true;
        };
        let wanted = facts.description.about;
        wanted == About::empty()
            || wanted.intersects(found)
            || facts.compares_keys_of(wanted, service, old)
    }

    /// Returns the keys of annotations and of labels that it compares.
    pub fn compared_keys(&self) -> Option<(&Keys, &Keys)> {
        self.loaded
            .as_ref()
            .ok()
            .map(|facts| (&facts.annotations, &facts.labels))
    }

    /// Returns true if it asks for a part of the context.
    pub fn needs(&self, context: Context) -> bool {
        self.description()
            .is_some_and(|description| description.context.contains(&context))
    }

    /// Returns whether it asks for the labels of the namespace, alone or with the annotations.
    pub(crate) fn needs_namespace(&self) -> bool {
        self.needs(Context::Namespace) || self.needs(Context::NamespaceAnnotations)
    }

    /// Asks `validate`, which may not patch.
    pub(crate) fn validate(&self, review: &Review, deadline: Deadline, log: LogTo) -> Answer {
        self.ask((Entry::Validate, review, deadline, log), |verdict| {
            let problem = "validate answered with a patch; only mutate may";
            (!verdict.patch.is_empty()).then_some(problem)
        })
    }

    /// Asks `mutate`, which may not deny.
    pub(crate) fn mutate(&self, review: &Review, deadline: Deadline, log: LogTo) -> Answer {
        self.ask((Entry::Mutate, review, deadline, log), |verdict| {
            let problem = "mutate answered with a violation; only validate may";
            (!verdict.violations.is_empty()).then_some(problem)
        })
    }

    fn ask(
        &self,
        (entry, review, deadline, log): (Entry, &Review, Deadline, LogTo),
        problem: impl Fn(&Verdict) -> Option<&'static str>,
    ) -> Answer {
        let facts = match &self.loaded {
            Ok(facts) => facts,
            Err(error) => {
                return Answer {
                    verdict: Err(EvaluationError::Load(Arc::clone(error))),
                    elapsed: Duration::ZERO,
                    log: vec![],
                };
            }
        };
        let question = Question {
            policy: &self.name,
            entry,
            review,
            deadline,
            log,
        };
        let mut answer = facts.evaluator.evaluate(&question);
        if let Ok(verdict) = &answer.verdict
            && let Some(problem) = problem(verdict)
        {
            answer.verdict = Err(EvaluationError::Answer(problem.to_owned()));
        }
        answer
    }

    /// Returns true if it is not asked for now, because it missed its deadline again and again.
    pub fn is_short_circuited(&self) -> bool {
        self.evaluator().is_some_and(Evaluate::is_short_circuited)
    }

    /// Asks it again whatever it missed. For a harness, whose cases must not depend on one another.
    pub fn forget_misses(&self) {
        if let Some(evaluator) = self.evaluator() {
            evaluator.forget_misses();
        }
    }

    fn evaluator(&self) -> Option<&dyn Evaluate> {
        self.loaded.as_ref().ok().map(|facts| &*facts.evaluator)
    }
}

impl From<Loaded> for Facts {
    fn from(loaded: Loaded) -> Self {
        let Loaded {
            digest,
            description,
            settings,
            backstop,
            evaluator,
        } = loaded;
        let compares = description.compares.iter();
        let annotations = compares.clone().filter_map(|compared| match compared {
            Compared::Annotation(key) => Some(key.as_str()),
            _ => None,
        });
        let labels = compares.filter_map(|compared| match compared {
            Compared::Label(key) => Some(key.as_str()),
            _ => None,
        });
        Self {
            annotations: annotations.collect(),
            labels: labels.collect(),
            settings: settings.map_or(Value::Null, |settings| settings.to_json()),
            backstop,
            digest,
            description,
            evaluator,
        }
    }
}

impl Facts {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Admission, AdmissionRequest, Clock, Function, Outcome};
    use crate::contract::verdict::{PatchOperation, Violation};
    use crate::inventory::Inventory;
    use crate::manifest::Exemptions;
    use serde_json::json;
    use std::time::SystemTime;

    /// An evaluator without any WebAssembly, as a browser has one.
    struct Always(fn() -> Verdict);

    impl Evaluate for Always {
        fn evaluate(&self, question: &Question<'_>) -> Answer {
            assert_eq!(question.review.service.metadata.name, "web");
            Answer {
                verdict: Ok((self.0)()),
                elapsed: Duration::from_micros(7),
                log: vec![],
            }
        }
    }

    const SILENCE: fn() -> Verdict = || Verdict {
        violations: vec![],
        warnings: vec![],
        audit_annotations: vec![],
        patch: vec![],
    };

    const PATCH: fn() -> Verdict = || Verdict {
        patch: vec![PatchOperation::Remove("/spec/type".to_owned())],
        ..SILENCE()
    };

    const DENIAL: fn() -> Verdict = || Verdict {
        violations: vec![Violation {
            rule: "X01".to_owned(),
            key: String::new(),
            field: "spec.type".to_owned(),
            message: "it is not allowed".to_owned(),
            fix: String::new(),
        }],
        ..SILENCE()
    };

    fn manifest() -> ServicePolicy {
        let manifest = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": "p"}, "spec": {"module": {"file": "p.wasm"}},
        });
        ServicePolicy::from_value(&manifest).expect("valid")
    }

    fn policy(verdict: fn() -> Verdict) -> Policy {
        let description = Description {
            name: "p".to_owned(),
            version: "1.0.0".to_owned(),
            phases: vec![Phase::Mutating, Phase::Validating],
            operations: vec![Operation::Create],
            resources: vec![Resource::Services],
            context: vec![],
            about: About::empty(),
            compares: vec![],
        };
        let loaded = Loaded {
            digest: "sha256:0".to_owned(),
            description,
            backstop: None,
            settings: None,
            evaluator: Box::new(Always(verdict)),
        };
        Policy::new(manifest(), loaded)
    }

    fn review(policy: Policy, function: Function) -> Outcome {
        let body = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "1", "operation": "CREATE", "namespace": "default", "name": "web",
                "kind": {"group": "", "version": "v1", "kind": "Service"},
                "object": {"metadata": {"name": "web"}, "spec": {"type": "ClusterIP"}},
            },
        });
        let body = body.to_string();
        let request = AdmissionRequest::parse(body.as_bytes()).expect("an AdmissionReview");
        let clock = Clock {
            now: SystemTime::UNIX_EPOCH,
            deadline: Deadline::Each(Duration::from_secs(1)),
        };
        let admission = Admission::new(vec![policy], Inventory::default(), Exemptions::default());
        admission.review(function, &request, clock)
    }

    fn error(outcome: &Outcome) -> Option<&'static str> {
        let error = outcome.evaluations[0].error.as_ref();
        error.map(EvaluationError::kind)
    }

    const VALIDATE: Function = Function::Validate(Phase::Validating);

    #[test]
    fn any_evaluator_decides() {
        let outcome = review(policy(DENIAL), VALIDATE);
        assert!(!outcome.response.allowed);
        assert_eq!(outcome.evaluations[0].elapsed, Duration::from_micros(7));
        let outcome = review(policy(PATCH), Function::Mutate);
        assert!(outcome.response.allowed && outcome.response.patch.is_some());
    }

    #[test]
    fn validate_never_patches_and_mutate_never_denies() {
        for (verdict, function) in [(PATCH, VALIDATE), (DENIAL, Function::Mutate)] {
            let outcome = review(policy(verdict), function);
            assert_eq!(error(&outcome), Some("answer"));
            assert_eq!(outcome.response.patch, None);
        }
    }

    #[test]
    fn a_policy_that_is_not_loaded_answers_with_its_error() {
        let broken = Policy::broken(manifest(), LoadError::component("is empty"));
        let outcome = review(broken, VALIDATE);
        assert!(!outcome.response.allowed, "its failurePolicy is Fail");
        assert_eq!(error(&outcome), Some("load"));
    }
}
