//! An API server whose etcd is full: the host logs it once, writes nothing for a while, and goes on
//! when there is room again.

use crate::audit_reports::{self, Reports, create, define, prepare};
use crate::events::{deny, event};
use crate::webhook::Host;
use sallyport_tests::cluster::Cluster;
use sallyport_tests::wait_for;
use serde_json::{Value, json};

/// Bytes. An API server writes some 3 MB when it starts.
const QUOTA: u64 = 12 << 20;

const FULL: &str = "mvcc: database space exceeded";

/// Creates ConfigMaps until etcd takes no more.
fn fill(cluster: &Cluster) {
    let data = json!({"filler": "x".repeat(900_000)});
    for number in 0..100 {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("filler-{number}"), "labels": {"filler": "true"}},
            "data": data});
        let ran = cluster.kubectl_with(&["create", "-f", "-"], &map.to_string());
        if ran.err.contains(FULL) {
            return;
        }
        ran.ok();
    }
    panic!("etcd takes more than its quota");
}

/// Asks etcd by its HTTP gateway.
fn etcd(cluster: &Cluster, path: &str, body: &Value) -> Value {
    let url = format!("{}/v3/{path}", cluster.etcd());
    let line = format!("curl --silent --show-error --fail --data '{body}' {url}");
    serde_json::from_str(&cluster.shell(&line).ok()).expect("JSON")
}

/// Makes room, as the log of the host says.
fn make_room(cluster: &Cluster) {
    let delete = ["delete", "configmaps", "--selector=filler"];
    cluster.kubectl(&delete).ok();
    let found = etcd(cluster, "kv/range", &json!({"key": "AA=="}));
    let revision = &found["header"]["revision"];
    etcd(
        cluster,
        "kv/compaction",
        &json!({"revision": revision, "physical": true}),
    );
    etcd(cluster, "maintenance/defragment", &json!({}));
    let alarms = etcd(cluster, "maintenance/alarm", &json!({"action": "GET"}));
    for alarm in alarms["alarms"].as_array().expect("alarms") {
        let disarm = json!({"action": "DEACTIVATE", "memberID": alarm["memberID"],
            "alarm": alarm["alarm"]});
        etcd(cluster, "maintenance/alarm", &disarm);
    }
}

fn lines(host: &Host, part: &str) -> usize {
    let log = host.log();
    log.lines()
        .filter(|line| line.contains(part) && line.contains(FULL))
        .count()
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_full_etcd_is_logged_once_and_not_written_to_until_it_has_room() {
    let cluster = Cluster::with_etcd_quota("etcd-full", QUOTA);
    prepare(&cluster);
    define(&cluster, "v1alpha1");
    cluster.namespace("audited");
    create(&cluster, "ips", &json!({"externalIPs": ["192.0.2.7"]}));
    let host = audit_reports::host(&cluster, "--events denials");
    let reports = Reports(&cluster);
    let names = ["audited/sallyport-ips"];
    reports.wait_until_there_are(&names);

    fill(&cluster);
    // A deletion needs no room. The Report that the audit then writes does.
    let delete = ["delete", "report", "sallyport-ips", "--namespace=audited"];
    cluster.kubectl(&delete).ok();
    wait_for("the audit says that etcd is full", || {
        (lines(&host, "background audit: ") > 0)
            .then_some(())
            .ok_or_else(|| host.log())
    });
    deny(&cluster, &host);
    wait_for("the Events say that etcd is full", || {
        (lines(&host, "can't write an Event: ") > 0)
            .then_some(())
            .ok_or_else(|| host.log())
    });
    for _ in 0..10 {
        deny(&cluster, &host);
    }
    let told = host.log();
    assert!(told.contains("or raises --quota-backend-bytes"), "{told}");

    make_room(&cluster);
    reports.wait_until_there_are(&names);
    wait_for("an Event of a denial", || {
        deny(&cluster, &host);
        let get = [
            "get",
            "events",
            "--field-selector=reason=ServiceDenied",
            "--output=name",
        ];
        let found = cluster.kubectl(&get).ok();
        (!found.is_empty()).then_some(()).ok_or_else(|| host.log())
    });
    event(&cluster, "ServiceDenied", "Service", |_| true);
    assert_eq!(lines(&host, "can't write an Event: "), 1, "{}", host.log());
    assert!(!host.log().contains("failed with status"), "{}", host.log());
    host.terminate();
}
