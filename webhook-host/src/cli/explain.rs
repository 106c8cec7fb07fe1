//! `sallyport explain`: how a Service is reached, in the words of the comparison of Service types.

use super::inputs::PathArgs;
use super::names::label;
use super::output::{DetailArgs, TextFormat, error, print, print_json};
use crate::manifests;
use crate::report::explanation::{self, Explanation};
use crate::sources::load;
use anyhow::bail;
use clap::Args;
use sallyport_core::api_server::defaults;
use sallyport_core::inventory::Inventory;
use sallyport_core::service;
use std::path::PathBuf;
use std::process::ExitCode;

/// Explain how the Services in a manifest are exposed: access scope, ports, address, what it needs,
/// when to use which.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("quiet", |quiet| quiet.help("Print a line with the type of each Service")))]
#[command(mut_arg("verbose", |verbose| verbose.help("Print file and line of each Service, too")))]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    paths: PathArgs,
    /// The namespace of Services that name none.
    #[arg(long, short, default_value = "default", value_parser = label)]
    namespace: String,
    /// HostConfig manifest, for the facts about the cluster: its environment, range of node ports
    /// and Nodes. Without it, they are left open.
    #[arg(long, value_name = "FILE", env = "SALLYPORT_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    detail: DetailArgs,
    /// Format.
    #[arg(long, short, value_enum, default_value_t = TextFormat::Text)]
    output: TextFormat,
}

const EXAMPLES: &str = "\
No policy is asked; see `sallyport check` for that.

Examples:
  sallyport explain service.yaml
  sallyport explain service.yaml --config host.yaml
  kubectl get service web -o yaml | sallyport explain -

Exit code: 0, or 2 when a file or a Service in it can't be read.";

/// Runs the subcommand.
///
/// # Errors
///
/// When there is no Service, or the HostConfig can't be read.
pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref();
    let config = config
        .map(|file| load::host_config(Some(file)))
        .transpose()?;
    let cluster = config.map(|config| Inventory::from(config.inventory).view().cluster());
    let manifests = manifests::read(&args.paths.all(), &[]);
    if manifests.services.is_empty() && manifests.unread.is_empty() {
        bail!(
            "no Service found ({}); name a file that holds v1 Services",
            manifests.others()
        );
    }
    let mut explanations = vec![];
    let mut problems: Vec<String> = vec![];
    for subject in &manifests.unread {
        problems.extend(
            subject
                .findings
                .iter()
                .map(|finding| format!("{}: {}", subject.source, finding.sentence())),
        );
    }
    for (source, located) in &manifests.services {
        let mut value = located.value();
        defaults::apply(&mut value);
        match service::from_value(&value) {
            Ok(service) => {
                let place = format!("{source}:{}", located.line());
                let (namespace, cluster) = (&args.namespace, cluster.as_ref());
                explanations.push(Explanation::of(&service, namespace, place, cluster));
            }
            Err(malformed) => {
                problems.push(format!(
                    "{source}:{}: {malformed}",
                    located.line_of(&malformed.field)
                ));
            }
        }
    }
    match args.output {
        TextFormat::Text => {
            let detail = args.detail.view().detail;
            print(&explanation::text(&explanations, detail))?;
        }
        TextFormat::Json => print_json(&explanations)?,
    }
    problems.iter().for_each(error);
    Ok(ExitCode::from(if problems.is_empty() { 0 } else { 2 }))
}
