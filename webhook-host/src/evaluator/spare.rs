//! Work on instances that an answer need not wait for: dropping one that was asked, and making the
//! next one.
//!
//! Both together take longer than most policies run. Within [`deferring`], evaluators keep the
//! instances that they asked, and [`Used::renew`] does that work once the answer is sent. Outside of
//! it, every evaluation makes its own instance and drops it, which is what harnesses do. Invariants:
//! an instance is asked once, by whoever takes it from its slot; a policy has one spare at most; each
//! instance that is kept has room in the engine's pool, so that no evaluation goes without a slot.

use super::Instances;
use crate::engine::{Room, State};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::Store;
use wasmtime::component::Instance;

thread_local! {
    /// Instances that this thread's review has asked, while it is within `deferring`. A review runs
    /// on one thread from its beginning to its end.
    static USED: RefCell<Option<Used>> = const { RefCell::new(None) };
}

/// An instance that nobody has asked.
pub(super) struct Spare {
    pub(super) store: Store<State>,
    pub(super) instance: Instance,
    pub(super) room: Room,
}

/// A policy's spare, if there is one.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Spare>>);

impl Slot {
    pub(super) fn take(&self) -> Option<Spare> {
        self.with(Option::take)
    }

    fn is_empty(&self) -> bool {
        self.with(|spare| spare.is_none())
    }

    /// Keeps an instance. One that is too many is dropped, after the lock.
    fn put(&self, spare: Spare) {
        let _too_many = self.with(|slot| match slot {
            Some(_) => Some(spare),
            None => slot.replace(spare),
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Option<Spare>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The instances that a review has asked.
#[derive(Default)]
pub struct Used(Vec<Kept>);

struct Kept {
    // Dropped before its room.
    store: Store<State>,
    room: Room,
    instances: Arc<Instances>,
}

impl Used {
    /// Whether there is nothing to renew.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops all of them, and makes a spare for each policy that has none. This runs guests' code,
    /// as an evaluation does.
    pub fn renew(self) {
        for Kept {
            store,
            room,
            instances,
        } in self.0
        {
            let name = Arc::clone(store.data().policy());
            drop(store);
            if instances.spare.is_empty() {
                instances.make_spare(&name, room);
            }
        }
    }
}

/// Runs a review whose answer does not wait for the instances to be dropped. Returns them with what
/// the review returned; they may be renewed, or dropped.
pub fn deferring<T>(review: impl FnOnce() -> T) -> (T, Used) {
    // Ends the scope also where the review panics.
    struct Scope(Option<Used>);
    impl Drop for Scope {
        fn drop(&mut self) {
            USED.set(self.0.take());
        }
    }
    let _scope = Scope(USED.replace(Some(Used::default())));
    let value = review();
    (value, USED.take().unwrap_or_default())
}

/// Keeps an instance that has answered, if the review is within [`deferring`] and there is room for
/// it. Drops it otherwise.
pub(super) fn defer(instances: &Arc<Instances>, store: Store<State>, room: Option<Room>) {
    USED.with_borrow_mut(|used| {
        if let Some(Used(kept)) = used
            && let Some(room) = instances.engine.room(&store, room)
        {
            kept.push(Kept {
                store,
                room,
                instances: Arc::clone(instances),
            });
        }
    });
}

impl Instances {
    /// Makes a spare. A failure is left to the next evaluation, which reports it.
    fn make_spare(&self, name: &Arc<str>, room: Room) {
        let mut store = self.engine.store(name, self.budget);
        if let Ok(instance) = self.instantiate(&mut store) {
            self.spare.put(Spare {
                store,
                instance,
                room,
            });
        }
    }
}
