//! `sallyport lint`: what `serve` would say of manifests, and what is odd about them, without
//! serving.

use super::cache::CacheArgs;
use crate::engine::{Engine, EngineConfig};
use crate::lint;
use crate::report;
use crate::report::check::{CheckReport, Finding, Level};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Check ServicePolicy and HostConfig manifests as `serve` would, without a cluster, and say what
/// is odd about them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LintArgs {
    /// Manifests, or directories of them with all below.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Directory of the modules that the manifests name [default: beside each manifest, where it is
    /// there].
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// Warnings count as errors for the exit code.
    #[arg(long)]
    strict: bool,
    /// Format of the report.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    #[value(alias = "human")]
    Text,
    Json,
    Github,
    Sarif,
}

const EXAMPLES: &str = "\
Settings are checked by the module itself, and suites beside the policies (*.suite.yaml) are run; so
modules must be at hand. A directory counts as one set of policies, as `serve --policies` takes it.
Other objects are passed over.

Examples:
  sallyport lint policies/presets/baseline --modules target/policies
  sallyport lint host.yaml --strict
  sallyport lint policies/ --modules target/policies --output github

Exit code: 0 clean, 1 errors (with --strict also warnings), 2 something can't be read.";

/// Runs the subcommand.
///
/// # Errors
///
/// When the engine can't start, or there is nothing to check.
pub(super) fn run(args: &LintArgs) -> Result<ExitCode> {
    let engine = EngineConfig {
        concurrency: 1,
        cache: args.cache.open()?,
        ..EngineConfig::default()
    };
    let engine = Arc::new(Engine::new(&engine)?);
    let report = lint::lint(engine, args.modules.clone(), &args.paths);
    if report.subjects.is_empty() {
        let ignored = report.ignored;
        bail!(
            "no ServicePolicy, HostConfig or suite found ({ignored} other objects); name files or \
             directories of them"
        );
    }
    print!("{}", render(args.output, &report));
    let warned = report
        .subjects
        .iter()
        .flat_map(|subject| &subject.findings)
        .any(is_warning);
    let code = report.exit_code();
    Ok(ExitCode::from(if code == 0 && args.strict && warned {
        1
    } else {
        code
    }))
}

fn is_warning(finding: &Finding) -> bool {
    finding.level == Level::Warning
}

fn render(output: Output, report: &CheckReport) -> String {
    match output {
        Output::Text => report::lint::text(report),
        Output::Json => report::lint::json(report),
        Output::Github => report::github::commands(report),
        Output::Sarif => report::sarif::sarif(report),
    }
}
