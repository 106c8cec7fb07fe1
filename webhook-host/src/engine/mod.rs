//! wasmtime, narrowed to what policies need: one engine a process, a fresh instance for every
//! evaluation.
//!
//! Invariants: a guest can call `log` and nothing else; it runs under a deadline (epochs), a memory
//! limit and a bounded stack; no state survives an evaluation; nothing is compiled in this process,
//! but in a child process with limits (`child`). Used by `evaluator`; its counters are read by
//! `metrics`.

mod cache;
mod child;
mod given_up;
mod guest;
mod load;
mod preinit;
mod request;
mod state;
mod ticker;
mod values;

pub use cache::{Cache, CacheCounts, CacheError};
pub(crate) use guest::Guest;
pub(crate) use load::{PerInstance, Prepared, call_configure};
pub(crate) use request::LoadRequest;
pub(crate) use state::{Budget, State};

use child::Resources;
use given_up::GivenUp;
use sallyport_core::component::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLES};
use sallyport_core::contract;
use sallyport_core::units::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use ticker::Ticker;
use wasmtime::component::{Component, Instance, Linker, Val};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, Store,
};

/// The configuration of an engine, which determines the size of its pool.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The number of evaluations that may run at the same time, at least 1. An evaluation runs
    /// inline on a worker thread, so the number of workers is enough.
    pub concurrency: u32,
    /// The largest memory limit that a policy may have.
    pub memory: Bytes,
    /// The cache of compiled code. `None`: everything is compiled at every start.
    pub cache: Option<Cache>,
    /// The bytes of a memory that stay mapped between two evaluations in one slot, so that
    /// resetting them is a copy and not a page fault.
    pub resident: usize,
    /// True if components are snapshotted with their settings. Else every instance is configured,
    /// and a component is compiled once for all settings: for suites, which load one with many
    /// settings and ask each a few times.
    pub snapshots: bool,
    /// The time for one guest function at load, where components that carry a language runtime
    /// initialise it.
    pub load_time: Duration,
    /// The report of a compilation that takes long.
    pub slow: SlowCompilation,
}

/// The function that reports a slow compilation, and the time after which it is called.
#[derive(Debug, Clone, Copy)]
pub struct SlowCompilation {
    /// The time, from the start of the compilation.
    pub after: Duration,
    /// Called once for each compilation that takes longer.
    pub tell: fn(&Compilation<'_>),
}

/// A compilation that is still running.
#[derive(Debug)]
pub struct Compilation<'a> {
    /// The policy.
    pub policy: &'a str,
    /// The size of its component, in bytes.
    pub bytes: usize,
    /// True if a cache keeps the result.
    pub is_kept: bool,
}

impl Default for SlowCompilation {
    /// Returns the default: a line in the log after a second.
    fn default() -> Self {
        Self {
            after: Duration::from_secs(1),
            tell: |compilation| {
                tracing::info!(
                    policy = compilation.policy,
                    bytes = compilation.bytes,
                    cached = compilation.is_kept,
                    "its component is being compiled"
                );
            },
        }
    }
}

impl Default for EngineConfig {
    /// Returns the default: sixteen workers, memory for a component that carries a JavaScript
    /// engine (about 20 MiB at rest), 5 s for a guest function at load, and no cache.
    fn default() -> Self {
        Self {
            concurrency: 16,
            memory: Bytes::new(64 << 20),
            cache: None,
            resident: RESIDENT_MEMORY,
            snapshots: true,
            load_time: LOAD_TIME,
            slow: SlowCompilation::default(),
        }
    }
}

/// The entries of a function table: a JavaScript engine has about 12,000.
const MAX_TABLE_ELEMENTS: usize = 40_000;

/// The bytes of a memory that stay mapped: ten times what a Rust guest touches.
const RESIDENT_MEMORY: usize = 1 << 20;
/// The bytes of a table that stay mapped.
const RESIDENT_TABLE: usize = 64 << 10;

/// Unused memories that keep the image of their last policy. Mapping another policy's image takes
/// 45 us instead of 9, so there are enough for some dozen policies on each worker. A slot takes
/// address space, and a warm one the pages that its guest touched, about 100 KiB.
const WARM_MEMORIES: u32 = 128;

/// See [`EngineConfig::load_time`].
const LOAD_TIME: Duration = Duration::from_secs(5);

/// The slots in a process that compiles one component. It uses two at a time.
const COMPILING_SLOTS: u32 = 4;

/// The additional core instances of a component while it is snapshotted: wizer's accessors.
const ACCESSORS: u32 = 1;

/// The bytes of the guest's native stack: a quarter of a tokio worker's 2 MiB, since the host's own
/// frames lie above it.
const GUEST_STACK: usize = 512 << 10;

/// The bytes of the native stack of a guest whose code is hardly optimised, since such code keeps
/// more values on the stack.
const UNOPTIMISED_STACK: usize = 4 * GUEST_STACK;

/// The quality of compiled code.
#[derive(Debug, Clone, Copy)]
enum Optimised {
    /// For code that is kept.
    Fully,
    /// For code that runs once: it is compiled in half of the time.
    Hardly,
}

/// The process' wasmtime engine, its pool and its clock.
pub struct Engine {
    inner: wasmtime::Engine,
    linker: Linker<State>,
    memory: Bytes,
    snapshots: bool,
    load_time: Duration,
    slow: SlowCompilation,
    cache: Option<Cache>,
    compilations: AtomicU64,
    given_up: GivenUp,
    /// True as soon as reviews need the processors.
    is_serving: AtomicBool,
    ticker: Ticker,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

/// An error: the machine can't run the engine, because it lacks virtual memory for the pool, or
/// because cranelift doesn't support its processor.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the WebAssembly engine can't start: {0}")]
pub struct EngineError(String);

impl From<wasmtime::Error> for EngineError {
    fn from(error: wasmtime::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

impl Engine {
    /// Reserves the pool and starts the epoch ticker.
    ///
    /// # Errors
    ///
    /// Fails when the operating system or the processor doesn't support it.
    pub fn new(config: &EngineConfig) -> Result<Self, EngineError> {
        // Two more slots than evaluations, because loads and inspection take slots too.
        let slots = config.concurrency.max(1) + 2;
        let mut pool = pool(slots, MAX_CORE_INSTANCES, WARM_MEMORIES, config.memory);
        pool.linear_memory_keep_resident(config.resident);
        Self::with_config(&wasmtime_config(pool), config)
    }

    /// Creates the engine of a process that compiles, with a small pool.
    fn for_compiling(
        memory: Bytes,
        optimised: Optimised,
        threads: usize,
        load_time: Duration,
    ) -> Result<Self, EngineError> {
        let core_instances = MAX_CORE_INSTANCES + ACCESSORS;
        let mut wasmtime = wasmtime_config(pool(COMPILING_SLOTS, core_instances, 0, memory));
        wasmtime.parallel_compilation(threads > 1);
        if let Optimised::Hardly = optimised {
            wasmtime
                .cranelift_opt_level(OptLevel::None)
                .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass)
                .max_wasm_stack(UNOPTIMISED_STACK);
        }
        let config = EngineConfig {
            concurrency: 1,
            memory,
            load_time,
            ..EngineConfig::default()
        };
        Self::with_config(&wasmtime, &config)
    }

    fn with_config(wasmtime: &Config, config: &EngineConfig) -> Result<Self, EngineError> {
        let inner = wasmtime::Engine::new(wasmtime)?;
        let mut linker = Linker::new(&inner);
        let log = format!("{}/log@{}", contract::PACKAGE, contract::VERSION);
        linker.instance(&log)?.func_wrap("log", State::log)?;
        let ticker = Ticker::start(&inner);
        Ok(Self {
            inner,
            linker,
            memory: config.memory,
            snapshots: config.snapshots,
            load_time: config.load_time,
            slow: config.slow,
            cache: config.cache.clone(),
            compilations: AtomicU64::new(0),
            given_up: GivenUp::default(),
            is_serving: AtomicBool::new(false),
            ticker,
        })
    }

    /// Leaves the processors to reviews: from now on one thread compiles, with a lower priority.
    pub(crate) fn begin_serving(&self) {
        self.is_serving.store(true, Ordering::Relaxed);
    }

    /// Returns what a compilation may take now.
    fn compiling_resources(&self) -> Resources {
        if self.is_serving.load(Ordering::Relaxed) {
            Resources::beside_reviews(self.memory, self.load_time)
        } else {
            Resources::alone(self.memory, self.load_time)
        }
    }

    /// Returns the number of compilations. A policy with settings is compiled twice, for
    /// `configure` and as a snapshot; a policy from the cache, never.
    pub fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }

    /// Returns the cache of compiled code, if there is one.
    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// Returns the largest memory limit that a policy may have.
    pub(crate) fn memory(&self) -> Bytes {
        self.memory
    }

    fn count_compilations(&self, more: u64) {
        self.compilations.fetch_add(more, Ordering::Relaxed);
    }

    /// Compiles a component in this process. Called in the child process only.
    fn translate(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        self.count_compilations(1);
        Component::from_binary(&self.inner, bytes)
    }

    /// Creates a store for one evaluation, whose deadline begins now.
    pub(crate) fn store(&self, policy: &Arc<str>, budget: Budget) -> Store<State> {
        let mut store = Store::new(&self.inner, State::new(policy, budget.memory));
        store.limiter(|state| state);
        // The memory limit doesn't bound lists of strings, since they may refer to the same memory
        // repeatedly.
        self.renew(&mut store, budget);
        store
    }

    /// Resets the limits on time and output for another evaluation in the same store.
    pub(crate) fn renew(&self, store: &mut Store<State>, budget: Budget) {
        store.set_hostcall_fuel(budget.output);
        store.set_epoch_deadline(self.ticker.deadline(budget.time));
    }

    /// Configures an instance. Without snapshots this stands for what a host does once, at load: it
    /// may take that long, its log lines are dropped, and the evaluation begins afterwards.
    pub(crate) fn configure(
        &self,
        store: &mut Store<State>,
        budget: Budget,
        instance: &Instance,
        settings: &Val,
    ) -> wasmtime::Result<()> {
        // The settings were accepted at load, and a pure function accepts them again.
        if self.snapshots {
            return call_configure(store, instance, settings).map(drop);
        }
        let time = self.load_time;
        self.renew(store, Budget { time, ..budget });
        let log = store.data_mut().set_log_aside();
        call_configure(store, instance, settings)?;
        store.data_mut().go_on_with(log);
        self.renew(store, budget);
        Ok(())
    }
}

/// Returns a pool with this many slots, each for a component of at most `core_instances`. `warm`
/// memories that are not in use keep their last image.
///
/// A core instance is memory of the ordinary heap, so their number costs nothing until they are
/// made. A memory takes 4 GiB of address space, a table 640 KB.
fn pool(slots: u32, core_instances: u32, warm: u32, memory: Bytes) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * core_instances)
        .total_memories(slots * MAX_MEMORIES + warm)
        .max_unused_warm_slots(warm)
        .total_tables(slots * MAX_TABLES)
        .max_core_instances_per_component(core_instances)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(memory.get())
        .linear_memory_keep_resident(RESIDENT_MEMORY)
        .table_keep_resident(RESIDENT_TABLE)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn wasmtime_config(pool: PoolingAllocationConfig) -> Config {
    let mut wasmtime = Config::new();
    wasmtime
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        // A trap is reported by its kind alone. Frames of a stripped guest are useless, and
        // collecting them costs time at every trap, so the map to addresses in the component is not
        // needed either.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    // Guests never unwind, but wasmtime demands the information on Windows.
    if !cfg!(windows) {
        wasmtime.native_unwind_info(false);
    }
    wasmtime
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_serves_leaves_the_processors_to_reviews() {
        let engine = Engine::new(&EngineConfig::default()).expect("an engine");
        let (alone, beside) = (
            Resources::alone(engine.memory, engine.load_time),
            Resources::beside_reviews(engine.memory, engine.load_time),
        );
        assert_eq!(
            (beside.threads, beside.niceness > alone.niceness),
            (1, true)
        );
        assert_eq!(engine.compiling_resources(), alone);
        engine.begin_serving();
        assert_eq!(engine.compiling_resources(), beside);
    }
}
