//! Deletions on a real API server: a marked Service stays, and whatever a cluster needs to delete
//! is deleted all the same. No controller manager runs here: the tests act as its service accounts.

use crate::admission::manifests;
use crate::webhook::{Feature, Host, Registration};
use sallyport_tests::cluster::{Cluster, Ran};
use sallyport_tests::wait_for;
use serde_json::{Value, json};
use std::sync::Arc;

const MARK: &str = "example.com/keep";

/// A namespace in which marked Services are protected.
struct Protected {
    cluster: Arc<Cluster>,
    namespace: &'static str,
    host: Option<Host>,
}

impl Protected {
    fn namespace(namespace: &'static str) -> Self {
        let cluster = Cluster::shared();
        cluster.namespace(namespace);
        let mark = json!({"mark": MARK});
        let policies = manifests(&[
            (
                "change-protection",
                json!({"module": {"file": "change_protection.wasm"}, "settings": mark}),
            ),
            (
                "nodeport-range",
                json!({"module": {"file": "nodeport_range.wasm"}}),
            ),
        ]);
        let flags = format!("--cluster --kubeconfig {}", cluster.kubeconfig().display());
        let host = Host::serve(&cluster, policies.path(), &flags);
        Registration {
            name: namespace,
            namespaces: &[namespace],
            ..Registration::of(&host)
        }
        .apply(&cluster);
        Self {
            cluster,
            namespace,
            host: Some(host),
        }
    }

    /// Runs kubectl in the namespace.
    fn kubectl(&self, arguments: &[&str]) -> Ran {
        self.cluster
            .kubectl(&[&["--namespace", self.namespace], arguments].concat())
    }

    fn create(&self, name: &str, metadata: &Value) {
        let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"ports": [{"port": 80}]}});
        service["metadata"]["name"] = name.into();
        let arguments = ["--namespace", self.namespace, "create", "-f", "-"];
        self.cluster
            .kubectl_with(&arguments, &service.to_string())
            .ok();
    }

    fn create_marked(&self, name: &str) {
        self.create(name, &json!({"annotations": {MARK: "true"}}));
    }

    fn delete(&self, name: &str) -> Ran {
        self.kubectl(&["delete", "service", name])
    }

    /// Deletes as a service account of kube-system.
    fn delete_as(&self, controller: &str, name: &str) -> Ran {
        let user = format!("--as=system:serviceaccount:kube-system:{controller}");
        self.kubectl(&["delete", "service", name, &user])
    }

    /// Waits until a marked Service can't be deleted.
    fn wait_until_denied(&self, name: &str) {
        wait_for("deletions are asked about", || {
            let ran = self.kubectl(&["delete", "service", name, "--dry-run=server"]);
            if is_denied(&ran) {
                Ok(())
            } else {
                Err(format!("{ran:?}"))
            }
        });
    }
}

fn is_denied(ran: &Ran) -> bool {
    let denied =
        r#"admission webhook "delete.sallyport.dev" denied the request: [change-protection]"#;
    !ran.done && ran.err.contains(denied) && ran.err.contains("it may not be deleted")
}

impl Drop for Protected {
    fn drop(&mut self) {
        for kind in [
            "mutatingwebhookconfiguration",
            "validatingwebhookconfiguration",
        ] {
            self.cluster
                .kubectl(&["delete", kind, self.namespace, "--ignore-not-found"]);
        }
        if let Some(host) = self.host.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("the host's log:\n{}", host.log());
        }
    }
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_marked_service_is_deleted_once_the_mark_is_off() {
    let protected = Protected::namespace("marked");
    protected.create_marked("kept");
    protected.create("free", &json!({}));
    protected.wait_until_denied("kept");
    assert!(is_denied(&protected.delete("kept")));
    assert!(is_denied(
        &protected.kubectl(&["delete", "services", "--all"])
    ));
    let gone = protected.kubectl(&["get", "service", "free"]).error();
    assert!(gone.contains("not found"), "{gone}");
    let forced = protected.kubectl(&["delete", "service", "kept", "--force", "--grace-period=0"]);
    assert!(is_denied(&forced), "{forced:?}");

    protected
        .kubectl(&["annotate", "service", "kept", &format!("{MARK}-")])
        .ok();
    protected.delete("kept").ok();
}

/// One request deletes all Services of a namespace, and names none.
#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_collection_is_deleted_except_for_marked_services() {
    let protected = Protected::namespace("collection");
    protected.create_marked("kept");
    protected.wait_until_denied("kept");
    let services = format!("/api/v1/namespaces/{}/services", protected.namespace);
    let ran = protected.cluster.kubectl(&["delete", "--raw", &services]);
    if ran.err.contains("the server does not allow this method") {
        eprintln!("*** LEFT OUT: this Kubernetes deletes no collection of Services ***");
    } else {
        assert!(is_denied(&ran), "{ran:?}");
    }
    protected.kubectl(&["get", "service", "kept"]).ok();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_namespace_with_a_marked_service_is_deleted() {
    let protected = Protected::namespace("doomed");
    for name in ["one", "two"] {
        protected.create_marked(name);
    }
    protected.wait_until_denied("one");
    let cluster = &protected.cluster;
    cluster
        .kubectl(&["delete", "namespace", "doomed", "--wait=false"])
        .ok();
    protected.delete_as("namespace-controller", "one").ok();
    // An operator who helps is let pass as soon as the host has seen that the namespace goes.
    wait_for("the host knows", || protected.delete("two").result());

    let path = "/api/v1/namespaces/doomed";
    let mut namespace: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", path]).ok()).expect("JSON");
    namespace["spec"]["finalizers"] = json!([]);
    let finalize = format!("{path}/finalize");
    cluster
        .kubectl_with(
            &["replace", "--raw", &finalize, "-f", "-"],
            &namespace.to_string(),
        )
        .ok();
    let gone = cluster.kubectl(&["get", "namespace", "doomed"]).error();
    assert!(gone.contains("not found"), "{gone}");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn the_garbage_collector_deletes_a_marked_service_and_finalizers_are_removed() {
    let protected = Protected::namespace("collected");
    protected.create_marked("owned");
    protected.create(
        "finalized",
        &json!({"finalizers": ["example.com/wait"], "annotations": {MARK: "true"}}),
    );
    protected.wait_until_denied("owned");
    protected
        .delete_as("generic-garbage-collector", "owned")
        .ok();
    let user = "--as=system:serviceaccount:kube-system:generic-garbage-collector";
    protected
        .kubectl(&["delete", "service", "finalized", "--wait=false", user])
        .ok();
    // It is in deletion: to delete it once more changes nothing, and its finalizers may go.
    protected
        .kubectl(&["delete", "service", "finalized", "--wait=false"])
        .ok();
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    protected
        .kubectl(&["patch", "service", "finalized", "--type=merge", "-p", patch])
        .ok();
    let gone = protected.kubectl(&["get", "service", "finalized"]).error();
    assert!(gone.contains("not found"), "{gone}");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn deletions_work_while_no_host_answers() {
    let mut protected = Protected::namespace("dead");
    protected.create_marked("kept");
    protected.wait_until_denied("kept");
    drop(protected.host.take());
    let write = protected.kubectl(&["annotate", "service", "kept", "a=b"]);
    assert!(
        write
            .err
            .contains(r#"failed calling webhook "validate.sallyport.dev""#),
        "writes fail closed: {write:?}"
    );
    protected.delete("kept").ok();
}

/// Where the API server supports match conditions, it does not even call a host that is away.
#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn controllers_delete_without_a_call() {
    let mut protected = Protected::namespace("uncalled");
    if !Feature::MatchConditions.is_in(&protected.cluster, "deletions that are never sent") {
        return;
    }
    protected.create_marked("kept");
    protected.wait_until_denied("kept");
    drop(protected.host.take());
    // Even a webhook that failed closed would be in nobody's way.
    let closed = r#"[{"op": "replace", "path": "/webhooks/1/failurePolicy", "value": "Fail"}]"#;
    let configuration = ["validatingwebhookconfiguration", "uncalled"];
    protected
        .cluster
        .kubectl(
            &[
                &["patch"],
                &configuration[..],
                &["--type=json", "-p", closed],
            ]
            .concat(),
        )
        .ok();
    wait_for("it fails closed", || {
        let ran = protected.kubectl(&["delete", "service", "kept", "--dry-run=server"]);
        if ran
            .err
            .contains(r#"failed calling webhook "delete.sallyport.dev""#)
        {
            Ok(())
        } else {
            Err(format!("{ran:?}"))
        }
    });
    protected.delete_as("namespace-controller", "kept").ok();
}
