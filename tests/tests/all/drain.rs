//! The end of the program: signals, sent by its process id.

use crate::client::{Client, Connection, PROTOCOLS, Protocol, Reply, probe, request};
use crate::host::command;
use crate::program::{Program, Starting, directory, manifest};
use hyper::StatusCode;
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Returns a directory with a guest that may loop until this deadline.
fn policies(deadline: &str) -> TempDir {
    directory(&[(
        "p.yaml",
        manifest("p", &json!({"limits": {"deadline": deadline}})),
    )])
}

/// Sends a request whose guest loops, and returns once it does.
async fn loops(host: &Program, protocol: Protocol) -> JoinHandle<Reply> {
    let client = host.client.clone();
    let looping =
        tokio::spawn(async move { client.post(protocol, "/validate", command("loop")).await });
    while !probe(host.admin, "/metrics")
        .await
        .contains("sallyport_reviews_in_flight 1\n")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    looping
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_lets_requests_in_flight_be_answered() {
    let policies = policies("1s");
    for (protocol, signal) in PROTOCOLS.into_iter().zip(["TERM", "INT"]) {
        let mut host = Program::serve(policies.path(), &["--no-watch"]);
        // Idle connections do not delay the end.
        let mut idle = host.client.connect(protocol).await;
        idle.post("/validate", command("nothing")).await;
        let looping = loops(&host, protocol).await;
        host.signal(signal);
        let reply = looping.await.expect("answered");
        assert_eq!(reply.status, StatusCode::OK, "{protocol:?}");
        assert_eq!(
            reply.json()["response"]["status"]["details"]["causes"][0]["reason"],
            "EvaluationError"
        );
        assert_eq!(host.wait().code(), Some(0), "{}", host.log());
        assert!(
            TcpStream::connect(host.webhook).await.is_err(),
            "it still listens"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_it_drains_it_is_not_ready_but_serves_as_before() {
    let policies = policies("1s");
    let mut host = Program::serve(policies.path(), &["--no-watch", "--drain-delay", "2"]);
    assert!(
        probe(host.admin, "/readyz")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    host.signal("TERM");
    let began = Instant::now();
    while probe(host.admin, "/readyz")
        .await
        .starts_with("HTTP/1.1 200 ")
    {
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "it is still ready"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        probe(host.admin, "/livez")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    for (protocol, connection) in PROTOCOLS.into_iter().zip([Some("close"), None]) {
        let reply = host
            .client
            .post(protocol, "/validate", command("nothing"))
            .await;
        assert_eq!(
            (reply.status, reply.connection.as_deref()),
            (StatusCode::OK, connection),
            "{protocol:?}"
        );
    }
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
}

/// The requests of a client that keeps its connection until nobody listens any more.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    answered: usize,
    lost: usize,
}

/// Sends requests over connections that it keeps as long as possible.
async fn keeps(client: Client, protocol: Protocol, pause: Duration) -> Kept {
    let mut kept = Kept::default();
    while let Ok(stream) = client.try_handshake(protocol, rustls::ALL_VERSIONS).await {
        let Some(mut connection) = Connection::over(stream, protocol).await else {
            continue;
        };
        while connection.is_ready().await {
            let request = request("POST", "/validate", "application/json", command("nothing"));
            match connection.try_send(request).await {
                Ok(reply) => {
                    assert_eq!(reply.status, StatusCode::OK);
                    kept.answered += 1;
                }
                Err(error) if is_unsent(&error) => {}
                Err(_) => kept.lost += 1,
            }
            tokio::time::sleep(pause).await;
        }
    }
    kept
}

/// Returns true for a request that was never sent, or came after a GOAWAY that does not cover it.
/// Clients may send such a request again, and API servers do.
fn is_unsent(error: &hyper::Error) -> bool {
    let http2 =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_canceled() || http2.is_some_and(|error| error.is_go_away() && error.is_remote())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_a_connection_loses_no_request() {
    let policies = policies("1s");
    for protocol in PROTOCOLS {
        let mut host = Program::serve(policies.path(), &["--no-watch"]);
        let pauses = (2..20).map(|number| Duration::from_millis(number * number));
        let clients: Vec<_> = pauses
            .map(|pause| tokio::spawn(keeps(host.client.clone(), protocol, pause)))
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        host.signal("TERM");
        let mut all = Kept::default();
        for client in clients {
            let kept = client.await.expect("no panic");
            (all.answered, all.lost) = (all.answered + kept.answered, all.lost + kept.lost);
        }
        assert_eq!(host.wait().code(), Some(0), "{}", host.log());
        assert!(all.lost == 0 && all.answered > 500, "{protocol:?}: {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_ends_it_at_once() {
    let policies = policies("1s");
    let mut host = Program::serve(policies.path(), &["--no-watch"]);
    let mut idle = host.client.connect(Protocol::Http1).await;
    idle.post("/validate", command("nothing")).await;
    host.signal("INT");
    let began = Instant::now();
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_takes_no_longer_than_it_may() {
    let policies = policies("10s");
    let mut host = Program::serve(
        policies.path(),
        &["--no-watch", "--drain-delay", "0", "--drain-timeout", "1"],
    );
    let looping = loops(&host, Protocol::Http1).await;
    host.signal("TERM");
    let began = Instant::now();
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(
        host.log()
            .contains("connections were still busy after 1s; closing them"),
        "{}",
        host.log()
    );
    looping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let policies = policies("10s");
    let mut host = Program::serve(policies.path(), &["--no-watch"]);
    let looping = loops(&host, Protocol::Http2).await;
    host.signal("TERM");
    while !host.log().contains("a second signal ends it at once") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    // Signals in quick succession count as one.
    tokio::time::sleep(Duration::from_millis(100)).await;
    host.signal("TERM");
    assert_eq!(host.wait().code(), Some(130), "{}", host.log());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    looping.abort();
}

#[test]
fn a_signal_ends_a_host_that_still_waits_for_something() {
    let policies = policies("1s");
    // Nobody listens on this port.
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {}}],
    });
    let kubeconfig = policies.path().join("kubeconfig");
    std::fs::write(&kubeconfig, config.to_string()).expect("written");
    let flags = [
        "--self-managed-certificate",
        "--namespace",
        "test",
        "--kubeconfig",
        kubeconfig.to_str().expect("UTF-8"),
    ];
    for signal in ["TERM", "INT"] {
        let (status, log) = Starting::serve(policies.path(), &flags).end(signal);
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("stopped before it served"), "{log}");
    }
}
