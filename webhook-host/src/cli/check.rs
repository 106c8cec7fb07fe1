//! `sallyport check`: judges plain manifests.

mod allocation;
mod conflicts;
pub(super) mod defaults;
mod judge;
mod likeness;
pub(super) mod located;
pub(super) mod manifests;
mod owned;
mod strict;

use super::cache::CacheArgs;
use super::load::{self, PolicyFiles};
use crate::admission::Admission;
use crate::decode::{self, describe};
use crate::engine::{Engine, EngineConfig};
use crate::inventory::{Inventory, InventoryData, NamespaceData};
use crate::report;
use crate::report::check::{CheckReport, Detail, Finding, Subject};
use crate::suite::User;
use anyhow::bail;
use clap::{Args, ValueEnum};
use conflicts::NodePorts;
use judge::Judge;
use located::Located;
use manifests::Manifests;
use serde_json::Value;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

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
    let mut manifests = Manifests::read_except(&args.paths, &args.exclude);
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
    let taken = namespaces(&manifests.namespaces, &mut inventory);
    manifests.unread.extend(taken);
    let mut inventory = Inventory::from(inventory);
    if args.config.is_none() {
        inventory = inventory.assumed();
    }
    let admission = Admission::new(policies, inventory, config.exemptions);
    let (old, unread) = old(args)?;
    manifests.unread.extend(unread);
    let mut judge = Judge {
        admission: &admission,
        namespace: &args.namespace,
        user: user(args),
        old,
        unknown: BTreeSet::new(),
        is_slow: Cell::new(false),
    };
    let report = CheckReport {
        ignored: manifests.ignored,
        policies: admission.policies().len(),
        strict: args.strict,
        subjects: subjects(&mut judge, manifests),
    };
    print!("{}", render(args, &report));
    Ok(ExitCode::from(report.exit_code()))
}

fn subjects(judge: &mut Judge<'_>, manifests: Manifests) -> Vec<Subject> {
    let mut node_ports = NodePorts::default();
    let judged = manifests.services.iter().map(|(source, located)| {
        let (mut subject, service) = judge.judge(source, located);
        subject.findings.extend(strict::findings(located));
        node_ports.add(&mut subject, &service, located);
        subject
    });
    let judged: Vec<_> = judged.collect();
    manifests.unread.into_iter().chain(judged).collect()
}

/// Takes over the labels of Namespaces, but for those that the configuration has. Returns those
/// that can't be read.
fn namespaces(found: &[(String, Located)], inventory: &mut InventoryData) -> Vec<Subject> {
    let (mut known, mut unread) = (BTreeMap::new(), vec![]);
    for (source, located) in found {
        let value = located.value();
        let Some(name) = value.pointer("/metadata/name").and_then(Value::as_str) else {
            continue;
        };
        match labels(&value) {
            Ok(labels) => {
                known.insert(name.to_owned(), NamespaceData { labels });
            }
            Err(problem) => {
                let problem = Finding {
                    field: "metadata.labels".to_owned(),
                    ..Finding::unjudged("", problem, located.line())
                };
                unread.push(Subject {
                    line: located.line(),
                    findings: vec![problem],
                    ..Subject::unread(source, String::new())
                });
            }
        }
    }
    for (name, data) in known {
        inventory.namespaces.entry(name).or_insert(data);
    }
    unread
}

fn labels(namespace: &Value) -> Result<BTreeMap<String, String>, String> {
    match namespace.pointer("/metadata/labels") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(labels) => decode::from_value(labels)
            .map_err(|_| format!("expected an object of strings, found {}", describe(labels))),
    }
}

/// The Services that `--old` names, as the API server has them, and the files that can't be read.
fn old(args: &CheckArgs) -> anyhow::Result<(judge::OldServices, Vec<Subject>)> {
    let manifests = Manifests::read(&args.old);
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
    let services = manifests.services.iter().map(|(_, located)| {
        let mut service = located.value();
        defaults::apply(&mut service);
        owned::write(&mut service, None);
        (judge::key(&service, &args.namespace), Arc::new(service))
    });
    Ok((services.collect(), manifests.unread))
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
