//! Pre-initialisation with the settings baked in, in the child process that compiles.
//!
//! `configure` runs once, on an instrumented copy of the component; wasmtime-wizer makes a
//! component of the state that it leaves behind, and every evaluation instantiates that snapshot.
//! So a component is compiled twice: the copy quickly, since its code runs once, and the snapshot
//! well. Both halves of wizer are driven from here: `configure` gets typed values instead of text,
//! and wizer's own runner is avoided, because it unwraps when a guest misbehaves.
//!
//! A later load can ask only the snapshot for its defaults, so a policy whose defaults change when
//! it is configured is not snapshotted. Called by `child`.

use super::cache::Compiled;
use super::load::{LOAD_STACK, Load, call_configure, panicked};
use super::state::Line;
use super::values::to_val;
use super::{Engine, Optimised, State};
use sallyport_core::component::MAX_MEMORIES;
use sallyport_core::policy::LoadError;
use sallyport_core::settings::{self, Record};
use sallyport_core::units::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::{Component, Instance, Lift, WasmList};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

/// The bytes by which wizer's accessors grow each memory: a page at each of two reads, to return
/// where it is.
const ACCESSOR_MEMORY: usize = 2 * (64 << 10);

/// A component to compile, whose imports, exports and bounds were checked.
pub(super) struct CompileRequest<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) name: &'a str,
    /// The manifest's settings, before they are merged over the defaults.
    pub(super) settings: &'a Map<String, Value>,
    /// The type of the settings; `None` when it has none.
    pub(super) settings_type: Option<&'a Record>,
    /// The policy's memory limit, in bytes.
    pub(super) memory: usize,
    /// True if the settings are to be baked in.
    pub(super) snapshot: bool,
    /// The time for one guest function.
    pub(super) load_time: Duration,
}

/// A compiled component.
pub(super) struct Made {
    pub(super) compiled: Compiled,
    /// True if it may be cached.
    pub(super) cacheable: bool,
    /// The lines that `configure` logged.
    pub(super) log: Vec<Line>,
}

/// Compiles and configures a component on a thread of its own, where a panic is contained. Also
/// returns the number of compilations. `slot` is the largest memory limit of any policy; `threads`
/// compile.
pub(super) fn make(
    request: &CompileRequest<'_>,
    slot: Bytes,
    threads: usize,
) -> (Result<Made, LoadError>, u64) {
    let engine = |optimised| Engine::for_compiling(slot, optimised, threads, request.load_time);
    let (kept, once) = match (engine(Optimised::Fully), engine(Optimised::Hardly)) {
        (Ok(kept), Ok(once)) => (kept, once),
        (Err(error), _) | (_, Err(error)) => {
            return (Err(LoadError::component(error.to_string())), 0);
        }
    };
    let name: Arc<str> = request.name.into();
    let task = Task {
        kept: Load::new(&kept, &name, request.memory),
        once: Load::new(&once, &name, request.memory),
        request,
    };
    let thread = std::thread::Builder::new()
        .name("compile".into())
        .stack_size(LOAD_STACK);
    let made = std::thread::scope(|scope| {
        let run = match thread.spawn_scoped(scope, || task.run()) {
            Ok(run) => run,
            Err(error) => {
                return Err(LoadError::component(format!(
                    "no thread to compile on: {error}"
                )));
            }
        };
        run.join().unwrap_or_else(|panic| Err(panicked(&*panic)))
    });
    (made, kept.compilations() + once.compilations())
}

/// The compilation of one component.
struct Task<'a> {
    /// Compiles the code that is kept.
    kept: Load<'a>,
    /// Compiles the component that `configure` runs in, and that is dropped afterwards.
    once: Load<'a>,
    request: &'a CompileRequest<'a>,
}

/// A configured instance.
struct Configured {
    defaults: settings::Value,
    store: Store<State>,
    instance: Instance,
    /// The lines that `configure` logged.
    log: Vec<Line>,
}

impl Task<'_> {
    fn run(&self) -> Result<Made, LoadError> {
        let Some(ty) = self.request.settings_type else {
            let component = compile(&self.kept, self.request.bytes)?;
            self.kept.describe(&component)?;
            return made(&component, None, true, vec![]);
        };
        if !self.request.snapshot {
            // The code serves all settings: whoever loads it configures its instances.
            let component = compile(&self.kept, self.request.bytes)?;
            self.kept.describe(&component)?;
            let why = "there are no snapshots for suites".to_owned();
            return made(&component, Some(why), true, vec![]);
        }
        match Wizer::new().instrument_component(self.request.bytes) {
            Ok((context, instrumented)) => self.snapshot(&context, &instrumented, ty),
            Err(error) => {
                let component = compile(&self.kept, self.request.bytes)?;
                let configured = self.configure(&self.kept, &component, ty)?;
                made(&component, Some(format!("{error:#}")), true, configured.log)
            }
        }
    }

    /// Merges the manifest's settings over the component's defaults, and configures an instance.
    fn configure(
        &self,
        load: &Load<'_>,
        component: &Component,
        ty: &Record,
    ) -> Result<Configured, LoadError> {
        let (guest, _) = load.describe(component)?;
        let defaults = load.defaults(&guest, ty)?;
        let settings = settings::merge(ty, &defaults, self.request.settings)?;
        let (mut store, instance) = load.instantiate(&guest)?;
        store.data_mut().keep_lines();
        let refused = call_configure(&mut store, &instance, &to_val(&settings))
            .map_err(|error| load.guest("configure", &error, &store))?;
        if !refused.is_empty() {
            return Err(refused.into());
        }
        let log = store.data_mut().take_lines();
        Ok(Configured {
            defaults,
            store,
            instance,
            log,
        })
    }

    /// Configures the instrumented component, and compiles the snapshot of its state.
    fn snapshot(
        &self,
        context: &ComponentContext<'_>,
        instrumented: &[u8],
        ty: &Record,
    ) -> Result<Made, LoadError> {
        let instrumented = compile(&self.once, instrumented)?;
        let Configured {
            defaults,
            store,
            instance,
            log,
        } = self.configure(&self.once, &instrumented, ty)?;
        let bytes = snapshot_bytes(context, store, instance)?;
        drop(instrumented);
        let component = self.kept.engine.translate(&bytes).map_err(|error| {
            LoadError::component(format!("its snapshot can't be compiled: {error:#}"))
        })?;
        let (guest, _) = self.kept.describe(&component)?;
        let again = self.kept.defaults(&guest, ty);
        if again.is_ok_and(|again| again == defaults) {
            return made(&component, None, true, log);
        }
        let why =
            "`defaults` returns something else after `configure`; return a constant".to_owned();
        let component = compile(&self.kept, self.request.bytes)?;
        made(&component, Some(why), false, log)
    }
}

fn compile(load: &Load<'_>, bytes: &[u8]) -> Result<Component, LoadError> {
    let compiled = load.engine.translate(bytes);
    compiled.map_err(|error| LoadError::component(format!("can't be compiled: {error:#}")))
}

/// Makes a component of the state of a configured instance.
fn snapshot_bytes(
    context: &ComponentContext<'_>,
    mut store: Store<State>,
    instance: Instance,
) -> Result<Vec<u8>, LoadError> {
    // Allows the accessors to read a memory that the guest has filled.
    store
        .data_mut()
        .allow(MAX_MEMORIES as usize * ACCESSOR_MEMORY);
    // wizer reads the whole memory, in place.
    store.set_hostcall_fuel(usize::MAX);
    let mut access = Access {
        store: &mut store,
        instance,
    };
    pollster::block_on(Wizer::new().snapshot_component(context, &mut access))
        .map_err(|error| LoadError::component(format!("can't be snapshotted: {error:#}")))
}

fn made(
    component: &Component,
    no_snapshot: Option<String>,
    cacheable: bool,
    log: Vec<Line>,
) -> Result<Made, LoadError> {
    let code = component.serialize();
    let code = code
        .map_err(|error| LoadError::component(format!("its code can't be passed on: {error:#}")))?;
    Ok(Made {
        compiled: Compiled { code, no_snapshot },
        cacheable,
        log,
    })
}

/// wizer's view of the configured instance.
struct Access<'a> {
    store: &'a mut Store<State>,
    instance: Instance,
}

impl Access<'_> {
    /// Calls one of the accessors, which are wizer's own code in the instrumented component. If it
    /// is missing or traps, the panic ends this thread and is reported as a load error.
    fn call<R, T>(
        &mut self,
        interface: &str,
        function: &str,
        read: impl FnOnce(&Store<State>, R) -> T,
    ) -> T
    where
        R: Lift + Send + Sync + 'static,
    {
        let export = self
            .instance
            .get_export_index(&mut *self.store, None, interface);
        let export = export.and_then(|interface| {
            self.instance
                .get_export_index(&mut *self.store, Some(&interface), function)
        });
        let export = export.expect("wizer exports what it instrumented");
        let accessor = self
            .instance
            .get_typed_func::<(), (R,)>(&mut *self.store, export)
            .expect("wizer's own types");
        let (value,) = accessor
            .call(&mut *self.store, ())
            .expect("wizer's accessors don't trap");
        read(&*self.store, value)
    }
}

impl ComponentInstanceState for Access<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        interface: &str,
        function: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        self.call(interface, function, |store, list: WasmList<u8>| {
            contents(list.as_le_slice(store))
        });
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
