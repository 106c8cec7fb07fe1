//! Services in deletion: a real API server agrees with the table of
//! `tests/fixtures/host/deletion.yaml`.

use crate::webhook::{Host, Registration};
use sallyport_tests::cluster::{Cluster, Ran};
use sallyport_tests::root;
use serde_json::{Value, json};

const NAMESPACE: &str = "deletion";

struct Case {
    name: String,
    is_status: bool,
    is_exempt: bool,
    old: Value,
    new: Value,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(root().join("tests/fixtures/host/deletion.yaml"))
        .expect("the table");
    let [suite] = sallyport_core::yaml::documents(&text)
        .expect("YAML")
        .try_into()
        .expect("one suite");
    let case = |case: &Value| Case {
        name: case["name"].as_str().expect("a name").to_owned(),
        is_status: case["subResource"] == "status",
        is_exempt: case["expect"]["exempt"] == "terminating",
        old: case["oldObject"].clone(),
        new: case["object"].clone(),
    };
    suite["spec"]["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .map(case)
        .collect()
}

/// A case's Service in the cluster, with a unique name.
struct Stored<'a> {
    cluster: &'a Cluster,
    case: Case,
    name: String,
}

impl<'a> Stored<'a> {
    /// Creates the old object, before there is a webhook.
    fn create(cluster: &'a Cluster, number: usize, case: Case) -> Self {
        let stored = Self {
            cluster,
            name: format!("w-{number}"),
            case,
        };
        let mut metadata = stored.case.old["metadata"].clone();
        let is_deleted = metadata
            .as_object_mut()
            .expect("an object")
            .remove("deletionTimestamp")
            .is_some();
        metadata["name"] = stored.name.as_str().into();
        metadata["namespace"] = NAMESPACE.into();
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": stored.case.old["spec"]});
        cluster
            .kubectl_with(&["create", "-f", "-"], &object.to_string())
            .ok();
        if let Some(status) = stored.case.old.get("status") {
            let mut object = stored.object();
            object["status"] = status.clone();
            stored.replace("/status", &object).ok();
        }
        if is_deleted {
            cluster
                .kubectl(&[
                    "delete",
                    "service",
                    &stored.name,
                    "--namespace",
                    NAMESPACE,
                    "--wait=false",
                ])
                .ok();
        }
        stored
    }

    fn path(&self, sub_resource: &str) -> String {
        format!(
            "/api/v1/namespaces/{NAMESPACE}/services/{}{sub_resource}",
            self.name
        )
    }

    fn object(&self) -> Value {
        serde_json::from_str(&self.cluster.kubectl(&["get", "--raw", &self.path("")]).ok())
            .expect("JSON")
    }

    fn replace(&self, sub_resource: &str, object: &Value) -> Ran {
        self.cluster.kubectl_with(
            &["replace", "--raw", &self.path(sub_resource), "-f", "-"],
            &object.to_string(),
        )
    }

    /// Sends the update; `None` where the API server does not know a field of the case.
    fn update(&self) -> Option<Ran> {
        let mut object = self.object();
        let Case {
            old,
            new,
            is_status,
            ..
        } = &self.case;
        if old["status"] != new["status"]
            && old["status"].is_object()
            && object["status"] != old["status"]
        {
            return None;
        }
        for member in ["labels", "annotations", "finalizers", "ownerReferences"] {
            object["metadata"][member] = new["metadata"][member].clone();
        }
        let (before, after) = (&old["spec"], &new["spec"]);
        let keys = before
            .as_object()
            .into_iter()
            .chain(after.as_object())
            .flat_map(|spec| spec.keys());
        for key in keys.filter(|key| before[key.as_str()] != after[key.as_str()]) {
            let allocated = object["spec"]["ports"].clone();
            object["spec"][key.as_str()] = after[key.as_str()].clone();
            if key == "ports" {
                keep_allocated(&mut object["spec"]["ports"], &allocated);
            }
        }
        if *is_status {
            object["status"] = new["status"].clone();
        }
        Some(self.replace(if *is_status { "/status" } else { "" }, &object))
    }

    /// Removes the finalizers, which would keep the namespace alive.
    fn release(&self) {
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        self.cluster.kubectl(&[
            "patch",
            "service",
            &self.name,
            "--namespace",
            NAMESPACE,
            "--type=merge",
            "-p",
            patch,
        ]);
    }
}

/// Existing ports keep the values that the API server allocated.
fn keep_allocated(ports: &mut Value, allocated: &Value) {
    for port in ports.as_array_mut().into_iter().flatten() {
        let same = |known: &&Value| known["name"] == port["name"];
        if let Some(known) = allocated.as_array().into_iter().flatten().find(same) {
            *port = known.clone();
        }
    }
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn api_server_and_webhook_agree_on_services_in_deletion() {
    let cluster = Cluster::shared();
    cluster.namespace(NAMESPACE);
    let stored: Vec<Stored<'_>> = cases()
        .into_iter()
        .enumerate()
        .map(|(number, case)| Stored::create(&cluster, number, case))
        .collect();
    let policies = tempfile::tempdir().expect("a directory");
    let set = root().join("tests/fixtures/host/deletion-set.yaml");
    std::fs::copy(set, policies.path().join("policies.yaml")).expect("copied");
    let host = Host::serve(&cluster, policies.path(), "");
    Registration {
        name: NAMESPACE,
        namespaces: &[NAMESPACE],
        ..Registration::of(&host)
    }
    .apply(&cluster);
    let mut failures = vec![];
    for stored in &stored {
        let Some(ran) = stored.update() else { continue };
        // Every update that is reviewed is denied, or has a warning.
        let is_judged = ran.err.contains("[types]") || ran.err.contains("[status]");
        let as_told = if stored.case.is_exempt {
            ran.done && !is_judged
        } else {
            is_judged
        };
        if !as_told {
            failures.push(format!("{}: {}", stored.case.name, ran.err));
        }
    }
    for kind in [
        "mutatingwebhookconfiguration",
        "validatingwebhookconfiguration",
    ] {
        cluster.kubectl(&["delete", kind, NAMESPACE, "--ignore-not-found"]);
    }
    stored.iter().for_each(Stored::release);
    assert!(
        failures.is_empty(),
        "{failures:?}\nthe host's log:\n{}",
        host.log()
    );
}
