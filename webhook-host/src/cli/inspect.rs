//! `sallyport inspect`: what a component says about itself, or a running host about what it serves.

mod live;

use super::cache::CacheArgs;
use super::output::print;
use super::output::print_json;
use super::output::{DetailArgs, TextFormat};
use super::registry::RegistryArgs;
use crate::evaluator;
use crate::report;
use crate::sources::load;
use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use sallyport_core::manifest::{HostConfigSpec, Mode, Reference};
use sallyport_core::yaml;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show what a policy component is: name, version, contract, what it asks for, its settings with
/// their schema; or with --live, which policies a running host serves, and what came of its last
/// reload.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("quiet", |quiet| quiet.help("Print name and version alone; with --live, what is \
    broken")))]
#[command(mut_arg("verbose", |verbose| verbose.help("Print long defaults whole")))]
pub(super) struct InspectArgs {
    /// The component: a file, or an artefact of a registry (oci://registry/repository:tag).
    #[arg(
        value_name = "X.wasm|oci://REFERENCE",
        required_unless_present = "live"
    )]
    component: Option<PathBuf>,
    /// The admin address of a running host, such as 127.0.0.1:8081.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "component")]
    live: Option<String>,
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
Examples:
  sallyport inspect target/policies/nodeport_range.wasm
  sallyport inspect policy.wasm --output json | jq .settings     # JSON Schema of spec.settings
  sallyport inspect oci://ghcr.io/acme/nodeport-range:1.2.0
  sallyport inspect --live 127.0.0.1:8081

A policy that refuses its defaults is shown with the settings that a manifest must give.

Exit code: 0, or 2 when the component can't serve as a policy or the host does not answer.";

/// Runs the subcommand.
///
/// # Errors
///
/// When the file can't be read or can't serve as a policy, or the host does not answer.
pub(super) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    match (&args.live, &args.component) {
        (Some(url), _) => host(args, url),
        (None, Some(place)) => component(args, place),
        (None, None) => bail!("name a component, or a running host with --live"),
    }
}

fn host(args: &InspectArgs, url: &str) -> anyhow::Result<ExitCode> {
    let status = live::status(url)?;
    match args.output {
        TextFormat::Text if args.detail.is_quiet() => print(&report::live::broken(&status))?,
        TextFormat::Text => print(&report::live::text(&status))?,
        TextFormat::Json => print_json(&status)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn component(args: &InspectArgs, place: &Path) -> anyhow::Result<ExitCode> {
    let path = place.display();
    let bytes = match place.to_str().and_then(|text| text.strip_prefix("oci://")) {
        Some(reference) => pulled(args, reference)?,
        None => load::module_bytes(place)
            .map_err(|problem| anyhow!("{path}: can't be read: {problem}"))?,
    };
    if let Some(named) = module_of_manifest(&bytes) {
        bail!("{path} is a manifest; name its component: sallyport inspect {named}");
    }
    let inspection = evaluator::inspect(&*args.cache.engine()?, &bytes)
        .with_context(|| format!("{path}: can't serve as a policy"))?;
    match args.output {
        TextFormat::Text => {
            let detail = args.detail.view().detail;
            print(&sallyport_core::report::inspection::text(
                &inspection,
                detail,
            ))?;
        }
        TextFormat::Json => print_json(&inspection)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the component that a ServicePolicy names. A component is no UTF-8 text.
fn module_of_manifest(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let manifest = yaml::documents(text).ok()?.into_iter().next()?;
    let module = manifest.get("spec")?.get("module")?;
    let file = module.get("file").and_then(Value::as_str);
    let oci = || module.get("oci").and_then(Value::as_str);
    file.map(str::to_owned)
        .or_else(|| oci().map(|reference| format!("oci://{reference}")))
}

fn pulled(args: &InspectArgs, reference: &str) -> anyhow::Result<Vec<u8>> {
    let reference: Reference = reference
        .parse()
        .map_err(|problem: String| anyhow!(problem))?;
    let config = HostConfigSpec::default();
    let session = args.registry.session(&args.cache, &config)?;
    Ok(session.pull(&reference, Mode::Audit)?.component)
}
