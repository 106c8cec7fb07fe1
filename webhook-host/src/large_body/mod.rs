//! The large-body lock: large bodies are joined and parsed one at a time, because a JSON tree takes
//! up to a hundred times its text.
//!
//! Invariants: whoever parses a large body holds the lock meanwhile, also the observers that parse
//! it again after the response; an ordinary body needs no lock. At most a quarter of the in-flight
//! slots may be held by reviews that wait for it, so that ordinary reviews find slots. Used by
//! `server` and `observers`.

pub(crate) mod spare_memory;

use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A body with more bytes is large. The largest Service that people write (256 KiB of annotations)
/// has about twice that much in an update.
const LARGE_BODY: usize = 768 << 10;

/// A body whose tree takes more bytes is large. The tree of a Service with some hundred ports takes
/// about that much.
const LARGE_TREE: usize = 2 << 20;

/// One in this many reviews in flight may wait for the lock.
const WAITING_DIVISOR: usize = 4;

/// The lock of one server.
#[derive(Debug)]
pub(crate) struct LargeBodyLock {
    lock: Arc<Semaphore>,
    waiting: Semaphore,
}

/// The lock that a body needs before it is parsed. An ordinary body needs none.
#[derive(Debug)]
pub(crate) struct BodyLock {
    large: Option<Arc<LargeBodyLock>>,
}

/// The permission to parse a body.
#[derive(Debug)]
pub(crate) struct BodyGuard {
    permit: Option<OwnedSemaphorePermit>,
}

/// An error: a large body can't be parsed in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooManyLarge {
    /// Too many reviews wait for the lock.
    #[error("too many large objects wait; try again")]
    Waiting,
    /// The deadline passed before the lock was free.
    #[error("other large objects took all the time; try again")]
    Late,
}

impl LargeBodyLock {
    /// Creates the lock of a server with this many in-flight slots.
    pub(crate) fn new(in_flight: usize) -> Arc<Self> {
        let waiting = in_flight
            .div_ceil(WAITING_DIVISOR)
            .clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            lock: Arc::new(Semaphore::new(1)),
            waiting: Semaphore::new(waiting),
        })
    }

    /// Returns the lock that a body needs, by its length and the estimated size of its tree in
    /// bytes.
    pub(crate) fn for_body(self: &Arc<Self>, body: usize, tree: usize) -> BodyLock {
        let is_large = body > LARGE_BODY || tree > LARGE_TREE;
        BodyLock {
            large: is_large.then(|| Arc::clone(self)),
        }
    }

    async fn acquire(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.lock)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }
}

impl BodyLock {
    /// Takes the lock. Returns at once if the body is ordinary.
    ///
    /// # Errors
    ///
    /// Fails when too many reviews wait for it, or it is not free before the deadline.
    pub(crate) async fn acquire(&self, deadline: Instant) -> Result<BodyGuard, TooManyLarge> {
        let Some(large) = &self.large else {
            return Ok(BodyGuard { permit: None });
        };
        let _waits = large
            .waiting
            .try_acquire()
            .map_err(|_| TooManyLarge::Waiting)?;
        let permit = tokio::time::timeout_at(deadline.into(), large.acquire()).await;
        Ok(BodyGuard {
            permit: Some(permit.map_err(|_| TooManyLarge::Late)?),
        })
    }

    /// Takes the lock, and blocks the thread without a deadline: for background threads.
    pub(crate) fn acquire_blocking(&self) -> BodyGuard {
        let permit = |large: &Arc<LargeBodyLock>| pollster::block_on(large.acquire());
        BodyGuard {
            permit: self.large.as_ref().map(permit),
        }
    }
}

impl BodyGuard {
    /// Returns true if the body is large, so that no other large body is parsed meanwhile.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.permit.is_some()
    }
}

impl Drop for BodyGuard {
    /// Gives freed memory back to the system first, so that the next large body finds it.
    fn drop(&mut self) {
        if self.permit.is_some() {
            spare_memory::give_back();
        }
    }
}
