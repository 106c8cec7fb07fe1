//! Returns freed memory to the system after large bodies.
//!
//! glibc keeps the memory that a thread frees for that thread's next use. So each thread that once
//! parsed a large body would keep tens of MiB for good, and the container's limit leaves room for
//! few of these. mimalloc, the allocator of the static program (musl), does the same. Called when
//! the large-body lock is released, and by `Server::run`. Does nothing with other allocators.

/// Allocations from this many bytes on are mapped from the system, and returned to it when they are
/// freed. glibc begins with 128 KiB and raises the threshold whenever a larger allocation is freed,
/// up to 32 MiB; bodies would then lie among everything else, and stay.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD: libc::c_int = 256 << 10;

/// Fixes the threshold, so that glibc does not raise it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of the C library that has no conditions")]
pub(crate) fn fix_mmap_threshold() {
    // SAFETY: mallopt(3) may be called at any time, on any thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn fix_mmap_threshold() {}

/// Returns free memory to the system. Takes milliseconds, during which threads that allocate may
/// wait.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of the C library that has no conditions")]
pub(crate) fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time, on any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(target_env = "musl")]
#[expect(unsafe_code, reason = "a call of the allocator that has no conditions")]
pub(crate) fn give_back() {
    // SAFETY: mi_collect may be called at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(not(any(target_env = "musl", all(target_os = "linux", target_env = "gnu"))))]
pub(crate) fn give_back() {}
