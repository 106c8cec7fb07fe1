//! The command line: one file a subcommand, and the only place that wires things.

pub mod check;
pub mod inspect;
pub mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Decides how Kubernetes Services may be exposed.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Test(test::TestArgs),
    Check(check::CheckArgs),
    Inspect(inspect::InspectArgs),
}

impl Cli {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from doing its work.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Test(args) => test::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Inspect(args) => inspect::run(&args),
        }
    }
}
