//! Freed memory goes back to the system at once where much of it was freed.
//!
//! glibc keeps what a thread frees for that thread's next use. Whatever thread once read a large body would so hold tens of MiB for
//! good, of which the container's limit allows few. Called by `capacity` after every large body; other C libraries give back
//! of themselves, or not.

/// Takes milliseconds, during which threads that allocate may wait.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of the C library that has no conditions")]
pub(super) fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time, on any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back() {}
