//! The real program as a webhook of the cluster, registered by the configurations of `deploy/base`.

use crate::cluster::Cluster;
use crate::process::Process;
use crate::wait_for;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sallyport_tests::{SALLYPORT, root};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;

/// A running host.
pub(crate) struct Host {
    process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) ca: String,
    _files: TempDir,
}

/// How the API server finds a webhook.
pub(crate) enum At<'a> {
    /// By `url`, over HTTP/2.
    Url(SocketAddr),
    /// By Service reference, over HTTP/1.1: namespace, name and port.
    Service(&'a str, &'a str, u16),
}

/// The webhook configurations of `deploy/base` as they fit a test.
pub(crate) struct Registration<'a> {
    /// Of both configurations.
    pub(crate) name: &'a str,
    pub(crate) at: At<'a>,
    pub(crate) ca: &'a str,
    /// Only these namespaces; all but those that `deploy/base` excludes when empty.
    pub(crate) namespaces: &'a [&'a str],
    /// Of the validating one; `deploy/base` says Fail.
    pub(crate) failure_policy: &'a str,
}

impl Host {
    /// Serves a directory of manifests, with the modules that `make policies` built.
    pub(crate) fn serve(cluster: &Cluster, policies: &Path, listen: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let ca = files.path().join("ca.crt");
        let arguments = [
            "serve --strict --self-signed --admin-listen 127.0.0.1:0 --modules target/policies".to_owned(),
            format!("--listen {listen} --policies {} --ca-out {}", policies.display(), ca.display()),
        ];
        let arguments: Vec<String> = arguments.join(" ").split(' ').map(str::to_owned).collect();
        let process = Process::start(&SALLYPORT, cluster.log("sallyport"), &arguments);
        let address = process.told("serving on https://").parse().expect("an address");
        let ca = std::fs::read_to_string(&ca).expect("it was written before");
        Self { process, address, ca, _files: files }
    }

    /// The policies as shipped.
    pub(crate) fn shipped(cluster: &Cluster) -> Self {
        Self::serve(cluster, &root().join("target/policies"), "127.0.0.1:0")
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

impl Registration<'_> {
    /// Applies both, and waits until the API server asks: until it refuses what the shipped policies deny.
    pub(crate) fn apply(&self, cluster: &Cluster) {
        for kind in ["mutating", "validating"] {
            let configuration = self.configuration(cluster, kind);
            cluster.kubectl_with(&["apply", "-f", "-"], &configuration.to_string()).ok();
        }
        let namespace = self.namespaces.first().copied().unwrap_or("default");
        wait_for("the webhook is asked", || {
            let create =
                ["create", "--namespace", namespace, "--dry-run=server", "-f", "docs/examples/out-of-range.yaml"];
            let ran = cluster.kubectl(&create);
            if !ran.done && ran.err.contains("nodeport-range") { Ok(()) } else { Err(format!("{ran:?}")) }
        });
    }

    /// As `deploy/base` has it, but for where the host is, which namespaces it is asked about, and what the version lacks.
    pub(crate) fn configuration(&self, cluster: &Cluster, kind: &str) -> Value {
        let file = format!("deploy/base/{kind}-webhook.yaml");
        let convert = ["create", "--dry-run=client", "--validate=false", "--output=json", "-f", &file];
        let mut configuration: Value = serde_json::from_str(&cluster.kubectl(&convert).ok()).expect("JSON");
        configuration["metadata"] = json!({"name": self.name});
        let webhook = &mut configuration["webhooks"][0];
        webhook["clientConfig"] = self.client_config(if kind == "mutating" { "mutate" } else { "validate" });
        if kind == "validating" {
            webhook["failurePolicy"] = self.failure_policy.into();
        }
        // The whole machine is busy with tests; how long the host takes is measured elsewhere.
        webhook["timeoutSeconds"] = 10.into();
        if !self.namespaces.is_empty() {
            let only = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": self.namespaces});
            webhook["namespaceSelector"]["matchExpressions"].as_array_mut().expect("deploy/base has them").push(only);
        }
        if !knows_match_conditions(cluster) {
            webhook.as_object_mut().expect("an object").remove("matchConditions");
        }
        configuration
    }

    fn client_config(&self, function: &str) -> Value {
        let path = format!("/{function}");
        let mut config = match self.at {
            At::Url(address) => json!({"url": format!("https://{address}{path}")}),
            At::Service(namespace, name, port) => {
                json!({"service": {"namespace": namespace, "name": name, "port": port, "path": path}})
            }
        };
        config["caBundle"] = BASE64_STANDARD.encode(self.ca).into();
        config
    }
}

/// 1.28 has them without a feature gate (beta).
pub(crate) fn knows_match_conditions(cluster: &Cluster) -> bool {
    cluster.minor >= 28
}
