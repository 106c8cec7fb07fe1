//! A release of the chart in a cluster of its own.

use super::node::{Container, Jobs, Pod};
use crate::helm::{HELM, NAMESPACE, chart};
use sallyport_tests::cluster::{Cluster, Ran, Signed, free_port};
use sallyport_tests::{SALLYPORT, left_out, wait_for};
use serde_json::{Value, json};

/// The minor version of Kubernetes that Chart.yaml asks for.
pub(crate) const OLDEST: u32 = 30;

/// A cluster, and the release `sallyport` once it is installed.
pub(crate) struct Release {
    pub(crate) cluster: Cluster,
    pub(crate) jobs: Jobs,
    /// The Service's port. The API server calls it at the Service's cluster IP, a loopback address.
    port: u16,
}

impl Release {
    /// Starts a cluster. Returns `None` where [`Release::is_possible`] is false.
    pub(crate) fn new(name: &str) -> Option<Self> {
        Self::is_possible().then(|| Self::on(Cluster::new(&format!("chart-{name}"))))
    }

    /// Takes a cluster that runs.
    pub(crate) fn on(cluster: Cluster) -> Self {
        Self {
            cluster,
            jobs: Jobs::default(),
            port: free_port(),
        }
    }

    /// Says past the test harness if Kubernetes is too old for the chart.
    pub(crate) fn is_possible() -> bool {
        let minor = Cluster::minor_here();
        if minor < OLDEST {
            left_out(&format!(
                "releases of the chart, which needs Kubernetes 1.{OLDEST}; this is 1.{minor}"
            ));
        }
        minor >= OLDEST
    }

    /// Runs a Helm command on the release, and the Jobs of its hooks. `{chart}` stands for the
    /// chart.
    pub(crate) fn helm(&self, line: &str) -> Ran {
        let chart = format!(
            "{} --set service.port={}",
            chart().canonicalize().expect("it is there").display(),
            self.port
        );
        let line = line.replace("{chart}", &chart);
        let helm = HELM.canonicalize().unwrap_or_else(|_| HELM.clone());
        let line = format!("{} {line} --namespace {NAMESPACE}", helm.display());
        self.jobs
            .run_during(&self.cluster, || self.cluster.shell(&line))
    }

    /// Installs the chart with these values.
    pub(crate) fn install(&self, values: &str) -> Ran {
        self.helm(&format!(
            "install sallyport {{chart}} --create-namespace {values}"
        ))
    }

    /// Starts a Pod of the Deployment as it is now, and waits until it serves.
    pub(crate) fn pod(&self) -> Pod {
        let deployment = self.object("deployment", "sallyport");
        let mut container = Container::new(&self.cluster, &deployment["spec"]["template"]["spec"]);
        let service = self.object("service", "sallyport");
        let ip = service["spec"]["clusterIP"].as_str().expect("an address");
        for argument in &mut container.arguments {
            // There is no kube-proxy: the Pod listens where the Service is.
            if argument.starts_with("--listen=") {
                *argument = match ip.contains(':') {
                    // Tests with such addresses run where all of them are local.
                    true => format!("--listen=[::]:{}", self.port),
                    false => format!("--listen={ip}:{}", self.port),
                };
            }
            if argument.starts_with("--admin-listen=") {
                "--admin-listen=127.0.0.1:0".clone_into(argument);
            }
        }
        let made = "--self-managed-certificate".to_owned();
        if container.arguments.contains(&made) {
            // In place of the file beside the mounted token.
            container.arguments.push(format!("--namespace={NAMESPACE}"));
        }
        let pod = container.start(&self.cluster);
        pod.process.logged("serving on https://");
        pod
    }

    /// Reads an object of the release.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Value {
        let get = ["get", kind, name, "--namespace", NAMESPACE, "--output=json"];
        serde_json::from_str(&self.cluster.kubectl(&get).ok()).expect("JSON")
    }

    /// Returns all webhook configurations of the cluster.
    pub(crate) fn configurations(&self) -> Vec<Value> {
        let get = [
            "get",
            "validatingwebhookconfigurations,mutatingwebhookconfigurations",
            "--output=json",
        ];
        let list: Value = serde_json::from_str(&self.cluster.kubectl(&get).ok()).expect("JSON");
        list["items"].as_array().expect("a list").clone()
    }

    /// Plays cert-manager and its CA injector, if the release has a Certificate.
    pub(crate) fn issue(&self) {
        let signed = Signed::new(&[&format!("sallyport.{NAMESPACE}.svc")]);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "sallyport-tls", "namespace": NAMESPACE},
            "stringData": {"tls.crt": signed.certificate, "tls.key": signed.key},
        });
        self.cluster
            .kubectl_with(&["apply", "-f", "-"], &secret.to_string())
            .ok();
        let injected = format!("{NAMESPACE}/sallyport");
        for mut configuration in self.configurations() {
            let from = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
            assert_eq!(*from, injected, "{configuration:#}");
            for webhook in configuration["webhooks"].as_array_mut().expect("webhooks") {
                webhook["clientConfig"]["caBundle"] = base64(&signed.ca).into();
            }
            self.cluster
                .kubectl_with(&["replace", "-f", "-"], &configuration.to_string())
                .ok();
        }
    }

    /// Defines the kinds of other projects, with any content.
    pub(crate) fn define_foreign_kinds(&self) {
        let kinds = [
            ("cert-manager.io", "v1", "Certificate", "certificates"),
            ("cert-manager.io", "v1", "Issuer", "issuers"),
            ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
            (
                "monitoring.coreos.com",
                "v1",
                "PrometheusRule",
                "prometheusrules",
            ),
        ];
        for (group, version, kind, plural) in kinds {
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{group}")},
                "spec": {
                    "group": group,
                    "scope": "Namespaced",
                    "names": {"kind": kind, "plural": plural},
                    "versions": [{
                        "name": version, "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": {
                            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        }},
                    }],
                },
            });
            self.cluster
                .kubectl_with(&["apply", "-f", "-"], &definition.to_string())
                .ok();
            wait_for(kind, || {
                let list = ["get", plural, "--namespace=default"];
                self.cluster.kubectl(&list).result()
            });
        }
    }

    /// Creates a Service that the preset denies, as a dry run. Returns the API server's error.
    pub(crate) fn denial(&self) -> Result<String, String> {
        let create = [
            "create",
            "--dry-run=server",
            "-f",
            "docs/examples/out-of-range.yaml",
        ];
        let ran = self.cluster.kubectl(&create);
        if !ran.done && ran.err.contains("[nodeport-range]") {
            Ok(ran.err)
        } else {
            Err(format!("{ran:?}"))
        }
    }

    /// Waits until a Service is denied with a message that contains `words`.
    pub(crate) fn wait_until_denied(&self, words: &str) {
        wait_for(words, || {
            let error = self.denial()?;
            if error.contains(words) {
                Ok(())
            } else {
                Err(error)
            }
        });
    }

    /// Fails unless the doctor finds nothing in the cluster's webhook configurations.
    pub(crate) fn ask_the_doctor(&self) {
        let get = "kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations \
            --output=yaml";
        let ran = self.cluster.shell(&format!(
            "{get} | {} doctor --strict -",
            SALLYPORT.display()
        ));
        assert!(ran.done, "{ran:?}");
    }

    /// Fails if a webhook configuration is left, or a Service can't be created.
    pub(crate) fn assert_nothing_is_left(&self, after: &str) {
        let left = self.configurations();
        assert!(left.is_empty(), "after {after}: {left:#?}");
        wait_for("a Service without a webhook", || {
            let create = ["create", "service", "clusterip", "probe", "--tcp=80"];
            let ran = self
                .cluster
                .kubectl(&[&create[..], &["--dry-run=server"]].concat());
            ran.result()
        });
        let get = ["get", "clusterroles", "--output=name"];
        let roles = self.cluster.kubectl(&get).ok();
        assert!(!roles.contains("/sallyport"), "after {after}: {roles}");
        let namespaced = "deployments,services,secrets,leases,configmaps,serviceaccounts,jobs,\
            networkpolicies,roles,rolebindings,poddisruptionbudgets,resourcequotas";
        let get = ["get", namespaced, "--namespace", NAMESPACE, "--output=name"];
        // cert-manager keeps the Secrets of Certificates that are deleted.
        let objects = self.cluster.kubectl(&get).ok();
        let objects = objects.replace("secret/sallyport-tls", "");
        assert!(!objects.contains("/sallyport"), "after {after}: {objects}");
    }

    /// Deletes configurations whose owner is gone, as the garbage collector does.
    pub(crate) fn collect_garbage(&self) {
        let get = [
            "get",
            "clusterroles",
            "--output=jsonpath={.items[*].metadata.uid}",
        ];
        let uids = self.cluster.kubectl(&get).ok();
        for found in self.configurations() {
            let owners = found["metadata"]["ownerReferences"].as_array();
            let is_gone = owners.is_some_and(|owners| {
                owners
                    .iter()
                    .all(|owner| !uids.contains(owner["uid"].as_str().expect("a uid")))
            });
            if is_gone {
                let [kind, name] = [&found["kind"], &found["metadata"]["name"]]
                    .map(|text| text.as_str().expect("a text"));
                self.cluster.kubectl(&["delete", kind, name]).ok();
            }
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
