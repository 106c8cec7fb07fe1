//! How much a child may take, and what a compilation gets.

use super::failure::Failure;
use super::memory::{self, MIB};
use sallyport_core::units::Bytes;
use std::time::{Duration, Instant};

/// The seconds of processor time that each component gets. A Rust guest takes 0.2 s, and each of
/// `describe`, `defaults` and `configure` may take 5 s.
const BASE_TIME: u64 = 10;

/// The seconds of processor time for each MiB of component: twice those of a JavaScript engine in
/// an unoptimised build.
const TIME_PER_MIB: u64 = 5;

/// The limit on wall-clock time as a multiple of the one on processor time, which is the stricter
/// limit where the platform has it: other processes need the processors too.
const WALL_FACTOR: u32 = 10;

/// The bytes of memory without which no further thread compiles: what a component in Rust needs
/// with one.
const MEMORY_PER_THREAD: u64 = 64 * MIB;

/// The niceness of a child beside reviews, which have precedence.
const NICENESS: u8 = 10;

/// The limits of one child.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The bytes of memory, resident and of data.
    pub(super) memory: u64,
    /// The seconds of processor time.
    pub(super) processor: u64,
    /// The niceness of the child above that of this process.
    pub(super) niceness: u8,
}

impl Limits {
    /// Returns the limits for a component of this many bytes, given the free memory.
    pub(super) fn new(component: usize, free: Option<u64>, niceness: u8) -> Result<Self, Failure> {
        let memory =
            memory::child_limit(free).map_err(|(free, least)| Failure::NoRoom { free, least })?;
        Ok(Self {
            memory,
            processor: BASE_TIME + TIME_PER_MIB * (component as u64).div_ceil(MIB),
            niceness,
        })
    }

    /// Returns the number of threads, at most `most`, for which the memory is enough.
    pub(super) fn threads(self, most: usize) -> usize {
        let fit = usize::try_from(self.memory / MEMORY_PER_THREAD).unwrap_or(usize::MAX);
        fit.min(most).max(1)
    }

    pub(super) fn wall(self) -> Duration {
        Duration::from_secs(self.processor) * WALL_FACTOR
    }

    /// Formats the limits for the environment variable.
    pub(super) fn to_text(self) -> String {
        format!("{}:{}:{}", self.memory, self.processor, self.niceness)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(':');
        Some(Self {
            memory: numbers.next()?.parse().ok()?,
            processor: numbers.next()?.parse().ok()?,
            niceness: numbers.next()?.parse().ok()?,
        })
    }

    /// Returns the failure if a child that started at `began` exceeds a limit.
    pub(super) fn exceeded(self, child: u32, began: Instant) -> Option<Failure> {
        if began.elapsed() > self.wall() {
            return Some(Failure::Time(self.wall().as_secs()));
        }
        let too_large = memory::resident(child).is_some_and(|resident| resident > self.memory);
        (too_large || memory::is_short()).then(|| self.too_little_memory())
    }

    pub(super) fn too_little_memory(self) -> Failure {
        Failure::Memory(self.memory / MIB)
    }
}

/// The resources for a compilation.
#[derive(Debug, PartialEq)]
pub(in crate::engine) struct Resources {
    /// The largest memory limit of any policy.
    pub(in crate::engine) slot: Bytes,
    /// The time for one guest function.
    pub(in crate::engine) load_time: Duration,
    /// The threads that may compile. Fewer do when memory is short.
    pub(in crate::engine) threads: usize,
    /// The niceness of the child above that of this process.
    pub(in crate::engine) niceness: u8,
}

impl Resources {
    /// Returns the resources for a compilation beside reviews: one thread of lower priority.
    pub(in crate::engine) fn beside_reviews(slot: Bytes, load_time: Duration) -> Self {
        Self {
            slot,
            load_time,
            threads: 1,
            niceness: NICENESS,
        }
    }

    /// Returns the resources for a compilation in a process that serves no reviews: all processors.
    pub(in crate::engine) fn alone(slot: Bytes, load_time: Duration) -> Self {
        Self {
            slot,
            load_time,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            niceness: 0,
        }
    }
}
