//! The large-body lock: large bodies are handled one at a time, and delay only each other.

use crate::client::{Client, Protocol, Reply};
use crate::host::{Host, command, misbehaving};
use crate::large::policy;
use crate::overload::eventually;
use hyper::StatusCode;
use sallyport::server::Limits;
use serde_json::json;
use std::sync::{Arc, Mutex, mpsc};
use tokio::task::JoinHandle;

const MEMORY: &str = r#"sallyport_http_refusals_total{code="503",reason="memory"}"#;

/// Makes a body large by padding it with blanks.
fn large(mut body: Vec<u8>) -> Vec<u8> {
    body.resize(body.len() + (1 << 20), b' ');
    body
}

/// Sends a request on a connection of its own.
fn ask(client: &Client, path: &'static str, body: Vec<u8>) -> JoinHandle<Reply> {
    let client = client.clone();
    tokio::spawn(async move { client.post(Protocol::Http1, path, body).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn large_ones_that_wait_leave_places_to_the_others() {
    let limits = Limits {
        in_flight: 8,
        evaluations: 2,
        ..Limits::default()
    };
    let host = Host::with(&misbehaving(&json!({"limits": {"deadline": "2s"}})), limits).await;
    // One of eight loops, and two may wait for it.
    let asked: Vec<_> = (0..8)
        .map(|_| ask(&host.client, "/validate", large(command("loop"))))
        .collect();
    eventually(|| host.metric(MEMORY) == 5).await;
    let reply = host
        .client
        .post(Protocol::Http2, "/validate", command("nothing"))
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let reply = host
        .client
        .post(Protocol::Http2, "/validate", large(command("nothing")))
        .await;
    assert_eq!(reply.text(), "too many large objects wait; try again");
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.retry_after.as_deref(), Some("1"));
    asked.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_compilation_does_not_delay_large_reviews() {
    let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (end, ends) = mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let check = move |_| {
        began.send(()).expect("the test waits");
        // Dropped when the test fails.
        let _ = ends.lock().expect("no panic").recv();
        Ok(vec![])
    };
    let host = Host::checking(&misbehaving(&json!({})), Arc::new(check)).await;
    let checked = ask(&host.client, "/validate-policies", large(policy("1")));
    begun.recv().await.expect("it is checked");
    for body in [command("nothing"), large(command("nothing"))] {
        let reply = host
            .client
            .post(Protocol::Http1, "/validate?timeout=2s", body)
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    let typo = String::from_utf8(policy("1"))
        .expect("text")
        .replace("settings", "setings");
    for body in [typo.clone().into_bytes(), large(typo.into_bytes())] {
        let reply = host
            .client
            .post(Protocol::Http1, "/validate-policies?timeout=2s", body)
            .await
            .json();
        assert_eq!(reply["response"]["allowed"], false, "{reply}");
    }
    end.send(()).expect("it is being checked");
    assert_eq!(
        checked.await.expect("answered").json()["response"]["allowed"],
        true
    );
}
