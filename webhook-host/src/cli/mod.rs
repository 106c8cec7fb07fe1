//! The command line: one file for each subcommand. Only this folder connects the others, reads
//! files and looks at the environment.

mod audit;
#[cfg(unix)]
mod audit_reports;
mod audited;
mod bench;
#[cfg(unix)]
mod bounds;
mod cache;
#[cfg(unix)]
mod certificate;
mod check;
#[cfg(unix)]
mod cluster;
mod completions;
#[cfg(unix)]
mod console;
mod crd;
#[cfg(unix)]
mod decisions;
mod doctor;
#[cfg(unix)]
mod events;
mod explain;
mod exposures;
mod given;
mod import;
mod inputs;
mod inspect;
mod kube;
mod lint;
mod load;
mod logging;
mod names;
mod new;
#[cfg(not(unix))]
mod no_serve;
#[cfg(unix)]
mod otlp;
mod output;
mod pull;
mod push;
mod quantity;
#[cfg(unix)]
mod record;
#[cfg(unix)]
mod register;
mod registry;
mod removal;
mod replay;
mod save;
mod schema;
#[cfg(unix)]
mod self_managed;
#[cfg(unix)]
mod serve;
mod sign;
#[cfg(unix)]
mod signals;
mod static_manifests;
mod test;
mod verify;
mod webhooks;

use clap::builder::StyledStr;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use sallyport_core::contract;
use std::path::Path;
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
    #[cfg(unix)]
    Serve(Box<serve::Serve>),
    #[cfg(not(unix))]
    #[command(hide = true)]
    Serve(no_serve::Serve),
    Test(test::TestArgs),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Audit(Box<audit::AuditArgs>),
    Exposures(Box<exposures::ExposuresArgs>),
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
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Man(completions::ManArgs),
}

/// The file name of the program as a plugin of kubectl, which runs it for `kubectl sallyport`.
const PLUGIN: &str = "kubectl-sallyport";

/// Runs the program: reads the arguments of the process, and returns its exit code.
pub fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    let is_plugin = Path::new(&program)
        .file_stem()
        .is_some_and(|name| name == PLUGIN);
    let name = if is_plugin {
        "kubectl sallyport"
    } else {
        "sallyport"
    };
    let matches = command(name).get_matches();
    Cli::from_arg_matches(&matches)
        .unwrap_or_else(|error| error.exit())
        .run()
}

/// Returns the definition of the command line for a program that users call by this name.
fn command(name: &'static str) -> clap::Command {
    let renamed = |text: &StyledStr| text.to_string().replace("sallyport ", &format!("{name} "));
    let examples = |mut command: clap::Command| {
        if let Some(text) = command.get_after_help().map(renamed) {
            command = command.after_help(text);
        }
        if let Some(text) = command.get_after_long_help().map(renamed) {
            command = command.after_long_help(text);
        }
        command
    };
    let command = Cli::command().bin_name(name);
    if name == "sallyport" {
        command
    } else {
        command.mut_subcommands(examples)
    }
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
            Command::Audit(args) => audit::run(&args),
            Command::Exposures(args) => exposures::run(&args),
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
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => completions::man(&args),
        };
        result.unwrap_or_else(|error| {
            output::error(format_args!("{error:#}"));
            ExitCode::from(FAILED)
        })
    }
}
