//! `sallyport check`: judges plain manifests.

pub(super) mod defaults;
mod judge;
mod likeness;
pub(super) mod located;
pub(super) mod manifests;
mod strict;

use super::cache::CacheArgs;
use super::load::{self, PolicyFiles};
use crate::admission::Admission;
use crate::engine::{Engine, EngineConfig};
use crate::inventory::Inventory;
use crate::report::{self, check::CheckReport};
use anyhow::bail;
use clap::{Args, ValueEnum};
use judge::Judge;
use manifests::Manifests;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Judge the Services in plain manifests as the cluster would, before they get there.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Manifests (YAML with one or more documents, JSON, Lists), directories of them, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,
    /// ServicePolicy manifests and their components.
    #[arg(long, value_name = "DIR", default_value = "target/policies")]
    policies: PathBuf,
    /// Directory of the modules that the manifests name [default: the directory of the manifests].
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// A HostConfig: what policies may know about the cluster, and the exemptions.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The namespace of Services that name none.
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// Format of the report.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    cache: CacheArgs,
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
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let config = load::host_config(args.config.as_deref())?;
    let engine =
        Arc::new(Engine::new(&EngineConfig { concurrency: 1, cache: args.cache.open()?, ..EngineConfig::default() })?);
    let policies = load::policies(&engine, &PolicyFiles::new(&args.policies, args.modules.as_deref()), &[])?;
    let admission = Admission::new(policies, Inventory::from(config.inventory), config.exemptions);
    let manifests = Manifests::read(&args.paths);
    if manifests.services.is_empty() && manifests.unread.is_empty() {
        bail!(
            "no Service found ({} other objects); name files or directories that hold v1 Services",
            manifests.ignored + manifests.namespaces.len()
        );
    }
    let judge = Judge { admission: &admission, namespace: &args.namespace };
    let judged = manifests.services.iter().map(|(source, service)| {
        let mut subject = judge.judge(source, service);
        subject.findings.extend(strict::findings(service));
        subject
    });
    let ignored = manifests.ignored + manifests.namespaces.len();
    let report = CheckReport { subjects: manifests.unread.into_iter().chain(judged).collect(), ignored };
    print!("{}", render(args.output, &report));
    Ok(ExitCode::from(report.exit_code()))
}

fn render(output: Output, report: &CheckReport) -> String {
    match output {
        Output::Text => report::check::text(report),
        Output::Json => report::check::json(report),
        Output::Sarif => report::sarif::sarif(report),
        Output::Github => report::github::commands(report),
    }
}
