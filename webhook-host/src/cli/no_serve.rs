//! `sallyport serve` on Windows, which has no signals to reload and to drain by.

use anyhow::{Result, bail};
use clap::Args;
use std::ffi::OsString;
use std::process::ExitCode;

/// Serve the admission webhook: on Linux and macOS only
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<OsString>,
}

impl Serve {
    /// Says where the webhook runs.
    pub(super) fn run(self) -> Result<ExitCode> {
        bail!(
            "the webhook runs on Linux and macOS only; run the container image, or use the offline \
             commands here: check, test, lint, explain and others (--help)"
        )
    }
}
