//! `sallyport crd`: what makes an API server serve ServicePolicies.

use clap::{Args, ValueEnum};
use sallyport_core::manifest::ServicePolicy;
use sallyport_core::yaml;
use std::process::ExitCode;

/// Print the CustomResourceDefinition of ServicePolicy.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CrdArgs {
    /// Format.
    #[arg(long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Yaml,
    Json,
}

const EXAMPLES: &str = "\
The schema is derived from the types that read the file format. A HostConfig stays a file: it has \
    no custom resource.

Examples:
  sallyport crd | kubectl apply --server-side -f -
  kubectl explain servicepolicy.spec      # afterwards";

const HEAD: &str = "# Made by `sallyport crd`. Don't edit.\n";

/// Runs the subcommand.
///
/// # Errors
///
/// Never.
pub(super) fn run(args: &CrdArgs) -> anyhow::Result<ExitCode> {
    let crd = serde_json::to_value(ServicePolicy::crd())?;
    match args.output {
        Output::Yaml => print!("{HEAD}{}", yaml::to_string(&crd)),
        Output::Json => println!("{crd:#}"),
    }
    Ok(ExitCode::SUCCESS)
}
