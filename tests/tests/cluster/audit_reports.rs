//! The background audit on a real API server: Reports appear, stay as they are, and go.

use crate::installed::NAMESPACE;
use crate::webhook::Host;
use sallyport_tests::cluster::Cluster;
use sallyport_tests::wait_for;
use serde_json::{Value, json};

/// A CRD with the parts of OpenReports' that a Report of Sallyport's uses.
fn reports(version: &str) -> Value {
    let text = json!({"type": "string"});
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let result = json!({"type": "object", "required": ["policy"], "properties": {
        "policy": text, "rule": text, "message": text, "severity": text,
        "result": {"type": "string", "enum": ["pass", "fail", "warn", "error", "skip"]},
        "scored": {"type": "boolean"},
        "properties": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let schema = json!({"type": "object", "properties": {
        "source": text, "scope": any, "summary": any,
        "results": {"type": "array", "items": result},
    }});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "reports.openreports.io"},
        "spec": {"group": "openreports.io", "scope": "Namespaced",
            "names": {"kind": "Report", "plural": "reports", "singular": "report"},
            "versions": [{"name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}}]}})
}

pub(crate) fn define(cluster: &Cluster, version: &str) {
    let crd = reports(version).to_string();
    cluster.kubectl_with(&["apply", "-f", "-"], &crd).ok();
    wait_for("Reports", || {
        cluster
            .kubectl(&["get", "reports.openreports.io", "-A"])
            .result()
    });
}

const FLAGS: &str = "--strict --cluster --audit-reports --audit-interval 1s \
    --policies target/policies";

pub(crate) fn prepare(cluster: &Cluster) {
    cluster
        .kubectl(&["apply", "-f", "deploy/base/namespace.yaml"])
        .ok();
}

/// Starts a host with more flags, and no more rights than `deploy/` grants it.
pub(crate) fn host(cluster: &Cluster, more: &str) -> Host {
    for file in [
        "deploy/base/service-account.yaml",
        "deploy/base/rbac.yaml",
        "deploy/components/audit-reports/rbac.yaml",
    ] {
        cluster
            .kubectl(&["apply", "--namespace", NAMESPACE, "-f", file])
            .ok();
    }
    let file = cluster.service_account(NAMESPACE, "sallyport");
    let config = std::fs::read_to_string(&file).expect("it is there");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    // As a Pod has it.
    config["contexts"][0]["context"]["namespace"] = NAMESPACE.into();
    std::fs::write(&file, config.to_string()).expect("written");
    let flags = format!("{FLAGS} {more} --kubeconfig {}", file.display());
    Host::start(cluster, &flags)
}

/// The Reports of a cluster.
pub(crate) struct Reports<'a>(pub(crate) &'a Cluster);

impl Reports<'_> {
    /// Returns the names of all Reports with their resourceVersions.
    fn known(&self) -> Vec<String> {
        let path = "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} \
            {.metadata.resourceVersion}{\"\\n\"}{end}";
        let get = ["get", "reports.openreports.io", "-A", "--output", path];
        let out = self.0.kubectl(&get).ok();
        out.lines().map(str::to_owned).collect()
    }

    /// Waits until there are these Reports alone, and returns them with their resourceVersions.
    pub(crate) fn wait_until_there_are(&self, names: &[impl AsRef<str>]) -> Vec<String> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        wait_for("the Reports", || {
            let known = self.known();
            let found: Vec<_> = known
                .iter()
                .map(|line| line.split(' ').next().unwrap_or_default())
                .collect();
            if found == names {
                Ok(known)
            } else {
                Err(format!("{found:?}"))
            }
        })
    }
}

pub(crate) fn create(cluster: &Cluster, name: &str, spec: &Value) {
    let mut service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "audited"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]}});
    for (key, value) in spec.as_object().expect("an object") {
        service["spec"][key] = value.clone();
    }
    cluster
        .kubectl_with(&["create", "-f", "-"], &service.to_string())
        .ok();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_report_appears_stays_as_it_is_and_goes_when_its_service_is_mended() {
    let cluster = Cluster::new("audit-reports");
    prepare(&cluster);
    cluster.namespace("audited");
    define(&cluster, "v1alpha1");
    create(&cluster, "fine", &json!({}));
    create(&cluster, "ips", &json!({"externalIPs": ["192.0.2.7"]}));
    create(&cluster, "gone", &json!({"externalIPs": ["192.0.2.8"]}));
    let (first, second) = (host(&cluster, ""), host(&cluster, ""));
    let reports = Reports(&cluster);
    let names = ["audited/sallyport-gone", "audited/sallyport-ips"];
    let before = reports.wait_until_there_are(&names);
    let report = cluster
        .kubectl(&[
            "get",
            "report",
            "sallyport-ips",
            "-n",
            "audited",
            "-o",
            "json",
        ])
        .ok();
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["scope"]["name"], "ips");
    assert_eq!(report["summary"]["fail"], 1, "{report:#}");
    assert_eq!(report["results"][0]["rule"], "S08");
    assert_eq!(report["results"][0]["properties"]["onUpdate"], "kept");
    // Some more passes, of whichever replica leads.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(reports.known(), before, "nothing is written again");
    let patch = r#"{"spec":{"externalIPs":null}}"#;
    cluster
        .kubectl(&[
            "patch",
            "service",
            "ips",
            "-n",
            "audited",
            "--type=merge",
            "-p",
            patch,
        ])
        .ok();
    reports.wait_until_there_are(&["audited/sallyport-gone"]);
    cluster
        .kubectl(&["delete", "service", "gone", "-n", "audited"])
        .ok();
    reports.wait_until_there_are(&[""; 0]);
    let holder = "jsonpath={.spec.holderIdentity}";
    let holder = cluster
        .kubectl(&[
            "get",
            "lease",
            "sallyport-audit",
            "-n",
            NAMESPACE,
            "-o",
            holder,
        ])
        .ok();
    assert!(!holder.is_empty());
    for host in [first, second] {
        let log = host.log();
        assert!(!log.contains("background audit: some"), "{log}");
        host.terminate();
    }
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn missing_reports_and_another_version_are_said_once() {
    let cluster = Cluster::new("audit-no-reports");
    prepare(&cluster);
    let host = host(&cluster, "");
    let missing = "knows no Reports of openreports.io/v1alpha1";
    let said = |text: &str| {
        wait_for(text, || match host.log().matches(text).count() {
            0 => Err(host.log()),
            times => Ok(times),
        })
    };
    said(missing);
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(said(missing), 1, "{}", host.log());
    define(&cluster, "v2");
    assert_eq!(said("has Reports of openreports.io/v2 alone"), 1);
    host.terminate();
}
