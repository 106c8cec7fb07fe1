//! `deploy/` on a real API server, and a host with no more rights than it grants.

use crate::custom_resources::{define, wait_until_ready_is};
use crate::registered::wait_until_denied;
use crate::replicas::create_service;
use crate::webhook::{Feature, Host};
use sallyport_tests::cluster::{Cluster, free_port};
use sallyport_tests::{SALLYPORT, wait_for};

pub(crate) const NAMESPACE: &str = "sallyport-system";

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn an_api_server_takes_the_manifests_without_a_warning() {
    let cluster = Cluster::new("manifests");
    if !Feature::Deploy.is_in(&cluster, "whether it takes deploy/") {
        return;
    }
    // A dry run of the rest needs the namespace. It enforces the Pod Security Standard
    // `restricted`.
    cluster
        .kubectl(&["apply", "-f", "deploy/base/namespace.yaml"])
        .ok();
    define(&cluster);
    for overlay in [
        "deploy/base",
        "deploy/overlays/self-managed",
        "deploy/overlays/registered",
    ] {
        let ran = cluster.kubectl(&[
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "-k",
            overlay,
        ]);
        assert!(
            ran.done && ran.out.contains("deployment.apps/sallyport created"),
            "{overlay}: {ran:?}"
        );
        assert!(!ran.err.contains("Warning"), "{overlay}: {}", ran.err);
    }
}

/// Applies the parts of the overlay `registered` that its Pods depend on.
pub(crate) fn install(cluster: &Cluster) {
    define(cluster);
    for file in [
        "deploy/base/installation.yaml",
        "deploy/base/service-account.yaml",
        "deploy/base/rbac.yaml",
        "deploy/overlays/self-managed/rbac.yaml",
        "deploy/overlays/self-managed/secret.yaml",
        "deploy/overlays/registered/rbac.yaml",
    ] {
        cluster
            .kubectl(&["apply", "--namespace", NAMESPACE, "-f", file])
            .ok();
    }
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn the_rights_of_deploy_suffice_for_everything_a_host_does() {
    let cluster = Cluster::new("installed");
    let port = free_port();
    let ip = create_service(&cluster, port);
    install(&cluster);
    for (name, module) in [
        ("nodeport-range", "nodeport_range.wasm"),
        ("loadbalancer-cloud-only", "loadbalancer_cloud_only.wasm"),
        ("clusterip-internal", "clusterip_internal.wasm"),
    ] {
        let policy = serde_json::json!({
            "apiVersion": "sallyport.dev/v1alpha1",
            "kind": "ServicePolicy",
            "metadata": {"name": name},
            "spec": {"module": {"file": module}},
        });
        cluster
            .kubectl_with(&["apply", "-f", "-"], &policy.to_string())
            .ok();
    }
    let account = cluster.service_account(NAMESPACE, "sallyport");
    let host = Host::start(
        &cluster,
        &format!(
            "--listen {ip}:{port} --cluster --policies-from-cluster --self-managed-certificate \
             --register \
             --service-port {port} --counts-interval 500ms --namespace {NAMESPACE} --kubeconfig {}",
            account.display()
        ),
    );
    wait_until_denied(&cluster);
    wait_until_ready_is(&cluster, "nodeport-range", "True Loaded");
    wait_for("counts", || {
        let counts = [
            "get",
            "servicepolicy",
            "nodeport-range",
            "-o=jsonpath={.status.evaluations[0].total}",
        ];
        let total = cluster.kubectl(&counts).ok();
        if total.is_empty() {
            Err(host.log())
        } else {
            Ok(())
        }
    });
    if Feature::MatchConditions.is_in(&cluster, "what the doctor says of the registration") {
        let get = "kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations \
            --output=yaml";
        let ran = cluster.shell(&format!(
            "{get} | {} doctor --strict -",
            SALLYPORT.display()
        ));
        assert!(ran.done, "{ran:?}");
    }
    let log = host.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
