//! The ways to review a create, each registered for a namespace of its own.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sallyport_tests::cluster::{Cluster, Process, Signed, free_port};
use sallyport_tests::{root, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The time until an API server has noticed a new configuration.
const NOTICE: Duration = Duration::from_secs(5);

/// The first minor version with ValidatingAdmissionPolicies and the CEL functions for addresses.
const ADMISSION_POLICIES: u32 = 30;

/// The namespace of the Service by which hosts are called.
const NAMESPACE: &str = "sallyport-system";
const NAME: &str = "sallyport";

/// The four oldest policies.
const FOUR: [&str; 4] = [
    "service-type",
    "nodeport-range",
    "loadbalancer-cloud-only",
    "clusterip-internal",
];

/// One way to review a create.
pub(crate) struct Way {
    pub(crate) namespace: &'static str,
    /// The label of its row in the table.
    pub(crate) what: String,
    /// True for the baseline of the other ways with the same `call`.
    pub(crate) is_baseline: bool,
    pub(crate) call: Call,
}

/// The protocol by which the API server calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// No call at all.
    Never,
    /// By `url`.
    Http2,
    /// By reference to a Service.
    Http1,
}

/// All ways. Dropping it ends their processes.
pub(crate) struct Ways {
    all: Vec<Way>,
    _hosts: Vec<Process>,
    _files: TempDir,
}

/// The API server's counters of one webhook.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    count: f64,
    seconds: f64,
}

impl Calls {
    /// Returns the mean duration of a call, as the API server sees it.
    pub(crate) fn mean(self) -> Duration {
        if self.count > 0.0 {
            Duration::from_secs_f64(self.seconds / self.count)
        } else {
            Duration::ZERO
        }
    }
}

/// A listening webhook.
struct Host {
    process: Process,
    what: &'static str,
    port: u16,
    /// The namespaces of its two ways.
    namespaces: [&'static str; 2],
}

impl Ways {
    /// Starts the webhooks and registers them.
    pub(crate) fn register(cluster: &Cluster) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let site = Site::new(cluster, files.path())?;
        let hosts = [
            site.go()?,
            Some(site.sallyport(1, "Sallyport, four policies", &four(&files)?)?),
        ];
        let eleven = site.sallyport(2, "Sallyport, all policies", &shipped())?;
        let mut all = vec![Way {
            namespace: "none",
            what: "no webhook".into(),
            is_baseline: false,
            call: Call::Never,
        }];
        let mut processes = vec![];
        for host in hosts.into_iter().flatten().chain([eleven]) {
            all.extend(site.register(&host)?);
            processes.push(host.process);
        }
        all.sort_by_key(|way| way.call != Call::Never && way.call != Call::Http2);
        all.extend(site.cel()?);
        for way in &all {
            cluster.namespace(way.namespace);
        }
        std::thread::sleep(NOTICE);
        Ok(Self {
            all,
            _hosts: processes,
            _files: files,
        })
    }

    pub(crate) fn all(&self) -> &[Way] {
        &self.all
    }

    /// Returns the calls so far by namespace.
    pub(crate) fn calls(&self, cluster: &Cluster) -> Result<BTreeMap<&'static str, Calls>> {
        let text = cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
        let called = self.all.iter().filter(|way| way.call != Call::Never);
        called
            .map(|way| Ok((way.namespace, calls(&text, &webhook(way.namespace))?)))
            .collect()
    }

    /// Returns the calls since then. A webhook without calls is an error, since it would make the
    /// figures worthless.
    pub(crate) fn calls_since(
        &self,
        cluster: &Cluster,
        before: &BTreeMap<&'static str, Calls>,
    ) -> Result<BTreeMap<&'static str, Calls>> {
        let mut calls = self.calls(cluster)?;
        for (namespace, calls) in &mut calls {
            let before = before.get(namespace).copied().unwrap_or_default();
            *calls = Calls {
                count: calls.count - before.count,
                seconds: calls.seconds - before.seconds,
            };
            ensure!(
                calls.count > 0.0,
                "the webhook of namespace {namespace} was never called"
            );
        }
        Ok(calls)
    }
}

fn webhook(namespace: &str) -> String {
    format!("{namespace}.bench.sallyport.dev")
}

/// Reads `apiserver_admission_webhook_admission_duration_seconds` of a webhook.
fn calls(metrics: &str, webhook: &str) -> Result<Calls> {
    let read = |what: &str| {
        let name = format!("apiserver_admission_webhook_admission_duration_seconds_{what}{{");
        let ours = metrics
            .lines()
            .filter(|line| line.starts_with(&name) && line.contains(webhook));
        ours.map(|line| Ok(line.rsplit_once(' ').context("a value")?.1.parse::<f64>()?))
            .sum::<Result<f64>>()
    };
    Ok(Calls {
        count: read("count")?,
        seconds: read("sum")?,
    })
}

/// Returns the directory of all shipped policies, as `make policies` builds it.
fn shipped() -> PathBuf {
    root().join("target/policies")
}

/// Writes the manifests of the first four policies into a directory.
fn four(files: &TempDir) -> Result<PathBuf> {
    let directory = files.path().join("four");
    std::fs::create_dir(&directory)?;
    for name in FOUR {
        let file = format!("{name}.yaml");
        std::fs::copy(shipped().join(&file), directory.join(&file))
            .context("run `make policies` first")?;
    }
    Ok(directory)
}

/// The place where webhooks listen: one port each of a Service's cluster IP, which is a loopback
/// address.
struct Site<'a> {
    cluster: &'a Cluster,
    files: &'a Path,
    signed: Signed,
    ip: String,
    ports: [u16; 3],
}

impl<'a> Site<'a> {
    fn new(cluster: &'a Cluster, files: &'a Path) -> Result<Self> {
        let ports = [free_port(), free_port(), free_port()];
        cluster.namespace(NAMESPACE);
        let numbered = ports.map(|port| json!({"name": format!("p{port}"), "port": port}));
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"ports": numbered},
        });
        cluster
            .kubectl_with(&["create", "-f", "-"], &service.to_string())
            .ok();
        let namespace = format!("--namespace={NAMESPACE}");
        let get = [
            "get",
            "service",
            NAME,
            &namespace,
            "--output=jsonpath={.spec.clusterIP}",
        ];
        let ip = wait_for("a cluster IP", || cluster.kubectl(&get).result());
        let signed = Signed::new(&[&ip, &format!("{NAME}.{NAMESPACE}.svc")]);
        std::fs::write(files.join("tls.crt"), &signed.certificate)?;
        std::fs::write(files.join("tls.key"), &signed.key)?;
        Ok(Self {
            cluster,
            files,
            signed,
            ip,
            ports,
        })
    }

    /// Starts the webhook in Go that `scripts/go-baseline.sh` built, if it did.
    fn go(&self) -> Result<Option<Host>> {
        let program = root().join("target/go-baseline");
        if !program.exists() {
            println!("LEFT OUT: the webhook in Go, which is not built; see `make bench-cluster`");
            return Ok(None);
        }
        let port = self.ports[0];
        let arguments = [
            format!("{}:{port}", self.ip),
            self.file("tls.crt"),
            self.file("tls.key"),
        ];
        let process = Process::start(&program, self.cluster.log("go"), &arguments);
        process.logged("serving on https://");
        Ok(Some(Host {
            process,
            what: "Go, allows everything",
            port,
            namespaces: ["go-h2", "go-h1"],
        }))
    }

    fn sallyport(&self, place: usize, what: &'static str, policies: &Path) -> Result<Host> {
        let port = self.ports[place];
        let arguments = [
            "sallyport serve --strict --no-watch --admin-listen 127.0.0.1:0 --modules \
             target/policies"
                .to_owned(),
            format!(
                "--listen {}:{port} --policies {}",
                self.ip,
                policies.display()
            ),
            format!(
                "--tls-cert {} --tls-key {}",
                self.file("tls.crt"),
                self.file("tls.key")
            ),
        ];
        let arguments: Vec<_> = arguments.join(" ").split(' ').map(str::to_owned).collect();
        let process = Process::start(
            &std::env::current_exe()?,
            self.cluster.log("sallyport"),
            &arguments,
        );
        process.logged("serving on https://");
        let namespaces = if place == 1 {
            ["four-h2", "four-h1"]
        } else {
            ["all-h2", "all-h1"]
        };
        Ok(Host {
            process,
            what,
            port,
            namespaces,
        })
    }

    /// Registers a host twice, each time for one namespace.
    fn register(&self, host: &Host) -> Result<[Way; 2]> {
        let port = host.port;
        let url = json!({"url": format!("https://{}:{port}/validate", self.ip)});
        let service = json!({"service": {"namespace": NAMESPACE, "name": NAME, "port": port,
            "path": "/validate"}});
        let [h2, h1] = host.namespaces;
        self.apply(&self.configuration(h2, url));
        self.apply(&self.configuration(h1, service));
        let way = |namespace, call, how| Way {
            namespace,
            what: format!("{}, {how}", host.what),
            is_baseline: host.what.starts_with("Go"),
            call,
        };
        Ok([
            way(h2, Call::Http2, "url (h2)"),
            way(h1, Call::Http1, "Service (http/1.1)"),
        ])
    }

    /// Returns a webhook configuration for one namespace; it is the same for every webhook but for
    /// the client.
    fn configuration(&self, namespace: &str, mut client: Value) -> Value {
        client["caBundle"] = BASE64_STANDARD.encode(&self.signed.ca).into();
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": namespace},
            "webhooks": [{
                "name": webhook(namespace),
                "admissionReviewVersions": ["v1"],
                "clientConfig": client,
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["services"],
                }],
                "sideEffects": "None",
                "timeoutSeconds": 10,
            }],
        })
    }

    /// Registers the rules of the four policies that CEL can express, evaluated by the API server.
    fn cel(&self) -> Result<Option<Way>> {
        let minor = self.cluster.minor;
        if minor < ADMISSION_POLICIES {
            println!("LEFT OUT: CEL; Kubernetes 1.{minor} has no ValidatingAdmissionPolicy");
            return Ok(None);
        }
        let printed = Command::new(std::env::current_exe()?)
            .args([
                "sallyport",
                "webhooks",
                "--backstop",
                "--output=json",
                "--modules=target/policies",
                "--policies",
            ])
            .arg(self.files.join("four"))
            .current_dir(root())
            .output()?;
        ensure!(
            printed.status.success(),
            "{}",
            String::from_utf8_lossy(&printed.stderr)
        );
        let mut list: Value = serde_json::from_slice(&printed.stdout)?;
        for object in list["items"].as_array_mut().context("a list")? {
            if object["kind"] == "ValidatingAdmissionPolicyBinding" {
                let only = json!({"matchLabels": {"kubernetes.io/metadata.name": "cel"}});
                object["spec"]["matchResources"]["namespaceSelector"] = only;
            }
        }
        self.apply(&list);
        let what = "CEL, of the four policies what it can".to_owned();
        Ok(Some(Way {
            namespace: "cel",
            what,
            is_baseline: false,
            call: Call::Never,
        }))
    }

    fn apply(&self, object: &Value) {
        self.cluster
            .kubectl_with(&["apply", "-f", "-"], &object.to_string())
            .ok();
    }

    fn file(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }
}
