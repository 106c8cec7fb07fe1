//! Lint: reads ServicePolicy and HostConfig manifests as `serve` would, without serving, and
//! reports errors and oddities.
//!
//! Every error of every file is reported, each with its line. Settings are checked by the component
//! itself, and suites beside the policies are run. Called by `cli::lint`.

mod decoding;
mod exemptions;
mod files;
mod inventory;
mod matching;
mod node_ports;
mod policy;

use crate::engine::Engine;
use crate::registry::Registry;
use decoding::{Decoded, Removed};
use files::File;
pub(crate) use node_ports::ClusterRange;
use policy::Loader;
use sallyport_core::decode::DecodeError;
use sallyport_core::manifest::{API_VERSION, HostConfig, ServicePolicy};
use sallyport_core::report::check::{CheckReport, Finding, Level, Subject};
use sallyport_core::yaml::Located;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Lints files, and directories with all their sub-directories. Components are read from `modules`,
/// or from beside each manifest, or are the shipped ones. `node_ports` are the cluster's; without
/// them, those of the HostConfig among the files count, if it is the only one.
///
/// A path that can't be read is a finding, too. `subjects` of the report is empty when there is
/// nothing to check.
pub(crate) fn lint(
    engine: Arc<Engine>,
    modules: Option<PathBuf>,
    registry: Arc<Registry>,
    node_ports: Option<ClusterRange>,
    paths: &[PathBuf],
) -> CheckReport {
    let (files, unread) = files::find(paths);
    let node_ports = node_ports.or_else(|| ClusterRange::among(&files));
    let mut linter = Linter {
        loader: Loader::new(engine, modules, registry, node_ports),
        names: BTreeMap::new(),
        report: CheckReport::default(),
    };
    linter.report.subjects.extend(unread);
    for file in &files {
        linter.file(file);
    }
    linter.report
}

/// One run of lint.
struct Linter {
    loader: Loader,
    /// The file of each policy, by directory and name. Names are unique in a directory.
    names: BTreeMap<(PathBuf, String), String>,
    report: CheckReport,
}

impl Linter {
    fn file(&mut self, file: &File) {
        if file.is_suite() {
            let subject = self.loader.suite(&file.path);
            self.report.subjects.push(subject);
            return;
        }
        for document in &file.documents {
            let text = |key: &str| {
                document
                    .get(key)
                    .and_then(|value| value.value().as_str().map(str::to_owned))
            };
            let kind = text("kind").unwrap_or_default();
            let ours =
                text("apiVersion").is_some_and(|version| version.starts_with("sallyport.dev/"));
            match kind.as_str() {
                ServicePolicy::KIND => self.policy(file, document),
                HostConfig::KIND => self.host_config(file, document),
                "Suite" if ours => self.report.ignored += 1,
                _ if ours => {
                    let hint = sallyport_core::decode::suggestion(
                        &kind,
                        [ServicePolicy::KIND, HostConfig::KIND, "Suite"],
                    );
                    let problem = format!("{kind:?} is no kind of sallyport.dev{hint}");
                    let findings = vec![error(document, "kind", problem)];
                    self.add(file, document, &kind, findings);
                }
                "" if file.is_named => {
                    let problem = "required, but missing; write one, or leave the file out";
                    let findings = vec![error(document, "kind", problem.to_owned())];
                    self.add(file, document, "object", findings);
                }
                _ => self.report.ignored += 1,
            }
        }
    }

    fn policy(&mut self, file: &File, document: &Located) {
        let template = json!({
            "apiVersion": API_VERSION, "kind": ServicePolicy::KIND, "metadata": {"name": "x"},
            "spec": {"module": {"file": "x.wasm"}},
        });
        let Decoded {
            errors,
            manifest,
            removed,
        } = decoding::all(&document.value(), &template, ServicePolicy::from_value);
        // A placeholder for a bad value must not cause further findings.
        let hides = |error: &DecodeError, part: &str| {
            error.path.starts_with(part)
                || error.unknown_key.is_none() && part.starts_with(&error.path)
        };
        let usable = |part: &str| !errors.iter().any(|error| hides(error, part));
        let (is_named, has_module) = (usable("metadata.name"), usable("spec.module"));
        let mut findings: Vec<_> = errors
            .into_iter()
            .map(|error| undecoded(document, error))
            .collect();
        if let Some(manifest) = manifest {
            if is_named {
                findings.extend(self.duplicate(&file.path, document, &manifest));
            }
            let mut odd = policy::odd(document, &manifest);
            if has_module {
                odd.extend(self.loader.check(&file.path, document, &manifest));
            }
            findings.extend(
                odd.into_iter()
                    .map(|found| placed(found, document, &removed)),
            );
        }
        self.add(file, document, ServicePolicy::KIND, findings);
    }

    fn duplicate(
        &mut self,
        file: &Path,
        document: &Located,
        manifest: &ServicePolicy,
    ) -> Vec<Finding> {
        let name = manifest.metadata.name.clone();
        let key = (
            file.parent().unwrap_or(Path::new("")).to_owned(),
            name.clone(),
        );
        let shown = file.display().to_string();
        let other = self.names.insert(key, shown);
        let problem =
            |other: String| format!("the ServicePolicy {name:?} is already in {other}; rename one");
        other
            .map(|other| error(document, "metadata.name", problem(other)))
            .into_iter()
            .collect()
    }

    fn host_config(&mut self, file: &File, document: &Located) {
        let template = json!({"apiVersion": API_VERSION, "kind": HostConfig::KIND, "spec": {}});
        let Decoded {
            errors,
            manifest,
            removed,
        } = decoding::all(&document.value(), &template, HostConfig::from_value);
        let mut findings: Vec<_> = errors
            .into_iter()
            .map(|error| undecoded(document, error))
            .collect();
        let mut odd = vec![];
        if let Some(config) = manifest {
            odd.extend(exemptions::findings(document, &config.spec));
            odd.extend(inventory::findings(document, &config.spec.inventory));
        }
        findings.extend(
            odd.into_iter()
                .map(|found| placed(found, document, &removed)),
        );
        self.add(file, document, HostConfig::KIND, findings);
    }

    fn add(&mut self, file: &File, document: &Located, kind: &str, findings: Vec<Finding>) {
        let name = document
            .value()
            .pointer("/metadata/name")
            .and_then(|name| name.as_str().map(str::to_owned));
        let what = [kind, name.as_deref().unwrap_or_default()].join(" ");
        self.report.subjects.push(Subject {
            source: file.path.display().to_string(),
            line: document.line(),
            service: Some(what.trim().to_owned()),
            policies: BTreeSet::new(),
            findings,
            patch: vec![],
        });
    }
}

/// Gives a finding about the copy without bad values its place in the manifest.
fn placed(finding: Finding, document: &Located, removed: &Removed) -> Finding {
    let field = removed.written(&finding.field);
    let line = match field == finding.field {
        true => finding.line,
        false => document.line_of(&field),
    };
    Finding {
        field,
        line,
        ..finding
    }
}

fn undecoded(document: &Located, problem: DecodeError) -> Finding {
    error(document, &problem.path, problem.problem)
}

fn error(document: &Located, field: &str, problem: String) -> Finding {
    finding(Level::Error, document, field, problem, "")
}

fn finding(level: Level, document: &Located, field: &str, message: String, fix: &str) -> Finding {
    let line = document.line_of(field);
    Finding {
        field: field.to_owned(),
        message,
        fix: fix.to_owned(),
        line,
        ..Finding::empty(level)
    }
}
