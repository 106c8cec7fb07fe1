//! What an answer need not wait for: a used instance is given back, and the next one made, once the
//! answer is sent.
//!
//! Both together take longer than most policies run. Invariants: an instance is asked once, by
//! whoever takes it from its slot; a policy has one spare at most, and what lies around has room in
//! the engine's pool. Nobody has to renew anything: where [`Used`] is dropped instead, every
//! evaluation makes its own instance, which is what harnesses do.

use super::Loaded;
use crate::engine::{Room, State};
use std::sync::{Arc, Mutex};
use wasmtime::Store;
use wasmtime::component::Instance;

/// An instance that nobody has asked.
pub(super) struct Spare {
    pub(super) store: Store<State>,
    pub(super) instance: Instance,
    pub(super) room: Room,
}

/// A policy's spare, if there is one. Nobody waits for it: who finds it in other hands does
/// without.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Spare>>);

impl Slot {
    pub(super) fn take(&self) -> Option<Spare> {
        self.0.try_lock().ok()?.take()
    }

    fn is_empty(&self) -> bool {
        self.0.try_lock().is_ok_and(|spare| spare.is_none())
    }

    fn put(&self, spare: Spare) {
        if let Ok(mut slot) = self.0.try_lock() {
            slot.get_or_insert(spare);
        }
    }
}

/// The instances that a review has asked.
#[derive(Default)]
pub struct Used(Vec<Given>);

struct Given {
    // Dropped before its room.
    store: Store<State>,
    room: Room,
    loaded: Arc<Loaded>,
}

impl Used {
    /// Whether there is nothing to renew.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps an instance that has answered, if there is room for it. One without is gone when this
    /// returns.
    pub(super) fn keep(&mut self, loaded: &Arc<Loaded>, store: Store<State>, room: Option<Room>) {
        if let Some(room) = loaded.engine.room(&store, room) {
            self.0.push(Given {
                store,
                room,
                loaded: Arc::clone(loaded),
            });
        }
    }

    /// Gives all of them back, and makes a spare for each policy that has none. This runs guests'
    /// code, as an evaluation does.
    pub fn renew(self) {
        for Given {
            store,
            room,
            loaded,
        } in self.0
        {
            let name = Arc::clone(store.data().policy());
            drop(store);
            if loaded.spare.is_empty() {
                loaded.make_spare(&name, room);
            }
        }
    }
}

impl Loaded {
    /// One that fails is tried again by the next evaluation, which tells about it.
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
