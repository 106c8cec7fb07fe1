//! wasmtime, narrowed to what policies need: one engine a process, a fresh instance for every
//! evaluation.
//!
//! Invariants: a guest can call `log` and nothing else; it runs under a deadline (epochs), a memory
//! limit and a bounded stack; no state survives an evaluation; nothing is compiled in this process,
//! but in a child with limits (`child`). Used by `evaluator` alone.

mod cache;
mod child;
mod given_up;
mod guest;
mod load;
mod order;
mod preinit;
mod state;
mod ticker;
mod values;

pub use cache::{Cache, CacheCounts, CacheError};
pub(crate) use guest::Guest;
pub(crate) use load::{PerInstance, Prepared, call_configure};
pub(crate) use order::Order;
pub(crate) use state::{Budget, State};

use given_up::GivenUp;
use sallyport_core::contract;
use sallyport_core::units::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use ticker::Ticker;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

/// The load that the pool is sized for.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The largest number of evaluations at the same time, at least 1. An evaluation runs inline on
    /// a worker thread, so the number of workers is enough.
    pub concurrency: u32,
    /// The largest memory limit that a policy may have.
    pub memory: Bytes,
    /// Where compiled code is kept; `None`: everything is compiled at every start.
    pub cache: Option<Cache>,
}

impl Default for EngineConfig {
    /// Sixteen workers, memory for a component that carries a JavaScript engine (about 20 MiB at
    /// rest), and no cache.
    fn default() -> Self {
        Self {
            concurrency: 16,
            memory: Bytes::new(64 << 20),
            cache: None,
        }
    }
}

/// Component instances that one policy may consist of. A Rust guest is one core instance and two
/// shims; those that carry a language runtime have a few more.
const CORE_INSTANCES: u32 = 16;

/// Memories and tables that one policy may have. A component of QuickJS has 3 memories, one of Rust
/// has 1.
const MEMORIES: u32 = 4;
const TABLES: u32 = 8;

/// Function table entries: a JavaScript engine has about 12,000.
const TABLE_ELEMENTS: usize = 40_000;

/// Bytes that stay mapped between two evaluations in one slot, so that resetting it is a copy and
/// not a page fault. A Rust guest touches about 100 KiB.
const RESIDENT_MEMORY: usize = 1 << 20;
const RESIDENT_TABLE: usize = 64 << 10;

/// Memories that keep the image of the policy that they last held, beyond those in use. To map
/// another policy's takes 45 us instead of 9, so that there are enough for some dozen policies on
/// each worker. A slot takes address space, and a warm one what its guest touched, about 100 KiB.
const WARM_MEMORIES: u32 = 128;

/// Instances at a time in a process that compiles one component; two, in fact.
const COMPILING_SLOTS: u32 = 4;

/// The guest's native stack. Half of what a tokio worker has (2 MiB), since the host's own frames
/// lie above it.
const STACK: usize = 512 << 10;

/// The process' wasmtime engine, its pool and its clock.
pub struct Engine {
    inner: wasmtime::Engine,
    linker: Linker<State>,
    memory: Bytes,
    cache: Option<Cache>,
    compilations: AtomicU64,
    given_up: GivenUp,
    ticker: Ticker,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

/// The machine can't carry the engine: no virtual memory for the pool, or a processor that
/// cranelift doesn't know.
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
    /// When the operating system or the processor can't carry it.
    pub fn new(config: &EngineConfig) -> Result<Self, EngineError> {
        // Two more than evaluations run: loads and inspection take slots too.
        let slots = config.concurrency.max(1) + 2;
        Self::with_pool(pool(slots, WARM_MEMORIES, config.memory), config)
    }

    /// The engine of a process that compiles: with one thread, so that the others stay with
    /// reviews, and a small pool.
    fn for_compiling(memory: Bytes) -> Result<Self, EngineError> {
        let config = EngineConfig {
            concurrency: 1,
            memory,
            cache: None,
        };
        Self::with_pool(pool(COMPILING_SLOTS, 0, config.memory), &config)
    }

    fn with_pool(
        pool: PoolingAllocationConfig,
        config: &EngineConfig,
    ) -> Result<Self, EngineError> {
        let inner = wasmtime::Engine::new(&wasmtime_config(pool))?;
        let mut linker = Linker::new(&inner);
        let log = format!("{}/log@{}", contract::PACKAGE, contract::VERSION);
        linker.instance(&log)?.func_wrap("log", State::log)?;
        let ticker = Ticker::start(&inner);
        Ok(Self {
            inner,
            linker,
            memory: config.memory,
            cache: config.cache.clone(),
            compilations: AtomicU64::new(0),
            given_up: GivenUp::default(),
            ticker,
        })
    }

    /// Counts compilations. A policy with settings is compiled twice, for `configure` and as a
    /// snapshot; one from the cache, never.
    pub fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }

    /// Where compiled code is kept.
    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// The largest memory limit that a policy may have.
    pub(crate) fn memory(&self) -> Bytes {
        self.memory
    }

    fn count_compilations(&self, more: u64) {
        self.compilations.fetch_add(more, Ordering::Relaxed);
    }

    /// Compiles in this process: for the one that was started for that.
    fn translate(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        self.count_compilations(1);
        Component::from_binary(&self.inner, bytes)
    }

    /// A store for one evaluation, its deadline running.
    pub(crate) fn store(&self, policy: &Arc<str>, budget: Budget) -> Store<State> {
        let mut store = Store::new(&self.inner, State::new(policy, budget.memory));
        store.limiter(|state| state);
        // Lists of strings may name the same memory again and again, so the memory limit doesn't
        // bound them.
        store.set_hostcall_fuel(budget.output);
        store.set_epoch_deadline(self.ticker.deadline(budget.time));
        store
    }
}

/// A pool with so many slots, of which some that are not in use keep the memory that they last
/// held.
fn pool(slots: u32, warm: u32, memory: Bytes) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES)
        .total_memories(slots * MEMORIES + warm)
        .max_unused_warm_slots(warm)
        .total_tables(slots * TABLES)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .table_elements(TABLE_ELEMENTS)
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
        .max_wasm_stack(STACK)
        .parallel_compilation(false)
        // A trap is told by its kind; frames of a stripped guest help nobody and cost on every
        // trap.
        .wasm_backtrace_max_frames(None);
    wasmtime
}
