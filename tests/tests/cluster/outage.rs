//! Outages of the webhook or the API server: what stops, what goes on, and how it recovers.

use crate::webhook::{Feature, Host, Registration};
use sallyport_tests::cluster::Cluster;
use sallyport_tests::wait_for;

const SERVICE: &str = "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\
    \"metadata\":{\"generateName\":\"web-\"},\"spec\":{\"ports\":[{\"port\":80}]}}";

/// Starts a host with the shipped policies, and registers it for the whole cluster.
fn register(cluster: &Cluster, failure_policy: &str) -> Host {
    let host = Host::shipped(cluster);
    Registration {
        failure_policy,
        ..Registration::of(&host)
    }
    .apply(cluster);
    host
}

fn create(cluster: &Cluster, namespace: &str) -> Result<String, String> {
    cluster
        .kubectl_with(&["create", "--namespace", namespace, "-f", "-"], SERVICE)
        .result()
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn failing_closed_without_a_host_blocks_services_only() {
    let cluster = Cluster::new("fails-closed");
    let host = register(&cluster, "Fail");
    create(&cluster, "default").expect("the host allows it");
    drop(host);

    let error = create(&cluster, "default").expect_err("nobody decides");
    assert!(
        error.contains(r#"failed calling webhook "validate.sallyport.dev""#),
        "{error}"
    );
    assert!(error.contains("connection refused"), "{error}");

    for namespace in ["kube-system", "kube-public", "kube-node-lease"] {
        create(&cluster, namespace)
            .unwrap_or_else(|error| panic!("{namespace} is locked out: {error}"));
    }
    cluster
        .kubectl(&[
            "create",
            "configmap",
            "other-objects",
            "--namespace",
            "default",
        ])
        .ok();
    cluster
        .kubectl(&["delete", "services", "--all", "--namespace", "kube-public"])
        .ok();
    the_api_servers_own_service_comes_back(&cluster);
}

/// Once deleted, `default/kubernetes` is created again by the API server, which the match condition
/// lets pass.
fn the_api_servers_own_service_comes_back(cluster: &Cluster) {
    if !Feature::MatchConditions.is_in(cluster, "default/kubernetes while the host is down") {
        return;
    }
    cluster
        .kubectl(&["delete", "service", "kubernetes", "--namespace", "default"])
        .ok();
    wait_for("default/kubernetes", || {
        cluster
            .kubectl(&["get", "service", "kubernetes", "--namespace", "default"])
            .result()
    });
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn failing_open_without_a_host_lets_services_pass() {
    let cluster = Cluster::new("fails-open");
    let host = register(&cluster, "Ignore");
    let denied = cluster
        .kubectl(&["create", "-f", "docs/examples/load-balancer.yaml"])
        .error();
    assert!(denied.contains("[loadbalancer-cloud-only]"), "{denied}");
    drop(host);
    cluster
        .kubectl(&["create", "-f", "docs/examples/load-balancer.yaml"])
        .ok();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_host_goes_on_when_the_api_server_restarts() {
    let cluster = Cluster::new("restart");
    let host = register(&cluster, "Fail");
    cluster.stop();
    cluster.start();
    wait_for("a Service", || create(&cluster, "default"));
    let denied = cluster
        .kubectl(&["create", "-f", "docs/examples/load-balancer.yaml"])
        .error();
    assert!(denied.contains("[loadbalancer-cloud-only]"), "{denied}");
    drop(host);
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn the_api_servers_own_service_can_be_recreated() {
    let cluster = Cluster::new("own-service");
    let host = register(&cluster, "Fail");
    cluster
        .kubectl(&["delete", "service", "kubernetes", "--namespace", "default"])
        .ok();
    wait_for("default/kubernetes", || {
        cluster
            .kubectl(&["get", "service", "kubernetes", "--namespace", "default"])
            .result()
    });
    drop(host);
}
