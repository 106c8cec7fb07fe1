//! `sallyport doctor`: lints webhook configurations, ours and others', and static manifests.

use super::cache::CacheArgs;
use super::inputs::{PathArgs, PolicyArgs, objects};
use super::output::{DetailArgs, TextFormat, print};
use super::registry::RegistryArgs;
use crate::doctor::{self, ApiServer, Configuration, StaticFile, StaticFiles, Unreadable};
use crate::report::diagnosis as report;
use crate::sources::load;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use sallyport_core::report::counted;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check webhook configurations against Kubernetes' "Admission Webhook Good Practices", with a fix
/// for each finding.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("paths", |paths| paths.value_name("FILE|-").help("Files with webhook \
    configurations (YAML or JSON, Lists too), or - for standard input; Services in them are looked \
    at for deprecated fields, and admission policies for static ones beside them")
    .required_unless_present_any(["filename", "static", "api_server_metrics"])))]
#[command(mut_arg("filename", |filename| filename.value_name("FILE|-")))]
#[command(mut_arg("policies", |policies| policies.help("Directory of ServicePolicy manifests: the \
    registration of Sallyport is compared with what they judge, deletions above all")))]
#[command(mut_arg("config", |config| config.help("HostConfig manifest, for its registries")))]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    paths: PathArgs,
    #[command(flatten)]
    policies: PolicyArgs,
    /// Directory of static manifests, as `sallyport webhooks --static` writes it or as it is on a
    /// node of the control plane.
    #[arg(long = "static", id = "static", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Metrics of an API server, for what it has loaded of static manifests: the output of
    /// `kubectl get --raw /metrics`.
    #[arg(long, value_name = "FILE")]
    api_server_metrics: Option<PathBuf>,
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
    patches shows only then. Other kinds than those named above are passed over.

Examples:
  kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations -o yaml |
    sallyport doctor -
  sallyport webhooks --ca-bundle ca.crt | sallyport doctor - --strict
  sallyport doctor webhooks.yaml --output json
  sallyport doctor webhooks.yaml --policies DIR
  kubectl get services -A -o yaml | sallyport doctor -
  kubectl get --raw /metrics > metrics.txt
  sallyport doctor --static DIR --api-server-metrics metrics.txt

Exit code: 0 clean, 1 errors (with --strict also warnings), 2 something can't be read.";

/// Runs the subcommand.
///
/// # Errors
///
/// When a file can't be read, or holds no webhook configuration at all.
pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let mut configurations = vec![];
    let mut others = vec![];
    for path in args.paths.all() {
        for object in objects(&path)? {
            match Configuration::try_from(&object) {
                Ok(configuration) => configurations.push(configuration),
                Err(Unreadable::Kind(_)) => others.push(object),
                Err(error @ Unreadable::Malformed(..)) => bail!("{}: {error}", path.display()),
            }
        }
    }
    let mut more: Vec<_> = others.iter().filter_map(doctor::external_ips).collect();
    let files = args.directory.as_deref().map(static_files).transpose()?;
    let mut files = files.map(|files| StaticFiles::of(&files, &others));
    if let Some(files) = &mut files {
        configurations.append(&mut files.configurations);
        more.append(&mut files.diagnoses);
    }
    match &args.api_server_metrics {
        Some(path) => {
            let server = ApiServer::parse(&load::read_text(path)?);
            more.push(server.diagnose(files.as_ref()));
        }
        None if files.is_some() => more.push(ApiServer::unseen()),
        None => {}
    }
    if configurations.is_empty() && more.is_empty() {
        bail!(
            "no webhook configuration found ({}); see `sallyport doctor --help` for how to get \
             them",
            counted(others.len(), "other object")
        );
    }
    let mut diagnoses = doctor::diagnose(&configurations, jiff::Timestamp::now());
    if args.policies.are_given() {
        let judging = args.judging_deletions()?;
        doctor::compare_deletions(&mut diagnoses, &configurations, &judging);
    }
    diagnoses.append(&mut more);
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

/// Reads the files of a directory and of the directories in it.
fn static_files(directory: &Path) -> Result<Vec<StaticFile>> {
    let unreadable = |path: &Path| format!("--static: can't read {}", path.display());
    let mut files = vec![];
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).with_context(|| unreadable(&path))?;
            for entry in entries {
                left.push(entry.with_context(|| unreadable(&path))?.path());
            }
            let count = files.len() + left.len();
            ensure!(count <= MAX_FILES, "--static: more than {MAX_FILES} files");
            continue;
        }
        let below = path.strip_prefix(directory).unwrap_or(&path);
        files.push(StaticFile {
            path: below.to_string_lossy().into_owned(),
            text: load::read_text(&path).with_context(|| unreadable(&path))?,
        });
    }
    ensure!(
        !files.is_empty(),
        "--static: no files in {}",
        directory.display()
    );
    Ok(files)
}

/// The files of a directory of static manifests. An API server gets a handful.
const MAX_FILES: usize = 1_000;

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
