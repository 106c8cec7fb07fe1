//! `sallyport lint`: what `serve` would say of manifests, and what is rarely meant, without
//! serving.

use super::cache::CacheArgs;
use super::inputs::PathArgs;
use super::output::{DetailArgs, FindingsFormat, note, print};
use super::registry::RegistryArgs;
use crate::lint::{self, ClusterRange};
use crate::sources::load;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use sallyport_core::report;
use sallyport_core::report::check::CheckReport;
use sallyport_core::report::check::Finding;
use sallyport_core::report::check::Level;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check ServicePolicy and HostConfig manifests as `serve` would, without a cluster, and warn about
/// what is rarely meant.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("paths", |paths| paths.value_name("FILE|DIR")
    .help("Manifests, or directories of them with all below")))]
#[command(mut_arg("filename", |filename| filename.value_name("FILE|DIR")))]
pub(super) struct LintArgs {
    #[command(flatten)]
    paths: PathArgs,
    /// Directory of the modules that the manifests name [default: each manifest's directory, its
    /// target/wasm32-unknown-unknown/release, then the shipped ones].
    #[arg(long, value_name = "DIR", env = "SALLYPORT_MODULES")]
    modules: Option<PathBuf>,
    /// HostConfig of the cluster that the policies are for: their ranges of node ports are compared
    /// with its own [default: the HostConfig among the manifests, if there is one and no other].
    #[arg(long, value_name = "FILE", env = "SALLYPORT_CONFIG")]
    config: Option<PathBuf>,
    /// Warnings count as errors for the exit code.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format of the report.
    #[arg(long, short, value_enum, default_value_t = FindingsFormat::Text)]
    output: FindingsFormat,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

const EXAMPLES: &str = "\
Settings are checked by the module itself, and suites beside the policies (suite.yaml, \
    *.suite.yaml) are run; so modules must be at hand. A directory counts as one set of \
    policies, as `serve --policies` takes it. Other objects are passed over.

Examples:
  sallyport lint my-policies/
  sallyport lint host.yaml --strict
  sallyport lint my-policies/ --config host.yaml
  sallyport lint my-policies/ --modules components/ --output github

Exit code: 0 clean, 1 errors (with --strict also warnings), 2 something can't be read.";

/// Runs the subcommand.
///
/// # Errors
///
/// When the engine can't start, the modules' directory or the HostConfig can't be read, or there is
/// nothing to check.
pub(super) fn run(args: &LintArgs) -> Result<ExitCode> {
    if let Some(directory) = &args.modules {
        // Otherwise each policy would say so.
        let shown = directory.display();
        std::fs::read_dir(directory).with_context(|| {
            format!("can't read the directory of modules, {shown}; name another one with --modules")
        })?;
    }
    let node_ports = args.config.as_deref().map(|file| {
        let config = load::host_config(Some(file))?;
        anyhow::Ok(ClusterRange::of(config, file))
    });
    let report = lint::lint(
        args.cache.engine()?,
        args.modules.clone(),
        args.registry.of_command(Some(&args.cache))?,
        node_ports.transpose()?,
        &args.paths.all(),
    );
    if report.subjects.is_empty() {
        let ignored = report::counted(report.ignored, "other object");
        bail!(
            "no ServicePolicy, HostConfig or suite found ({ignored}); name files or directories \
             of them"
        );
    }
    print(&render(args, &report))?;
    if args.output.leaves_out_summary(&args.detail) {
        note(report::lint::summary(&report));
    }
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

fn render(args: &LintArgs, report: &CheckReport) -> String {
    match args.output {
        FindingsFormat::Text => report::lint::text(report, args.detail.view()),
        FindingsFormat::Json => report::lint::json(report),
        FindingsFormat::Github => report::github::commands(report),
        FindingsFormat::Gitlab => report::gitlab::code_quality(report),
        FindingsFormat::Sarif => report::sarif::sarif(report),
    }
}
