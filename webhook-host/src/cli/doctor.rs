//! `sallyport doctor`: lints webhook configurations, ours and others'.

use super::cache::CacheArgs;
use super::inputs::{PathArgs, PolicyArgs, objects};
use super::output::{DetailArgs, TextFormat, print};
use super::registry::RegistryArgs;
use crate::doctor::{self, Configuration, Unreadable};
use crate::report::diagnosis as report;
use crate::sources::load;
use anyhow::{Result, bail};
use clap::Args;
use sallyport_core::report::counted;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Hold webhook configurations against Kubernetes' "Admission Webhook Good Practices", and say for
/// each finding what to do.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("paths", |paths| paths.value_name("FILE|-").help("Files with webhook \
    configurations (YAML or JSON, Lists too), or - for standard input")))]
#[command(mut_arg("filename", |filename| filename.value_name("FILE|-")))]
#[command(mut_arg("policies", |policies| policies.help("Directory of ServicePolicy manifests: the \
    registration of Sallyport is compared with what they judge, deletions above all")))]
#[command(mut_arg("config", |config| config.help("HostConfig manifest, for its registries")))]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    paths: PathArgs,
    #[command(flatten)]
    policies: PolicyArgs,
    /// Warnings count as errors for the exit code.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format.
    #[arg(long, short, value_enum, default_value_t = TextFormat::Text)]
    output: TextFormat,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

const EXAMPLES: &str = "\
Give it all configurations of a cluster at once: whether something validates what a webhook \
    patches shows only then. Other kinds are passed over.

Examples:
  kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations -o yaml |
    sallyport doctor -
  sallyport webhooks --ca-bundle ca.crt | sallyport doctor - --strict
  sallyport doctor webhooks.yaml --output json
  sallyport doctor webhooks.yaml --policies DIR

Exit code: 0 clean, 1 errors (with --strict also warnings), 2 something can't be read.";

/// Runs the subcommand.
///
/// # Errors
///
/// When a file can't be read, or holds no webhook configuration at all.
pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let mut configurations = vec![];
    let mut others = 0;
    for path in args.paths.all() {
        for object in objects(&path)? {
            match Configuration::try_from(&object) {
                Ok(configuration) => configurations.push(configuration),
                Err(Unreadable::Kind(_)) => others += 1,
                Err(error @ Unreadable::Malformed(..)) => bail!("{}: {error}", path.display()),
            }
        }
    }
    if configurations.is_empty() {
        bail!(
            "no webhook configuration found ({}); see `sallyport doctor --help` for how to get \
             them",
            counted(others, "other object")
        );
    }
    let mut diagnoses = doctor::diagnose(&configurations, jiff::Timestamp::now());
    if args.policies.are_given() {
        let judging = args.judging_deletions()?;
        doctor::compare_deletions(&mut diagnoses, &configurations, &judging);
    }
    match args.output {
        TextFormat::Text => print(&report::text(&diagnoses, args.detail.view()))?,
        TextFormat::Json => print(&report::json(&diagnoses))?,
    }
    let [errors, warnings, _] = report::counts(&diagnoses);
    let is_bad = errors > 0 || (args.strict && warnings > 0);
    Ok(if is_bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

impl DoctorArgs {
    /// Returns the names of the policies that judge deletions, or whose candidates do.
    fn judging_deletions(&self) -> Result<Vec<String>> {
        let files = self.policies.files()?;
        let engine = self.cache.engine()?;
        let config = load::host_config(self.policies.config())?;
        let session = self.registry.session(&self.cache, &config)?;
        let loader = files.loader(&engine, &session);
        let mut names = BTreeSet::new();
        for policy in load::policies(&loader, &files.manifests, &[])?
            .iter()
            .chain(&load::candidates(&loader, &files.manifests, &[])?)
        {
            if let Some(error) = policy.load_error() {
                bail!("{error}");
            }
            if policy.asks_of_deletions() {
                names.insert(policy.name().to_string());
            }
        }
        Ok(names.into_iter().collect())
    }
}
