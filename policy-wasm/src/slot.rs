//! Where a component keeps its configured policy.
//!
//! Invariant: the pointer is null or from a box that is never freed, so that whoever reads it may
//! keep what it points to. A `OnceLock` would do the same for half a KiB more, in every component.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Holds a value from the moment it is set, for ever.
#[derive(Debug)]
pub struct Slot<T>(AtomicPtr<T>);

impl<T: Send + Sync> Slot<T> {
    /// An empty slot.
    #[expect(clippy::new_without_default, reason = "it stands in a static")]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Sets the value, in place of an earlier one.
    pub fn set(&self, value: T) {
        self.0
            .store(Box::into_raw(Box::new(value)), Ordering::Release);
    }

    /// The value, if one was set.
    #[expect(unsafe_code, reason = "a pointer is what fits into a static")]
    pub fn value(&self) -> Option<&T> {
        // SAFETY: null, or from `set`, which leaks; `T` may be shared between threads.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_there_once_it_was_set() {
        static SLOT: Slot<String> = Slot::new();
        assert_eq!(SLOT.value(), None);
        SLOT.set("a".to_owned());
        assert_eq!(SLOT.value().map(String::as_str), Some("a"));
    }
}
