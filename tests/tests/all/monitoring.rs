//! The dashboard and the alerts by a real Prometheus, which scrapes a host under load.
//!
//! `tests/chart` tests with promtool when each alert fires. Here the metrics are a host's own.

use crate::api_server::ApiServer;
use crate::client::{Client, PROTOCOLS, probe};
use crate::host::{command, misbehave, root};
use crate::program::{Program, directory, manifest};
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(90);

/// The window of rates, in place of minutes.
const WINDOW: &str = "10s";

/// The directory of the alerts and the dashboard.
const FILES: &str = "deploy/chart/sallyport/files/monitoring";

/// A Prometheus that scrapes one host each second. Dropping it ends the process.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _files: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn scraping(host: SocketAddr, rules: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| {
            std::fs::write(files.path().join(name), text).expect("written");
        };
        put("rules.yaml", rules);
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "sallyport", "static_configs": [{
                "targets": [host.to_string()],
                "labels": {"namespace": "sallyport-system", "pod": "sallyport-0"},
            }]}],
        });
        put("prometheus.yaml", &config.to_string());
        let program = std::env::var_os("SALLYPORT_PROMETHEUS").expect("make monitoring-test");
        let mut child = Command::new(program)
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(files.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut said, mut listening) = (String::new(), None);
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("Prometheus ended:\n{said}")
            };
            writeln!(said, "{line}").expect("a string");
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                listening = Some(address.trim().parse().expect("an address"));
            }
            if line.contains("Server is ready to receive web requests") {
                break listening.expect("it listens before it is ready");
            }
        };
        // A pipe that nobody reads would block its writer.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self {
            child,
            address,
            _files: files,
        }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = probe(self.address, path).await;
        let begin = answer.find("\r\n\r\n").expect("a head");
        // Larger answers come in chunks, whose sizes stand on lines of their own.
        let is_size = |line: &&str| line.len() > 8 || u64::from_str_radix(line, 16).is_err();
        let body: String = answer[begin..].split("\r\n").filter(is_size).collect();
        let answer: Value = serde_json::from_str(&body).expect(&body);
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// Returns the series that an expression has now.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let query: String = expression.bytes().fold(String::new(), |mut query, byte| {
            write!(query, "%{byte:02x}").expect("a string");
            query
        });
        let data = self.get(&format!("/api/v1/query?query={query}")).await;
        data["result"].as_array().expect("a vector").clone()
    }

    /// Returns the names of the alerts that fire.
    async fn firing(&self) -> BTreeSet<String> {
        let data = self.get("/api/v1/alerts").await;
        let alerts = data["alerts"].as_array().expect("a list").clone();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().map(str::to_owned);
        firing.filter_map(name).collect()
    }

    /// Waits until alerts fire as they should.
    async fn wait(&self, holds: impl Fn(&BTreeSet<String>) -> bool) {
        let began = Instant::now();
        loop {
            let firing = self.firing().await;
            if holds(&firing) {
                return;
            }
            assert!(began.elapsed() < WAIT_TIMEOUT, "{firing:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Returns the alerts with seconds in place of minutes.
fn quick_rules() -> String {
    let text = std::fs::read_to_string(root().join(FILES).join("rules.yaml")).expect("readable");
    let mut rules = yaml::documents(&text).expect("YAML").remove(0);
    for rule in rules["groups"][0]["rules"].as_array_mut().expect("rules") {
        rule["for"] = "0s".into();
        let expression = rule["expr"].as_str().expect("a text");
        let quick = expression.replace("[5m]", &format!("[{WINDOW}]"));
        rule["expr"] = quick.replace("[15m]", &format!("[{WINDOW}]")).into();
    }
    rules.to_string()
}

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

fn serve(policies: &Path, kubeconfig: &TempDir, logs: &TempDir) -> Program {
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
    let host = serve(policies.path(), &kubeconfig, &logs);
    let is_ending = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(load(host.client.clone(), Arc::clone(&is_ending)));
    let prometheus = Prometheus::scraping(host.admin, &quick_rules());

    let began = Instant::now();
    let mut missing = panels();
    while !missing.is_empty() {
        let asked = std::mem::take(&mut missing);
        for (title, expression) in asked {
            let found = prometheus.query(&expression).await;
            let is_number = |series: &Value| series["value"][1] != "NaN";
            if !found.iter().any(is_number) {
                missing.push((title, expression));
            }
        }
        assert!(began.elapsed() < WAIT_TIMEOUT, "without data: {missing:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    let expected = ["SallyportPolicyBroken", "SallyportPolicyFails"].map(str::to_owned);
    prometheus
        .wait(|firing| *firing == expected.clone().into())
        .await;
    let data = prometheus.get("/api/v1/rules").await;
    for rule in data["groups"][0]["rules"].as_array().expect("rules") {
        assert_eq!(rule["health"], "ok", "{rule}");
    }

    is_ending.store(true, Ordering::Relaxed);
    sending.await.expect("no panic");
    std::fs::write(policies.path().join("missing.wasm"), misbehave()).expect("written");
    prometheus.wait(BTreeSet::is_empty).await;
    drop(host);
    prometheus
        .wait(|firing| firing.contains("SallyportAbsent"))
        .await;
}
