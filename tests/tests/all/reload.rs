//! Policies and configuration change while requests are served, as a whole or not at all, and no
//! request fails.

use crate::client::{Client, Connection, PROTOCOLS, probe};
use crate::command_line::sallyport;
use crate::host::{ENGINE, Host, command, misbehave};
use crate::program::{Program, directory, manifest, message, put};
use hyper::StatusCode;
use sallyport::evaluator;
use sallyport::server::Limits;
use sallyport_core::admission::Admission;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A short interval, so that tests are fast.
const WATCH: [&str; 2] = ["--watch-interval", "50ms"];

const SUITE: &str = "
apiVersion: sallyport.dev/v1alpha1
kind: Suite
metadata: { name: p }
spec:
  policy: { manifest: p.yaml }
  cases:
  - name: told to deny
    object:
      metadata: { name: web, annotations: { test/do: deny } }
      spec: { ports: [{ port: 80 }] }
    expect:
      allowed: false
      violations: [{ rule: T01 }]
      warnings: [{ contains: call 1 }]
";

fn one(name: &str, spec: &Value) -> tempfile::TempDir {
    directory(&[("p.yaml", manifest(name, spec))])
}

/// Returns the message of the two policies of a set. A mixed set would answer differently.
fn said(set: &str) -> String {
    let line =
        |name: &str| format!("[{name}-{set}] metadata.annotations: told to deny; remove test/do");
    format!("{}\n{}", line("one"), line("two"))
}

/// Sends requests without a pause, on connections of both protocols, until it is stopped, and keeps
/// the answers.
struct Hammer {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Hammer {
    async fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = vec![];
        for protocol in PROTOCOLS.repeat(2) {
            clients.push(tokio::spawn(Self::ask(
                client.connect(protocol).await,
                Arc::clone(&stop),
            )));
        }
        Self { stop, clients }
    }

    async fn ask(mut connection: Connection, stop: Arc<AtomicBool>) -> Vec<String> {
        let mut answers = vec![];
        while !stop.load(Ordering::Relaxed) {
            let reply = connection.post("/validate", command("deny")).await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
            answers.push(message(&reply.json()));
        }
        answers
    }

    /// Stops, and returns the number of requests. Each was answered by set `a` or by set `b`.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (a, b) = (said("a"), said("b"));
        let (mut of_a, mut of_b) = (0, 0);
        for client in self.clients {
            for answer in client.await.expect("every request is answered") {
                assert!(answer == a || answer == b, "{answer}");
                if answer == a { of_a += 1 } else { of_b += 1 }
            }
        }
        assert!(of_a > 0 && of_b > 0, "{of_a} answers of a, {of_b} of b");
        of_a + of_b
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_answer_is_of_one_set_while_sets_are_swapped() {
    let set = |set: &str| {
        let policies = ["one", "two"].map(|name| {
            let manifest: Value =
                serde_json::from_str(&manifest(&format!("{name}-{set}"), &json!({})))
                    .expect("JSON");
            let manifest = ServicePolicy::from_value(&manifest).expect("valid");
            evaluator::load(&ENGINE, manifest, &misbehave()).expect("loaded")
        });
        Arc::new(Admission::new(
            policies.into(),
            Inventory::from(InventoryData::default()),
            Exemptions::default(),
        ))
    };
    let sets = [set("a"), set("b")];
    let host = Host::with(&sets[0], Limits::default()).await;
    let hammer = Hammer::start(&host.client).await;
    for swap in 1..=40 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        host.live.publish(Arc::clone(&sets[swap % 2]));
    }
    let requests = hammer.stop().await as u64;
    assert_eq!(host.live.generation(), 41);
    // Counters belong to policy names, and outlive the sets.
    let counted = |name| {
        host.metric(&format!(
            r#"sallyport_policy_violations_total{{policy="{name}",mode="Enforce"}}"#
        ))
    };
    assert_eq!(counted("one-a") + counted("one-b"), requests);
    assert_eq!(counted("two-a") + counted("two-b"), requests);
    assert_eq!(
        host.metric(r#"sallyport_reload_total{result="success"}"#),
        40
    );
    let text = host.live.metrics_text();
    assert!(
        !text.contains(r#"sallyport_policy_loaded{policy="one-b"}"#),
        "a policy that is gone is still listed"
    );
}

/// Writes one version of a mounted ConfigMap.
fn version(mount: &Path, number: usize) {
    let data = mount.join(format!("..2026_{number}"));
    std::fs::create_dir(&data).expect("made");
    let set = ["a", "b"][number % 2];
    std::fs::write(data.join("misbehave.wasm"), misbehave()).expect("written");
    for name in ["one", "two"] {
        std::fs::write(
            data.join(format!("{name}.yaml")),
            manifest(&format!("{name}-{set}"), &json!({})),
        )
        .expect("written");
    }
    // As a kubelet does it: a new link is renamed over the old one, then the old version is
    // removed.
    symlink(data.file_name().expect("a name"), mount.join("..data_tmp")).expect("linked");
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("swapped");
    if let Some(old) = number.checked_sub(1) {
        std::fs::remove_dir_all(mount.join(format!("..2026_{old}"))).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_config_map_is_followed_and_no_request_is_lost() {
    let mount = tempfile::tempdir().expect("a directory");
    version(mount.path(), 0);
    for file in ["misbehave.wasm", "one.yaml", "two.yaml"] {
        symlink(format!("..data/{file}"), mount.path().join(file)).expect("linked");
    }
    let host = Program::serve(mount.path(), &WATCH);
    let hammer = Hammer::start(&host.client).await;
    for number in 1..=5 {
        version(mount.path(), number);
        host.status(|status| status["generation"] == number + 1)
            .await;
    }
    hammer.stop().await;
    let metrics = probe(host.admin, "/metrics").await;
    assert!(
        metrics.contains("sallyport_reload_total{result=\"success\"} 5\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("sallyport_reload_total{result=\"failure\"} 0\n"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("sallyport_http_refusals_total{"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_set_serves_whatever_is_wrong_with_new_files() {
    let policies = one("p", &json!({}));
    let path = policies.path();
    let host = Program::serve(path, &WATCH);
    let good = host.verdict().await;
    assert!(good.starts_with("[p] "), "{good}");
    let typo = manifest("p", &json!({"mod": "Warn"}));
    let absent = manifest("p", &json!({"module": {"file": "absent.wasm"}}));
    let refused = manifest("p", &json!({"settings": {"atConfigure": "refuse"}}));
    let wrong = SUITE.replace("T01", "T02");
    for (failures, file, text, error) in [
        (1, "p.yaml", "{", "p.yaml: "),
        (2, "p.yaml", &*typo, r#"p.yaml: spec: unknown key "mod""#),
        (
            3,
            "p.yaml",
            &*absent,
            "p.yaml: spec.module.file: can't read ",
        ),
        (
            4,
            "p.yaml",
            &*refused,
            "p.yaml: spec.settings.atConfigure: refused, as it was told",
        ),
        (
            5,
            "p.suite.yaml",
            &*wrong,
            r#"p.suite.yaml:8: case "told to deny" fails; see `sallyport test "#,
        ),
    ] {
        let before = std::fs::read_to_string(path.join(file)).ok();
        put(path, file, text);
        let found = |status: &Value| {
            status["lastReload"]["error"]
                .as_str()
                .is_some_and(|reported| reported.contains(error))
        };
        let status = host.status(found).await;
        assert_eq!(
            status["generation"], failures,
            "each failure is followed by a success: {status:#}"
        );
        assert_eq!(host.verdict().await, good);
        let ready = probe(host.admin, "/readyz?verbose").await;
        assert!(
            ready.starts_with("HTTP/1.1 200 ")
                && ready.contains(error)
                && ready.ends_with("ready\n"),
            "{ready}"
        );
        let metrics = probe(host.admin, "/metrics").await;
        assert!(
            metrics.contains(&format!(
                "sallyport_reload_total{{result=\"failure\"}} {failures}\n"
            )),
            "{metrics}"
        );
        assert!(
            host.log()
                .contains("not reloaded, the policies from before serve on: "),
            "{}",
            host.log()
        );
        let inspected = sallyport(&["inspect", "--live", &format!("http://{}", host.admin)]);
        let inspected = String::from_utf8_lossy(&inspected.stdout).into_owned();
        assert!(
            inspected.contains(", failed: ") && inspected.contains(error),
            "{inspected}"
        );
        match before {
            Some(text) => put(path, file, &text),
            None => std::fs::remove_file(path.join(file)).expect("removed"),
        }
        host.status(|status| {
            status["generation"] == failures + 1 && status["lastReload"]["error"].is_null()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suite_beside_the_policies_is_their_self_test() {
    let policies = directory(&[
        ("p.yaml", manifest("p", &json!({}))),
        ("p.suite.yaml", SUITE.to_owned()),
    ]);
    let host = Program::serve(policies.path(), &[&WATCH[..], &["--strict"]].concat());
    // In another mode nothing is denied, and the suite expects a denial.
    put(
        policies.path(),
        "p.yaml",
        &manifest("p", &json!({"mode": "Audit"})),
    );
    let status = host
        .status(|status| !status["lastReload"]["error"].is_null())
        .await;
    assert_eq!(status["policies"][0]["mode"], "Enforce");
    let audit = SUITE
        .replace("allowed: false", "allowed: true")
        .replace("      warnings: [{ contains: call 1 }]\n", "");
    put(policies.path(), "p.suite.yaml", &audit);
    let status = host.status(|status| status["generation"] == 2).await;
    assert_eq!(status["policies"][0]["mode"], "Audit");
}

#[test]
fn strict_refuses_to_start_when_a_self_test_fails() {
    let wrong = SUITE.replace("T01", "T02");
    let policies = directory(&[
        ("p.yaml", manifest("p", &json!({}))),
        ("p.suite.yaml", wrong),
    ]);
    let path = policies.path().to_str().expect("UTF-8");
    let ca = format!("{path}/ca.crt");
    let out = sallyport(&[
        "serve",
        "--self-signed",
        "--ca-out",
        &ca,
        "--strict",
        "--policies",
        path,
        "--listen",
        "127.0.0.1:0",
    ]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{text}");
    let expected = format!(
        "error: self-test: {path}/p.suite.yaml:8: case \"told to deny\" fails; see `sallyport test "
    );
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_not_changed_is_not_compiled_again() {
    let policies = one("p", &json!({}));
    let host = Program::serve(
        policies.path(),
        &[&WATCH[..], &["--log-format", "json"]].concat(),
    );
    put(policies.path(), "q.yaml", &manifest("q", &json!({})));
    host.status(|status| status["generation"] == 2).await;
    let reloaded = || {
        host.log()
            .lines()
            .rfind(|line| line.contains("\"reloaded\""))
            .map(str::to_owned)
    };
    while reloaded().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let line: Value = serde_json::from_str(&reloaded().expect("logged")).expect("JSON");
    assert_eq!(
        (&line["policies"], &line["kept"]),
        (&json!(2), &json!(1)),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reloads_at_once_where_nothing_is_watched() {
    let policies = one("p", &json!({}));
    let host = Program::serve(policies.path(), &["--no-watch"]);
    put(policies.path(), "p.yaml", &manifest("renamed", &json!({})));
    assert!(host.verdict().await.starts_with("[p] "));
    host.signal("HUP");
    host.status(|status| status["generation"] == 2).await;
    assert!(host.verdict().await.starts_with("[renamed] "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_is_watched_too() {
    let policies = one("p", &json!({}));
    let files = tempfile::tempdir().expect("a directory");
    let config = |exempt: &str| {
        let text = format!(
            "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: {{ exemptions: {{ \
             namespaces: [{exempt}] }} }}\n"
        );
        put(files.path(), "host.yaml", &text);
    };
    config("");
    let file = files.path().join("host.yaml");
    let file = file.to_str().expect("UTF-8");
    let host = Program::serve(policies.path(), &[&WATCH[..], &["--config", file]].concat());
    assert!(host.verdict().await.starts_with("[p] "));
    config("default");
    host.status(|status| status["generation"] == 2).await;
    assert_eq!(host.verdict().await, "allowed");
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let out = sallyport(&["inspect", "--live", "http://127.0.0.1:1"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(
        text.starts_with("error: http://127.0.0.1:1: can't ask; is it the admin address"),
        "{text}"
    );
}
