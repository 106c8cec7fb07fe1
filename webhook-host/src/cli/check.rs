//! `sallyport check`: judges plain manifests.

use super::cache::CacheArgs;
use crate::engine::{Engine, EngineConfig};
use crate::manifests;
use crate::sources::load::{self, PolicyFiles};
use anyhow::bail;
use clap::{Args, ValueEnum};
use sallyport_core::admission::Admission;
use sallyport_core::check::{self, Circumstances, Manifests};
use sallyport_core::inventory::Inventory;
use sallyport_core::report;
use sallyport_core::report::check::{CheckReport, Detail};
use sallyport_core::suite::User;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

/// Judge the Services in plain manifests as the cluster would, before they get there.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Manifests (YAML with one or more documents, JSON, Lists), directories of them, or - for
    /// standard input.
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
    /// Files and directories to pass over, such as 'templates' or '*.tpl.yaml'; * stands for any
    /// characters. May be repeated.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// The Services as they are now: those in it are judged as updates, the others as new. May be
    /// repeated.
    #[arg(long, value_name = "FILE|DIR")]
    old: Vec<PathBuf>,
    /// Who applies the manifests [default: a user without special rights].
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A group of that user, beside system:authenticated. May be repeated.
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// Exit code 0 where there is no Service at all.
    #[arg(long)]
    allow_empty: bool,
    /// Warnings fail: exit code 1.
    #[arg(long)]
    strict: bool,
    /// Show only what is denied or could not be judged.
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Show the Services that pass too, and which policies were asked.
    #[arg(long, short)]
    verbose: bool,
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
    Sarif,
    Github,
}

const EXAMPLES: &str = "\
Each Service is given the API server's defaults, then /mutate's patches, then what the API server
allocates, then /validate's judgement. A node port in a manifest counts as chosen by its author.
One that the API server would allocate is tried with numbers of every part of the cluster's range:
what holds for all of them is certain, and what holds for some is a warning.

Namespaces in the manifests tell their labels to the policies; those of --config win.

Examples:
  sallyport check deploy/
  helm template my-chart | sallyport check - --namespace web --allow-empty
  sallyport check deploy/ --config host.yaml --output sarif > sallyport.sarif
  sallyport check deploy/ --output github            # annotations in a GitHub workflow
  kubectl get services -A -o yaml --show-managed-fields | sallyport check -
  sallyport check new.yaml --old live.yaml --user ci --group deployers

Exit code: 0 clean, 1 violations (with --strict also warnings), 2 something could not be judged.";

/// Runs the subcommand.
///
/// # Errors
///
/// When policies or configuration can't be read, or there is no Service at all.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let config = load::host_config(args.config.as_deref())?;
    let engine = Arc::new(Engine::new(&EngineConfig {
        concurrency: 1,
        cache: args.cache.open()?,
        ..EngineConfig::default()
    })?);
    let policies = load::sound_policies(
        &engine,
        &PolicyFiles::new(&args.policies, args.modules.as_deref()),
    )?;
    let mut manifests = manifests::read(&args.paths, &args.exclude);
    if manifests.services.is_empty() && manifests.unread.is_empty() && !args.allow_empty {
        bail!(
            "no Service found ({} other objects); name files or directories that hold v1 Services, \
             or allow that with --allow-empty",
            manifests.ignored + manifests.namespaces.len()
        );
    }
    if args.config.is_none() && !args.quiet {
        eprintln!("note: {}", load::DEFAULT_CONFIG_IN_WORDS);
    }
    let mut inventory = config.inventory;
    let unread = check::namespaces(&manifests.namespaces, &mut inventory);
    manifests.unread.extend(unread);
    let mut inventory = Inventory::from(inventory);
    if args.config.is_none() {
        inventory = inventory.assumed();
    }
    let admission = Admission::new(policies, inventory, config.exemptions);
    let mut old = old(args)?;
    manifests.unread.append(&mut old.unread);
    let (ignored, policies) = (manifests.ignored, admission.policies().len());
    let circumstances = Circumstances {
        admission: &admission,
        namespace: &args.namespace,
        user: user(args),
        now: SystemTime::now(),
        old: &old,
    };
    let report = CheckReport {
        ignored,
        policies,
        strict: args.strict,
        subjects: check::check(circumstances, manifests),
    };
    print!("{}", render(args, &report));
    Ok(ExitCode::from(report.exit_code()))
}

/// Reads the files that `--old` names.
fn old(args: &CheckArgs) -> anyhow::Result<Manifests> {
    let manifests = manifests::read(&args.old, &[]);
    if !args.old.is_empty() && manifests.services.is_empty() && manifests.unread.is_empty() {
        let named = args
            .old
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ");
        bail!(
            "--old: no Service found in {named} ({} other objects)",
            manifests.ignored + manifests.namespaces.len()
        );
    }
    Ok(manifests)
}

/// The API server adds the group to everybody whom it knows.
fn user(args: &CheckArgs) -> User {
    let default = User::default();
    let groups = args.group.iter().cloned().chain(default.groups).collect();
    User {
        username: args.user.clone().unwrap_or(default.username),
        groups,
    }
}

fn render(args: &CheckArgs, report: &CheckReport) -> String {
    let detail = match (args.quiet, args.verbose) {
        (true, _) => Detail::Quiet,
        (_, true) => Detail::Verbose,
        _ => Detail::Ordinary,
    };
    match args.output {
        Output::Text => report::check::text(report, detail),
        Output::Json => report::check::json(report),
        Output::Sarif => report::sarif::sarif(report),
        Output::Github => report::github::commands(report),
    }
}
