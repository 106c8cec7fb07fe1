//! `sallyport`: see `sallyport --help`.

use clap::Parser as _;
use sallyport::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::parse().run()
}
