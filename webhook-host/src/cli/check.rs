//! `sallyport check`: judges plain manifests.

use super::cache::CacheArgs;
use super::inputs::{PathArgs, PolicyArgs};
use super::names::{self, label};
use super::output::{DetailArgs, FindingsFormat, Progress, note, print};
use super::registry::RegistryArgs;
use crate::manifests;
use crate::sources::load;
use anyhow::bail;
use clap::Args;
use sallyport_core::admission::Admission;
use sallyport_core::check::{Circumstances, Manifests};
use sallyport_core::inventory::Inventory;
use sallyport_core::report::check::CheckReport;
use sallyport_core::suite::User;
use sallyport_core::{check, report};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

/// Judge the Services in plain manifests as the cluster would, before they get there.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    paths: PathArgs,
    #[command(flatten)]
    policies: PolicyArgs,
    /// The namespace of Services that name none.
    #[arg(long, short, default_value = "default", value_parser = label)]
    namespace: String,
    /// Files and directories to pass over, such as 'templates' or '*.tpl.yaml'; * stands for any
    /// characters. May be repeated.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// The Services as they are now: those in it are judged as updates, the others as new. May be
    /// repeated.
    #[arg(long, value_name = "FILE|DIR")]
    old: Vec<PathBuf>,
    /// The user who applies the manifests [default: a user without special rights].
    #[arg(long, value_name = "NAME", value_parser = names::user())]
    user: Option<String>,
    /// A group of that user, beside system:authenticated. May be repeated.
    #[arg(long, value_name = "NAME", value_parser = names::user())]
    group: Vec<String>,
    /// Exit code 0 where there is no Service at all.
    #[arg(long)]
    allow_empty: bool,
    /// Warnings fail: exit code 1.
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
Each Service is given the API server's defaults, then /mutate's patches, then what the API \
    server allocates, then /validate's judgement. A node port in a manifest counts as chosen \
    by its author. One that the API server would allocate is tried with numbers of every part \
    of the cluster's range: what holds for all of them is certain, and what holds for some is \
    a warning.

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
    let config = load::host_config(args.policies.config())?;
    let files = args.policies.files()?;
    let engine = args.cache.engine()?;
    let session = args.registry.session(&args.cache, &config)?;
    let policies = load::sound_policies(&files.loader(&engine, &session), &files.manifests)?;
    let mut manifests = manifests::read(&args.paths.all(), &args.exclude);
    if manifests.services.is_empty() && manifests.unread.is_empty() && !args.allow_empty {
        bail!(
            "no Service found ({}); name files or directories that hold v1 Services, or allow \
             that with --allow-empty",
            manifests.others()
        );
    }
    let is_default = args.policies.config().is_none();
    if is_default && !args.detail.is_quiet() {
        note(format_args!("note: {}", load::DEFAULT_CONFIG_IN_WORDS));
    }
    let mut inventory = config.inventory;
    let unread = check::namespaces(&manifests.namespaces, &mut inventory);
    manifests.unread.extend(unread);
    let mut inventory = Inventory::from(inventory);
    if is_default {
        inventory = inventory.assumed();
    }
    let admission = Admission::new(policies, inventory, config.exemptions).keeping_log();
    let mut old = old(args)?;
    manifests.unread.append(&mut old.unread);
    let (ignored, policies) = (manifests.ignored, admission.policies().len());
    let mut progress = Progress::new();
    let circumstances = Circumstances {
        admission: &admission,
        namespace: &args.namespace,
        user: user(args),
        now: SystemTime::now(),
        old: &old,
        progress: &mut |done, all| progress.show(done, all, "Services"),
    };
    let report = CheckReport {
        ignored,
        policies,
        strict: args.strict,
        subjects: check::check(circumstances, manifests),
    };
    drop(progress);
    print(&render(args, &report))?;
    if args.output.leaves_out_summary(&args.detail) {
        note(report::check::summary(&report));
    }
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
            "--old: no Service found in {named} ({})",
            manifests.others()
        );
    }
    Ok(manifests)
}

/// Returns the user of the flags, with the group that the API server adds to every authenticated
/// user.
fn user(args: &CheckArgs) -> User {
    let default = User::default();
    let groups = args.group.iter().cloned().chain(default.groups).collect();
    User {
        username: args.user.clone().unwrap_or(default.username),
        groups,
        ..User::default()
    }
}

fn render(args: &CheckArgs, report: &CheckReport) -> String {
    match args.output {
        FindingsFormat::Text => report::check::text(report, args.detail.view()),
        FindingsFormat::Json => report::check::json(report),
        FindingsFormat::Sarif => report::sarif::sarif(report),
        FindingsFormat::Github => report::github::commands(report),
        FindingsFormat::Gitlab => report::gitlab::code_quality(report),
    }
}
