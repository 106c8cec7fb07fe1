//! The command line: one file a subcommand, and the only place that wires things, reads files and
//! looks at the environment.

mod bench;
mod cache;
mod certificate;
mod check;
mod cluster;
mod crd;
mod doctor;
mod explain;
mod given;
mod import;
mod inputs;
mod inspect;
mod kube;
mod lint;
mod load;
mod logging;
mod new;
mod output;
mod pull;
mod push;
mod quantity;
mod record;
mod register;
mod registry;
mod removal;
mod replay;
mod save;
mod schema;
mod self_managed;
mod serve;
mod sign;
mod test;
mod verify;
mod webhooks;

use clap::{Parser, Subcommand};
use sallyport_core::contract;
use std::process::ExitCode;
use std::sync::LazyLock;

/// Version and commit. Builds name the commit in SALLYPORT_COMMIT, so that they need no git and a
/// commit alone makes nobody compile again.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("SALLYPORT_COMMIT").unwrap_or("unknown");
    format!("{} (commit {commit})", env!("CARGO_PKG_VERSION"))
});

static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\ncontract {}\nwasmtime {}",
        *VERSION,
        contract::VERSION,
        wasmtime_environ::VERSION
    )
});

/// Decides how Kubernetes Services may be exposed, with WebAssembly policies: in the cluster as an
/// admission webhook, and before it on manifests and fixtures.
#[derive(Debug, Parser)]
#[command(
    name = "sallyport",
    bin_name = "sallyport",
    version = VERSION.as_str(),
    long_version = LONG_VERSION.as_str(),
    propagate_version = true,
    max_term_width = 110
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Test(test::TestArgs),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Inspect(inspect::InspectArgs),
    Webhooks(Box<webhooks::WebhooksArgs>),
    Lint(lint::LintArgs),
    Doctor(doctor::DoctorArgs),
    Crd(crd::CrdArgs),
    Schema(schema::SchemaArgs),
    Import(import::ImportArgs),
    New(new::NewArgs),
    Replay(replay::ReplayArgs),
    Push(push::PushArgs),
    Pull(pull::PullArgs),
    Save(save::SaveArgs),
    Load(load::LoadArgs),
    Sign(sign::SignArgs),
    Verify(verify::VerifyArgs),
}

/// Runs the program: reads the arguments of the process, and returns its exit code.
pub fn main() -> ExitCode {
    Cli::parse().run()
}

/// Exit code of a command that can't do its work. 1 is for one that did, and found something.
const FAILED: u8 = 2;

impl Cli {
    /// Runs the command. A failure is one line on standard error.
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Test(args) => test::run(&args),
            Command::Bench(args) => bench::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Inspect(args) => inspect::run(&args),
            Command::Webhooks(args) => webhooks::run(&args),
            Command::Lint(args) => lint::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Crd(args) => crd::run(&args),
            Command::Schema(args) => schema::run(&args),
            Command::Import(args) => import::run(&args),
            Command::New(args) => new::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Push(args) => push::run(&args),
            Command::Pull(args) => pull::run(&args),
            Command::Save(args) => save::run(&args),
            Command::Load(args) => load::run(&args),
            Command::Sign(args) => sign::run(&args),
            Command::Verify(args) => verify::run(&args),
        };
        result.unwrap_or_else(|error| {
            output::error(format_args!("{error:#}"));
            ExitCode::from(FAILED)
        })
    }
}
