//! `sallyport`: see `sallyport --help`.

use std::process::ExitCode;

/// Takes half of the processor time of musl's allocator for a large review, and the same for an
/// ordinary one. (Without transparent huge pages: with them an idle host holds 46 MiB, not 22.)
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sallyport::cli::main()
}
