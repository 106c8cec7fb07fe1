//! Admission control: limits on memory for bodies, reviews in flight and running guests. Requests
//! beyond a limit are refused with 503.
//!
//! A review takes, in this order: memory for its body, an in-flight slot, the large-body lock if
//! its body is large, and an evaluation permit. It waits up to `MEMORY_TIMEOUT` for memory, and
//! within its own deadline for the lock and the permit; a slot is free at once or not at all.
//! Guests run inside the future that holds the evaluation permit, so no guest runs without one.
//! Called by `handlers` for every request.

use super::eviction::Scarce;
use super::limits::Limits;
use super::peer::Peer;
use super::peers::Peers;
use super::permits::{Permit, Permits};
use super::refusal::Refusal;
use crate::large_body::{BodyLock, LargeBodyLock};
use crate::live::Live;
use crate::metrics::{GaugeGuard, TimedOut};
use crate::pulse::Notifier;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The time that a request waits for memory before it is refused, and the interval at which it
/// looks for a slow request to evict meanwhile.
const MEMORY_TIMEOUT: Duration = Duration::from_millis(500);
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);

/// The most requests that wait for memory at the same time. Bytes that their clients send meanwhile
/// stay in socket and HTTP/2 buffers, up to `connection::STREAM_WINDOW` for each request, which the
/// pools below don't count.
const MAX_WAITING_FOR_MEMORY: usize = 128;

const KIB: usize = 1024;

/// KiB up to which a body is ordinary. Larger bodies take their memory from a pool of their own, so
/// that they leave some to ordinary ones. Ordinary bodies have a quarter of the memory that
/// requests may hold, larger bodies half, responses a quarter.
const ORDINARY_BODY_KIB: usize = 64;

/// Bytes up to which a response takes no memory permit. Open requests bound the number of these.
const ORDINARY_RESPONSE_BYTES: usize = 4 << 10;

/// One in this many in-flight slots is kept for addresses that use few. An address that uses as
/// many slots as are kept gets none of them.
const KEPT_SLOTS_DIVISOR: usize = 8;

/// The limits of one server.
pub(super) struct Capacity {
    peers: Arc<Peers>,
    ordinary: Memory,
    large_bodies: Memory,
    responses: Memory,
    waiting: Semaphore,
    slots: Permits,
    /// Slots that are kept for addresses that use few.
    kept_slots: usize,
    body_lock: Arc<LargeBodyLock>,
    evaluations: Semaphore,
    max_evaluations: usize,
    /// Notified when a guest is about to run; set while a server runs.
    sentinel: OnceLock<Notifier>,
    live: Arc<Live>,
}

/// A pool of memory, in permits of one KiB.
struct Memory {
    free: Arc<Semaphore>,
    total: usize,
}

/// The memory permits of one request's body, which grow with the body.
pub(super) struct BodyMemory<'a> {
    capacity: &'a Capacity,
    peer: &'a Arc<Peer>,
    taken: Option<SemaphorePermit<'a>>,
    is_large: bool,
}

/// An in-flight slot.
pub(super) struct Slot<'a> {
    capacity: &'a Capacity,
    peer: &'a Arc<Peer>,
    _permit: Permit,
    _counted: GaugeGuard,
}

/// The permission to run guests on the current worker.
pub(super) struct EvaluationPermit<'a> {
    _permit: SemaphorePermit<'a>,
}

impl Memory {
    fn new(kib: usize) -> Self {
        let total = kib.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(total)),
            total,
        }
    }

    /// Returns the permits for a number of bytes, at most all: a body is never larger than
    /// `--body-limit`, which may exceed the pool.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(KIB).clamp(1, self.total)).unwrap_or(u32::MAX)
    }
}

impl Capacity {
    pub(super) fn new(limits: &Limits, live: Arc<Live>, peers: Arc<Peers>) -> Self {
        let held_kib = limits.held.div_ceil(KIB);
        let semaphore = |permits: usize| Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS));
        let evaluations = semaphore(limits.evaluations);
        Self {
            peers,
            ordinary: Memory::new(held_kib / 4),
            large_bodies: Memory::new(held_kib / 2),
            responses: Memory::new(held_kib / 4),
            waiting: semaphore(MAX_WAITING_FOR_MEMORY),
            slots: Permits::new(limits.in_flight, limits.reserves),
            kept_slots: limits.in_flight / KEPT_SLOTS_DIVISOR,
            body_lock: LargeBodyLock::new(limits.in_flight),
            max_evaluations: evaluations.available_permits(),
            evaluations,
            sentinel: OnceLock::new(),
            live,
        }
    }

    /// Refuses a request early when no slot is left, before its body is read.
    pub(super) fn check(&self, peer: &Peer) -> Result<(), Refusal> {
        if self.slots.left(peer.is_api_server()) == 0 {
            Err(all_slots_taken())
        } else {
            Ok(())
        }
    }

    /// Returns true while any guest runs.
    pub(super) fn is_running(&self) -> bool {
        self.evaluations.available_permits() < self.max_evaluations
    }

    /// Sets the notifier that is called before a guest runs. The first call wins.
    pub(super) fn set_sentinel(&self, sentinel: Notifier) {
        self.sentinel.get_or_init(|| sentinel);
    }

    /// Returns the memory account of a body of which nothing has arrived yet.
    pub(super) fn body_memory<'a>(&'a self, peer: &'a Arc<Peer>) -> BodyMemory<'a> {
        BodyMemory {
            capacity: self,
            peer,
            taken: None,
            is_large: false,
        }
    }

    /// Takes memory for a response, to be held until it is written. Small responses need none.
    pub(super) fn response_memory(
        &self,
        bytes: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        if bytes <= ORDINARY_RESPONSE_BYTES {
            return Ok(None);
        }
        let permits = self.responses.permits(bytes);
        let memory = Arc::clone(&self.responses.free).try_acquire_many_owned(permits);
        memory.map(Some).map_err(|_| {
            Refusal::overload(
                "memory",
                "unread responses take up all memory for responses; try again",
            )
        })
    }

    /// Returns the lock that a body needs before it is parsed, by its length and the estimated size
    /// of its JSON tree in bytes.
    pub(super) fn body_lock(&self, body: usize, tree: usize) -> BodyLock {
        self.body_lock.for_body(body, tree)
    }

    /// Takes an in-flight slot, or refuses at once. The last slots are kept for addresses that use
    /// few, so that one client with many requests leaves some to others.
    pub(super) fn slot<'a>(&'a self, peer: &'a Arc<Peer>) -> Result<Slot<'a>, Refusal> {
        let is_api_server = peer.is_api_server();
        if !is_api_server
            && self.slots.free() <= self.kept_slots
            && self.peers.reviews_of(peer.address()) >= self.kept_slots
        {
            return Err(all_slots_taken());
        }
        let permits = self.slots.take(is_api_server).ok_or_else(all_slots_taken)?;
        peer.reviews().fetch_add(1, Ordering::Relaxed);
        Ok(Slot {
            capacity: self,
            peer,
            _permit: permits,
            _counted: self.live.metrics().connections.in_flight(),
        })
    }
}

fn all_slots_taken() -> Refusal {
    Refusal::overload(
        "in-flight",
        "as many reviews as --max-in-flight allows are in flight; try again",
    )
}

impl<'a> BodyMemory<'a> {
    /// Grows to `bytes` in all. A body takes memory as it arrives, so a length that is announced
    /// but never sent takes none.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let capacity = self.capacity;
        if !self.is_large && bytes > ORDINARY_BODY_KIB * KIB {
            let permit = capacity
                .memory(
                    &capacity.large_bodies,
                    capacity.large_bodies.permits(bytes),
                    self.peer,
                )
                .await?;
            self.replace(Some(permit));
            self.is_large = true;
            return Ok(());
        }
        let memory = if self.is_large {
            &capacity.large_bodies
        } else {
            &capacity.ordinary
        };
        let taken = self.taken.as_ref().map_or(0, |taken| {
            u32::try_from(taken.num_permits()).unwrap_or(u32::MAX)
        });
        let Some(more) = memory
            .permits(bytes)
            .checked_sub(taken)
            .filter(|more| *more > 0)
        else {
            return Ok(());
        };
        let more = capacity.memory(memory, more, self.peer).await?;
        self.peer
            .held_kib()
            .fetch_add(more.num_permits(), Ordering::Relaxed);
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }

    fn replace(&mut self, taken: Option<SemaphorePermit<'a>>) {
        let count = |permit: &Option<SemaphorePermit<'_>>| {
            permit.as_ref().map_or(0, SemaphorePermit::num_permits)
        };
        self.peer
            .held_kib()
            .fetch_add(count(&taken), Ordering::Relaxed);
        self.peer
            .held_kib()
            .fetch_sub(count(&self.taken), Ordering::Relaxed);
        self.taken = taken;
    }
}

impl Drop for BodyMemory<'_> {
    fn drop(&mut self) {
        self.replace(None);
    }
}

impl Capacity {
    /// Takes memory permits, and waits up to `MEMORY_TIMEOUT` for them. Meanwhile it evicts
    /// connections that hold memory and send slowly.
    async fn memory<'a>(
        &self,
        memory: &'a Memory,
        permits: u32,
        peer: &Peer,
    ) -> Result<SemaphorePermit<'a>, Refusal> {
        if let Ok(permit) = memory.free.try_acquire_many(permits) {
            return Ok(permit);
        }
        let refused = || {
            Refusal::overload(
                "memory",
                "the bodies of other requests take up all memory for bodies; try again",
            )
        };
        let _waits = self.waiting.try_acquire().map_err(|_| refused())?;
        let (until, mut acquired) = (
            Instant::now() + MEMORY_TIMEOUT,
            pin!(memory.free.acquire_many(permits)),
        );
        while Instant::now() < until {
            self.peers
                .evict(Scarce::Memory, Some(peer), self.live.metrics());
            if let Ok(permit) = tokio::time::timeout(EVICTION_INTERVAL, acquired.as_mut()).await {
                return Ok(permit.expect("the semaphore is never closed"));
            }
        }
        Err(refused())
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.peer.reviews().fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot<'_> {
    /// Waits for an evaluation permit until the deadline, first come first served, and notifies the
    /// sentinel.
    pub(super) async fn evaluation_permit(
        &self,
        deadline: Instant,
    ) -> Result<EvaluationPermit<'_>, Refusal> {
        let acquired =
            tokio::time::timeout_at(deadline.into(), self.capacity.evaluations.acquire()).await;
        let permit = acquired.map_err(|_| {
            self.capacity
                .live
                .metrics()
                .connections
                .timed_out(TimedOut::EvaluationPermit);
            Refusal::overload(
                "turn",
                "other reviews used up this review's time; try again",
            )
        })?;
        let permit = EvaluationPermit {
            _permit: permit.expect("the semaphore is never closed"),
        };
        if let Some(sentinel) = self.capacity.sentinel.get() {
            sentinel.notify();
        }
        Ok(permit)
    }
}
