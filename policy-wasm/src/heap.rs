//! The allocator of a component: it takes and never gives back.
//!
//! An instance lives for one evaluation, and its memory ends with it, so that freeing is wasted work and a general allocator is
//! wasted size: the target's own is a tenth of a component's limit, and the smallest on crates.io is 2 KiB more than this.
//! What grows at the end of the heap, as a text in the making does, grows in place.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

/// Bytes of one page of WebAssembly memory.
const PAGE: usize = 65536;

/// The end of what was handed out, and of what there is.
pub(crate) struct Heap {
    next: Cell<usize>,
    end: Cell<usize>,
}

#[global_allocator]
static HEAP: Heap = Heap { next: Cell::new(0), end: Cell::new(0) };

#[expect(unsafe_code, reason = "a component has one thread")]
// SAFETY: this module is compiled for wasm32 without threads only.
unsafe impl Sync for Heap {}

impl Heap {
    /// The heap begins where the module's memory ended when it started; both ends are zero until then.
    fn take(&self, align: usize, size: usize) -> *mut u8 {
        let start = self.next.get().next_multiple_of(align);
        let Some(next) = start.checked_add(size) else { return std::ptr::null_mut() };
        if next > self.end.get() {
            return self.grow(align, size);
        }
        self.next.set(next);
        start as *mut u8
    }

    #[cold]
    fn grow(&self, align: usize, size: usize) -> *mut u8 {
        let end = core::arch::wasm32::memory_size(0) * PAGE;
        // Another part of the program may have grown the memory: what lies between is not ours.
        if end != self.end.get() {
            self.next.set(end);
        }
        let Some(needed) = self.next.get().next_multiple_of(align).checked_add(size) else {
            return std::ptr::null_mut();
        };
        let missing = needed.saturating_sub(end).div_ceil(PAGE);
        if core::arch::wasm32::memory_grow(0, missing) == usize::MAX {
            return std::ptr::null_mut();
        }
        self.end.set(end + missing * PAGE);
        self.take(align, size)
    }
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every block lies between `next` and `end`, which only move up, so no two overlap; alignment by `next_multiple_of`.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.align(), layout.size())
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let last = block as usize + layout.size() == self.next.get();
        let next = (block as usize).saturating_add(size);
        if last && next <= self.end.get() {
            self.next.set(next);
            return block;
        }
        let copy = self.take(layout.align(), size);
        if !copy.is_null() {
            // SAFETY: both blocks are ours, and a new one never overlaps an old one.
            unsafe { std::ptr::copy_nonoverlapping(block, copy, layout.size().min(size)) };
        }
        copy
    }
}
