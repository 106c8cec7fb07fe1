//! Permits for what a server has a limited number of: connections, open requests, in-flight slots.
//!
//! A quarter of them is reserved for API servers, where the host can recognise them.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One in this many permits is reserved for API servers.
const RESERVED_DIVISOR: usize = 4;

/// A number of permits, a part of which is reserved for API servers.
pub(super) struct Permits {
    all: Arc<Semaphore>,
    /// All but the reserved ones.
    unreserved: Arc<Semaphore>,
}

/// One permit. Clients other than API servers need one of the unreserved ones too.
pub(super) struct Permit {
    _any: OwnedSemaphorePermit,
    unreserved: Option<OwnedSemaphorePermit>,
}

impl Permits {
    pub(super) fn new(all: usize, reserves: bool) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        let unreserved = if reserves {
            (all - all / RESERVED_DIVISOR).max(1)
        } else {
            all
        };
        Self {
            all: Arc::new(Semaphore::new(all)),
            unreserved: Arc::new(Semaphore::new(unreserved)),
        }
    }

    /// Takes a permit, or returns `None` when none is left for such a client.
    pub(super) fn take(&self, is_api_server: bool) -> Option<Permit> {
        let one = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_owned().ok();
        let unreserved = if is_api_server {
            None
        } else {
            Some(one(&self.unreserved)?)
        };
        Some(Permit {
            _any: one(&self.all)?,
            unreserved,
        })
    }

    /// Waits for a permit, at most for `time`. The semaphores are fair: the next free
    /// permit goes to the caller that has waited longest, even if another one calls `take` at that
    /// moment.
    pub(super) async fn wait(&self, is_api_server: bool, time: Duration) -> Option<Permit> {
        let one = |of: &Arc<Semaphore>| Arc::clone(of).acquire_owned();
        let permit = async {
            let unreserved = if is_api_server {
                None
            } else {
                Some(one(&self.unreserved).await.ok()?)
            };
            Some(Permit {
                _any: one(&self.all).await.ok()?,
                unreserved,
            })
        };
        tokio::time::timeout(time, permit).await.ok()?
    }

    /// Waits until none of the `number` permits that there are is taken.
    pub(super) async fn all_free(&self, number: u32) {
        let _ = self.all.acquire_many(number).await;
    }

    /// Returns the number of free permits, reserved ones included.
    pub(super) fn free(&self) -> usize {
        self.all.available_permits()
    }

    /// Returns the number of permits that are left for an API server or for any other client.
    pub(super) fn left(&self, is_api_server: bool) -> usize {
        if is_api_server {
            self.free()
        } else {
            self.free().min(self.unreserved.available_permits())
        }
    }
}

impl Permit {
    /// Frees the unreserved permit of a client that has proved to be an API server.
    pub(super) fn free_unreserved(&mut self) {
        self.unreserved = None;
    }
}
