//! `sallyport schema`: the JSON Schemas of the files that users write.

use super::output::print_json;
use clap::{Args, ValueEnum};
use sallyport_core::manifest::{HostConfig, ServicePolicy};
use sallyport_core::suite::Suite;
use std::process::ExitCode;

/// Print the JSON Schema of a file format, with which editors complete keys, explain them and mark
/// errors.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SchemaArgs {
    /// The kind of file.
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Suite,
    ServicePolicy,
    HostConfig,
}

const EXAMPLES: &str = "\
The schemas are derived from the types that read the files. Editors with the YAML language server \
    take the schema that the first line of a file names:

  # yaml-language-server: $schema=suite.schema.json

Examples:
  sallyport schema suite > suite.schema.json
  sallyport schema service-policy > service-policy.schema.json
  sallyport inspect policy.wasm --output json | jq .settings     # the schema of spec.settings";

/// Runs the subcommand.
///
/// # Errors
///
/// When standard output can't be written.
pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    print_json(&match args.kind {
        Kind::Suite => Suite::schema(),
        Kind::ServicePolicy => ServicePolicy::schema(),
        Kind::HostConfig => HostConfig::schema(),
    })?;
    Ok(ExitCode::SUCCESS)
}
