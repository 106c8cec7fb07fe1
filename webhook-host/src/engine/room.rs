//! Room for instances that no evaluation has in hand: made and not asked yet, or asked and not
//! given back yet.
//!
//! The pool has a slot for each evaluation that may run, and one for each of these. So whoever lets
//! an instance lie around takes room for it first, and an evaluation always finds a slot. Taken by
//! `policy`.

use super::{RESIDENT_MEMORY, State};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

/// Instances that may lie around at the same time, all policies together.
pub(super) const MAX_SPARE_INSTANCES: u32 = 64;

/// All the room that there is.
pub(super) struct Rooms(Arc<Semaphore>);

/// Room for one instance. To be dropped after its store.
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
}

impl Rooms {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_SPARE_INSTANCES as usize)))
    }

    /// Room for one more, if there is any.
    pub(super) fn take(&self) -> Option<Room> {
        Arc::clone(&self.0)
            .try_acquire_owned()
            .ok()
            .map(|permit| Room { _permit: permit })
    }
}

/// Whether a guest takes no more memory than an empty slot may.
pub(super) fn is_small(store: &Store<State>) -> bool {
    store.data().memory() <= RESIDENT_MEMORY
}
