//! A door from its opening to its end: a Service is exposed past the policies, found, reported and
//! alerted of, and then fixed; and only the group can delete the webhook configurations. On a real
//! API server with a real Prometheus.

use crate::audit;
use crate::audit_reports::{self, Reports};
use crate::static_manifests::{self, KIND, create_denied, kubectl};
use crate::webhook::Feature;
use sallyport_tests::cluster::Cluster;
use sallyport_tests::left_out;
use sallyport_tests::prometheus::Prometheus;
use serde_json::json;

/// The namespace of the doors.
const NAMESPACE: &str = "doors";

/// A user whom the HostConfig exempts, as an installer that was there before the policies.
const EXEMPT: &str = "installer";

const ALERT: &str = "SallyportServicesViolatePolicies";

/// Returns what the owner of each Service does about it, for `kubectl patch --type=merge`.
fn mends() -> [(&'static str, serde_json::Value); 6] {
    let inside = json!({"spec": {"type": "ClusterIP"}});
    let unshared = json!({
        "metadata": {"annotations": {"metallb.io/allow-shared-ip": null}},
        "spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null},
    });
    [
        ("port", inside.clone()),
        ("balancer", inside),
        ("ips", json!({"spec": {"externalIPs": null}})),
        (
            "exported",
            json!({"metadata": {"annotations": {"tailscale.com/expose": null}}}),
        ),
        ("shared", unshared),
        ("alias", json!({"spec": {"externalName": "db.example.com"}})),
    ]
}

/// Starts an API server; with the net and the protection in static manifests where it can load
/// them.
fn start(config: &std::path::Path, about: &str) -> (Cluster, Option<tempfile::TempDir>) {
    if !Feature::StaticManifests.is_since(Cluster::minor_here(), about) {
        left_out(about);
        return (Cluster::new("exposed"), None);
    }
    let config = config.to_str().expect("UTF-8");
    let files = static_manifests::files(&["--config", config]);
    let cluster = static_manifests::start("exposed", files.path());
    (cluster, Some(files))
}

#[test]
#[ignore = "needs Prometheus, and kube-apiserver for a part: make monitoring-test"]
fn six_doors_are_named_reported_and_alerted_of_until_mended() {
    if !cfg!(api_server) {
        left_out("opened doors, their Reports and their alert: no kube-apiserver");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("host.yaml");
    let exempt = json!({"apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig",
        "metadata": {"name": "host"}, "spec": {"exemptions": {"users": [EXEMPT]}}});
    std::fs::write(&config, exempt.to_string()).expect("written");
    let about = "the deletion of webhook configurations that static manifests protect";
    let (cluster, files) = start(&config, about);
    audit_reports::prepare(&cluster);
    audit_reports::define(&cluster, "v1alpha1");
    cluster.namespace(NAMESPACE);
    audit::create_as(&cluster, NAMESPACE, 29950, EXEMPT);
    audit::assert_doors_are_named(&cluster, NAMESPACE);

    let host = audit_reports::host(&cluster, "");
    let prometheus = Prometheus::scraping(host.admin());
    let reports = Reports(&cluster);
    let mut left: Vec<_> = mends().map(|(name, _)| name).into();
    left.sort_unstable();
    let names = |left: &[&str]| -> Vec<String> {
        let names = left.iter();
        names
            .map(|name| format!("{NAMESPACE}/sallyport-{name}"))
            .collect()
    };
    reports.wait_until_there_are(&names(&left));
    prometheus.wait(|firing| firing.contains(ALERT));
    for (name, patch) in mends() {
        let patch = format!("--patch={patch}");
        let more = ["--namespace", NAMESPACE, "--type=merge", &patch];
        cluster
            .kubectl(&[&["patch", "service", name], &more[..]].concat())
            .ok();
        left.retain(|other| *other != name);
        reports.wait_until_there_are(&names(&left));
    }
    prometheus.wait(|firing| !firing.contains(ALERT));
    host.terminate();

    if files.is_some() {
        deletion_is_the_groups(&cluster);
    }
}

/// Deletes the webhook configuration: as an administrator, which is refused, and as a member of the
/// group, which leaves the static net.
fn deletion_is_the_groups(cluster: &Cluster) {
    let registered = static_manifests::webhooks(&[
        "--webhook-url=https://127.0.0.1:1",
        "--failure-policy=Ignore",
    ]);
    let apply = ["apply", "--server-side", "-f", "-"];
    cluster.kubectl_with(&apply, &registered).ok();
    let delete = ["delete", KIND, "sallyport"];
    let refused = cluster.kubectl(&delete).error();
    assert!(refused.contains("sallyport-admins"), "{refused}");
    kubectl(cluster, "ops", "sallyport-admins", &delete).ok();
    let refused = create_denied(cluster).error();
    assert!(refused.contains("[nodeport-range]"), "{refused}");
}
