//! Candidates are evaluated after the live policies' answer, without any effect on it.

use crate::client::{PROTOCOLS, Protocol, probe};
use crate::command_line::sallyport;
use crate::host::{ENGINE, Host, body, built, command};
use crate::program::{Program, directory, manifest, put};
use hyper::StatusCode;
use sallyport::evaluator;
use sallyport_core::admission::Admission;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::Policy;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Time of a candidate that loops, on its thread for one review:
/// `observers::shadow::MAX_EVALUATION`.
const LOOP: Duration = Duration::from_millis(250);

/// Returns a policy and its candidate, each from a component and a spec.
fn pair(name: &str, live: (&str, Value), next: (&str, Value)) -> (Arc<Policy>, Arc<Policy>) {
    let load = |(component, mut spec): (&str, Value)| {
        spec["module"] = json!({"file": "any.wasm"});
        // A busy machine must not cause errors.
        spec["limits"] = json!({"deadline": "10s"});
        let manifest = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": name}, "spec": spec,
        });
        let manifest = ServicePolicy::from_value(&manifest).expect("a valid manifest");
        evaluator::load(&ENGINE, manifest, &built(component)).expect("a sound policy")
    };
    (load(live).into(), load(next).as_candidate().into())
}

fn admission(pairs: Vec<(Arc<Policy>, Arc<Policy>)>) -> Arc<Admission> {
    let (live, next): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let admission = Admission::new(
        live,
        Inventory::from(InventoryData::default()),
        Exemptions::default(),
    );
    Arc::new(admission.with_candidates(next))
}

const MISBEHAVE: &str = "guests/misbehave.wasm";
const RANGE: &str = "policies/nodeport_range.wasm";

fn range(from: u16, to: u16) -> (&'static str, Value) {
    (
        RANGE,
        json!({"settings": {"ranges": [{"from": from, "to": to}]}}),
    )
}

/// Returns an Admission whose candidate loops on demand, beside a live policy that ignores the
/// command.
fn looping() -> Arc<Admission> {
    admission(vec![pair("p", range(30000, 32767), (MISBEHAVE, json!({})))])
}

fn service(node_port: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": node_port}]},
    })
}

async fn allowed(host: &Host, path: &str, body: Vec<u8>) -> bool {
    let reply = host.client.post(PROTOCOLS[0], path, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()["response"]["allowed"]
        .as_bool()
        .expect("an answer")
}

fn count(host: &Host, policy: &str, result: &str) -> u64 {
    host.metric(&format!(
        r#"sallyport_candidate_reviews_total{{policy="{policy}",result="{result}"}}"#
    ))
}

fn total(host: &Host, policy: &str) -> u64 {
    [
        "same",
        "stricter",
        "looser",
        "different",
        "error",
        "skipped",
    ]
    .map(|result| count(host, policy, result))
    .iter()
    .sum()
}

/// Waits until a policy's candidate was asked or skipped this many times.
async fn asked(host: &Host, policy: &str, times: u64) {
    let began = Instant::now();
    while total(host, policy) < times {
        assert!(
            began.elapsed() < WAIT_TIMEOUT,
            "{}",
            host.live.metrics_text()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(total(host, policy), times, "each review counts once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_candidates_difference_is_counted_without_effect() {
    let stricter = pair("stricter", range(30000, 32767), range(30100, 30199));
    let looser = pair("looser", range(30100, 30199), range(30000, 32767));
    let same = pair("same", range(30000, 30499), range(30000, 30498));
    for (pair, allows, result) in [
        (stricter, true, "stricter"),
        (looser, false, "looser"),
        (same, false, "same"),
    ] {
        let name = Arc::clone(pair.0.name());
        let host = Host::start(&admission(vec![pair])).await;
        assert_eq!(
            allowed(
                &host,
                "/validate",
                body("CREATE", &service(30500), &Value::Null)
            )
            .await,
            allows
        );
        asked(&host, &name, 1).await;
        assert_eq!(
            count(&host, &name, result),
            1,
            "{}",
            host.live.metrics_text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn other_violations_are_a_difference_even_where_both_deny() {
    let mut two = service(30500);
    two["spec"]["ports"] = json!([{"name": "a", "port": 80, "nodePort": 30500},
        {"name": "b", "port": 81, "nodePort": 30150}]);
    let host = Host::start(&admission(vec![pair(
        "p",
        range(30100, 30199),
        range(31000, 31099),
    )]))
    .await;
    assert!(!allowed(&host, "/validate", body("CREATE", &two, &Value::Null)).await);
    asked(&host, "p", 1).await;
    assert_eq!(count(&host, "p", "different"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_candidate_ratchets_like_its_live_policy() {
    let host = Host::start(&admission(vec![pair(
        "p",
        range(30100, 30199),
        range(30100, 30198),
    )]))
    .await;
    assert!(
        allowed(
            &host,
            "/validate",
            body("UPDATE", &service(30500), &service(30500))
        )
        .await
    );
    asked(&host, "p", 1).await;
    assert_eq!(count(&host, "p", "same"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_candidate_sees_the_patches_of_earlier_live_policies() {
    // Both set one label, so that the second has nothing to do once the first has patched.
    let guest = || (MISBEHAVE, json!({}));
    let host = Host::start(&admission(vec![
        pair("a", guest(), guest()),
        pair("b", guest(), guest()),
    ]))
    .await;
    let reply = host
        .client
        .post(PROTOCOLS[0], "/mutate", command(""))
        .await
        .json();
    assert!(reply["response"]["patch"].is_string(), "{reply}");
    for policy in ["a", "b"] {
        asked(&host, policy, 1).await;
        assert_eq!(count(&host, policy, "same"), 1, "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_candidate_that_patches_otherwise_is_different() {
    let host = Host::start(&admission(vec![pair(
        "p",
        (MISBEHAVE, json!({})),
        range(30000, 32767),
    )]))
    .await;
    assert!(allowed(&host, "/mutate", command("")).await);
    asked(&host, "p", 1).await;
    assert_eq!(count(&host, "p", "different"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_looping_candidate_harms_no_review() {
    let host = Host::start(&looping()).await;
    let mut connection = host.client.connect(Protocol::Http2).await;
    let mut fastest = WAIT_TIMEOUT;
    for _ in 0..6 {
        let began = Instant::now();
        let reply = connection.post("/validate", command("loop")).await;
        fastest = fastest.min(began.elapsed());
        assert_eq!(reply.json()["response"]["allowed"], json!(true));
    }
    assert!(fastest < LOOP / 2, "the fastest review took {fastest:?}");
    asked(&host, "p", 6).await;
    assert_eq!(count(&host, "p", "error"), 6);
    let text = host.live.metrics_text();
    assert!(
        !text.contains("sallyport_policy_failures_total{policy=\"p\""),
        "{text}"
    );
    assert!(
        !allowed(
            &host,
            "/validate",
            body("CREATE", &service(29999), &Value::Null)
        )
        .await,
        "the live policy denies"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn reviews_beyond_the_queue_are_skipped_and_counted() {
    // Four of these exceed the queue, and they wait while the first one loops.
    let padded = || [command("loop"), vec![b' '; 6 << 20]].concat();
    let host = Host::start(&looping()).await;
    for _ in 0..5 {
        assert!(allowed(&host, "/validate", padded()).await);
    }
    asked(&host, "p", 5).await;
    assert!(
        count(&host, "p", "skipped") > 0,
        "{}",
        host.live.metrics_text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_new_candidate_begins_to_count_at_zero() {
    let host = Host::start(&admission(vec![pair(
        "p",
        range(30000, 32767),
        range(30100, 30199),
    )]))
    .await;
    assert!(
        allowed(
            &host,
            "/validate",
            body("CREATE", &service(30500), &Value::Null)
        )
        .await
    );
    asked(&host, "p", 1).await;
    host.live.publish(admission(vec![pair(
        "p",
        range(30000, 32767),
        range(30000, 30499),
    )]));
    assert_eq!(total(&host, "p"), 0);
    host.live.publish(Arc::new(Admission::new(
        Vec::<Policy>::new(),
        Inventory::default(),
        Exemptions::default(),
    )));
    assert!(
        !host
            .live
            .metrics_text()
            .contains("candidate_reviews_total{")
    );
}

/// Returns a manifest of the guest `misbehave` with a candidate.
fn with_candidate(candidate: &Value) -> String {
    manifest("p", &json!({"candidate": candidate}))
}

const BROKEN: &str = "spec.candidate.module.file: can't read";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_broken_candidate_is_reported_and_its_live_policy_serves() {
    let files = directory(&[(
        "p.yaml",
        with_candidate(&json!({"module": {"file": "missing.wasm"}})),
    )]);
    let host = Program::serve(files.path(), &[]);
    assert_eq!(
        host.verdict().await,
        "[p] metadata.annotations: told to deny; remove test/do"
    );
    let status = host
        .status(|status| status["policies"][0]["candidate"]["reviews"]["error"] == 1)
        .await;
    assert!(
        !host.log().contains("the candidate diverges"),
        "told at load, and not at each review: {}",
        host.log()
    );
    assert_eq!(status["policies"][0]["error"], Value::Null);
    let error = status["policies"][0]["candidate"]["error"]
        .as_str()
        .expect("an error")
        .to_owned();
    assert!(error.contains(BROKEN), "{error}");
    let ready = probe(host.admin, "/readyz?verbose").await;
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("[-] p candidate broken: "),
        "{ready}"
    );
    assert!(host.log().contains(BROKEN), "{}", host.log());
    let seen = sallyport(&["inspect", "--live", &format!("http://{}", host.admin)]);
    assert!(
        String::from_utf8_lossy(&seen.stdout).contains(BROKEN),
        "{seen:?}"
    );
}

#[test]
fn with_strict_a_broken_candidate_ends_the_start() {
    let files = directory(&[(
        "p.yaml",
        with_candidate(&json!({"settings": {"atConfigure": "refuse"}})),
    )]);
    let policies = files.path().to_str().expect("text");
    let ca = format!("{policies}/ca.crt");
    let serve = [
        "serve",
        "--self-signed",
        "--ca-out",
        &ca,
        "--strict",
        "--listen",
        "127.0.0.1:0",
    ];
    let output = sallyport(&[&serve[..], &["--policies", policies]].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("p (candidate): ")
            && text.contains("spec.candidate.settings.atConfigure: refused"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_reload_adds_a_candidate_and_refuses_a_broken_one() {
    let files = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let range = built(RANGE);
    std::fs::write(files.path().join("range.wasm"), range).expect("written");
    let host = Program::serve(
        files.path(),
        &["--watch-interval", "50ms", "--log-format", "json"],
    );
    let settings = json!({"ranges": [{"from": 30000, "to": 32767}]});
    put(
        files.path(),
        "p.yaml",
        &with_candidate(&json!({"module": {"file": "range.wasm"}, "settings": settings})),
    );
    let status = host.status(|status| status["generation"] == 2).await;
    assert_eq!(
        status["policies"][0]["candidate"]["changes"],
        json!(["module", "settings"])
    );
    // The live policy denies, and the candidate would not.
    host.verdict().await;
    host.status(|status| status["policies"][0]["candidate"]["reviews"]["looser"] == 1)
        .await;
    let log = host.log();
    assert!(
        log.contains(r#""kept":1"#),
        "the live policy is not compiled again:\n{log}"
    );
    let line = host.logged("the candidate diverges").await;
    for part in [
        "looser",
        "5a11b0a7-0000-4000-8000-00000000000a",
        "denies T01 metadata.annotations",
        "allows",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    put(
        files.path(),
        "p.yaml",
        &with_candidate(&json!({"module": {"file": "missing.wasm"}})),
    );
    let status = host
        .status(|status| status["lastReload"]["error"].is_string())
        .await;
    assert!(
        status["lastReload"]["error"].to_string().contains(BROKEN),
        "{status}"
    );
    assert_eq!(status["generation"], 2);
}

#[test]
fn offline_a_candidate_has_no_effect() {
    let files = directory(&[(
        "p.yaml",
        with_candidate(&json!({"module": {"file": "missing.wasm"}})),
    )]);
    std::fs::write(files.path().join("service.txt"), service(30500).to_string()).expect("written");
    let service = files.path().join("service.txt");
    let output = sallyport(&[
        "check",
        service.to_str().expect("text"),
        "--policies",
        files.path().to_str().expect("text"),
    ]);
    assert!(output.status.success(), "{output:?}");
}
