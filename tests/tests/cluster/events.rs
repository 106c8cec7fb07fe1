//! `serve --events`: Events on a real API server, with the rights that `deploy/` grants.

use crate::admission::manifests;
use crate::custom_resources::define;
use crate::webhook::Host;
use sallyport_tests::cluster::Cluster;
use sallyport_tests::wait_for;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Waits for an Event with this reason about an object, and returns it.
pub(crate) fn event(
    cluster: &Cluster,
    reason: &str,
    kind: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let mut found = Value::Null;
    wait_for(&format!("an Event {reason} of a {kind}"), || {
        let all = [
            "get",
            "events.events.k8s.io",
            "--all-namespaces",
            "--output=json",
        ];
        let list: Value =
            serde_json::from_str(&cluster.kubectl(&all).ok()).map_err(|error| error.to_string())?;
        let items = list["items"].as_array().expect("a list");
        let is_wanted = |event: &&Value| {
            event["reason"] == reason && event["regarding"]["kind"] == kind && holds(event)
        };
        found = items
            .iter()
            .find(is_wanted)
            .ok_or_else(|| list.to_string())?
            .clone();
        Ok::<(), String>(())
    });
    found
}

/// Sends a review of a Service, as an API server does.
pub(crate) fn deny(cluster: &Cluster, host: &Host) {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "kind": {"group": "", "version": "v1", "kind": "Service"},
            "resource": {"group": "", "version": "v1", "resource": "services"},
            "name": "web", "namespace": "default", "operation": "CREATE",
            "userInfo": {"username": "jane"},
            "object": {"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"type": "NodePort", "selector": {"app": "web"},
                    "ports": [{"port": 80, "nodePort": 29999}]}},
        },
    });
    let line = format!(
        "curl --silent --show-error --insecure --header 'Content-Type: application/json' \
         --data '{review}' https://{}/validate",
        host.address
    );
    let answer = cluster.shell(&line).ok();
    assert!(answer.contains("\"allowed\":false"), "{answer}");
}

/// Returns an API server with the rights that `deploy/` grants, and the kubeconfig of a host.
fn cluster(name: &str) -> (Cluster, PathBuf) {
    let cluster = Cluster::new(name);
    cluster.namespace("sallyport-system");
    for file in ["service-account", "rbac"] {
        let file = format!("deploy/base/{file}.yaml");
        let apply = ["apply", "-n", "sallyport-system", "-f", &file];
        cluster.kubectl(&apply).ok();
    }
    let account = cluster.service_account("sallyport-system", "sallyport");
    (cluster, account)
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_refused_reload_and_an_expired_certificate_are_events() {
    let (cluster, account) = cluster("events-of-host");
    let range = json!({"module": {"file": "nodeport_range.wasm"}, "mode": "Enforce"});
    let policies = manifests(&[("nodeport-range", range)]);
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut expired = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = expired.self_signed(&key).expect("signed");
    let files = tempfile::tempdir().expect("a directory");
    let put = |name: &str, text: String| {
        let file = files.path().join(name);
        std::fs::write(&file, text).expect("written");
        file.display().to_string()
    };
    let (certificate, key) = (
        put("tls.crt", expired.pem()),
        put("tls.key", key.serialize_pem()),
    );
    let host = Host::start(
        &cluster,
        &format!(
            "--policies {} --watch-interval 200ms --events problems --kubeconfig {} \
             --tls-cert {certificate} --tls-key {key}",
            policies.path().display(),
            account.display()
        ),
    );
    let of_pod = |reason: &str, part: &str| {
        event(&cluster, reason, "Pod", |event| {
            event["note"]
                .as_str()
                .is_some_and(|note| note.contains(part))
        });
    };
    of_pod("CertificateTrouble", "expired at 2020-01-01T00:00:00Z");
    std::fs::write(policies.path().join("broken.yaml"), "kind: ServicePolicy").expect("written");
    of_pod("ReloadFailed", "broken.yaml");
    host.terminate();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn what_is_broken_and_who_was_denied_are_events() {
    let (cluster, account) = cluster("events");
    define(&cluster);
    let spec = json!({"module": {"file": "missing.wasm"}, "failurePolicy": "Ignore"});
    let broken = json!({"apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
        "metadata": {"name": "broken"}, "spec": spec});
    cluster
        .kubectl_with(&["create", "-f", "-"], &broken.to_string())
        .ok();
    let range = json!({"module": {"file": "nodeport_range.wasm"}, "mode": "Enforce"});
    let policies = manifests(&[("nodeport-range", range)]);
    let host = Host::start(
        &cluster,
        &format!(
            "--policies {} --cluster --policies-from-cluster --events denials --kubeconfig {}",
            policies.path().display(),
            account.display()
        ),
    );

    if cluster.minor >= EVENTS_OF_CLUSTER_WIDE_OBJECTS {
        of_policy(&cluster);
    } else {
        wait_for("the log says that its Event was refused", || {
            let log = host.log();
            let refused = log.matches("does not match event.namespace").count();
            (refused == 1).then_some(()).ok_or(log)
        });
    }

    deny(&cluster, &host);
    let found = event(&cluster, "ServiceDenied", "Service", |_| true);
    assert_eq!(found["regarding"]["name"], "web");
    assert!(
        found["note"]
            .as_str()
            .is_some_and(|note| note.contains("[nodeport-range]")),
        "{found}"
    );
    // A second denial is counted in the same Event.
    deny(&cluster, &host);
    event(&cluster, "ServiceDenied", "Service", |event| {
        event["series"]["count"] == 2
    });
}

/// The first minor version that certainly takes Events about cluster-wide objects in the namespace
/// `default` (kubernetes/kubernetes#100125).
const EVENTS_OF_CLUSTER_WIDE_OBJECTS: u32 = 22;

/// Finds the Event of the ServicePolicy `broken`.
fn of_policy(cluster: &Cluster) {
    let found = event(cluster, "PolicyNotLoaded", "ServicePolicy", |_| true);
    let policy = cluster
        .kubectl(&[
            "get",
            "servicepolicy",
            "broken",
            "--output=jsonpath={.metadata.uid}",
        ])
        .ok();
    assert_eq!(found["regarding"]["uid"], policy, "{found}");
    assert_eq!(found["regarding"]["name"], "broken");
    assert!(
        found["note"]
            .as_str()
            .is_some_and(|note| note.contains("missing.wasm")),
        "{found}"
    );
}
