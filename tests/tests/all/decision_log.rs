//! `serve --decision-log`: the content of a line, its redaction, and readers that are slow or gone.

use crate::client::{PROTOCOLS, probe, request};
use crate::host::{Host, SHIPPED, body, command, misbehaving};
use crate::program::{Program, directory, manifest};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use sallyport::observers::Destination;
use sallyport::record::{LogFile, Rotation};
use sallyport_core::admission::Admission;
use sallyport_facts::exposing::EXPOSING;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Starts a host in this process that writes a decision log into a directory.
async fn deciding(admission: &Arc<Admission>) -> (Host, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let rotation = Rotation {
        size: 1 << 30,
        keep: 1,
    };
    let file = LogFile::open(&directory.path().join("log"), rotation).expect("opened");
    let host = Host::deciding(admission, Destination::File(file)).await;
    (host, directory)
}

/// Sends a review in a trace.
async fn post(host: &Host, body: Vec<u8>) {
    let mut request = request("POST", "/validate", "application/json", body);
    let header = format!("00-{TRACE}-b7ad6b7169203331-01");
    let header = HeaderValue::from_str(&header).expect("ASCII");
    request.headers_mut().insert("traceparent", header);
    let reply = host.client.send(PROTOCOLS[0], request).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

/// Waits for this many lines in a file.
async fn lines(file: &Path, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            let line = |line| serde_json::from_str(line).expect("a line of JSON");
            return text.lines().map(line).collect();
        }
        assert!(began.elapsed() < WAIT_TIMEOUT, "{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn node_port(port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_line_names_user_request_policy_and_reason() {
    let (host, directory) = deciding(&SHIPPED).await;
    post(&host, body("CREATE", &node_port(29999), &Value::Null)).await;
    let [mut line] = lines(&directory.path().join("log"), 1)
        .await
        .try_into()
        .expect("one line");
    let policies = line["policies"].take();
    let range = policies
        .as_array()
        .expect("a list")
        .iter()
        .find(|policy| policy["policy"] == "nodeport-range")
        .expect("it was asked");
    let finding = json!([{"rule": "S02", "field": "spec.ports[0].nodePort",
        "key": "NodePort:TCP:29999"}]);
    assert_eq!(
        (&range["violations"], &range["mode"]),
        (&finding, &json!("Enforce"))
    );
    let shipped = SHIPPED.policies();
    let shipped = shipped
        .iter()
        .find(|policy| **policy.name() == *"nodeport-range");
    let digest = shipped.and_then(|policy| policy.digest()).expect("loaded");
    assert_eq!(range["digest"], digest);
    for time in [&line["latencyMicros"], &range["latencyMicros"]] {
        assert!(time.as_u64().is_some_and(|time| time > 0), "{line} {range}");
    }
    for (member, expected) in [
        ("function", json!("validate")),
        ("operation", json!("CREATE")),
        ("namespace", json!("default")),
        ("name", json!("web")),
        ("verdict", json!("denied")),
        ("set", json!(SHIPPED.digest())),
        ("generation", json!(1)),
        ("traceId", json!(TRACE)),
        ("uid", json!("5a11b0a7-0000-4000-8000-00000000000a")),
    ] {
        assert_eq!(line[member], expected, "{member}: {line}");
    }
    let time = line["time"].as_str().expect("a time");
    assert!(time.ends_with('Z') && time.starts_with("20"), "{time}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_allowed_review_and_an_exempt_one_are_lines_too() {
    let (host, directory) = deciding(&SHIPPED).await;
    post(&host, body("CREATE", &node_port(30080), &Value::Null)).await;
    post(&host, body("DELETE", &Value::Null, &node_port(30080))).await;
    let found = lines(&directory.path().join("log"), 2).await;
    assert_eq!(found[0]["verdict"], "allowed", "{found:?}");
    assert!(
        found[0]["policies"][0].get("violations").is_none(),
        "{found:?}"
    );
    assert_eq!(
        (&found[1]["verdict"], &found[1]["policies"]),
        (&json!("exempt"), &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn names_of_users_are_hashed_unless_they_are_kubernetes_own() {
    let (host, directory) = deciding(&misbehaving(&json!({}))).await;
    for user in [
        "jane@example.com",
        "system:serviceaccount:shop:deployer",
        "",
    ] {
        let mut review: Value = serde_json::from_slice(&command("")).expect("JSON");
        review["request"]["userInfo"]["username"] = user.into();
        post(&host, review.to_string().into_bytes()).await;
    }
    let lines = lines(&directory.path().join("log"), 3).await;
    let user = lines[0]["user"].as_str().expect("a text");
    assert!(user.starts_with("hashed-"), "{user}");
    assert_eq!(lines[1]["user"], "system:serviceaccount:shop:deployer");
    assert_eq!(lines[2]["user"], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_key_does_not_quote_what_a_record_would_hash() {
    let (host, directory) = deciding(&SHIPPED).await;
    let exposing = EXPOSING.iter().find(|exposing| exposing.values.is_empty());
    let annotation = exposing.expect("some may have any value").key;
    let mut object = node_port(30080);
    object["metadata"]["annotations"] = json!({annotation: "password=hunter2-hunter2"});
    post(&host, body("CREATE", &object, &Value::Null)).await;
    let lines = lines(&directory.path().join("log"), 1).await;
    let text = lines[0].to_string();
    assert!(text.contains(&format!("{annotation}=hashed-")), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

fn policies() -> TempDir {
    directory(&[("p.yaml", manifest("p", &json!({})))])
}

/// Returns the value of the counter of lines with this result.
async fn count(host: &Program, result: &str) -> u64 {
    let text = probe(host.admin, "/metrics").await;
    let series = format!(r#"sallyport_decision_log_lines_total{{result="{result}"}} "#);
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    line.map_or(0, |value| value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_reader_that_hangs_holds_up_no_review_and_gets_whole_lines_later() {
    let files = policies();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let host = Program::writing_to(writer, files.path(), &["--decision-log", "-"]);
    let mut connection = host.client.connect(PROTOCOLS[1]).await;
    let (began, mut sent) = (Instant::now(), 0);
    while count(&host, "dropped").await == 0 {
        for _ in 0..200 {
            let reply = connection.post("/validate", command("")).await;
            assert_eq!(reply.status, StatusCode::OK);
            sent += 1;
        }
        assert!(
            began.elapsed() < 2 * WAIT_TIMEOUT,
            "{sent} reviews and none is dropped"
        );
    }
    let dropped = count(&host, "dropped").await;
    let mut lines = BufReader::new(reader).lines();
    for line in lines
        .by_ref()
        .take(sent - usize::try_from(dropped).expect("small"))
    {
        let line: Value = serde_json::from_str(&line.expect("read")).expect("a whole line");
        assert_eq!(line["verdict"], "allowed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_file_that_logrotate_has_moved_is_begun_anew() {
    let files = policies();
    let (log, moved) = (files.path().join("log"), files.path().join("log-2026"));
    let host = Program::serve(
        files.path(),
        &["--decision-log", log.to_str().expect("UTF-8")],
    );
    host.verdict().await;
    assert_eq!(lines(&log, 1).await[0]["verdict"], "denied");
    std::fs::rename(&log, &moved).expect("moved");
    let began = Instant::now();
    while !log.exists() {
        host.verdict().await;
        assert!(began.elapsed() < WAIT_TIMEOUT, "{}", host.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let user = |line: &Value| line["user"].clone();
    let (old, new) = (lines(&moved, 1).await, lines(&log, 1).await);
    assert_ne!(user(&old[0]), user(&new[0]), "a file has a key of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_was_answered_before_sigterm_is_in_the_log() {
    let files = policies();
    let log = files.path().join("log");
    let mut host = Program::serve(
        files.path(),
        &[
            "--decision-log",
            log.to_str().expect("UTF-8"),
            "--drain-delay",
            "0s",
        ],
    );
    for _ in 0..20 {
        host.verdict().await;
    }
    host.signal("TERM");
    assert!(host.wait().success());
    assert_eq!(lines(&log, 20).await.len(), 20);
}
