//! A component made ready to be asked: from the cache, or by a child process that compiles and
//! configures it.
//!
//! Either way there is compiled code with the settings baked in where that can be, and the policy's
//! own word on its description and defaults is asked of that code. Guest code has a thread of its
//! own here, with deadline and memory limit, where a panic is contained. A component that can't be
//! snapshotted is configured in every fresh instance.

use super::cache::{self, Key};
use super::component::{self, Candidate, Configure, LoadProblem};
use super::guest::Guest;
use super::{Budget, Engine, State, child};
use crate::contract::description::Description;
use serde_json::{Map, Value};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, Instance, Val};
use wasmtime::{Store, Trap};

/// Time for one guest function at load. Components that carry a language runtime initialise it
/// here.
const LOAD_TIME: Duration = Duration::from_secs(5);

/// Bytes of the host that a description, defaults or settings errors may take.
const LOAD_OUTPUT: usize = 1 << 20;

/// The stack of a thread that loads: the guest's, and cranelift's recursion over a large function.
pub(super) const LOAD_STACK: usize = 8 << 20;

/// A component, ready to be asked.
pub(crate) struct Prepared {
    pub(crate) guest: Guest,
    pub(crate) description: Description,
    /// Settings that every instance must be given first; `None` when the snapshot holds them, or
    /// there are none.
    pub(crate) per_instance: Option<Val>,
    /// Why there is no snapshot, for people.
    pub(crate) no_snapshot: Option<String>,
}

impl LoadProblem {
    /// The thread that loads panicked. It is wizer that does so where a guest is not as it expects.
    pub(super) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text
            .and_then(|text| text.lines().next())
            .unwrap_or("a panic");
        Self::Guest(format!(
            "pre-initialisation failed ({text}); the guest has a state that wasmtime-wizer can't \
             read, such as memory \
             that is filled up to the host's limit"
        ))
    }
}

/// A component that is to be loaded.
pub(crate) struct Order<'a> {
    pub(crate) candidate: &'a Candidate<'a>,
    /// The policy's name, for the log.
    pub(crate) name: &'a Arc<str>,
    /// The memory limit, in bytes.
    pub(crate) memory: usize,
    /// The settings as the manifest has them.
    pub(crate) written: &'a Map<String, Value>,
}

impl Engine {
    /// Compiles, checks and configures a component. `settle` turns the type of the settings and the
    /// policy's defaults into the settings to configure with, by what the manifest has alone; it is
    /// not called when the policy has none.
    pub(crate) fn prepare<E, F>(&self, order: &Order<'_>, settle: F) -> Result<Prepared, E>
    where
        E: From<LoadProblem> + Send,
        F: FnOnce(&Configure, Val) -> Result<Val, E> + Send,
    {
        let thread = std::thread::Builder::new()
            .name(format!("load {}", order.name))
            .stack_size(LOAD_STACK);
        std::thread::scope(|scope| {
            let run = || {
                let compiled = self.compiled(order)?;
                Load::new(self, order.name, order.memory).restore(&compiled, settle)
            };
            let run = thread
                .spawn_scoped(scope, run)
                .expect("a process can start one more thread");
            run.join()
                .unwrap_or_else(|panic| Err(LoadProblem::panicked(&*panic).into()))
        })
    }

    /// A component's code, and why it is no snapshot.
    fn compiled(&self, order: &Order<'_>) -> Result<(Component, Option<String>), LoadProblem> {
        let settings = serde_json::to_string(order.written).expect("settings are JSON");
        let key = Key::new(&self.inner, order.candidate.bytes, &settings, order.memory);
        if let Some(cached) = self
            .cache
            .as_ref()
            .and_then(|cache| cache.find(&self.inner, &key))
        {
            return Ok(cached);
        }
        if let Some(problem) = self.given_up.find(&key, Instant::now()) {
            return Err(LoadProblem::Guest(problem));
        }
        let made = match child::compile(order, self.memory) {
            Ok(made) => made,
            Err(problem) => {
                if let LoadProblem::TooDear(problem) = &problem {
                    self.given_up.add(key, problem, Instant::now());
                }
                return Err(problem);
            }
        };
        self.count_compilations(made.compilations);
        made.log.iter().for_each(|line| line.emit(order.name));
        if let Some(cache) = self.cache.as_ref().filter(|_| made.keep) {
            cache.keep(&key, &made.compiled);
        }
        let component = cache::component(&self.inner, &made.compiled.code);
        let component = component
            .map_err(|error| LoadProblem::Guest(format!("can't be run as compiled: {error:#}")))?;
        Ok((component, made.compiled.no_snapshot))
    }
}

/// Guest code asked at load, under limits of its own.
pub(super) struct Load<'a> {
    pub(super) engine: &'a Engine,
    name: &'a Arc<str>,
    budget: Budget,
}

impl<'a> Load<'a> {
    /// `memory` is the policy's limit in bytes.
    pub(super) fn new(engine: &'a Engine, name: &'a Arc<str>, memory: usize) -> Self {
        Self {
            engine,
            name,
            budget: Budget {
                time: LOAD_TIME,
                memory,
                output: LOAD_OUTPUT,
            },
        }
    }

    /// Asks compiled code what it says of itself; `settle` is as in [`Engine::prepare`].
    fn restore<E, F>(
        &self,
        (component, no_snapshot): &(Component, Option<String>),
        settle: F,
    ) -> Result<Prepared, E>
    where
        E: From<LoadProblem>,
        F: FnOnce(&Configure, Val) -> Result<Val, E>,
    {
        let configure = component::settings_type(component)?;
        let (guest, description) = self.describe(component)?;
        let Some(configure) = configure else {
            return Ok(Prepared {
                guest,
                description,
                per_instance: None,
                no_snapshot: None,
            });
        };
        let settings = settle(&configure, self.defaults(&guest)?)?;
        let Some(why) = no_snapshot.clone() else {
            return Ok(Prepared {
                guest,
                description,
                per_instance: None,
                no_snapshot: None,
            });
        };
        let (mut store, instance) = self.instantiate(&guest)?;
        call_configure(&mut store, &instance, &settings)
            .map_err(|error| self.guest("configure", &error, &store))?;
        let description = self.describe_again(&guest, store, &instance)?;
        Ok(Prepared {
            guest,
            description,
            per_instance: Some(settings),
            no_snapshot: Some(why),
        })
    }

    /// A linked component, and the instance on which its functions were checked.
    fn link(&self, component: &Component) -> Result<(Guest, Store<State>, Instance), LoadProblem> {
        let misfit = |error: wasmtime::Error| {
            LoadProblem::Guest(format!("does not fit its contract: {error:#}"))
        };
        let pre = self
            .engine
            .linker
            .instantiate_pre(component)
            .map_err(misfit)?;
        let mut store = self.engine.store(self.name, self.budget);
        let instance = pre
            .instantiate(&mut store)
            .map_err(|error| self.guest("instantiation", &error, &store))?;
        let guest = Guest::check(pre, &mut store, &instance).map_err(misfit)?;
        Ok((guest, store, instance))
    }

    pub(super) fn instantiate(
        &self,
        guest: &Guest,
    ) -> Result<(Store<State>, Instance), LoadProblem> {
        let mut store = self.engine.store(self.name, self.budget);
        match guest.instantiate(&mut store) {
            Ok(instance) => Ok((store, instance)),
            Err(error) => Err(self.guest("instantiation", &error, &store)),
        }
    }

    pub(super) fn describe(
        &self,
        component: &Component,
    ) -> Result<(Guest, Description), LoadProblem> {
        let (guest, mut store, instance) = self.link(component)?;
        match guest.describe(&mut store, &instance) {
            Ok(description) => Ok((guest, description)),
            Err(error) => Err(self.guest("describe", &error, &store)),
        }
    }

    /// What a configured instance says about itself.
    fn describe_again(
        &self,
        guest: &Guest,
        mut store: Store<State>,
        instance: &Instance,
    ) -> Result<Description, LoadProblem> {
        guest
            .describe(&mut store, instance)
            .map_err(|error| self.guest("describe", &error, &store))
    }

    pub(super) fn defaults(&self, guest: &Guest) -> Result<Val, LoadProblem> {
        let (mut store, instance) = self.instantiate(guest)?;
        let function = instance
            .get_func(&mut store, "defaults")
            .expect("checked: it is exported");
        let mut results = [Val::Bool(false)];
        let called = function.call(&mut store, &[], &mut results);
        let [defaults] = results;
        called
            .map(|()| defaults)
            .map_err(|error| self.guest("defaults", &error, &store))
    }

    pub(super) fn guest(
        &self,
        function: &str,
        error: &wasmtime::Error,
        store: &Store<State>,
    ) -> LoadProblem {
        let why = if store.data().memory_refused() {
            format!(
                "needs more than its memory limit of {} KiB; raise spec.limits.memory",
                self.budget.memory >> 10
            )
        } else if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            format!("did not end within {} s", LOAD_TIME.as_secs())
        } else {
            error.downcast_ref::<Trap>().map_or_else(
                || format!("failed: {error:#}"),
                |trap| format!("trapped: {trap}"),
            )
        };
        LoadProblem::Guest(format!("{function} {why}"))
    }
}

/// Calls `configure`; gives the settings errors, path and message.
pub(crate) fn call_configure(
    store: &mut Store<State>,
    instance: &Instance,
    settings: &Val,
) -> wasmtime::Result<Vec<(String, String)>> {
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

/// A record of two strings, as the type check made sure.
fn settings_error(error: Val) -> Option<(String, String)> {
    let Val::Record(fields) = error else {
        return None;
    };
    let mut texts = fields.into_iter().filter_map(|(_, value)| match value {
        Val::String(text) => Some(text),
        _ => None,
    });
    Some((texts.next()?, texts.next()?))
}
