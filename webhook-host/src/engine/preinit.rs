//! Settings baked in ahead of time.
//!
//! `configure` runs once, at load, on an instrumented copy of the component; wasmtime-wizer makes a component of the state
//! it leaves behind, and that snapshot is what every evaluation instantiates. We drive wizer's two halves ourselves:
//! `configure` gets typed values instead of text, and wizer's own runner, which unwraps where a guest misbehaves, is left out.
//! A component that can't be snapshotted still works: it is configured in every fresh instance.
//!
//! This runs guest code, so it has a thread of its own, with deadline and memory limit, where a panic is contained.

use super::component::{self, Candidate, Configure, LoadProblem};
use super::guest::Guest;
use super::{Budget, Engine, State};
use crate::contract::description::Description;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{Component, Instance, Lift, Val, WasmList};
use wasmtime::{Store, Trap};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

/// What one guest function may take at load. Components that carry a language runtime initialise it here.
const LOAD_TIME: Duration = Duration::from_secs(5);

/// The stack of the thread that loads: the guest's, and cranelift's recursion over a large function.
const LOAD_STACK: usize = 8 << 20;

/// A component, ready to be asked.
pub(crate) struct Prepared {
    pub(crate) guest: Guest,
    pub(crate) description: Description,
    /// Settings that every instance must be given first; `None` when the snapshot holds them, or there are none.
    pub(crate) per_instance: Option<Val>,
    /// Why there is no snapshot, for people.
    pub(crate) no_snapshot: Option<String>,
}

impl Engine {
    /// Compiles, checks and configures a component. `settle` turns the type of the settings and the policy's defaults into
    /// the settings to configure with; it is not called when the policy has none.
    pub(crate) fn prepare<E, F>(
        &self,
        candidate: &Candidate<'_>,
        name: &Arc<str>,
        memory: usize,
        settle: F,
    ) -> Result<Prepared, E>
    where
        E: From<LoadProblem> + From<Vec<(String, String)>> + Send,
        F: FnOnce(&Configure, Val) -> Result<Val, E> + Send,
    {
        let budget = Budget { time: LOAD_TIME, memory };
        let load = Load { engine: self, candidate, name, budget };
        let thread = std::thread::Builder::new().name(format!("load {name}")).stack_size(LOAD_STACK);
        std::thread::scope(|scope| {
            let run = thread.spawn_scoped(scope, || load.run(settle)).expect("a process can start one more thread");
            run.join().unwrap_or_else(|_| {
                Err(LoadProblem::Guest(
                    "pre-initialisation failed inside wasmtime-wizer; the guest left it a state that it can't read"
                        .into(),
                )
                .into())
            })
        })
    }
}

/// One component being loaded.
struct Load<'a> {
    engine: &'a Engine,
    candidate: &'a Candidate<'a>,
    name: &'a Arc<str>,
    budget: Budget,
}

/// The component that runs at load: instrumented for a snapshot where that is possible.
struct Start<'a> {
    component: Component,
    snapshot: Result<ComponentContext<'a>, String>,
}

impl<'a> Load<'a> {
    fn run<E, F>(&self, settle: F) -> Result<Prepared, E>
    where
        E: From<LoadProblem> + From<Vec<(String, String)>>,
        F: FnOnce(&Configure, Val) -> Result<Val, E>,
    {
        let start = self.start()?;
        let configure = component::check(&start.component)?;
        let (guest, description) = self.describe(&start.component)?;
        let Some(configure) = configure else {
            return Ok(Prepared { guest, description, per_instance: None, no_snapshot: None });
        };
        let settings = settle(&configure, self.defaults(&guest)?)?;
        let (mut store, instance) = self.instantiate(&guest)?;
        let refused = call_configure(&mut store, &instance, &settings)
            .map_err(|error| self.guest("configure", &error, &store))?;
        if !refused.is_empty() {
            return Err(refused.into());
        }
        match start.snapshot {
            Err(why) => Ok(Prepared { guest, description, per_instance: Some(settings), no_snapshot: Some(why) }),
            Ok(context) => {
                let (guest, _, _) = self.link(&self.snapshot(&context, store, instance)?)?;
                Ok(Prepared { guest, description, per_instance: None, no_snapshot: None })
            }
        }
    }

    /// A component with settings is instrumented before it is compiled, so that it is compiled once for `configure` and once
    /// as a snapshot, and never for nothing.
    fn start(&self) -> Result<Start<'a>, LoadProblem> {
        let bytes = self.candidate.bytes;
        let compile =
            |bytes: &[u8]| self.engine.compile(bytes).map_err(|error| LoadProblem::corrupt(&format!("{error:#}")));
        if !self.candidate.has_settings() {
            return Ok(Start { component: compile(bytes)?, snapshot: Err("the policy has no settings".into()) });
        }
        match Wizer::new().instrument_component(bytes) {
            Ok((context, instrumented)) => Ok(Start { component: compile(&instrumented)?, snapshot: Ok(context) }),
            Err(error) => Ok(Start { component: compile(bytes)?, snapshot: Err(format!("{error:#}")) }),
        }
    }

    /// A linked component, and the instance on which its functions were checked.
    fn link(&self, component: &Component) -> Result<(Guest, Store<State>, Instance), LoadProblem> {
        let misfit = |error: wasmtime::Error| LoadProblem::Guest(format!("does not fit its contract: {error:#}"));
        let pre = self.engine.linker.instantiate_pre(component).map_err(misfit)?;
        let mut store = self.engine.store(self.name, self.budget);
        let instance = pre.instantiate(&mut store).map_err(|error| self.guest("instantiation", &error, &store))?;
        let guest = Guest::check(pre, &mut store, &instance).map_err(misfit)?;
        Ok((guest, store, instance))
    }

    fn instantiate(&self, guest: &Guest) -> Result<(Store<State>, Instance), LoadProblem> {
        let mut store = self.engine.store(self.name, self.budget);
        match guest.instantiate(&mut store) {
            Ok(instance) => Ok((store, instance)),
            Err(error) => Err(self.guest("instantiation", &error, &store)),
        }
    }

    fn describe(&self, component: &Component) -> Result<(Guest, Description), LoadProblem> {
        let (guest, mut store, instance) = self.link(component)?;
        match guest.describe(&mut store, &instance) {
            Ok(description) => Ok((guest, description)),
            Err(error) => Err(self.guest("describe", &error, &store)),
        }
    }

    fn defaults(&self, guest: &Guest) -> Result<Val, LoadProblem> {
        let (mut store, instance) = self.instantiate(guest)?;
        let function = instance.get_func(&mut store, "defaults").expect("checked: it is exported");
        let mut results = [Val::Bool(false)];
        let called = function.call(&mut store, &[], &mut results);
        let [defaults] = results;
        called.map(|()| defaults).map_err(|error| self.guest("defaults", &error, &store))
    }

    fn snapshot(
        &self,
        context: &ComponentContext<'_>,
        mut store: Store<State>,
        instance: Instance,
    ) -> Result<Component, LoadProblem> {
        let mut access = Access { store: &mut store, instance };
        let bytes = pollster::block_on(Wizer::new().snapshot_component(context, &mut access))
            .map_err(|error| LoadProblem::Guest(format!("can't be snapshotted: {error:#}")))?;
        self.engine
            .compile(&bytes)
            .map_err(|error| LoadProblem::Guest(format!("its snapshot can't be compiled: {error:#}")))
    }

    fn guest(&self, function: &str, error: &wasmtime::Error, store: &Store<State>) -> LoadProblem {
        let why = if store.data().memory_refused() {
            format!("needs more than its memory limit of {} KiB; raise spec.limits.memory", self.budget.memory >> 10)
        } else if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            format!("did not end within {} s", LOAD_TIME.as_secs())
        } else {
            error.downcast_ref::<Trap>().map_or_else(|| format!("failed: {error:#}"), |trap| format!("trapped: {trap}"))
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
    let function = instance.get_func(&mut *store, "configure").expect("checked: it is exported");
    let mut results = [Val::Bool(false)];
    function.call(&mut *store, std::slice::from_ref(settings), &mut results)?;
    let [Val::Result(Err(Some(errors)))] = results else { return Ok(vec![]) };
    let Val::List(errors) = *errors else { return Ok(vec![]) };
    Ok(errors.into_iter().filter_map(settings_error).collect())
}

/// A record of two strings, as the type check made sure.
fn settings_error(error: Val) -> Option<(String, String)> {
    let Val::Record(fields) = error else { return None };
    let mut texts = fields.into_iter().filter_map(|(_, value)| match value {
        Val::String(text) => Some(text),
        _ => None,
    });
    Some((texts.next()?, texts.next()?))
}

/// wizer's view of the configured instance.
struct Access<'a> {
    store: &'a mut Store<State>,
    instance: Instance,
}

impl Access<'_> {
    /// The accessors are wizer's own code in the instrumented component. If one is missing or traps, the panic ends this
    /// thread and is reported as a load error.
    fn call<R, T>(&mut self, interface: &str, function: &str, read: impl FnOnce(&Store<State>, R) -> T) -> T
    where
        R: Lift + Send + Sync + 'static,
    {
        let export = self.instance.get_export_index(&mut *self.store, None, interface);
        let export =
            export.and_then(|interface| self.instance.get_export_index(&mut *self.store, Some(&interface), function));
        let export = export.expect("wizer exports what it instrumented");
        let accessor = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, export).expect("wizer's own types");
        let (value,) = accessor.call(&mut *self.store, ()).expect("wizer's accessors don't trap");
        read(&*self.store, value)
    }
}

impl ComponentInstanceState for Access<'_> {
    async fn call_func_ret_list_u8(&mut self, interface: &str, function: &str, contents: impl FnOnce(&[u8]) + Send) {
        self.call(interface, function, |store, list: WasmList<u8>| contents(list.as_le_slice(store)));
    }

    async fn call_func_ret_s32(&mut self, interface: &str, function: &str) -> i32 {
        self.call(interface, function, |_, value| value)
    }

    async fn call_func_ret_s64(&mut self, interface: &str, function: &str) -> i64 {
        self.call(interface, function, |_, value| value)
    }

    async fn call_func_ret_f32(&mut self, interface: &str, function: &str) -> u32 {
        self.call(interface, function, |_, value: f32| value.to_bits())
    }

    async fn call_func_ret_f64(&mut self, interface: &str, function: &str) -> u64 {
        self.call(interface, function, |_, value: f64| value.to_bits())
    }
}
