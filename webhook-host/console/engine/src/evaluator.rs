//! The evaluator of the browser: components that JavaScript runs, behind core's seam.
//!
//! Does what the host's `engine` and `evaluator` do, in the same order and with the same words, but
//! for limits: a browser can't interrupt WebAssembly, so the page ends the whole worker instead.
//! There is no snapshot: every instance is configured. Invariant: a fresh instance for every
//! question.

use crate::bindings::sallyport::console::components::{
    self, Failure, Instance, Level as Severity, Outcome,
};
use crate::{description, settings as jco};
use sallyport_core::component::PolicyComponent;
use sallyport_core::contract::description::Description;
use sallyport_core::contract::log::Level;
use sallyport_core::contract::verdict::SettingsError;
use sallyport_core::manifest::{Limits, Module, ServicePolicy};
use sallyport_core::policy::backstop::Backstop;
use sallyport_core::policy::{
    Answer, Entry, Evaluate, EvaluationError, Inspection, LoadError, Loaded, LogLine, Policy,
    Question, documentation,
};
use sallyport_core::printable::printable;
use sallyport_core::settings::{self, Record, Type, Value};
use sallyport_core::units::Bytes;
use serde_json::{Map, Value as Json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The largest memory limit that a manifest may give to its policy, as the host's default has it.
const MAX_MEMORY: Bytes = Bytes::new(64 << 20);

/// The size of a page of a memory, in bytes.
const PAGE: usize = 64 << 10;

/// The facts about a component that loading a manifest needs. They are kept, because reading a
/// component takes milliseconds.
struct Facts {
    digest: String,
    documentation: Option<String>,
    settings: Option<Record>,
    backstop: Option<String>,
}

thread_local! {
    /// By file. The embedder has a bounded number of files, and starts anew when one changes.
    static COMPONENTS: RefCell<HashMap<String, Rc<Facts>>> = RefCell::default();
}

/// Describes a component, as JSON. One that refuses its default settings is described as it is
/// before it is configured, with the settings that it requires.
///
/// # Errors
///
/// When it can't be a policy; the text says why.
pub(crate) fn inspect(file: &str) -> Result<String, String> {
    let bytes = read(file).map_err(|error| error.to_string())?;
    let inspected = || -> Result<Inspection, LoadError> {
        let component = PolicyComponent::read(&bytes)?;
        let instance = instance(file, Limits::default().memory);
        let ty = component.settings();
        let (description, settings) = match prepare(&instance, ty, &Map::new()) {
            Err(refusal) if refusal.of_settings().is_some() => {
                let (description, defaults) = unconfigured(&instance, ty)?;
                let defaults = defaults.as_ref();
                let inspection = Inspection::new(&component, description, defaults, None);
                return Ok(inspection.requiring(&refusal));
            }
            prepared => prepared?,
        };
        let defaults = settings.map(|(defaults, _)| defaults);
        Ok(Inspection::new(
            &component,
            description,
            defaults.as_ref(),
            None,
        ))
    };
    let inspection = inspected().map_err(|error| error.to_string())?;
    serde_json::to_string(&inspection).map_err(|error| error.to_string())
}

/// Loads a component with its manifest, as `sallyport serve` does.
///
/// # Errors
///
/// When the component or the settings can't be used.
pub(crate) fn load(manifest: ServicePolicy) -> Result<Policy, LoadError> {
    let limits = manifest.spec.limits;
    if limits.memory > MAX_MEMORY {
        return Err(LoadError::field(
            "spec.limits.memory",
            format!(
                "{} is more than the host allows, {MAX_MEMORY}",
                limits.memory
            ),
        ));
    }
    let Module::File(file) = &manifest.spec.module else {
        return Err(LoadError::field(
            manifest.spec.module.field(),
            "no registry is asked here; name a file, and drop it in",
        ));
    };
    let facts = facts(file)?;
    let written = &manifest.spec.settings;
    let mut instance = instance(file, limits.memory);
    let (description, settings) = prepare(&instance, facts.settings.as_ref(), written)?;
    if facts.settings.is_none() && !written.is_empty() {
        let problem = "this policy has no settings; remove them";
        return Err(LoadError::settings(problem));
    }
    let settings = settings.map(|(_, Configured { merged, passed })| {
        instance.settings = Some(passed);
        merged
    });
    let merged = settings.as_ref().map_or(Json::Null, Value::to_json);
    let backstop = facts.backstop.as_deref();
    let loaded = Loaded {
        digest: facts.digest.clone(),
        description,
        backstop: backstop
            .map(|text| Backstop::parse(text, &merged))
            .transpose()?,
        settings,
        evaluator: Box::new(Evaluator {
            instance,
            memory: limits.memory,
        }),
    };
    Ok(Policy::new(manifest, loaded))
}

/// Returns the doc comment of a manifest's component, once that is loaded.
pub(crate) fn documentation_of(manifest: &ServicePolicy) -> Option<String> {
    let Module::File(file) = &manifest.spec.module else {
        return None;
    };
    COMPONENTS.with_borrow(|known| known.get(file)?.documentation.clone())
}

/// Names an instance without settings.
fn instance(file: &str, memory: Bytes) -> Instance {
    Instance {
        file: file.to_owned(),
        settings: None,
        pages: u32::try_from(memory.get() / PAGE).unwrap_or(u32::MAX),
    }
}

fn read(file: &str) -> Result<Vec<u8>, LoadError> {
    components::read(file).ok_or_else(|| {
        LoadError::field(
            "spec.module.file",
            format!("{file} is not here; name a shipped policy, or drop the file in"),
        )
    })
}

fn facts(file: &str) -> Result<Rc<Facts>, LoadError> {
    if let Some(known) = COMPONENTS.with_borrow(|known| known.get(file).cloned()) {
        return Ok(known);
    }
    let bytes = read(file)?;
    let component = PolicyComponent::read(&bytes)?;
    let facts = Rc::new(Facts {
        digest: PolicyComponent::digest(&bytes),
        documentation: documentation(&component),
        settings: component.settings().cloned(),
        backstop: component.backstop().map(str::to_owned),
    });
    COMPONENTS.with_borrow_mut(|known| known.insert(file.to_owned(), Rc::clone(&facts)));
    Ok(facts)
}

/// Settings that a component accepted.
struct Configured {
    /// The manifest's settings, merged over the defaults.
    merged: Value,
    /// The merged settings as jco takes them.
    passed: String,
}

/// Asks a component for its description and defaults, and configures it. Returns the description
/// that it has once it is configured.
fn prepare(
    instance: &Instance,
    ty: Option<&Record>,
    written: &Map<String, Json>,
) -> Result<(Description, Option<(Value, Configured)>), LoadError> {
    let (described, defaults) = unconfigured(instance, ty)?;
    let Some((record, defaults)) = ty.zip(defaults) else {
        return Ok((described, None));
    };
    let ty = Type::Record(record.clone());
    let merged = settings::merge(record, &defaults, written)?;
    let passed = jco::to_jco(&merged, &ty).to_string();
    let configured = components::configure(instance, &passed);
    let refused = settings_errors(&returned("configure", instance, configured)?);
    if !refused.is_empty() {
        return Err(refused.into());
    }
    let configured = Instance {
        settings: Some(passed.clone()),
        ..instance.clone()
    };
    let described = describe(&configured)?;
    Ok((described, Some((defaults, Configured { merged, passed }))))
}

/// Asks a component for its description and defaults without configuring it.
fn unconfigured(
    instance: &Instance,
    ty: Option<&Record>,
) -> Result<(Description, Option<Value>), LoadError> {
    let described = describe(instance)?;
    let ty = ty.map(|record| Type::Record(record.clone()));
    let defaults = ty.map(|ty| defaults(instance, &ty)).transpose()?;
    Ok((described, defaults))
}

fn describe(instance: &Instance) -> Result<Description, LoadError> {
    let json = returned("describe", instance, components::describe(instance))?;
    let misfit = |error| LoadError::component(format!("does not fit its contract: {error}"));
    description::read(&json).map_err(misfit)
}

fn defaults(instance: &Instance, ty: &Type) -> Result<Value, LoadError> {
    let json = returned("defaults", instance, components::defaults(instance))?;
    let json: Json = serde_json::from_str(&json).unwrap_or_default();
    let value = jco::from_jco(&json, ty);
    let value =
        value.ok_or_else(|| LoadError::component("defaults returned what can't be settings"))?;
    value.with_json(ty).map_err(|error| {
        LoadError::component(format!(
            "defaults returned JSON text that can't be parsed: {error}"
        ))
    })
}

/// Returns the result of a function that was called at load.
fn returned(function: &str, of: &Instance, outcome: Outcome) -> Result<String, LoadError> {
    outcome.returned.map_err(|failure| {
        let why = match (failure, outcome.last_error) {
            (Failure::Trap(_), Some(last)) => format!("trapped: {}", printable(&last)),
            (Failure::Trap(trap), None) => format!("trapped: {trap}"),
            (Failure::Memory, _) => format!(
                "needs more than its memory limit of {} KiB; raise spec.limits.memory",
                of.pages * 64
            ),
            (Failure::Answer(problem), _) => format!("failed: {problem}"),
        };
        LoadError::component(format!("{function} {why}"))
    })
}

fn settings_errors(json: &str) -> Vec<SettingsError> {
    let errors: Vec<Json> = serde_json::from_str(json).unwrap_or_default();
    let text = |error: &Json, key: &str| error[key].as_str().unwrap_or_default().to_owned();
    let error = |error: &Json| SettingsError {
        path: text(error, "path"),
        message: text(error, "message"),
    };
    errors.iter().map(error).collect()
}

/// The evaluator of one policy.
struct Evaluator {
    instance: Instance,
    memory: Bytes,
}

impl Evaluate for Evaluator {
    fn evaluate(&self, question: &Question<'_>) -> Answer {
        let entry = match question.entry {
            Entry::Validate => components::Entry::Validate,
            Entry::Mutate => components::Entry::Mutate,
        };
        let evaluation = components::evaluate(&self.instance, entry, question.review);
        let log = evaluation.log.into_iter().map(|line| LogLine {
            level: match line.level {
                Severity::Debug => Level::Debug,
                Severity::Info => Level::Info,
                Severity::Warn => Level::Warn,
                Severity::Error => Level::Error,
            },
            message: line.message,
        });
        Answer {
            verdict: evaluation.verdict.map_err(|failure| match failure {
                Failure::Trap(trap) => EvaluationError::Trap(trap),
                Failure::Memory => EvaluationError::Memory(self.memory),
                Failure::Answer(problem) => EvaluationError::Answer(problem),
            }),
            elapsed: Duration::from_micros(evaluation.microseconds.into()),
            log: log.collect(),
        }
    }

    fn configured_per_instance(&self) -> Option<&str> {
        let settings = self.instance.settings.as_ref();
        settings.map(|_| "a browser takes no snapshot")
    }
}
