//! `sallyport crd`: the CustomResourceDefinition of ServicePolicy.

use super::output::ObjectFormat;
use super::output::print;
use clap::Args;
use sallyport_core::manifest::ServicePolicy;
use sallyport_core::yaml;
use std::process::ExitCode;

/// Print the CustomResourceDefinition of ServicePolicy.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CrdArgs {
    /// Format.
    #[arg(long, short, value_enum, default_value_t = ObjectFormat::Yaml)]
    output: ObjectFormat,
}

const EXAMPLES: &str = "\
The schema is derived from the types that read the file format. A HostConfig stays a file: it \
    has no custom resource.

Examples:
  sallyport crd | kubectl apply --server-side -f -
  kubectl explain servicepolicy.spec      # afterwards";

const HEAD: &str = "# Made by `sallyport crd`. Don't edit.\n";

/// Runs the subcommand.
///
/// # Errors
///
/// When standard output can't be written.
pub(super) fn run(args: &CrdArgs) -> anyhow::Result<ExitCode> {
    let crd = serde_json::to_value(ServicePolicy::crd())?;
    print(&match args.output {
        ObjectFormat::Yaml => format!("{HEAD}{}", yaml::to_string(&crd)),
        ObjectFormat::Json => format!("{crd:#}\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}
