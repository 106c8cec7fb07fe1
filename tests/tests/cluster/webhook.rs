//! The real program as a webhook of the cluster, registered by the output of `sallyport webhooks`.

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
    /// The authority of a certificate that was made at the start, else empty.
    pub(crate) ca: String,
    pub(crate) policies: PathBuf,
    _files: TempDir,
}

/// The address of a webhook.
pub(crate) enum At<'a> {
    /// By `url`, over HTTP/2.
    Url(SocketAddr),
    /// By Service reference, over HTTP/1.1: namespace, name and port.
    Service(&'a str, &'a str, u16),
}

/// The registration of a host for a test.
pub(crate) struct Registration<'a> {
    /// The directory of the policies that rules are made from.
    pub(crate) policies: &'a Path,
    /// True when ServicePolicies of the cluster serve, too.
    pub(crate) from_cluster: bool,
    /// The name of the configurations.
    pub(crate) name: &'a str,
    pub(crate) at: At<'a>,
    /// The `caBundle`; empty when somebody else writes it.
    pub(crate) ca: &'a str,
    /// The namespaces to select; when empty, all except those that are always excluded.
    pub(crate) namespaces: &'a [&'a str],
    /// The `failurePolicy` of the validating webhook.
    pub(crate) failure_policy: &'a str,
}

impl Host {
    /// Starts a host with the shipped policies.
    pub(crate) fn shipped(cluster: &Cluster) -> Self {
        Self::serve(cluster, &shipped(), "")
    }

    /// Serves a directory of manifests with the built components and a certificate that is made at
    /// the start.
    pub(crate) fn serve(cluster: &Cluster, policies: &Path, more: &str) -> Self {
        let mut host = Self::start(
            cluster,
            &format!("--strict --policies {} {more}", policies.display()),
        );
        policies.clone_into(&mut host.policies);
        host
    }

    /// Starts a host with any flags. It is registered for the shipped policies.
    pub(crate) fn start(cluster: &Cluster, flags: &str) -> Self {
        Self::of(&SALLYPORT, cluster, flags)
    }

    /// Starts a host of another build.
    pub(crate) fn of(program: &Path, cluster: &Cluster, flags: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let ca = files.path().join("ca.crt");
        let certificate = match flags.contains("--tls-cert") || flags.contains("--self-managed") {
            true => String::new(),
            false => format!("--self-signed --ca-out {}", ca.display()),
        };
        let listen = if flags.contains("--listen ") {
            ""
        } else {
            "--listen 127.0.0.1:0"
        };
        let modules = if flags.contains("--modules ") {
            ""
        } else {
            "--modules target/policies"
        };
        let arguments =
            format!("serve --admin-listen 127.0.0.1:0 {modules} {listen} {certificate} {flags}");
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        let process = Process::start(program, cluster.log("sallyport"), &arguments);
        let address = process
            .logged("serving on https://")
            .parse()
            .expect("an address");
        let ca = std::fs::read_to_string(&ca).unwrap_or_default();
        Self {
            process,
            address,
            ca,
            policies: shipped(),
            _files: files,
        }
    }

    /// Ends the host as a kubelet does.
    pub(crate) fn terminate(self) {
        self.process.terminate();
    }

    /// Returns the address of probes and metrics.
    pub(crate) fn admin(&self) -> SocketAddr {
        let address = self.process.logged("probes and metrics on http://");
        address.parse().expect("an address")
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// Returns the directory that `make policies` builds.
fn shipped() -> PathBuf {
    root().join("target/policies")
}

impl<'a> Registration<'a> {
    /// Returns a registration by URL for the whole cluster, failing closed.
    pub(crate) fn of(host: &'a Host) -> Self {
        Self {
            policies: &host.policies,
            from_cluster: false,
            name: "sallyport",
            at: At::Url(host.address),
            ca: &host.ca,
            namespaces: &[],
            failure_policy: "Fail",
        }
    }

    /// Applies the configurations, and waits until the API server calls the host: until it refuses
    /// a NodePort out of the default range, which the policies must deny.
    pub(crate) fn apply(&self, cluster: &Cluster) {
        self.configure(cluster);
        let namespace = self.namespaces.first().copied().unwrap_or("default");
        wait_for("the webhook is asked", || {
            let create = [
                "create",
                "--namespace",
                namespace,
                "--dry-run=server",
                "-f",
                "docs/examples/out-of-range.yaml",
            ];
            let ran = cluster.kubectl(&create);
            if !ran.done && ran.err.contains("denied the request") {
                Ok(())
            } else {
                Err(format!("{ran:?}"))
            }
        });
    }

    /// Applies the configurations.
    pub(crate) fn configure(&self, cluster: &Cluster) {
        let configurations = self.configurations(cluster);
        cluster
            .kubectl_with(&["apply", "-f", "-"], &configurations.to_string())
            .ok();
    }

    /// Returns the printed configurations with the test's namespaces and timeout.
    fn configurations(&self, cluster: &Cluster) -> Value {
        let mut list = self.printed(cluster);
        let configurations = list["items"].as_array_mut().expect("a list").iter_mut();
        for webhook in configurations
            .flat_map(|configuration| configuration["webhooks"].as_array_mut())
            .flatten()
        {
            // The machine is busy with other tests. The host's latency is measured elsewhere.
            webhook["timeoutSeconds"] = 10.into();
            if !self.namespaces.is_empty() {
                let only = json!({"key": "kubernetes.io/metadata.name", "operator": "In",
                    "values": self.namespaces});
                webhook["namespaceSelector"]["matchExpressions"]
                    .as_array_mut()
                    .expect("a list")
                    .push(only);
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
            .args([
                "webhooks",
                "--output=json",
                "--modules=target/policies",
                "--kubernetes",
                &minor,
            ])
            .args([
                "--webhook-configuration",
                self.name,
                "--failure-policy",
                self.failure_policy,
            ])
            .args([Path::new("--policies"), self.policies])
            .args(self.from_cluster.then_some("--policies-from-cluster"))
            .args((!self.ca.is_empty()).then(|| format!("--ca-bundle={}", ca.path().display())))
            .args(match self.at {
                At::Url(address) => vec![format!("--webhook-url=https://{address}")],
                At::Service(namespace, name, port) => {
                    vec![
                        format!("--namespace={namespace}"),
                        format!("--service={name}"),
                        format!("--service-port={port}"),
                    ]
                }
            })
            .output()
            .expect("the program runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|problem| panic!("{problem}: {error}"))
    }
}

/// A feature that not every API server has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Feature {
    /// CEL rules of custom resources.
    ValidationRules,
    /// Traces of requests, with their webhooks.
    Tracing,
    /// Match conditions of webhooks.
    MatchConditions,
    /// ValidatingAdmissionPolicies with CEL's functions for addresses.
    ValidatingAdmissionPolicies,
    /// Every API version that `deploy` uses.
    Deploy,
    /// MutatingAdmissionPolicies in `v1`.
    MutatingAdmissionPolicies,
    /// Manifest-based admission control, by a feature gate.
    StaticManifests,
}

impl Feature {
    /// Returns true when the cluster has the feature. If not, prints what the test leaves out, past
    /// the test harness.
    pub(crate) fn is_in(self, cluster: &Cluster, or_leave_out: &str) -> bool {
        self.is_since(cluster.minor, or_leave_out)
    }

    /// Like `is_in`, for a minor version of Kubernetes.
    pub(crate) fn is_since(self, minor: u32, or_leave_out: &str) -> bool {
        // The first minor version that has it without a feature gate.
        let (name, since) = match self {
            Self::ValidationRules => ("x-kubernetes-validations", 25),
            Self::Tracing => ("tracing", 27),
            Self::MatchConditions => ("matchConditions", 28),
            Self::ValidatingAdmissionPolicies => ("ValidatingAdmissionPolicy", 30),
            Self::Deploy => ("what deploy/ is written in", 30),
            Self::MutatingAdmissionPolicies => ("MutatingAdmissionPolicy v1", 36),
            Self::StaticManifests => ("ManifestBasedAdmissionControlConfig", 36),
        };
        if minor < since {
            let left_out =
                format!("*** LEFT OUT: {or_leave_out}; Kubernetes 1.{minor} lacks {name} ***");
            writeln!(std::io::stderr(), "{left_out}").expect("standard error is open");
        }
        minor >= since
    }
}
