//! `sallyport check`: judges plain manifests.

mod defaults;
mod judge;
mod located;
mod manifests;
mod policies;

use crate::admission::Admission;
use crate::engine::{Engine, EngineConfig};
use crate::inventory::Inventory;
use crate::manifest::{HostConfig, HostConfigSpec};
use crate::report::{self, check::CheckReport};
use crate::yaml;
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use judge::Judge;
use manifests::Manifests;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Judge the Services in plain manifests as the cluster would, before they get there.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Manifests (YAML with one or more documents, JSON, Lists), directories of them, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,
    /// ServicePolicy manifests and their components.
    #[arg(long, value_name = "DIR", default_value = "target/policies")]
    policies: PathBuf,
    /// A HostConfig: what policies may know about the cluster, and the exemptions.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The namespace of Services that name none.
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// Format of the report.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
    Sarif,
    Github,
}

const EXAMPLES: &str = "\
Each Service is given the API server's defaults, then /mutate's patches, then /validate's judgement. A node port in a
manifest counts as chosen by its author; one that the API server would allocate can't be judged yet and gives a warning.

Examples:
  sallyport check deploy/
  helm template my-chart | sallyport check - --namespace web
  sallyport check deploy/ --config host.yaml --output sarif > sallyport.sarif
  sallyport check deploy/ --output github          # annotations in a GitHub workflow

Exit code: 0 clean, 1 violations, 2 something could not be judged.";

/// Runs the subcommand.
///
/// # Errors
///
/// When policies or configuration can't be read, or there is no Service at all.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(read_config).transpose()?.unwrap_or_default();
    let engine = Arc::new(Engine::new(&EngineConfig { concurrency: 1, ..EngineConfig::default() })?);
    let policies = policies::load(&args.policies, &engine)?;
    let admission = Admission::new(policies, Inventory::from(config.inventory), config.exemptions);
    let manifests = Manifests::read(&args.paths);
    if manifests.services.is_empty() && manifests.unread.is_empty() {
        bail!("no Service found ({} other objects); name files or directories that hold v1 Services", manifests.ignored);
    }
    let judge = Judge { admission: &admission, namespace: &args.namespace };
    let judged = manifests.services.iter().map(|(source, service)| judge.judge(source, service));
    let report = CheckReport { subjects: manifests.unread.into_iter().chain(judged).collect(), ignored: manifests.ignored };
    print!("{}", render(args.output, &report));
    Ok(ExitCode::from(report.exit_code()))
}

fn read_config(path: &Path) -> anyhow::Result<HostConfigSpec> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown}: can't be read"))?;
    let documents = yaml::documents(&text).with_context(|| shown.to_string())?;
    let [document] = documents.as_slice() else { bail!("{shown}: expected one document, found {}", documents.len()) };
    Ok(HostConfig::from_value(document).with_context(|| shown.to_string())?.spec)
}

fn render(output: Output, report: &CheckReport) -> String {
    match output {
        Output::Text => report::check::text(report),
        Output::Json => report::check::json(report),
        Output::Sarif => report::sarif::sarif(report),
        Output::Github => report::github::commands(report),
    }
}
