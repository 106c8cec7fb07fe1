//! Clusters whose Services have IPv6 addresses, alone or beside IPv4 ones.

use super::release::Release;
use crate::helm::{NAMESPACE, template};
use sallyport_tests::cluster::Cluster;
use sallyport_tests::left_out;
use serde_json::{Value, json};
use std::process::Command;

const IPV6: &str = "fd64::/112";
const BOTH: &str = "127.64.0.0/16,fd64::/112";

/// Set where the whole range of IPv6 addresses is local.
const INSIDE: &str = "SALLYPORT_INSIDE_NAMESPACE";

/// Runs itself in a network namespace of its own, so that the API server reaches the cluster IP and
/// this machine's network stays as it is.
#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn an_ipv6_only_cluster_is_served() {
    if std::env::var_os(INSIDE).is_some() {
        return serve_ipv6();
    }
    if !Release::is_possible() {
        return;
    }
    let (network, program) = (
        format!("ip link set lo up && ip -6 route add local {IPV6} dev lo"),
        std::env::current_exe().expect("a test is a file"),
    );
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", script, "sh"]);
        command
    };
    let possible = unshare(&network).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        left_out("an IPv6-only cluster; network namespaces (unshare, ip) are not allowed");
        return;
    }
    let output = unshare(&format!("{network} && exec \"$@\""))
        .arg(program)
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("cluster::families::an_ipv6_only_cluster_is_served")
        .env(INSIDE, "1")
        .output()
        .expect("it ran before");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{errors}"
    );
}

fn serve_ipv6() {
    let release = Release::on(Cluster::with_cluster_ips("chart-ipv6", IPV6));
    release.install("").ok();
    let service = release.object("service", "sallyport");
    assert_eq!(service["spec"]["ipFamilies"], json!(["IPv6"]));
    let _pod = release.pod();
    release.wait_until_denied("29999 is outside 30000-32767");
}

#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn a_dual_stack_cluster_gives_the_service_both_addresses() {
    if !Release::is_possible() {
        return;
    }
    let cluster = Cluster::with_cluster_ips("chart-dual", BOTH);
    cluster.namespace(NAMESPACE);
    let addresses = |values: &str| {
        let text = template(&["--set", values, "--show-only", "templates/service.yaml"])
            .expect("it renders");
        let create = ["create", "--dry-run=server", "--output=json", "-f", "-"];
        let made = cluster.kubectl_with(&create, &text).ok();
        let made: Value = serde_json::from_str(&made).expect("JSON");
        made["spec"]["ipFamilies"].clone()
    };
    assert_eq!(addresses("replicas=2"), json!(["IPv4"]), "the first family");
    assert_eq!(
        addresses("service.ipFamilyPolicy=RequireDualStack,service.ipFamilies={IPv6,IPv4}"),
        json!(["IPv6", "IPv4"])
    );
}
