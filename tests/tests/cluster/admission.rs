//! The users' view of the shipped policies: the output of kubectl's verbs.

use crate::webhook::{Host, Registration};
use sallyport_tests::cluster::Cluster;
use serde_json::{Value, json};
use std::sync::Arc;

/// A host with the shipped policies that is called for one namespace.
struct Guarded {
    cluster: Arc<Cluster>,
    namespace: &'static str,
    host: Host,
}

impl Guarded {
    fn namespace(namespace: &'static str) -> Self {
        Self::with(namespace, Host::shipped)
    }

    fn with(namespace: &'static str, host: impl Fn(&Cluster) -> Host) -> Self {
        let cluster = Cluster::shared();
        cluster.namespace(namespace);
        let host = host(&cluster);
        let guarded = Self {
            cluster,
            namespace,
            host,
        };
        guarded.registration().apply(&guarded.cluster);
        guarded
    }

    fn registration(&self) -> Registration<'_> {
        Registration {
            name: self.namespace,
            namespaces: std::slice::from_ref(&self.namespace),
            ..Registration::of(&self.host)
        }
    }

    /// Runs kubectl in the namespace.
    fn kubectl(&self, arguments: &[&str]) -> sallyport_tests::cluster::Ran {
        self.cluster
            .kubectl(&[&["--namespace", self.namespace], arguments].concat())
    }

    fn kubectl_with(&self, arguments: &[&str], object: &Value) -> sallyport_tests::cluster::Ran {
        self.cluster.kubectl_with(
            &[&["--namespace", self.namespace], arguments].concat(),
            &object.to_string(),
        )
    }

    fn spec(&self, name: &str, path: &str) -> String {
        self.kubectl(&[
            "get",
            "service",
            name,
            "--output",
            &format!("jsonpath={{.{path}}}"),
        ])
        .ok()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        for kind in [
            "mutatingwebhookconfiguration",
            "validatingwebhookconfiguration",
        ] {
            self.cluster
                .kubectl(&["delete", kind, self.namespace, "--ignore-not-found"]);
        }
        if std::thread::panicking() {
            eprintln!("the host's log:\n{}", self.host.log());
        }
    }
}

/// Returns a Service `web` with one port. Its protocol is explicit, because server-side apply of
/// 1.20 can't merge ports without one.
fn service(spec: &Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]},
    });
    for (key, part) in spec.as_object().expect("an object") {
        service["spec"][key] = part.clone();
    }
    service
}

pub(crate) fn load_balancer() -> Value {
    service(&json!({"type": "LoadBalancer"}))
}

const OUT_OF_RANGE: &str = "[nodeport-range] spec.ports[0].nodePort: 29999 is outside 30000-32767; \
    remove the field or use 30000-30085 (static band: the API server allocates other ports first)";
const NO_CLOUD: &str = "[loadbalancer-cloud-only] spec.type: nothing serves a LoadBalancer here";

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn kubectl_prints_the_message_of_the_readme() {
    let guarded = Guarded::namespace("message");
    let readme =
        std::fs::read_to_string(sallyport_tests::root().join("README.md")).expect("it is there");
    assert!(
        readme.contains(OUT_OF_RANGE),
        "README.md shows another message"
    );
    let error = guarded
        .kubectl(&["create", "-f", "docs/examples/out-of-range.yaml"])
        .error();
    assert!(
        error.contains(r#"admission webhook "validate.sallyport.dev" denied the request: "#),
        "{error}"
    );
    assert!(error.contains(OUT_OF_RANGE), "{error}");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn what_the_policies_allow_is_created_and_changed() {
    let guarded = Guarded::namespace("allowed");
    guarded
        .kubectl(&["apply", "-f", "docs/examples/my-clusterip-service.yaml"])
        .ok();
    guarded
        .kubectl(&["apply", "-f", "docs/examples/my-nodeport-service.yaml"])
        .ok();
    guarded
        .kubectl(&[
            "patch",
            "service",
            "my-nodeport-service",
            "-p",
            r#"{"spec":{"sessionAffinity":"ClientIP"}}"#,
        ])
        .ok();
    assert_eq!(
        guarded.spec("my-nodeport-service", "spec.ports[0].nodePort"),
        "30080"
    );
    assert_eq!(
        guarded.spec("my-nodeport-service", "spec.sessionAffinity"),
        "ClientIP"
    );
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn every_way_to_write_a_load_balancer_is_denied() {
    let guarded = Guarded::namespace("denied");
    let clean = service(&json!({}));
    guarded.kubectl_with(&["apply", "-f", "-"], &clean).ok();
    let mut new = load_balancer();
    new["metadata"]["name"] = "new".into();
    let to_load_balancer = r#"{"spec":{"type":"LoadBalancer"}}"#;
    let json_patch = r#"[{"op":"replace","path":"/spec/type","value":"LoadBalancer"}]"#;
    let no_input = Value::Null;
    let ways: [(&[&str], &Value); 8] = [
        (&["create", "-f", "-"], &new),
        (&["create", "--dry-run=server", "-f", "-"], &new),
        (&["apply", "-f", "-"], &load_balancer()),
        (&["apply", "--dry-run=server", "-f", "-"], &load_balancer()),
        (
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            &load_balancer(),
        ),
        (
            &[
                "patch",
                "service",
                "web",
                "--type=strategic",
                "-p",
                to_load_balancer,
            ],
            &no_input,
        ),
        (
            &[
                "patch",
                "service",
                "web",
                "--type=merge",
                "-p",
                to_load_balancer,
            ],
            &no_input,
        ),
        (
            &["patch", "service", "web", "--type=json", "-p", json_patch],
            &no_input,
        ),
    ];
    for (way, object) in ways {
        let error = guarded.kubectl_with(way, object).error();
        assert!(error.contains(NO_CLOUD), "{way:?}: {error}");
    }
    assert_eq!(guarded.spec("web", "spec.type"), "ClusterIP");
    guarded.kubectl(&["get", "service", "new"]).error();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_node_port_that_a_dry_run_invents_is_not_denied() {
    let guarded = Guarded::namespace("dry-run");
    guarded
        .kubectl_with(
            &["create", "--dry-run=server", "-f", "-"],
            &service(&json!({"type": "NodePort"})),
        )
        .ok();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn kubectl_prints_a_warning_of_a_policy_in_mode_warn() {
    let policies = manifests(&[
        (
            "loadbalancer-cloud-only",
            json!({"module": {"file": "loadbalancer_cloud_only.wasm"}, "mode": "Warn"}),
        ),
        (
            "nodeport-range",
            json!({"module": {"file": "nodeport_range.wasm"}}),
        ),
    ]);
    let guarded = Guarded::with("warned", |cluster| {
        Host::serve(cluster, policies.path(), "")
    });
    // The API server's range begins below that of the policies, so a node port of its choice may be
    // denied.
    let mut service = load_balancer();
    service["spec"]["ports"][0]["nodePort"] = 30911.into();
    let ran = guarded.kubectl_with(&["create", "-f", "-"], &service);
    assert!(
        ran.done && ran.err.contains(&format!("Warning: {NO_CLOUD}")),
        "{ran:?}"
    );
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_policy_patches_what_kubectl_creates() {
    let policies = manifests(&[
        (
            "clusterip-internal",
            json!({"module": {"file": "clusterip_internal.wasm"}, "settings": {"coerce": true}}),
        ),
        (
            "nodeport-range",
            json!({"module": {"file": "nodeport_range.wasm"}}),
        ),
    ]);
    let guarded = Guarded::with("patched", |cluster| {
        Host::serve(cluster, policies.path(), "")
    });
    guarded
        .kubectl(&["create", "-f", "docs/examples/database.yaml"])
        .ok();
    assert_eq!(guarded.spec("my-database", "spec.type"), "ClusterIP");
    assert_eq!(guarded.spec("my-database", "spec.ports[*].nodePort"), "");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_write_to_the_status_is_judged_and_warned_of() {
    // Created before the webhook, which denies it. Newer API servers refuse addresses of any other
    // type.
    let guarded = Guarded::with("status", |cluster| {
        cluster
            .kubectl_with(
                &["create", "--namespace", "status", "-f", "-"],
                &load_balancer().to_string(),
            )
            .ok();
        Host::shipped(cluster)
    });
    let path = "/api/v1/namespaces/status/services/web/status";
    let mut written: Value =
        serde_json::from_str(&guarded.kubectl(&["get", "--raw", path]).ok()).expect("JSON");
    written["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let ran = guarded.kubectl_with(&["replace", "--raw", path, "-f", "-"], &written);
    assert!(ran.done && ran.err.contains("status-writes"), "{ran:?}");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn older_services_can_be_changed_and_deleted() {
    let mut old = load_balancer();
    old["metadata"]["finalizers"] = json!(["example.com/mine"]);
    let guarded = Guarded::with("before", |cluster| {
        cluster
            .kubectl_with(
                &["create", "--namespace", "before", "-f", "-"],
                &old.to_string(),
            )
            .ok();
        Host::shipped(cluster)
    });
    let ran = guarded.kubectl(&["label", "service", "web", "team=a"]);
    assert!(
        ran.done && ran.err.contains(NO_CLOUD),
        "the ratchet excuses, and warns: {ran:?}"
    );
    guarded
        .kubectl(&["delete", "service", "web", "--wait=false"])
        .ok();
    assert_ne!(guarded.spec("web", "metadata.deletionTimestamp"), "");
    guarded
        .kubectl(&[
            "patch",
            "service",
            "web",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .ok();
    guarded.kubectl(&["get", "service", "web"]).error();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_namespaces_services_are_deleted_at_once() {
    let guarded = Guarded::namespace("emptied");
    guarded
        .kubectl_with(&["create", "-f", "-"], &service(&json!({})))
        .ok();
    guarded.kubectl(&["delete", "services", "--all"]).ok();
    assert_eq!(
        guarded.kubectl(&["get", "services", "--output=name"]).ok(),
        ""
    );
}

/// Writes ServicePolicies, given by name and spec, into a directory.
pub(crate) fn manifests(policies: &[(&str, Value)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, spec) in policies {
        let manifest = json!({
            "apiVersion": "sallyport.dev/v1alpha1",
            "kind": "ServicePolicy",
            "metadata": {"name": name},
            "spec": spec,
        });
        std::fs::write(
            directory.path().join(format!("{name}.yaml")),
            manifest.to_string(),
        )
        .expect("written");
    }
    directory
}
