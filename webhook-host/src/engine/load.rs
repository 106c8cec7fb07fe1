//! Loading of a component: from the cache, or by a child process that compiles and configures it.
//!
//! Either way the result is compiled code. Its settings are baked in if the engine makes snapshots
//! and the component can be snapshotted; else every fresh instance is configured. The policy's
//! description and defaults are asked of that code. Invariant: guest code runs on a thread of its
//! own here, with a deadline and a memory limit, and a panic of that thread becomes a load error.
//! Called by `evaluator`.

use super::cache::{self, Key};
use super::child::{self, CompileError, Slow};
use super::guest::Guest;
use super::request::LoadRequest;
use super::values::{from_val, to_val};
use super::{Budget, Compilation, Engine, State};
use sallyport_core::contract::description::Description;
use sallyport_core::contract::verdict::SettingsError;
use sallyport_core::policy::LoadError;
use sallyport_core::settings::{self, Record, Type, Value};
use sallyport_core::units;
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, Instance, InstancePre, Val};
use wasmtime::{Store, Trap};

/// The bytes of host memory that a description, defaults or settings errors may take.
const LOAD_OUTPUT: usize = 1 << 20;

/// The stack of a thread that loads: for the guest, and for cranelift's recursion over a large
/// function.
pub(super) const LOAD_STACK: usize = 8 << 20;

/// The attempts at the first instance of a component, and the pause between two.
const MAX_ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// A loaded component.
pub(crate) struct Prepared {
    pub(crate) guest: Guest,
    pub(crate) description: Description,
    /// The policy's settings; `None` when it has none.
    pub(crate) settings: Option<LoadedSettings>,
}

/// The settings of one policy.
pub(crate) struct LoadedSettings {
    pub(crate) defaults: Value,
    /// The manifest's settings, merged over the defaults.
    pub(crate) merged: Value,
    /// The settings for every instance, if there is no snapshot.
    pub(crate) per_instance: Option<PerInstance>,
}

/// Settings with which every instance is configured.
pub(crate) struct PerInstance {
    pub(crate) settings: Val,
    /// The reason for which there is no snapshot, for people.
    pub(crate) why: String,
}

/// Returns the error for a load whose thread panicked. wizer panics when a guest is not as it
/// expects.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> LoadError {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text
        .and_then(|text| text.lines().next())
        .unwrap_or("a panic");
    // wizer reads the guest's state by functions of its own, which stop at the time limit too.
    let why = if text.ends_with("interrupt") {
        "that took longer than its time limit; try again on a machine that is less busy"
    } else {
        "the guest has a state that wasmtime-wizer can't read, such as memory that is filled up to \
         the host's limit"
    };
    LoadError::component(format!("pre-initialisation failed ({text}); {why}"))
}

impl Engine {
    /// Loads a component: checks, compiles and configures it, or takes it from the cache.
    ///
    /// # Errors
    ///
    /// Fails when the component, its guest code or its settings are invalid.
    pub(crate) fn prepare(&self, request: &LoadRequest<'_>) -> Result<Prepared, LoadError> {
        on_thread(request.name, || {
            let compiled = self.compiled(request, self.snapshots)?;
            Load::new(self, request.name, request.memory).restore(compiled, request)
        })
    }

    /// Asks a component for its description and defaults without configuring it, for one that
    /// refuses its defaults.
    ///
    /// # Errors
    ///
    /// Fails when the component or its guest code is invalid.
    pub(crate) fn prepare_unconfigured(
        &self,
        request: &LoadRequest<'_>,
    ) -> Result<(Description, Option<Value>), LoadError> {
        on_thread(request.name, || {
            let (component, _) = self.compiled(request, false)?;
            let load = Load::new(self, request.name, request.memory);
            let (guest, description) = load.describe(&component)?;
            let settings = request.component.settings();
            let defaults = settings.map(|ty| load.defaults(&guest, ty)).transpose()?;
            Ok((description, defaults))
        })
    }

    /// Returns a component's compiled code, and the reason for which it has no snapshot.
    fn compiled(
        &self,
        request: &LoadRequest<'_>,
        snapshot: bool,
    ) -> Result<(Component, Option<String>), LoadError> {
        let bytes = request.component.bytes();
        // Code that is no snapshot serves all settings.
        let settings = if snapshot {
            serde_json::to_string(request.settings).expect("settings are JSON")
        } else {
            String::new()
        };
        let key = Key::new(&self.inner, bytes, &settings, request.memory);
        if let Some(cached) = self
            .cache
            .as_ref()
            .and_then(|cache| cache.find(&self.inner, &key))
        {
            return Ok(cached);
        }
        if let Some(problem) = self.given_up.find(&key, Instant::now()) {
            return Err(LoadError::component(problem));
        }
        let slow = Slow {
            after: self.slow.after,
            tell: &|| {
                (self.slow.tell)(&Compilation {
                    policy: request.name,
                    bytes: bytes.len(),
                    is_kept: self.cache.is_some(),
                });
            },
        };
        let resources = self.compiling_resources();
        let made = match child::compile(request, snapshot, &resources, slow) {
            Ok(made) => made,
            Err(CompileError::Refused(error)) => return Err(error),
            Err(CompileError::GivenUp(problem)) => {
                self.given_up.add(key, &problem, Instant::now());
                return Err(LoadError::component(problem));
            }
        };
        self.count_compilations(made.compilations);
        made.log.iter().for_each(|line| line.emit(request.name));
        if let Some(cache) = self.cache.as_ref().filter(|_| made.cacheable) {
            cache.keep(&key, &made.compiled);
        }
        let component = cache::deserialize(&self.inner, &made.compiled.code);
        let component = component.map_err(|error| {
            LoadError::component(format!("can't be run as compiled: {error:#}"))
        })?;
        Ok((component, made.compiled.no_snapshot))
    }
}

/// Runs a load on a thread of its own, where a panic becomes a load error.
fn on_thread<T: Send>(
    policy: &str,
    run: impl FnOnce() -> Result<T, LoadError> + Send,
) -> Result<T, LoadError> {
    let thread = std::thread::Builder::new()
        .name(format!("load {policy}"))
        .stack_size(LOAD_STACK);
    std::thread::scope(|scope| {
        let run = thread
            .spawn_scoped(scope, run)
            .expect("a process can start one more thread");
        run.join().unwrap_or_else(|panic| Err(panicked(&*panic)))
    })
}

/// Calls of guest code at load, under limits of their own.
pub(super) struct Load<'a> {
    pub(super) engine: &'a Engine,
    name: &'a Arc<str>,
    budget: Budget,
}

impl<'a> Load<'a> {
    /// Creates the limits for calls at load. `memory` is the policy's limit in bytes.
    pub(super) fn new(engine: &'a Engine, name: &'a Arc<str>, memory: usize) -> Self {
        Self {
            engine,
            name,
            budget: Budget {
                time: engine.load_time,
                memory,
                output: LOAD_OUTPUT,
            },
        }
    }

    /// Asks compiled code for its description and defaults. If it is no snapshot, checks that it
    /// can be configured.
    fn restore(
        &self,
        (component, no_snapshot): (Component, Option<String>),
        request: &LoadRequest<'_>,
    ) -> Result<Prepared, LoadError> {
        let (guest, mut description) = self.describe(&component)?;
        let Some(ty) = request.component.settings() else {
            return Ok(Prepared {
                guest,
                description,
                settings: None,
            });
        };
        let defaults = self.defaults(&guest, ty)?;
        let merged = settings::merge(ty, &defaults, request.settings)?;
        let per_instance = no_snapshot.map(|why| PerInstance {
            settings: to_val(&merged),
            why,
        });
        if let Some(PerInstance { settings, .. }) = &per_instance {
            let (mut store, instance) = self.instantiate(&guest)?;
            let refused = call_configure(&mut store, &instance, settings)
                .map_err(|error| self.guest("configure", &error, &store))?;
            if !refused.is_empty() {
                return Err(refused.into());
            }
            description = self.describe_again(&guest, store, &instance)?;
        }
        Ok(Prepared {
            guest,
            description,
            settings: Some(LoadedSettings {
                defaults,
                merged,
                per_instance,
            }),
        })
    }

    /// Links a component. Also returns the instance on which its functions were checked.
    fn link(&self, component: &Component) -> Result<(Guest, Store<State>, Instance), LoadError> {
        let misfit = |error: wasmtime::Error| {
            LoadError::component(format!("does not fit its contract: {error:#}"))
        };
        let pre = self
            .engine
            .linker
            .instantiate_pre(component)
            .map_err(misfit)?;
        let (mut store, instance) = self.first_instance(&pre)?;
        let guest = Guest::check(pre, &mut store, &instance).map_err(misfit)?;
        Ok((guest, store, instance))
    }

    /// Instantiates a component for the first time. That makes its memory image, in a memfd that
    /// wasmtime seals. The kernel refuses this (EBUSY) when it still holds a page of it after 150
    /// ms, for example to move it (`memfd_wait_for_pins` in Linux' mm/memfd.c): then it is tried
    /// again.
    fn first_instance(
        &self,
        pre: &InstancePre<State>,
    ) -> Result<(Store<State>, Instance), LoadError> {
        let mut attempts = 1;
        loop {
            let mut store = self.engine.store(self.name, self.budget);
            match pre.instantiate(&mut store) {
                Ok(instance) => return Ok((store, instance)),
                Err(error) if attempts < MAX_ATTEMPTS && is_busy(&error) => attempts += 1,
                Err(error) => return Err(self.guest("instantiation", &error, &store)),
            }
            std::thread::sleep(PAUSE);
        }
    }

    pub(super) fn instantiate(&self, guest: &Guest) -> Result<(Store<State>, Instance), LoadError> {
        let mut store = self.engine.store(self.name, self.budget);
        match guest.instantiate(&mut store) {
            Ok(instance) => Ok((store, instance)),
            Err(error) => Err(self.guest("instantiation", &error, &store)),
        }
    }

    pub(super) fn describe(
        &self,
        component: &Component,
    ) -> Result<(Guest, Description), LoadError> {
        let (guest, mut store, instance) = self.link(component)?;
        match guest.describe(&mut store, &instance) {
            Ok(description) => Ok((guest, description)),
            Err(error) => Err(self.guest("describe", &error, &store)),
        }
    }

    /// Asks a configured instance for its description.
    fn describe_again(
        &self,
        guest: &Guest,
        mut store: Store<State>,
        instance: &Instance,
    ) -> Result<Description, LoadError> {
        guest
            .describe(&mut store, instance)
            .map_err(|error| self.guest("describe", &error, &store))
    }

    pub(super) fn defaults(&self, guest: &Guest, ty: &Record) -> Result<Value, LoadError> {
        let (mut store, instance) = self.instantiate(guest)?;
        let function = instance
            .get_func(&mut store, "defaults")
            .expect("checked: it is exported");
        let mut results = [Val::Bool(false)];
        let called = function.call(&mut store, &[], &mut results);
        let [defaults] = results;
        called.map_err(|error| self.guest("defaults", &error, &store))?;
        // The component's type was checked, so this is always a value.
        let value = from_val(&defaults)
            .ok_or_else(|| LoadError::component("defaults returned what can't be settings"))?;
        value.with_json(&Type::Record(ty.clone())).map_err(|error| {
            LoadError::component(format!(
                "defaults returned JSON text that can't be parsed: {error}"
            ))
        })
    }

    pub(super) fn guest(
        &self,
        function: &str,
        error: &wasmtime::Error,
        store: &Store<State>,
    ) -> LoadError {
        let why = if store.data().memory_refused() {
            format!(
                "needs more than its memory limit of {} KiB; raise spec.limits.memory",
                self.budget.memory >> 10
            )
        } else if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            format!("did not end within {}", units::display(self.budget.time))
        } else {
            error.downcast_ref::<Trap>().map_or_else(
                || format!("failed: {error:#}"),
                |trap| match store.data().last_error() {
                    Some(last) => format!("trapped: {last}"),
                    // Mostly the function returned something that could not be made a record.
                    None if function == "defaults" => format!(
                        "trapped: {trap}; does it return every field of the record `settings` of \
                         its WIT, of the right type?"
                    ),
                    None => format!("trapped: {trap}"),
                },
            )
        };
        LoadError::component(format!("{function} {why}"))
    }
}

/// Calls `configure`, and returns the settings that it refuses.
pub(crate) fn call_configure(
    store: &mut Store<State>,
    instance: &Instance,
    settings: &Val,
) -> wasmtime::Result<Vec<SettingsError>> {
    let function = instance
        .get_func(&mut *store, "configure")
        .expect("checked: it is exported");
    let mut results = [Val::Bool(false)];
    function.call(&mut *store, std::slice::from_ref(settings), &mut results)?;
    let [Val::Result(Err(Some(errors)))] = results else {
        return Ok(vec![]);
    };
    let Val::List(errors) = *errors else {
        return Ok(vec![]);
    };
    Ok(errors.into_iter().filter_map(settings_error).collect())
}

/// Converts a record of two strings, which the type check has made sure of.
fn settings_error(error: Val) -> Option<SettingsError> {
    let Val::Record(fields) = error else {
        return None;
    };
    let mut texts = fields.into_iter().filter_map(|(_, value)| match value {
        Val::String(text) => Some(text),
        _ => None,
    });
    Some(SettingsError {
        path: texts.next()?,
        message: texts.next()?,
    })
}

/// Returns true if the kernel could not do something at this moment.
fn is_busy(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ResourceBusy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with a cause, as memfd has them.
    #[derive(Debug, thiserror::Error)]
    #[error("can't seal")]
    struct Sealing(#[source] io::Error);

    #[test]
    fn a_busy_kernel_is_found_among_the_causes() {
        let error = |kind: io::ErrorKind| wasmtime::Error::from(Sealing(kind.into()));
        assert!(is_busy(
            &error(io::ErrorKind::ResourceBusy).context("instantiating")
        ));
        assert!(!is_busy(&error(io::ErrorKind::OutOfMemory)));
        assert!(!is_busy(&wasmtime::Error::msg("busy")));
    }
}
