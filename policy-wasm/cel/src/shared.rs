//! Shared ownership of the values of an evaluation.
//!
//! Natively a counted reference. In a component a plain one to memory that is never freed: the heap
//! of a component frees nothing, since an instance ends with its evaluation, and without counting
//! the code is a fifth smaller and an evaluation writes to fewer pages.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Deref;

#[cfg(target_family = "wasm")]
mod reference {
    use alloc::boxed::Box;

    /// A reference that is never counted.
    pub(super) type Reference<'a, T> = &'a T;

    pub(super) fn of<'a, T>(value: T) -> &'a T {
        Box::leak(Box::new(value))
    }

    pub(super) fn unsized_of<'a, T: ?Sized>(value: Box<T>) -> &'a T {
        Box::leak(value)
    }
}

#[cfg(not(target_family = "wasm"))]
mod reference {
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use core::marker::PhantomData;
    use core::ops::Deref;

    /// A counted reference.
    pub(super) struct Reference<'a, T: ?Sized>(Arc<T>, PhantomData<&'a T>);

    impl<T: ?Sized> Clone for Reference<'_, T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0), PhantomData)
        }
    }

    impl<T: ?Sized> Deref for Reference<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    pub(super) fn of<'a, T>(value: T) -> Reference<'a, T> {
        Reference(Arc::new(value), PhantomData)
    }

    pub(super) fn unsized_of<'a, T: ?Sized>(value: Box<T>) -> Reference<'a, T> {
        Reference(value.into(), PhantomData)
    }
}

/// A shared value.
pub struct Shared<'a, T: ?Sized>(reference::Reference<'a, T>);

impl<T> Shared<'_, T> {
    pub(crate) fn new(value: T) -> Self {
        Self(reference::of(value))
    }
}

#[cfg(target_family = "wasm")]
impl<T: ?Sized> Copy for Shared<'_, T> {}

#[cfg(target_family = "wasm")]
impl<T: ?Sized> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

#[cfg(not(target_family = "wasm"))]
impl<T: ?Sized> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Deref for Shared<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl From<String> for Shared<'_, str> {
    fn from(text: String) -> Self {
        Self(reference::unsized_of(text.into_boxed_str()))
    }
}

impl From<&str> for Shared<'_, str> {
    fn from(text: &str) -> Self {
        Self(reference::unsized_of(text.into()))
    }
}

impl From<Vec<u8>> for Shared<'_, [u8]> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(reference::unsized_of(bytes.into_boxed_slice()))
    }
}
