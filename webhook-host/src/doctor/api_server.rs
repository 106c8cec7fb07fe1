//! An API server's own account of its static manifests, from its metrics.
//!
//! The metrics are those of the one API server that answered; others behind the same address may
//! differ.

use super::static_files::StaticFiles;
use super::{Diagnosis, Finding, Level};
use crate::webhooks::static_manifests::{FEATURE_GATE, SINCE};
use std::collections::BTreeMap;

const ITEM: &str = "api: AdmissionConfiguration staticManifestsDir";

/// An API server, as its metrics describe it.
#[derive(Debug, Default)]
pub struct ApiServer {
    /// Such as `v1.36.2`.
    version: Option<String>,
    is_gate_on: Option<bool>,
    /// The hash of the manifests that each plugin has loaded.
    loaded: BTreeMap<String, String>,
    /// Failed reloads by plugin.
    failures: BTreeMap<String, f64>,
}

impl ApiServer {
    /// Reads the text of `/metrics`.
    pub fn parse(metrics: &str) -> Self {
        let mut server = Self::default();
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, rest)) = line.split_once('{') else {
                continue;
            };
            let Some((labels, value)) = rest.rsplit_once("} ") else {
                continue;
            };
            let value: f64 = value.trim().parse().unwrap_or_default();
            let label = |name: &str| label(labels, name).unwrap_or_default();
            match name {
                "kubernetes_build_info" => server.version = Some(label("git_version")),
                "kubernetes_feature_enabled" if label("name") == FEATURE_GATE => {
                    server.is_gate_on = Some(value > 0.0);
                }
                "apiserver_manifest_admission_config_controller_last_config_info" => {
                    server.loaded.insert(label("plugin"), label("hash"));
                }
                "apiserver_manifest_admission_config_controller_automatic_reloads_total"
                    if label("status") == "failure" =>
                {
                    server.failures.insert(label("plugin"), value);
                }
                _ => {}
            }
        }
        server
    }

    /// Returns the diagnosis of an API server that nobody asked.
    pub fn unseen() -> Diagnosis {
        let finding = Finding {
            level: Level::Note,
            field: String::new(),
            message: "whether it has loaded these files can't be seen from them".to_owned(),
            why: "static manifests are not in the API, and each API server has its own",
            item: ITEM,
            fix: "give the output of `kubectl get --raw /metrics` with --api-server-metrics, for \
                each API server"
                .to_owned(),
        };
        Diagnosis {
            kind: "kube-apiserver",
            name: "not asked".to_owned(),
            ours: false,
            findings: vec![finding],
        }
    }

    /// Compares the metrics with the files, if any are given.
    pub fn diagnose(&self, files: Option<&StaticFiles>) -> Diagnosis {
        let mut findings = vec![];
        findings.extend(self.supports(files.is_some()));
        if findings.is_empty() {
            findings.extend(files.into_iter().flat_map(|files| self.differences(files)));
        }
        findings.extend(self.failures.iter().map(|(plugin, count)| Finding {
            level: Level::Warning,
            field: plugin.clone(),
            message: format!("{count} failed reloads"),
            why: "if the last one failed, it keeps what it had, and its next restart fails",
            item: ITEM,
            fix: "look for `reloading manifest config` in its log, and mend the file".to_owned(),
        }));
        findings.extend(self.loaded.iter().map(|(plugin, hash)| Finding {
            level: Level::Note,
            field: plugin.clone(),
            message: format!("has loaded {hash}"),
            why: "metrics are of the API server that answered; others may have loaded other files",
            item: ITEM,
            fix: "compare the hash with the metrics of each other API server".to_owned(),
        }));
        findings.sort_by(|a, b| (a.level, &a.field).cmp(&(b.level, &b.field)));
        let version = self.version.as_deref().unwrap_or("of unknown version");
        Diagnosis {
            kind: "kube-apiserver",
            name: version.to_owned(),
            ours: false,
            findings,
        }
    }

    /// Finds that the API server can't load static manifests at all.
    fn supports(&self, is_wanted: bool) -> Option<Finding> {
        let level = if is_wanted { Level::Error } else { Level::Note };
        let why = "this API server loads no static manifests; with staticManifestsDir in its \
            AdmissionConfiguration it does not start";
        let finding = |message: String, fix: String| Finding {
            level,
            field: format!("feature gate {FEATURE_GATE}"),
            message,
            why,
            item: ITEM,
            fix,
        };
        match self.is_gate_on {
            Some(true) => None,
            Some(false) => Some(finding(
                "off".to_owned(),
                format!("start it with --feature-gates={FEATURE_GATE}=true"),
            )),
            None => Some(finding(
                "unknown to it".to_owned(),
                format!("use Kubernetes 1.{SINCE} or later"),
            )),
        }
    }

    /// Compares what is loaded with the files.
    fn differences(&self, files: &StaticFiles) -> Vec<Finding> {
        let finding = |plugin: &str, message: String, fix: &str| Finding {
            level: Level::Warning,
            field: plugin.to_owned(),
            message,
            why: "what holds is what the API server has loaded, and not what these files say",
            item: ITEM,
            fix: fix.to_owned(),
        };
        let plugins = files.plugins();
        let missing = plugins
            .iter()
            .filter_map(|plugin| match self.loaded.get(*plugin) {
                None => Some(finding(
                    plugin,
                    "has loaded no static manifests".to_owned(),
                    "give the flag --admission-control-config-file, and restart it",
                )),
                Some(loaded) if files.hashes.get(plugin) != Some(loaded) => Some(finding(
                    plugin,
                    "has loaded other files than these".to_owned(),
                    "copy the files to its node; a running API server reads them within a minute",
                )),
                Some(_) => None,
            });
        let more = self
            .loaded
            .keys()
            .filter(|plugin| !plugins.contains(plugin.as_str()));
        let more = more.map(|plugin| {
            finding(
                plugin,
                "has loaded static manifests, and these files have none for it".to_owned(),
                "compare the directory of the API server with this one",
            )
        });
        missing.chain(more).collect()
    }
}

/// Returns the value of a label. Values of these metrics hold no quotation marks.
fn label(labels: &str, name: &str) -> Option<String> {
    let mut pairs = labels.split(',');
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\""))?;
    Some(value.trim_end_matches('"').to_owned())
}
