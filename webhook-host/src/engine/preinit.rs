//! Settings baked in ahead of time.
//!
//! `configure` runs once, at load, on an instrumented copy of the component; wasmtime-wizer makes a component of the state
//! it leaves behind, and that snapshot is what every evaluation instantiates. We drive wizer's two halves ourselves:
//! `configure` gets typed values instead of text, and wizer's own runner, which unwraps where a guest misbehaves, is left out.
//! A component that can't be snapshotted still works: it is configured in every fresh instance.
//!
//! With a [`Cache`], all of that happens once for a component, its settings and its limits: the next load reads
//! the compiled snapshot and asks it what it asked the component, and neither compiles nor configures.
//!
//! This runs guest code, so it has a thread of its own, with deadline and memory limit, where a panic is contained.

use super::cache::{Cache, Cached, Key};
use super::component::{self, Candidate, Configure, LoadProblem};
use super::guest::Guest;
use super::{Budget, Engine, MEMORIES, State};
use crate::contract::description::Description;
use serde_json::{Map, Value};
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{Component, Instance, Lift, Val, WasmList};
use wasmtime::{Store, Trap};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

/// What one guest function may take at load. Components that carry a language runtime initialise it here.
const LOAD_TIME: Duration = Duration::from_secs(5);

/// What a description, defaults or settings errors may take up in the host.
const LOAD_OUTPUT: usize = 1 << 20;

/// The stack of the thread that loads: the guest's, and cranelift's recursion over a large function.
const LOAD_STACK: usize = 8 << 20;

/// What wizer's accessors grow each memory by, to say where it is: a page whenever it is read, which is twice.
const ACCESSOR_MEMORY: usize = 2 * (64 << 10);

/// A component, ready to be asked.
pub(crate) struct Prepared {
    pub(crate) guest: Guest,
    pub(crate) description: Description,
    /// Settings that every instance must be given first; `None` when the snapshot holds them, or there are none.
    pub(crate) per_instance: Option<Val>,
    /// Why there is no snapshot, for people.
    pub(crate) no_snapshot: Option<String>,
}

impl LoadProblem {
    /// The thread that loads panicked. It is wizer that does so where a guest is not as it expects.
    fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.and_then(|text| text.lines().next()).unwrap_or("a panic");
        Self::Guest(format!(
            "pre-initialisation failed ({text}); the guest has a state that wasmtime-wizer can't read, such as memory \
             that is filled up to the host's limit"
        ))
    }
}

/// What is to be loaded.
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
    /// Compiles, checks and configures a component. `settle` turns the type of the settings and the policy's defaults into
    /// the settings to configure with, by what the manifest has alone; it is not called when the policy has none.
    pub(crate) fn prepare<E, F>(&self, order: &Order<'_>, settle: F) -> Result<Prepared, E>
    where
        E: From<LoadProblem> + From<Vec<(String, String)>> + Send,
        F: FnOnce(&Configure, Val) -> Result<Val, E> + Send,
    {
        let entry = self.cache.as_ref().map(|cache| {
            let settings = serde_json::to_string(order.written).expect("settings are JSON");
            (cache, Key::new(&self.inner, order.candidate.bytes, &settings, order.memory))
        });
        let load = Load {
            engine: self,
            order,
            budget: Budget { time: LOAD_TIME, memory: order.memory, output: LOAD_OUTPUT },
            entry,
        };
        let thread = std::thread::Builder::new().name(format!("load {}", order.name)).stack_size(LOAD_STACK);
        std::thread::scope(|scope| {
            let run = thread.spawn_scoped(scope, || load.run(settle)).expect("a process can start one more thread");
            run.join().unwrap_or_else(|panic| Err(LoadProblem::panicked(&*panic).into()))
        })
    }
}

/// One component being loaded.
struct Load<'a> {
    engine: &'a Engine,
    order: &'a Order<'a>,
    budget: Budget,
    /// Its place in the cache.
    entry: Option<(&'a Cache, Key)>,
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
        match self.entry.as_ref().and_then(|(cache, key)| cache.find(&self.engine.inner, key)) {
            Some(cached) => self.restore(&cached, settle),
            None => self.prepare(settle),
        }
    }

    /// From the cache, where nothing is that would answer otherwise than the component.
    fn restore<E, F>(&self, cached: &Cached, settle: F) -> Result<Prepared, E>
    where
        E: From<LoadProblem>,
        F: FnOnce(&Configure, Val) -> Result<Val, E>,
    {
        let configure = component::check(&cached.component)?;
        let (guest, description) = self.describe(&cached.component)?;
        let Some(configure) = configure else {
            return Ok(Prepared { guest, description, per_instance: None, no_snapshot: None });
        };
        let settings = settle(&configure, self.defaults(&guest)?)?;
        let Some(why) = cached.no_snapshot.clone() else {
            return Ok(Prepared { guest, description, per_instance: None, no_snapshot: None });
        };
        let (mut store, instance) = self.instantiate(&guest)?;
        call_configure(&mut store, &instance, &settings).map_err(|error| self.guest("configure", &error, &store))?;
        let description = self.describe_again(&guest, store, &instance)?;
        Ok(Prepared { guest, description, per_instance: Some(settings), no_snapshot: Some(why) })
    }

    fn prepare<E, F>(&self, settle: F) -> Result<Prepared, E>
    where
        E: From<LoadProblem> + From<Vec<(String, String)>>,
        F: FnOnce(&Configure, Val) -> Result<Val, E>,
    {
        let start = self.start()?;
        let configure = component::check(&start.component)?;
        let (guest, description) = self.describe(&start.component)?;
        let Some(configure) = configure else {
            self.keep(&start.component, None);
            return Ok(Prepared { guest, description, per_instance: None, no_snapshot: None });
        };
        let defaults = self.defaults(&guest)?;
        let settings = settle(&configure, defaults.clone())?;
        let (mut store, instance) = self.instantiate(&guest)?;
        let refused = call_configure(&mut store, &instance, &settings)
            .map_err(|error| self.guest("configure", &error, &store))?;
        if !refused.is_empty() {
            return Err(refused.into());
        }
        match start.snapshot {
            Err(why) => {
                let description = self.describe_again(&guest, store, &instance)?;
                self.keep(&start.component, Some(&why));
                Ok(Prepared { guest, description, per_instance: Some(settings), no_snapshot: Some(why) })
            }
            Ok(context) => {
                let component = self.snapshot(&context, store, instance)?;
                let (guest, description) = self.describe(&component)?;
                self.keep_snapshot(&component, &guest, &defaults);
                Ok(Prepared { guest, description, per_instance: None, no_snapshot: None })
            }
        }
    }

    fn keep(&self, component: &Component, no_snapshot: Option<&str>) {
        if let Some((cache, key)) = &self.entry {
            cache.keep(key, component, no_snapshot);
        }
    }

    /// A load from the cache has nothing but the snapshot to ask, so one that has other defaults than the component that it was
    /// made of is not kept.
    fn keep_snapshot(&self, component: &Component, guest: &Guest, defaults: &Val) {
        if self.entry.is_some() && self.defaults(guest).is_ok_and(|again| again == *defaults) {
            self.keep(component, None);
        }
    }

    /// A component with settings is instrumented before it is compiled, so that it is compiled once for `configure` and once
    /// as a snapshot, and never for nothing.
    fn start(&self) -> Result<Start<'a>, LoadProblem> {
        let bytes = self.order.candidate.bytes;
        let compile =
            |bytes: &[u8]| self.engine.compile(bytes).map_err(|error| LoadProblem::corrupt(&format!("{error:#}")));
        if !self.order.candidate.has_settings() {
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
        let mut store = self.engine.store(self.order.name, self.budget);
        let instance = pre.instantiate(&mut store).map_err(|error| self.guest("instantiation", &error, &store))?;
        let guest = Guest::check(pre, &mut store, &instance).map_err(misfit)?;
        Ok((guest, store, instance))
    }

    fn instantiate(&self, guest: &Guest) -> Result<(Store<State>, Instance), LoadProblem> {
        let mut store = self.engine.store(self.order.name, self.budget);
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

    /// What a configured instance says about itself.
    fn describe_again(
        &self,
        guest: &Guest,
        mut store: Store<State>,
        instance: &Instance,
    ) -> Result<Description, LoadProblem> {
        guest.describe(&mut store, instance).map_err(|error| self.guest("describe", &error, &store))
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
        // Of a memory that the guest has filled up, too.
        store.data_mut().allow(MEMORIES as usize * ACCESSOR_MEMORY);
        // wizer reads the whole memory, in place.
        store.set_hostcall_fuel(usize::MAX);
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
