//! Freed memory goes back to the system at once where much of it was freed.
//!
//! glibc keeps what a thread frees for that thread's next use. Whatever thread once read a large
//! body would so hold tens of MiB for good, of which the container's limit allows few. Called by
//! `capacity` after every large body; other C libraries give back of themselves, or not.

/// Bytes of a piece of memory that is the system's own, and goes back to it when it is freed. glibc
/// begins with 128 KiB, and raises that whenever a larger piece is freed, up to 32 MiB; then bodies
/// lie among everything else, and stay.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_PIECE: libc::c_int = 256 << 10;

/// Large pieces of memory are the system's own from now on.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of the C library that has no conditions")]
pub(crate) fn settle() {
    // SAFETY: mallopt(3) may be called at any time, on any thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_PIECE) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn settle() {}

/// Takes milliseconds, during which threads that allocate may wait.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of the C library that has no conditions")]
pub(crate) fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time, on any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}
