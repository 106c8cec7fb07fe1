//! The current version of the known objects, replaced as a whole by the host's watchers.
//!
//! Readers take the current version without a lock and keep it for a whole review; a version, once
//! published, never changes.

use super::index::{Index, Kind, Known};
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// The current version of the objects that are known: shared by one writer and all readers.
#[derive(Debug, Default)]
pub struct Current(ArcSwap<Known>);

impl Current {
    /// Publishes what an index holds. Reviews that began before keep what they saw.
    pub fn publish(&self, index: &Index) {
        self.0.store(Arc::new(index.known().clone()));
    }

    /// Returns true if the labels of a namespace are known.
    pub fn knows_namespace(&self, name: &str) -> bool {
        self.known().labels(name).is_some()
    }

    /// Counts the objects of a kind that are known.
    pub fn count(&self, kind: Kind) -> usize {
        self.known().count(kind)
    }

    pub(super) fn known(&self) -> Guard<Arc<Known>> {
        self.0.load()
    }
}
