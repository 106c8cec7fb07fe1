//! The dashboard and the alerts by a real Prometheus, which scrapes a host under load.
//!
//! `tests/chart` tests with promtool when each alert fires. Here the metrics are a host's own.

use crate::api_server::ApiServer;
use crate::client::{Client, PROTOCOLS};
use crate::host::{command, misbehave, root};
use crate::program::{Program, directory, manifest};
use sallyport_tests::collector::Collector;
use sallyport_tests::prometheus::{FILES, Prometheus, WAIT_TIMEOUT, WINDOW};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Returns the expressions of all panels with their titles.
fn panels() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(FILES).join("dashboard.json"));
    let dashboard: Value = serde_json::from_str(&text.expect("readable")).expect("JSON");
    let mut panels = vec![];
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("a text");
            let expression = expression
                .replace("$__rate_interval", WINDOW)
                .replace("$namespace", "sallyport-system");
            panels.push((title.to_owned(), expression));
        }
    }
    assert!(panels.len() > 10, "{panels:?}");
    panels
}

/// Sends reviews of all kinds until it is told to end: allowed, denied, exempt, without a verdict,
/// and requests that are no reviews.
async fn load(client: Client, is_ending: Arc<AtomicBool>) {
    let mut connection = client.connect(PROTOCOLS[1]).await;
    let mut deletion: Value = serde_json::from_slice(&command("")).expect("JSON");
    deletion["request"]["operation"] = "DELETE".into();
    deletion["request"]["oldObject"] = deletion["request"]["object"].take();
    let mut other: Value = serde_json::from_slice(&command("")).expect("JSON");
    other["request"]["name"] = "exempt".into();
    other["request"]["object"]["metadata"]["name"] = "exempt".into();
    let bodies = [
        command(""),
        command("deny"),
        command("trap"),
        deletion.to_string().into_bytes(),
        other.to_string().into_bytes(),
        b"no review".to_vec(),
    ];
    while !is_ending.load(Ordering::Relaxed) {
        for (path, body) in bodies
            .iter()
            .map(|body| ("/validate", body))
            .chain([("/mutate", &bodies[0])])
        {
            connection.post(path, body.clone()).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns a directory with a policy that has a candidate and exemptions, and one whose component
/// is missing.
fn policies() -> TempDir {
    let guest = json!({
        "candidate": {"module": {"file": "misbehave.wasm"}},
        "exemptions": {"services": ["default/exempt"]},
        // Namespaces are watched for it.
        "match": {"namespaceSelector": {"matchExpressions": [
            {"key": "exposure", "operator": "NotIn", "values": ["closed"]}]}},
    });
    let broken = json!({"module": {"file": "missing.wasm"}, "failurePolicy": "Ignore"});
    directory(&[
        ("guest.yaml", manifest("guest", &guest)),
        ("broken.yaml", manifest("broken", &broken)),
    ])
}

/// Serves everything that has metrics; each review has a span.
fn serve(policies: &Path, kubeconfig: &TempDir, logs: &TempDir, collector: &str) -> Program {
    let path = |directory: &TempDir, name: &str| {
        let path = directory.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let (kubeconfig, log, records) = (
        path(kubeconfig, "config"),
        path(logs, "decisions.log"),
        path(logs, "records.log"),
    );
    Program::serve(
        policies,
        &[
            "--cluster",
            "--kubeconfig",
            &kubeconfig,
            "--watch-interval",
            "100ms",
            "--decision-log",
            &log,
            "--record",
            &records,
            "--otlp-endpoint",
            collector,
            "--otlp-sampler",
            "always_on",
        ],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
#[ignore = "needs Prometheus: make monitoring-test"]
async fn every_panel_has_data_and_alerts_fire_and_resolve() {
    let server = ApiServer::new().await;
    server.namespace("default", &json!({}));
    let _reachable = server.reachable().await;
    let (policies, kubeconfig) = (policies(), server.kubeconfig());
    let logs = tempfile::tempdir().expect("a directory");
    let collector = Collector::start().await;
    let host = serve(policies.path(), &kubeconfig, &logs, &collector.url());
    let is_ending = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(load(host.client.clone(), Arc::clone(&is_ending)));
    let prometheus = Prometheus::scraping(host.admin);

    let began = Instant::now();
    let mut missing = panels();
    while !missing.is_empty() {
        let asked = std::mem::take(&mut missing);
        for (title, expression) in asked {
            let found = prometheus.query(&expression);
            let is_number = |series: &Value| series["value"][1] != "NaN";
            if !found.iter().any(is_number) {
                missing.push((title, expression));
            }
        }
        assert!(began.elapsed() < WAIT_TIMEOUT, "without data: {missing:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    let expected = ["SallyportPolicyBroken", "SallyportPolicyFails"].map(str::to_owned);
    prometheus.wait(|firing| *firing == expected.clone().into());
    let data = prometheus.get("/api/v1/rules");
    for rule in data["groups"][0]["rules"].as_array().expect("rules") {
        assert_eq!(rule["health"], "ok", "{rule}");
    }

    is_ending.store(true, Ordering::Relaxed);
    sending.await.expect("no panic");
    std::fs::write(policies.path().join("missing.wasm"), misbehave()).expect("written");
    prometheus.wait(BTreeSet::is_empty);
    drop(host);
    prometheus.wait(|firing| firing.contains("SallyportAbsent"));
}
