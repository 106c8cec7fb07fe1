//! The real program as a webhook of the cluster, registered by what it prints itself: `sallyport webhooks`.

use sallyport_tests::cluster::Cluster;
use sallyport_tests::cluster::Process;
use sallyport_tests::wait_for;
use sallyport_tests::{SALLYPORT, root};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A running host.
pub(crate) struct Host {
    process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) ca: String,
    pub(crate) policies: PathBuf,
    _files: TempDir,
}

/// How the API server finds a webhook.
pub(crate) enum At<'a> {
    /// By `url`, over HTTP/2.
    Url(SocketAddr),
    /// By Service reference, over HTTP/1.1: namespace, name and port.
    Service(&'a str, &'a str, u16),
}

/// How a host is registered for a test.
pub(crate) struct Registration<'a> {
    /// Whose rules they are.
    pub(crate) policies: &'a Path,
    /// Of both configurations.
    pub(crate) name: &'a str,
    pub(crate) at: At<'a>,
    pub(crate) ca: &'a str,
    /// Only these namespaces; all but those that are always excluded when empty.
    pub(crate) namespaces: &'a [&'a str],
    /// Of the validating one.
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
        Self { process, address, ca, policies: policies.to_owned(), _files: files }
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
    /// Applies them, and waits until the API server asks: until it refuses what the shipped policies deny.
    pub(crate) fn apply(&self, cluster: &Cluster) {
        let configurations = self.configurations(cluster);
        cluster.kubectl_with(&["apply", "-f", "-"], &configurations.to_string()).ok();
        let namespace = self.namespaces.first().copied().unwrap_or("default");
        wait_for("the webhook is asked", || {
            let create =
                ["create", "--namespace", namespace, "--dry-run=server", "-f", "docs/examples/out-of-range.yaml"];
            let ran = cluster.kubectl(&create);
            if !ran.done && ran.err.contains("nodeport-range") { Ok(()) } else { Err(format!("{ran:?}")) }
        });
    }

    /// What the program prints, but for which namespaces it is asked about, and how long it may take.
    fn configurations(&self, cluster: &Cluster) -> Value {
        let mut list = self.printed(cluster);
        let configurations = list["items"].as_array_mut().expect("a list").iter_mut();
        for webhook in configurations.flat_map(|configuration| configuration["webhooks"].as_array_mut()).flatten() {
            // The whole machine is busy with tests; how long the host takes is measured elsewhere.
            webhook["timeoutSeconds"] = 10.into();
            if !self.namespaces.is_empty() {
                let only = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": self.namespaces});
                webhook["namespaceSelector"]["matchExpressions"].as_array_mut().expect("a list").push(only);
            }
        }
        list
    }

    fn printed(&self, cluster: &Cluster) -> Value {
        let mut ca = tempfile::NamedTempFile::new().expect("a file");
        ca.write_all(self.ca.as_bytes()).expect("written");
        let minor = format!("1.{}", cluster.minor);
        let output = Command::new(&*SALLYPORT)
            .current_dir(root())
            .args(["webhooks", "--output=json", "--modules=target/policies", "--kubernetes", &minor])
            .args(["--name", self.name, "--failure-policy", self.failure_policy])
            .args([Path::new("--policies"), self.policies, Path::new("--ca-bundle"), ca.path()])
            .args(match self.at {
                At::Url(address) => vec![format!("--url=https://{address}")],
                At::Service(namespace, name, port) => {
                    vec![format!("--namespace={namespace}"), format!("--service={name}"), format!("--port={port}")]
                }
            })
            .output()
            .expect("the program runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|problem| panic!("{problem}: {error}"))
    }
}

/// 1.28 has them without a feature gate (beta).
pub(crate) fn knows_match_conditions(cluster: &Cluster) -> bool {
    cluster.minor >= 28
}
