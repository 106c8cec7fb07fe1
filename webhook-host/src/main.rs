//! The binary: parse, run, say what went wrong in one line.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    sallyport::cli::Cli::parse().run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
