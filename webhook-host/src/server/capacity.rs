//! How much the host takes on at a time, and the refusal of what is more.
//!
//! A review passes three gates: room for its body, a place among those in flight, and its turn to
//! run. A large body passes a fourth, the lock of `large_body`. Only that lock and turns are waited
//! for, which is part of the request's own time. Guests run inside the future that holds the turn,
//! so that no guest runs without one. Called by `handlers` for every request; nothing here takes a
//! lock.

use super::limits::Limits;
use super::peer::Peer;
use super::peers::{Peers, Scarce, Share as Permits, Shares};
use super::refusal::Refusal;
use crate::large_body::{BodyLock, LargeBodyLock};
use crate::live::Live;
use crate::metrics::{Counted, TimedOut};
use crate::pulse::Stir;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How long a request waits for memory before it is refused, and between two looks for a slow one
/// that may go in its place.
const MAX_WAIT_FOR_MEMORY: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(100);

/// Requests that may wait for memory. What their clients have sent meanwhile lies in buffers that
/// nobody counts, up to `connection::STREAM_WINDOW` each.
const MAX_WAITING_FOR_MEMORY: usize = 128;

const KIB: usize = 1024;

/// A body of more KiB than that takes its memory where only such do, so that large ones leave some
/// to ordinary ones. Of the memory for bodies, a quarter is for ordinary ones and a quarter for
/// answers.
const ORDINARY_BODY: usize = 64;

/// Bytes of an answer that are not counted: ordinary answers, of which there are no more than open
/// requests.
const ORDINARY_ANSWER: usize = 4 << 10;

/// One in so many reviews in flight is kept for addresses that have no more than that many
/// themselves.
const KEPT_FOR_FEW: usize = 8;

/// The gates of one server.
pub(super) struct Capacity {
    peers: Arc<Peers>,
    ordinary: Memory,
    spacious: Memory,
    answers: Memory,
    waiting: Semaphore,
    places: Shares,
    /// Places that are kept for addresses that have few.
    kept: usize,
    large: Arc<LargeBodyLock>,
    turns: Semaphore,
    most_turns: usize,
    /// Told that a guest is about to run, while a server runs.
    sentinel: OnceLock<Stir>,
    live: Arc<Live>,
}

/// Memory that is given out, in KiB.
struct Memory {
    free: Arc<Semaphore>,
    most: usize,
}

/// Memory that a body takes while it is held.
pub(super) struct Room<'a> {
    capacity: &'a Capacity,
    peer: &'a Arc<Peer>,
    taken: Option<SemaphorePermit<'a>>,
    is_spacious: bool,
}

/// One of those in flight.
pub(super) struct Place<'a> {
    capacity: &'a Capacity,
    peer: &'a Arc<Peer>,
    _permits: Permits,
    _counted: Counted,
}

/// The right to run guests on this thread.
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
}

impl Memory {
    fn new(kib: usize) -> Self {
        let most = kib.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
        }
    }

    /// So many bytes, in permits. What is more than there is takes all: a body is never larger than
    /// --body-limit, which may be more than all memory for bodies.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(KIB).clamp(1, self.most)).unwrap_or(u32::MAX)
    }
}

impl Capacity {
    pub(super) fn new(limits: &Limits, live: Arc<Live>, peers: Arc<Peers>) -> Self {
        let held = limits.held.div_ceil(KIB);
        let semaphore = |permits: usize| Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS));
        let turns = semaphore(limits.evaluations);
        Self {
            peers,
            ordinary: Memory::new(held / 4),
            spacious: Memory::new(held / 2),
            answers: Memory::new(held / 4),
            waiting: semaphore(MAX_WAITING_FOR_MEMORY),
            places: Shares::new(limits.in_flight, limits.reserves),
            kept: limits.in_flight / KEPT_FOR_FEW,
            large: LargeBodyLock::new(limits.in_flight),
            most_turns: turns.available_permits(),
            turns,
            sentinel: OnceLock::new(),
            live,
        }
    }

    /// Whether a request has a chance at all: asked before its body is read, so that a refusal
    /// costs next to nothing.
    pub(super) fn check(&self, peer: &Peer) -> Result<(), Refusal> {
        if self.places.left(peer.is_preferred()) == 0 {
            Err(full())
        } else {
            Ok(())
        }
    }

    /// Whether any guest runs.
    pub(super) fn is_running(&self) -> bool {
        self.turns.available_permits() < self.most_turns
    }

    /// From now on this is told that a guest is about to run.
    pub(super) fn tell(&self, sentinel: Stir) {
        self.sentinel.get_or_init(|| sentinel);
    }

    /// No memory yet.
    pub(super) fn room<'a>(&'a self, peer: &'a Arc<Peer>) -> Room<'a> {
        Room {
            capacity: self,
            peer,
            taken: None,
            is_spacious: false,
        }
    }

    /// Memory for an answer of so many bytes, until it is written. Ordinary ones take none.
    pub(super) fn answer(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        if bytes <= ORDINARY_ANSWER {
            return Ok(None);
        }
        let permits = self.answers.permits(bytes);
        let memory = Arc::clone(&self.answers.free).try_acquire_many_owned(permits);
        memory.map(Some).map_err(|_| {
            Refusal::overload(
                "memory",
                "answers that were not read take up all memory for answers; try again",
            )
        })
    }

    /// The lock that a body of so many bytes needs, whose tree takes so many bytes.
    pub(super) fn body_lock(&self, body: usize, tree: usize) -> BodyLock {
        self.large.for_body(body, tree)
    }

    /// A place, at once or not at all. The last ones are for addresses that have few, so that who
    /// asks a lot leaves some to others.
    pub(super) fn place<'a>(&'a self, peer: &'a Arc<Peer>) -> Result<Place<'a>, Refusal> {
        let preferred = peer.is_preferred();
        if !preferred
            && self.places.free() <= self.kept
            && self.peers.reviews_of(peer.address()) >= self.kept
        {
            return Err(full());
        }
        let permits = self.places.take(preferred).ok_or_else(full)?;
        peer.reviews().fetch_add(1, Ordering::Relaxed);
        Ok(Place {
            capacity: self,
            peer,
            _permits: permits,
            _counted: self.live.metrics().in_flight(),
        })
    }
}

fn full() -> Refusal {
    Refusal::overload(
        "in-flight",
        "as many reviews as --max-in-flight allows are in flight; try again",
    )
}

impl<'a> Room<'a> {
    /// Memory for so many bytes in all. A body takes it as it arrives: what a client announces but
    /// never sends takes none.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let capacity = self.capacity;
        if !self.is_spacious && bytes > ORDINARY_BODY * KIB {
            let permit = capacity
                .memory(
                    &capacity.spacious,
                    capacity.spacious.permits(bytes),
                    self.peer,
                )
                .await?;
            self.replace(Some(permit));
            self.is_spacious = true;
            return Ok(());
        }
        let memory = if self.is_spacious {
            &capacity.spacious
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
            .held()
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
        self.peer.held().fetch_add(count(&taken), Ordering::Relaxed);
        self.peer
            .held()
            .fetch_sub(count(&self.taken), Ordering::Relaxed);
        self.taken = taken;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.replace(None);
    }
}

impl Capacity {
    /// So much memory, at once or soon. Who sends slowly meanwhile, and holds most, makes room.
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
            Instant::now() + MAX_WAIT_FOR_MEMORY,
            pin!(memory.free.acquire_many(permits)),
        );
        while Instant::now() < until {
            self.peers
                .evict(Scarce::Memory, Some(peer), self.live.metrics());
            if let Ok(permit) = tokio::time::timeout(LOOK, acquired.as_mut()).await {
                return Ok(permit.expect("the semaphore is never closed"));
            }
        }
        Err(refused())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.peer.reviews().fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place<'_> {
    /// The turn to run, as soon as there is one, first come first served.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<Turn<'_>, Refusal> {
        let turn = tokio::time::timeout_at(deadline.into(), self.capacity.turns.acquire()).await;
        let permit = turn.map_err(|_| {
            self.capacity.live.metrics().timed_out(TimedOut::Turn);
            Refusal::overload(
                "turn",
                "other reviews took all the time that this one had; try again",
            )
        })?;
        let turn = Turn {
            _permit: permit.expect("the semaphore is never closed"),
        };
        if let Some(sentinel) = self.capacity.sentinel.get() {
            sentinel.stir();
        }
        Ok(turn)
    }
}
