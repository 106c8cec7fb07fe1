//! Hosts that register themselves, and every way of `docs/operations.md` to remove them, on a real
//! API server.
//!
//! The test plays the missing parts of a cluster. In place of a kubelet it sends SIGTERM a second
//! after kubectl deleted a Pod. In place of kube-controller-manager's garbage collector it deletes
//! configurations whose owner is gone, by the uid of the ownerReference that the host wrote.

use crate::installed::{NAMESPACE, install};
use crate::registered::wait_until_denied;
use crate::replicas::create_service;
use crate::runbook::{run, wait_until_created};
use crate::webhook::{Feature, Host};
use sallyport_tests::SALLYPORT;
use sallyport_tests::cluster::{Cluster, free_port};
use serde_json::Value;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time between kubectl's return and the Pod's SIGTERM.
const SIGNAL: Duration = Duration::from_secs(1);

/// `--drain-delay` of `deploy/`.
const DRAIN: Duration = Duration::from_secs(10);

/// Within 20 s a running host creates again what is deleted.
const COMES_BACK: Duration = Duration::from_secs(22);

/// A cluster with the overlay `registered`, and the address of its Pods.
struct Installed {
    cluster: Cluster,
    ip: String,
    port: u16,
}

impl Installed {
    fn new(name: &str) -> Self {
        let cluster = Cluster::new(name);
        let port = free_port();
        let ip = create_service(&cluster, port);
        install(&cluster);
        let deploy = [
            "create",
            "deployment",
            "sallyport",
            "--image=sallyport",
            "--namespace",
            NAMESPACE,
        ];
        cluster.kubectl(&deploy).ok();
        Self { cluster, ip, port }
    }

    /// Starts a Pod with the rights that `deploy/` grants, and waits until it is ready.
    fn pod(&self) -> Host {
        let account = self.cluster.service_account(NAMESPACE, "sallyport");
        let flags = format!(
            "--policies target/policies --listen {}:{} --self-managed-certificate --register \
             --service-port {} \
             --watch-interval 500ms --drain-delay {} --namespace {NAMESPACE} --kubeconfig {}",
            self.ip,
            self.port,
            self.port,
            DRAIN.as_secs(),
            account.display()
        );
        let host = Host::start(&self.cluster, &flags);
        wait_until_denied(&self.cluster);
        host
    }

    /// Returns all webhook configurations of the cluster.
    fn configurations(&self) -> Vec<Value> {
        let get = [
            "get",
            "validatingwebhookconfigurations,mutatingwebhookconfigurations",
            "--output=json",
        ];
        let list: Value = serde_json::from_str(&self.cluster.kubectl(&get).ok()).expect("JSON");
        list["items"].as_array().expect("a list").clone()
    }

    fn assert_nothing_is_left(&self, after: &str) {
        let left = self.configurations();
        assert!(left.is_empty(), "after {after}: {left:#?}");
        wait_until_created(&self.cluster, "default", true);
    }

    fn delete_configurations(&self) {
        let of = [
            "validatingwebhookconfiguration/sallyport",
            "mutatingwebhookconfiguration/sallyport",
        ];
        self.cluster.kubectl(&["delete", of[0], of[1]]).ok();
    }

    fn scale_to_zero(&self) {
        self.cluster
            .kubectl(&[
                "scale",
                "deployment/sallyport",
                "--replicas=0",
                "--namespace",
                NAMESPACE,
            ])
            .ok();
    }

    fn webhooks(&self, flag: &str) {
        let command = format!("{} webhooks {flag}", SALLYPORT.display());
        self.cluster.shell(&command).ok();
    }

    /// Deletes configurations whose owner is gone, as the garbage collector does.
    fn collect_garbage(&self) {
        let role = [
            "get",
            "clusterroles",
            "--output=jsonpath={.items[*].metadata.uid}",
        ];
        let uids = self.cluster.kubectl(&role).ok();
        for found in self.configurations() {
            let metadata = &found["metadata"];
            let [owner] = metadata["ownerReferences"]
                .as_array()
                .expect("an owner")
                .as_slice()
            else {
                panic!("one owner: {metadata:#}")
            };
            let whole = (
                owner["apiVersion"].as_str(),
                owner["kind"].as_str(),
                owner["name"].as_str(),
            );
            let role = (
                Some("rbac.authorization.k8s.io/v1"),
                Some("ClusterRole"),
                Some("sallyport-installation"),
            );
            assert_eq!(whole, role);
            let uid = owner["uid"].as_str().expect("a uid");
            assert!(!uid.is_empty());
            if !uids.split(' ').any(|other| other == uid) {
                let [kind, name] =
                    [&found["kind"], &metadata["name"]].map(|text| text.as_str().expect("a text"));
                self.cluster.kubectl(&["delete", kind, name]).ok();
            }
        }
    }
}

/// Ends a Pod that was deleted now: SIGTERM a second later, then the drain.
fn ends(host: Host) -> JoinHandle<()> {
    thread::spawn(move || {
        thread::sleep(SIGNAL);
        let stopped = Instant::now();
        host.terminate();
        assert!(
            stopped.elapsed() >= DRAIN - Duration::from_secs(1),
            "it drained"
        );
    })
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn no_configuration_returns_after_scaling_to_zero() {
    let installed = Installed::new("scaled");
    let pod = installed.pod();
    installed.scale_to_zero();
    let end = ends(pod);
    installed.delete_configurations();
    end.join().expect("it ends");
    installed.assert_nothing_is_left("scaling, deleting");

    // The runbook's own order: the configurations first.
    let pod = installed.pod();
    run(&installed.cluster, "Everything off");
    ends(pod).join().expect("it ends");
    installed.assert_nothing_is_left("the runbook's order");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_held_registration_stays_as_an_operator_leaves_it() {
    let installed = Installed::new("held");
    let pod = installed.pod();
    run(&installed.cluster, "Where hosts register themselves");
    run(&installed.cluster, "Let pass what no replica can judge");
    thread::sleep(COMES_BACK);
    let found = installed.configurations();
    let validating = found
        .iter()
        .find(|found| found["kind"] == "ValidatingWebhookConfiguration")
        .expect("it is there");
    assert_eq!(
        validating["webhooks"][0]["failurePolicy"],
        "Ignore",
        "{}",
        pod.log()
    );
    installed.delete_configurations();
    thread::sleep(COMES_BACK);
    installed.assert_nothing_is_left("a hold and a deletion under a live host");
    run(
        &installed.cluster,
        "And let the hosts write the configurations again",
    );
    wait_until_denied(&installed.cluster);
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn webhooks_delete_removes_all_and_resume_restores_it() {
    let installed = Installed::new("removed");
    let pod = installed.pod();
    installed.webhooks("--delete");
    installed.assert_nothing_is_left("webhooks --delete");
    thread::sleep(COMES_BACK);
    installed.assert_nothing_is_left("webhooks --delete, for longer than a host needs");
    assert!(
        pod.log().contains("has the annotation sallyport.dev/hold"),
        "{}",
        pod.log()
    );
    installed.webhooks("--resume");
    wait_until_denied(&installed.cluster);
    // The rest of an uninstallation that began with the wrong command.
    installed.scale_to_zero();
    ends(pod).join().expect("it ends");
    assert!(
        !installed.configurations().is_empty(),
        "failing closed outlives hosts"
    );
    installed.webhooks("--delete");
    installed.assert_nothing_is_left("scaling, webhooks --delete");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn deleting_the_overlay_takes_the_configurations_along() {
    let installed = Installed::new("deleted");
    let cluster = &installed.cluster;
    let pod = installed.pod();
    let end = ends(pod);
    if Feature::Deploy.is_in(
        cluster,
        "kubectl delete -k; its files are deleted one by one",
    ) {
        let delete = [
            "delete",
            "--wait=false",
            "--ignore-not-found",
            "-k",
            "deploy/overlays/registered",
        ];
        cluster.kubectl(&delete).ok();
    } else {
        for file in [
            "deploy/base/installation.yaml",
            "deploy/base/rbac.yaml",
            "deploy/overlays/registered/rbac.yaml",
        ] {
            cluster
                .kubectl(&["delete", "--namespace", NAMESPACE, "-f", file])
                .ok();
        }
    }
    installed.collect_garbage();
    end.join().expect("it ends");
    installed.assert_nothing_is_left("delete -k");
}

/// The document does not advise it, but many do it. No controller here deletes the content of a
/// Namespace, so its deletion never completes; the test checks the owner that the host wrote.
#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn the_installation_goes_with_its_namespace() {
    let installed = Installed::new("namespaced");
    let _pod = installed.pod();
    let owner = "{.metadata.ownerReferences[*].kind} {.metadata.ownerReferences[*].uid}";
    let get = |what: &str, name: &str, path: &str| {
        installed
            .cluster
            .kubectl(&["get", what, name, &format!("--output=jsonpath={path}")])
            .ok()
    };
    let uid = get("namespace", NAMESPACE, "{.metadata.uid}");
    assert_eq!(
        get("clusterrole", "sallyport-installation", owner),
        format!("Namespace {uid}")
    );
}
