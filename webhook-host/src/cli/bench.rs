//! `sallyport bench`: what one policy costs.

use super::output::{
    DetailArgs, Progress, TextFormat, note_compilation, print, print_json, slow_compilation,
};
use super::quantity::short_time;
use crate::bench::{self, Subject};
use crate::engine::SlowCompilation;
use crate::report;
use crate::sources::load;
use crate::suites::ModuleSearch;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use sallyport_core::inventory::InventoryData;
use sallyport_core::manifest::{API_VERSION, ServicePolicy};
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Once;
use std::time::Duration;

/// Measure what a policy costs: microseconds on a fresh and on a live instance, memory, time to
/// load, size, and growth with ports and annotations.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("quiet", |quiet| quiet.help("Print the table without notes")))]
#[command(mut_arg("verbose", |verbose| verbose.help("Print the spread of each figure, too")))]
pub(super) struct BenchArgs {
    /// A component, or a ServicePolicy that names one with its settings.
    #[arg(value_name = "X.wasm|POLICY.yaml")]
    policy: PathBuf,
    /// Directory of the module that the manifest names [default: the manifest's directory, its
    /// target/wasm32-unknown-unknown/release, then the shipped ones].
    #[arg(long, value_name = "DIR", env = "SALLYPORT_MODULES")]
    modules: Option<PathBuf>,
    /// HostConfig manifest: what the policy may know about the cluster [default: nothing].
    #[arg(long, value_name = "FILE", env = "SALLYPORT_CONFIG")]
    config: Option<PathBuf>,
    /// A Service to ask about, in place of one of each type.
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
    /// Time for each figure, in three passes.
    #[arg(long, value_name = "DURATION", default_value = "300ms", value_parser = short_time)]
    time: Duration,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format.
    #[arg(long, short, value_enum, default_value_t = TextFormat::Text)]
    output: TextFormat,
}

const EXAMPLES: &str = "\
fresh is a new instance for each review, as in a cluster; live is one that was asked before. The \
    policy is asked about every Service, whatever its description says. Memory is counted as page \
    faults (Linux). Each figure is the median of three passes; +-N% is how far they lie apart.

Examples:
  sallyport bench policy.wasm
  sallyport bench policy.yaml --modules target/policies --output json | jq .evaluations
  sallyport bench policy.wasm --object service.yaml --time 3s

Exit code: 0, or 2 when the policy can't be loaded or has no verdict.";

/// Runs the subcommand.
///
/// # Errors
///
/// When a file can't be read, or the policy can't be measured.
pub(super) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let (manifest, component) = policy(args)?;
    let component = load::module_bytes(&component)
        .map_err(|problem| anyhow!("{}: can't be read: {problem}", component.display()))?;
    let inventory = match &args.config {
        Some(file) => load::host_config(Some(file))?.inventory,
        None => InventoryData::default(),
    };
    let service = args.object.as_deref().map(service).transpose()?;
    let subject = Subject {
        manifest,
        component: &component,
        inventory,
        service,
        time: args.time,
        slow: SlowCompilation {
            tell: |compilation| {
                // Each pass compiles it once more.
                static TOLD: Once = Once::new();
                TOLD.call_once(|| note_compilation(compilation, "; each load is measured"));
            },
            ..slow_compilation()
        },
    };
    let mut progress = Progress::new();
    let cost = bench::measure(&subject, &mut |done, all| {
        progress.show(done, all, "measurements");
    })
    .with_context(|| args.policy.display().to_string())?;
    drop(progress);
    match args.output {
        TextFormat::Text => print(&report::bench::text(&cost, args.detail.view()))?,
        TextFormat::Json => print_json(&cost)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the manifest and the file of the component. Leaves out what limits the requests that the
/// policy is asked about, so that the benchmark can ask it any.
fn policy(args: &BenchArgs) -> Result<(ServicePolicy, PathBuf)> {
    let file = &args.policy;
    if file.extension().is_some_and(|end| end == "wasm") {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let manifest = json!({
            "apiVersion": API_VERSION, "kind": ServicePolicy::KIND,
            "metadata": {"name": "policy"}, "spec": {"module": {"file": name}},
        });
        return Ok((ServicePolicy::from_value(&manifest)?, file.clone()));
    }
    let mut document = one_document(file)?;
    if let Some(spec) = document["spec"].as_object_mut() {
        for key in ["mode", "match", "exemptions"] {
            spec.remove(key);
        }
    }
    let manifest =
        ServicePolicy::from_value(&document).with_context(|| file.display().to_string())?;
    let search = ModuleSearch {
        directory: args.modules.clone(),
    };
    let beside = file.parent().unwrap_or(Path::new(""));
    let Some(module) = manifest.spec.module.file() else {
        bail!(
            "{}: spec.module names a registry; get the component with `sallyport pull`, and give \
             its file",
            file.display()
        );
    };
    let component = search.find(module, beside);
    let component = component.map_err(|problem| anyhow!("{}: {problem}", file.display()))?;
    Ok((manifest, component))
}

fn service(file: &Path) -> Result<Value> {
    let service = one_document(file)?;
    if service["kind"] != "Service" {
        bail!("--object {}: expected a Service", file.display());
    }
    Ok(service)
}

fn one_document(file: &Path) -> Result<Value> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {shown}"))?;
    let mut documents = yaml::documents(&text).with_context(|| shown.to_string())?;
    match documents.len() {
        1 => Ok(documents.remove(0)),
        count => bail!("{shown}: expected one document, found {count}"),
    }
}
