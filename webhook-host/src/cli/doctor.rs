//! `sallyport doctor`: lints webhook configurations, ours and others'.

use super::cache::CacheArgs;
use super::inputs::{PathArgs, PolicyArgs};
use super::output::{DetailArgs, TextFormat, print};
use super::registry::RegistryArgs;
use crate::doctor::{self, Configuration, Unreadable};
use crate::report::diagnosis as report;
use crate::sources::load;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use sallyport_core::report::counted;
use sallyport_core::yaml;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
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

/// Bytes of standard input. A cluster's configurations are some hundred kilobytes.
const MAX_INPUT: u64 = 64 << 20;

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

/// The objects of a file; those of a List one by one.
fn objects(path: &Path) -> Result<Vec<Value>> {
    let (text, name) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .context("can't read standard input")?;
        (text, "<stdin>".to_owned())
    } else {
        (load::read_text(path)?, path.display().to_string())
    };
    let documents = yaml::documents(&text).with_context(|| name)?;
    let is_list = |object: &Value| {
        object["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("List"))
    };
    let flat = documents
        .into_iter()
        .flat_map(|mut object| match is_list(&object) {
            true => items(&mut object),
            false => vec![object],
        });
    Ok(flat.collect())
}

/// A list of one kind leaves kind and version to the list.
fn items(list: &mut Value) -> Vec<Value> {
    let kind = list["kind"]
        .as_str()
        .and_then(|kind| kind.strip_suffix("List"))
        .unwrap_or_default()
        .to_owned();
    let version = list["apiVersion"].clone();
    let Value::Array(mut items) = list["items"].take() else {
        return vec![];
    };
    for item in items
        .iter_mut()
        .filter(|item| item.is_object() && item.get("kind").is_none())
    {
        item["kind"] = kind.as_str().into();
        item["apiVersion"] = version.clone();
    }
    items
}
