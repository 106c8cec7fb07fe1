//! `sallyport inspect`: what a component says about itself.

use super::cache::CacheArgs;
use crate::engine::{Engine, EngineConfig};
use crate::policy::Inspection;
use crate::report;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what a policy component is: name, version, contract, what it asks for, its settings with their schema.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    /// The component.
    #[arg(value_name = "X.wasm")]
    component: PathBuf,
    /// Format.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

const EXAMPLES: &str = "\
Examples:
  sallyport inspect target/policies/nodeport_range.wasm
  sallyport inspect policy.wasm --output json | jq .settings     # JSON Schema of spec.settings";

/// Runs the subcommand.
///
/// # Errors
///
/// When the file can't be read or can't serve as a policy.
pub(super) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let path = args.component.display();
    let bytes = std::fs::read(&args.component).with_context(|| format!("{path}: can't be read"))?;
    let engine = Engine::new(&EngineConfig { concurrency: 1, cache: args.cache.open()?, ..EngineConfig::default() })?;
    let inspection = Inspection::of(&engine, &bytes).with_context(|| format!("{path}: can't serve as a policy"))?;
    match args.output {
        Output::Text => print!("{}", report::inspection::text(&inspection)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&inspection)?),
    }
    Ok(ExitCode::SUCCESS)
}
