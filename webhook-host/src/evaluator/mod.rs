//! The host's evaluator: a component with its settings, compiled once, asked on a fresh instance
//! for every review.
//!
//! Implements [`Evaluate`], core's seam, with `engine`. [`load`] makes a policy of a manifest and a
//! component, [`inspect`] looks at a component by itself. Invariants: an instance is asked once; an
//! evaluation ends within the policy's limits and the caller's deadline; a policy that keeps
//! missing its deadline is asked once a second only (`breaker`). Called by `sources` and by core's
//! `policy`.
//!
//! Instances are made and dropped within the evaluation. Making them ahead, and dropping them after
//! the response is sent, was tried: a request then took 2 to 3 us more of the processor (40 instead
//! of 37 with four policies; `make bench`), because a task is spawned for it, and no client saw a
//! difference in throughput or latency.

mod breaker;
mod reusing;

use crate::engine::{
    Budget, Engine, Guest, LoadRequest, PerInstance, Prepared, State, call_configure,
};
use breaker::{Breaker, Change, EvaluationEnd};
use reusing::Reusing;
use sallyport_core::component::PolicyComponent;
use sallyport_core::contract::review::Review;
use sallyport_core::contract::service::Service;
use sallyport_core::contract::verdict::Verdict;
use sallyport_core::manifest::{Limits, ServicePolicy};
use sallyport_core::policy::backstop::Backstop;
use sallyport_core::policy::{
    Answer, Deadline, Entry, Evaluate, EvaluationError, Inspection, LoadError, Loaded, LogLine,
    LogTo, Policy, Question,
};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Instance, Val};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

/// A policy that runs this long loops, whatever its own deadline: a review takes microseconds.
const LOOP_TIME: Duration = Duration::from_millis(250);

/// The name of a component that has no manifest.
const INSPECTED: &str = "component";

/// Loads a component with its manifest: checks the contract, merges the settings and
/// pre-initialises it.
///
/// # Errors
///
/// Fails when the component or the settings can't be used. [`Policy::broken`] makes a policy of the
/// error.
pub fn load(
    engine: &Arc<Engine>,
    manifest: ServicePolicy,
    component: &[u8],
) -> Result<Policy, LoadError> {
    load_with(engine, manifest, component, |instances, limits| {
        Box::new(Evaluator {
            instances,
            limits,
            breaker: Breaker::default(),
        })
    })
}

/// Loads a policy as [`load`] does, but asks one instance again and again, which no host does. It
/// is the baseline for the cost of a fresh instance.
///
/// # Errors
///
/// As [`load`].
pub fn load_reusing(
    engine: &Arc<Engine>,
    manifest: ServicePolicy,
    component: &[u8],
) -> Result<Policy, LoadError> {
    load_with(engine, manifest, component, |instances, limits| {
        Box::new(Reusing::new(instances, limits))
    })
}

fn load_with(
    engine: &Arc<Engine>,
    manifest: ServicePolicy,
    component: &[u8],
    evaluator: impl FnOnce(Instances, Limits) -> Box<dyn Evaluate>,
) -> Result<Policy, LoadError> {
    let limits = manifest.spec.limits;
    let allowed = engine.memory();
    if limits.memory > allowed {
        return Err(LoadError::field(
            "spec.limits.memory",
            format!("{} is more than the host allows, {allowed}", limits.memory),
        ));
    }
    let component = PolicyComponent::read(component)?;
    let written = &manifest.spec.settings;
    let request = LoadRequest {
        component: &component,
        name: &manifest.metadata.name.as_str().into(),
        memory: limits.memory.get(),
        settings: written,
    };
    let prepared = engine.prepare(&request)?;
    if component.settings().is_none() && !written.is_empty() {
        let problem = "this policy has no settings; remove them";
        return Err(LoadError::settings(problem));
    }
    let Prepared {
        guest,
        description,
        settings,
    } = prepared;
    let (settings, per_instance) = settings
        .map(|settled| (settled.merged, settled.per_instance))
        .unzip();
    let merged = settings
        .as_ref()
        .map_or(Value::Null, sallyport_core::settings::Value::to_json);
    let backstop = component
        .backstop()
        .map(|text| Backstop::parse(text, &merged))
        .transpose()?;
    let instances = Instances {
        guest,
        per_instance: per_instance.flatten(),
        engine: Arc::clone(engine),
        budget: Budget {
            time: limits.deadline.duration(),
            memory: limits.memory.get(),
            output: limits.output.get(),
        },
    };
    let loaded = Loaded {
        digest: PolicyComponent::digest(component.bytes()),
        description,
        settings,
        backstop,
        evaluator: evaluator(instances, limits),
    };
    Ok(Policy::new(manifest, loaded))
}

/// Loads a component with its default settings and describes it. One that refuses its defaults is
/// described as it is before it is configured, with the settings that it requires.
///
/// # Errors
///
/// Fails when it can't serve as a policy.
pub fn inspect(engine: &Engine, component: &[u8]) -> Result<Inspection, LoadError> {
    let component = PolicyComponent::read(component)?;
    let request = LoadRequest {
        component: &component,
        name: &INSPECTED.into(),
        memory: engine.memory().get(),
        settings: &Map::new(),
    };
    let prepared = match engine.prepare(&request) {
        Err(refusal) if refusal.of_settings().is_some() => {
            let (description, defaults) = engine.prepare_unconfigured(&request)?;
            let inspection = Inspection::new(&component, description, defaults.as_ref(), None);
            return Ok(inspection.requiring(&refusal));
        }
        prepared => prepared?,
    };
    let (defaults, per_instance) = prepared
        .settings
        .map(|settled| (settled.defaults, settled.per_instance))
        .unzip();
    let per_instance = per_instance.flatten().map(|PerInstance { settings, why }| {
        let cost = cost_of_configuring(engine, &prepared.guest, &settings);
        format!("{why}{cost}")
    });
    Ok(Inspection::new(
        &component,
        prepared.description,
        defaults.as_ref(),
        per_instance,
    ))
}

/// Measures `configure` on several fresh instances. Returns a clause with the median, or an empty
/// text if it fails, which it did not at load.
fn cost_of_configuring(engine: &Engine, guest: &Guest, settings: &Val) -> String {
    const RUNS: usize = 21;
    let budget = Budget {
        time: LOOP_TIME,
        memory: engine.memory().get(),
        output: 1 << 20,
    };
    let run = || {
        let mut store = engine.store(&INSPECTED.into(), budget);
        let instance = guest.instantiate(&mut store).ok()?;
        let began = Instant::now();
        call_configure(&mut store, &instance, settings).ok()?;
        Some(began.elapsed())
    };
    let mut took: Vec<_> = (0..RUNS).filter_map(|_| run()).collect();
    took.sort();
    took.get(took.len() / 2).map_or_else(String::new, |median| {
        format!("; that takes {} us on this machine", median.as_micros())
    })
}

/// The evaluator of one policy.
struct Evaluator {
    instances: Instances,
    limits: Limits,
    breaker: Breaker,
}

/// The parts that an instance of one policy is made of.
struct Instances {
    guest: Guest,
    per_instance: Option<PerInstance>,
    engine: Arc<Engine>,
    /// The policy's own limits.
    budget: Budget,
}

impl Evaluate for Evaluator {
    fn evaluate(&self, question: &Question<'_>) -> Answer {
        let now = Instant::now();
        let left = match question.deadline {
            Deadline::At(moment) => moment.saturating_duration_since(now),
            Deadline::Each(time) | Deadline::Aside(time) => time,
        };
        let without_verdict = |error| Answer {
            verdict: Err(error),
            elapsed: Duration::ZERO,
            log: vec![],
        };
        if left == Duration::ZERO {
            return without_verdict(EvaluationError::RequestDeadline);
        }
        let is_aside = matches!(question.deadline, Deadline::Aside(_));
        let (is_admitted, permit) = match is_aside {
            true => (!self.breaker.is_open(), None),
            false => {
                let permit = self.breaker.admit(now);
                (permit.is_some(), permit)
            }
        };
        if !is_admitted {
            return without_verdict(EvaluationError::ShortCircuit(self.limits.deadline));
        }
        let (verdict, log) = self.ask(question, left);
        let end = self.end(&verdict, question.review, left);
        let then = Instant::now();
        match permit.and_then(|permit| permit.end(end, then)) {
            None => {}
            Some(Change::Opened) => {
                tracing::error!(
                    policy = &**question.policy,
                    "is not asked for now: it missed its deadline again and again"
                );
            }
            Some(Change::Closed) => {
                tracing::info!(
                    policy = &**question.policy,
                    "is asked again: it answered in time"
                );
            }
        }
        Answer {
            verdict,
            elapsed: then.saturating_duration_since(now),
            log,
        }
    }

    fn is_short_circuited(&self) -> bool {
        self.breaker.is_open()
    }

    fn forget_misses(&self) {
        self.breaker.reset();
    }

    fn configured_per_instance(&self) -> Option<&str> {
        let per_instance = self.instances.per_instance.as_ref()?;
        Some(&per_instance.why)
    }
}

impl Evaluator {
    /// Answers one question on a fresh instance. Also returns what it logged, if the question asks
    /// for it.
    fn ask(
        &self,
        question: &Question<'_>,
        left: Duration,
    ) -> (Result<Verdict, EvaluationError>, Vec<LogLine>) {
        let instances = &self.instances;
        let budget = Budget {
            time: left.min(self.limits.deadline.duration()),
            ..instances.budget
        };
        let mut store = instances.engine.store(question.policy, budget);
        if question.log == LogTo::Answer {
            store.data_mut().keep_lines();
        }
        let verdict = instances
            .instantiate(&mut store, budget)
            .and_then(|instance| instances.ask(&mut store, &instance, question));
        let verdict = verdict.map_err(|error| classify(&error, &store, self.limits, left));
        (verdict, store.data_mut().take_log())
    }

    /// Classifies an answer for the circuit breaker.
    fn end(
        &self,
        verdict: &Result<Verdict, EvaluationError>,
        review: &Review,
        left: Duration,
    ) -> EvaluationEnd {
        let time = left.min(self.limits.deadline.duration());
        match verdict {
            Err(EvaluationError::Deadline(_) | EvaluationError::RequestDeadline)
                if is_large(review) =>
            {
                EvaluationEnd::CutShort
            }
            Err(EvaluationError::Deadline(_)) => EvaluationEnd::Missed,
            Err(EvaluationError::RequestDeadline) if time >= LOOP_TIME => EvaluationEnd::Missed,
            Err(EvaluationError::RequestDeadline) => EvaluationEnd::CutShort,
            _ => EvaluationEnd::InTime,
        }
    }
}

fn classify(
    error: &wasmtime::Error,
    store: &Store<State>,
    limits: Limits,
    left: Duration,
) -> EvaluationError {
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
        // The guest returned, and its answer can't be read: too large, not UTF-8, or outside of
        // its memory.
        None => EvaluationError::Answer(format!(
            "{}; spec.limits.output is {}",
            error.root_cause(),
            limits.output
        )),
    }
}

impl Instances {
    /// Creates a configured instance.
    fn instantiate(&self, store: &mut Store<State>, budget: Budget) -> wasmtime::Result<Instance> {
        let instance = self.guest.instantiate(store)?;
        if let Some(PerInstance { settings, .. }) = &self.per_instance {
            self.engine.configure(store, budget, &instance, settings)?;
        }
        Ok(instance)
    }

    /// Asks an instance.
    fn ask(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
        question: &Question<'_>,
    ) -> wasmtime::Result<Verdict> {
        match question.entry {
            Entry::Validate => self.guest.validate(store, instance, question.review),
            Entry::Mutate => self.guest.mutate(store, instance, question.review),
        }
    }
}

/// The number of entries and the bytes of annotations beyond which a missed deadline is no evidence
/// against the policy. Otherwise anybody who may create a Service could have the policy
/// short-circuited for everybody.
const LARGE_ENTRIES: usize = 500;
const LARGE_ANNOTATIONS: usize = 64 << 10;

/// The bytes of an object's JSON beyond which the same holds for a policy that gets it.
const LARGE_OBJECT: usize = 64 << 10;

/// Returns true if a Service of the review is so large that an evaluation may take long.
fn is_large(review: &Review) -> bool {
    let raw = [&review.object, &review.old_object];
    if raw
        .into_iter()
        .flatten()
        .any(|object| object.len() > LARGE_OBJECT)
    {
        return true;
    }
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
                    + metadata.finalizers.len()
                    + metadata.owner_references.len()
                    + status.conditions.len()
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
                entries > LARGE_ENTRIES || annotations > LARGE_ANNOTATIONS
            },
        )
}
