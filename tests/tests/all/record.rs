//! `serve --record`: the content of a record, its redactions, and the rotation of the file.

use crate::client::PROTOCOLS;
use crate::host::{Host, SHIPPED, body, command, misbehaving};
use crate::program::{Program, directory, manifest};
use hyper::StatusCode;
use sallyport::record::{LogFile, Rotation};
use sallyport_facts::exposing::EXPOSING;
use sallyport_facts::internal::CONTROLLERS;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts a host in this process that records into a directory.
async fn recording(
    admission: &Arc<sallyport_core::admission::Admission>,
    rotation: Rotation,
) -> (Host, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = LogFile::open(&directory.path().join("log"), rotation).expect("opened");
    (Host::recording(admission, file).await, directory)
}

const ROOMY: Rotation = Rotation {
    size: 1 << 30,
    keep: 1,
};

fn count(host: &Host, result: &str) -> u64 {
    host.metric(&format!(
        r#"sallyport_record_reviews_total{{result="{result}"}}"#
    ))
}

/// Waits until this many reviews are recorded or dropped.
async fn recorded(host: &Host, times: u64) {
    let began = Instant::now();
    while ["written", "dropped", "failed"]
        .map(|result| count(host, result))
        .iter()
        .sum::<u64>()
        < times
    {
        assert!(
            began.elapsed() < WAIT_TIMEOUT,
            "{}",
            host.live.metrics_text()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn post(host: &Host, path: &str, body: Vec<u8>) {
    let reply = host.client.post(PROTOCOLS[0], path, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn lines(file: &Path) -> Vec<Value> {
    read(file)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn annotated(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "annotations": annotations},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 29999}]},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_record_is_a_line_with_review_answer_and_inventory() {
    let (host, directory) = recording(&SHIPPED, ROOMY).await;
    post(
        &host,
        "/validate",
        body("CREATE", &annotated(&json!({})), &Value::Null),
    )
    .await;
    recorded(&host, 1).await;
    let file = directory.path().join("log");
    let [line] = lines(&file).try_into().expect("one line");
    assert_eq!(
        (&line["function"], &line["generation"]),
        (&json!("validate"), &json!(1))
    );
    assert_eq!(
        line["review"]["request"]["object"]["spec"]["ports"][0]["nodePort"],
        29999
    );
    assert_eq!(line["answer"]["allowed"], false);
    assert_eq!(line["answer"]["causes"][0]["reason"], "S02");
    let policies = line["policies"].as_array().expect("a list");
    let range = policies
        .iter()
        .find(|policy| policy["policy"] == "nodeport-range")
        .expect("it was asked");
    assert_eq!(range["violations"][0]["field"], "spec.ports[0].nodePort");
    assert!(
        range["digest"]
            .as_str()
            .expect("a digest")
            .starts_with("sha256:")
    );
    assert_eq!(line["inventory"]["environment"], "onPrem");
    let mode = std::fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Credentials of the kinds that people paste into annotations, each with the part that must not be
/// in the file.
const CREDENTIALS: [(&str, &str); 14] = [
    ("Server=db;User=x;Pwd=hunter2-hunter2", "hunter2"),
    (
        "https://x.blob.core.windows.net/a?sv=1&sig=c2lnbmF0dXJl",
        "c2lnbmF0dXJl",
    ),
    (
        r#"{"auths":{"registry":{"auth":"dXNlcjpodW50ZXIy"}}}"#,
        "dXNlcjpodW50ZXIy",
    ),
    (
        "https://0123456789abcdef@sentry.example.com/1",
        "0123456789abcdef",
    ),
    ("client-key-data: LS0tLS1CRUdJTi", "LS0tLS1CRUdJTi"),
    ("ya29.a0AfH6SMBx0123456789", "a0AfH6SMBx0123456789"),
    ("hf_0123456789abcdefghij", "0123456789abcdefghij"),
    ("pypi-AgEIcHlwaS5vcmcCJDAx", "AgEIcHlwaS5vcmcCJDAx"),
    ("glrt-0123456789abcdefghij", "0123456789abcdefghij"),
    ("SG.0123456789abcdefghij.klm", "0123456789abcdefghij"),
    ("correct horse battery staple", "battery staple"),
    ("4711", "4711"),
    ("MIIEvQIBADANBgkqhkiG9w0B", "MIIEvQIBADANBgkqhkiG9w0B"),
    ("postgres://app:hunter2-hunter2@db/x", "hunter2"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_free_text_reaches_the_file_wherever_it_stands() {
    let (host, directory) = recording(&misbehaving(&json!({})), ROOMY).await;
    for (secret, _) in CREDENTIALS {
        let applied = json!({"metadata": {"annotations": {"a": secret}}}).to_string();
        let mut object = annotated(&json!({
            "example.com/note": secret,
            "kubectl.kubernetes.io/last-applied-configuration": applied,
            // The guest obeys this annotation.
            "test/do": "deny",
        }));
        object["metadata"]["labels"] = json!({"note": secret});
        object["spec"]["selector"] = json!({"note": secret});
        object["spec"]["externalName"] = secret.into();
        object["spec"]["unknown"] = json!({"nested": [secret]});
        object["stringData"] = json!({"key": secret});
        let mut review: Value =
            serde_json::from_slice(&body("UPDATE", &object, &object)).expect("JSON");
        review["request"]["userInfo"] =
            json!({"username": secret, "groups": [secret], "extra": {"scopes": [secret]}});
        post(&host, "/validate", review.to_string().into_bytes()).await;
        // An object that is no Service is not recorded.
        review["request"]["kind"]["kind"] = "Secret".into();
        review["request"]["object"] = json!({"data": {"key": secret}});
        post(&host, "/validate", review.to_string().into_bytes()).await;
    }
    recorded(&host, 2 * CREDENTIALS.len() as u64).await;
    let text = read(&directory.path().join("log"));
    for (secret, part) in CREDENTIALS {
        assert!(!text.contains(part), "{secret}: {text}");
    }
    let line = &lines(&directory.path().join("log"))[0];
    let redacted = line["redacted"].as_array().expect("a list");
    assert!(
        redacted.contains(&json!("/request/object/metadata/labels/note")),
        "{redacted:?}"
    );
    let object = &line["review"]["request"]["object"];
    assert_eq!(
        object["metadata"]["labels"], object["spec"]["selector"],
        "equal values have equal hashes"
    );
    assert_eq!(object["spec"]["ports"][0]["nodePort"], 29999);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_file_has_a_key_of_its_own() {
    let (host, directory) =
        recording(&misbehaving(&json!({})), Rotation { size: 1, keep: 1 }).await;
    for _ in 0..2 {
        post(
            &host,
            "/validate",
            body(
                "CREATE",
                &annotated(&json!({"note": "a-note-on-it"})),
                &Value::Null,
            ),
        )
        .await;
    }
    recorded(&host, 2).await;
    let note = |file: &str| {
        let line = &lines(&directory.path().join(file))[0];
        line["review"]["request"]["object"]["metadata"]["annotations"]["note"].clone()
    };
    let (new, old) = (note("log"), note("log.1"));
    assert!(
        new.as_str().is_some_and(|note| note.starts_with("hashed-")),
        "{new}"
    );
    assert_ne!(new, old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn annotations_that_policies_compare_stay_as_they_are() {
    let (host, directory) = recording(&SHIPPED, ROOMY).await;
    let mut annotations = json!({});
    for exposing in &EXPOSING {
        annotations[exposing.key] = (*exposing.values.first().unwrap_or(&"true")).into();
    }
    for switch in CONTROLLERS
        .iter()
        .flat_map(|controller| controller.switches)
    {
        annotations[switch.key] = "true".into();
    }
    let mut object = annotated(&annotations);
    for service_type in ["NodePort", "LoadBalancer"] {
        object["spec"]["type"] = service_type.into();
        post(&host, "/validate", body("CREATE", &object, &Value::Null)).await;
    }
    recorded(&host, 2).await;
    let lines = lines(&directory.path().join("log"));
    for (key, value) in annotations.as_object().expect("an object") {
        let kept = |line: &Value| {
            line["review"]["request"]["object"]["metadata"]["annotations"][key] == *value
        };
        assert!(lines.iter().any(kept), "{key}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn rotation_loses_no_review_before_the_oldest_file() {
    let (host, directory) = recording(
        &misbehaving(&json!({})),
        Rotation {
            size: 2000,
            keep: 50,
        },
    )
    .await;
    let mut connection = host.client.connect(PROTOCOLS[1]).await;
    for _ in 0..20 {
        assert_eq!(
            connection.post("/validate", command("")).await.status,
            StatusCode::OK
        );
    }
    recorded(&host, 20).await;
    let files: Vec<_> = std::fs::read_dir(directory.path())
        .expect("read")
        .map(|file| file.expect("read").path())
        .collect();
    assert!(files.len() > 5, "{files:?}");
    assert_eq!(
        files.iter().map(|file| lines(file).len()).sum::<usize>(),
        20
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn reviews_beyond_the_queue_are_dropped_and_counted() {
    let (host, _directory) = recording(&misbehaving(&json!({})), ROOMY).await;
    // Exempt, so that the host reads the envelope alone, while the recorder parses the whole
    // object. Reviews over the large-body threshold would wait for their records.
    let (mut annotations, value) = (String::new(), "a-longer-value".repeat(5));
    while annotations.len() < 600 << 10 {
        write!(annotations, r#""key-{}":"{value}","#, annotations.len()).expect("a string");
    }
    let object = json!({"metadata": {"namespace": "kube-system"}});
    let body = String::from_utf8(body("CREATE", &object, &Value::Null)).expect("text");
    let body = body.replace(r#""namespace":"default""#, r#""namespace":"kube-system""#);
    let many = format!(r#""metadata":{{"annotations":{{{annotations}"last":"one"}},"#);
    let body = body.replace(r#""metadata":{"#, &many).into_bytes();
    for _ in 0..100 {
        post(&host, "/validate", body.clone()).await;
    }
    recorded(&host, 100).await;
    assert!(count(&host, "dropped") > 0, "{}", host.live.metrics_text());
    assert!(count(&host, "written") > 0, "{}", host.live.metrics_text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_failed_write_is_logged_once_and_retried() {
    let files = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let records = files.path().join("records");
    std::fs::create_dir(&records).expect("made");
    let log = records.join("log");
    let host = Program::serve(files.path(), &["--record", log.to_str().expect("text")]);
    std::fs::remove_dir_all(&records).expect("removed");
    let began = Instant::now();
    while !host.log().contains("records can't be written") {
        host.verdict().await;
        assert!(began.elapsed() < WAIT_TIMEOUT, "{}", host.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    host.verdict().await;
    std::fs::create_dir(&records).expect("made");
    while read(&log).is_empty() {
        host.verdict().await;
        assert!(began.elapsed() < WAIT_TIMEOUT, "{}", host.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        host.log().matches("records can't be written").count(),
        1,
        "{}",
        host.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_was_answered_before_sigterm_is_in_the_file() {
    let files = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let log = files.path().join("record.log");
    let log_file = log.to_str().expect("text");
    let mut host = Program::serve(files.path(), &["--record", log_file, "--drain-delay", "0s"]);
    for _ in 0..20 {
        host.verdict().await;
    }
    host.signal("TERM");
    assert!(host.wait().success());
    assert_eq!(lines(&log).len(), 20);
}

#[test]
fn a_file_that_cannot_be_written_ends_the_start() {
    let files = tempfile::tempdir().expect("a directory");
    let ca = files.path().join("ca.crt");
    let output = crate::command_line::sallyport(&[
        "serve",
        "--self-signed",
        "--ca-out",
        ca.to_str().expect("text"),
        "--policies",
        "target/policies",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--record",
        "/dev/null",
    ]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("--record: can't write /dev/null: it is no regular file"),
        "{text}"
    );
}
