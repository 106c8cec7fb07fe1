//! How much the host takes on at a time, and the refusal of what is more.
//!
//! A review passes three gates: room for its body, a place among those in flight, and its turn to run. What is large passes a
//! fourth, alone: whoever makes something of its body does, also after the answer. Only that and turns are waited for, which is
//! part of the request's own time; of the large ones only some wait, so that they leave places to the small ones. A turn is held
//! until no guest of its review runs any more: guests run inside the future that holds it, and what is cleared up after the answer
//! takes it along. Called by `handlers` for every request; nothing here takes a lock.

use super::limits::Limits;
use super::live::Live;
use super::metrics::{Counted, TimedOut};
use super::refusal::Refusal;
use super::spare_memory;
use crate::pulse::Stir;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How long a request waits for room before it is told to come back.
const PATIENCE: Duration = Duration::from_millis(250);

const KIB: usize = 1024;

/// Bytes of a body that is alone among its like, since what is made of it takes many times the room. The largest Service
/// that people write (256 KiB of annotations) has about twice that much in an update.
const LARGE: usize = 768 * KIB;

/// The same by its weight: that of a Service with some hundred ports.
const HEAVY: usize = 2 << 20;

/// Of so many places, one is for a large review that waits for its like.
const WAITING: usize = 4;

/// The gates of one server.
pub(super) struct Capacity {
    /// In KiB.
    room: Semaphore,
    most_room: usize,
    places: Semaphore,
    large: Arc<Large>,
    turns: Arc<Semaphore>,
    most_turns: usize,
    /// Told that a guest is about to run, while a server runs.
    sentinel: OnceLock<Stir>,
    live: Arc<Live>,
}

/// Room that the body takes up while it is held.
pub(super) struct Room<'a> {
    capacity: &'a Capacity,
    taken: Option<SemaphorePermit<'a>>,
}

/// One of those in flight.
pub(super) struct Place<'a> {
    capacity: &'a Capacity,
    _permit: SemaphorePermit<'a>,
    _counted: Counted,
}

/// The right to run a guest on this thread. Whoever has something to run after the answer takes it along.
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// Where what is large passes.
struct Large {
    alone: Arc<Semaphore>,
    /// Requests that may wait for that.
    waiting: Semaphore,
}

/// What making something of a body takes.
pub(super) struct Load {
    large: Option<Arc<Large>>,
}

/// The right to make something of a body.
pub(super) struct Share {
    permit: Option<OwnedSemaphorePermit>,
}

impl Capacity {
    pub(super) fn new(limits: &Limits, live: Arc<Live>) -> Self {
        let most_room = limits.held.div_ceil(KIB).min(Semaphore::MAX_PERMITS);
        let semaphore = |permits: usize| Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS));
        let turns = Arc::new(semaphore(limits.evaluations));
        Self {
            room: Semaphore::new(most_room),
            most_room,
            places: semaphore(limits.in_flight),
            large: Arc::new(Large {
                alone: Arc::new(Semaphore::new(1)),
                waiting: semaphore(limits.in_flight.div_ceil(WAITING)),
            }),
            most_turns: turns.available_permits(),
            turns,
            sentinel: OnceLock::new(),
            live,
        }
    }

    /// Whether a request has a chance at all: asked before its body is read, so that a refusal costs next to nothing.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.places.available_permits() == 0 { Err(full()) } else { Ok(()) }
    }

    /// Whether any guest runs.
    pub(super) fn is_running(&self) -> bool {
        self.turns.available_permits() < self.most_turns
    }

    /// Whether one more guest may run at once.
    pub(super) fn has_turns(&self) -> bool {
        self.turns.available_permits() > 0
    }

    /// From now on this is told that a guest is about to run.
    pub(super) fn tell(&self, sentinel: Stir) {
        self.sentinel.get_or_init(|| sentinel);
    }

    /// No room yet.
    pub(super) fn room(&self) -> Room<'_> {
        Room { capacity: self, taken: None }
    }

    /// Of a body of so many bytes, and of this weight.
    pub(super) fn load(&self, body: usize, weight: usize) -> Load {
        Load { large: (body > LARGE || weight > HEAVY).then(|| Arc::clone(&self.large)) }
    }

    /// A place, at once or not at all.
    pub(super) fn place(&self) -> Result<Place<'_>, Refusal> {
        let permit = self.places.try_acquire().map_err(|_| full())?;
        Ok(Place { capacity: self, _permit: permit, _counted: self.live.metrics().in_flight() })
    }
}

fn full() -> Refusal {
    Refusal::overload("in-flight", "as many reviews as --max-in-flight allows are in flight; try again")
}

impl Room<'_> {
    /// Room for so many bytes in all. A body takes it as it arrives: what a client announces but never sends takes none.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        // A body is never larger than --body-limit, which may be more than all the room there is.
        let wanted = bytes.div_ceil(KIB).min(self.capacity.most_room);
        let taken = self.taken.as_ref().map_or(0, SemaphorePermit::num_permits);
        let Some(more) = wanted.checked_sub(taken).filter(|more| *more > 0) else { return Ok(()) };
        let more = self.capacity.room.acquire_many(u32::try_from(more).unwrap_or(u32::MAX));
        let Ok(more) = tokio::time::timeout(PATIENCE, more).await else {
            return Err(Refusal::overload(
                "memory",
                "the bodies of other requests take up all memory for bodies; try again",
            ));
        };
        let more = more.expect("the semaphore is never closed");
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

impl Load {
    /// At once, unless it is large and something else is.
    pub(super) async fn share(&self, deadline: Instant) -> Result<Share, Refusal> {
        let Some(large) = &self.large else { return Ok(Share { permit: None }) };
        let refused = |sentence| Refusal::overload("memory", sentence);
        let _waits = large.waiting.try_acquire().map_err(|_| refused("too many large objects wait; try again"))?;
        let permit = tokio::time::timeout_at(deadline.into(), large.alone()).await;
        let permit = permit.map_err(|_| refused("other large objects took all the time; try again"))?;
        Ok(Share { permit: Some(permit) })
    }

    /// The same on a thread that has time.
    pub(super) fn wait(&self) -> Share {
        Share { permit: self.large.as_ref().map(|large| pollster::block_on(large.alone())) }
    }
}

impl Large {
    async fn alone(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.alone).acquire_owned().await.expect("the semaphore is never closed")
    }
}

impl Drop for Share {
    /// The next one begins with what there was before.
    fn drop(&mut self) {
        if self.permit.is_some() {
            spare_memory::give_back();
        }
    }
}

impl Place<'_> {
    /// The turn to run, as soon as there is one, first come first served.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<Turn, Refusal> {
        let turn = tokio::time::timeout_at(deadline.into(), Arc::clone(&self.capacity.turns).acquire_owned()).await;
        let permit = turn.map_err(|_| {
            self.capacity.live.metrics().timed_out(TimedOut::Turn);
            Refusal::overload("turn", "other reviews took all the time that this one had; try again")
        })?;
        let turn = Turn { _permit: permit.expect("the semaphore is never closed") };
        if let Some(sentinel) = self.capacity.sentinel.get() {
            sentinel.stir();
        }
        Ok(turn)
    }
}
