//! Fair shares of a full host's slots, and answers that their clients do not read.

use crate::certificates::Authority;
use crate::client::{Client, PROTOCOLS, Protocol};
use crate::host::{Host, command, misbehaving};
use crate::overload::eventually;
use crate::program::{Program, directory, manifest};
use hyper::StatusCode;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sallyport::server::Limits;
use sallyport::tls::Clients;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

/// `timeoutSeconds` of the validating webhook in `deploy/base/webhooks.yaml`.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(3);

const SHORT: Duration = Duration::from_millis(300);

fn attacker(client: &Client, number: usize) -> Client {
    client.from(Ipv4Addr::new(
        127,
        0,
        2,
        u8::try_from(number % 50).expect("less than 50") + 1,
    ))
}

/// Opens connections that send nothing, from 50 addresses, and opens each again when it is closed.
fn silent(client: &Client, count: usize) -> Vec<JoinHandle<()>> {
    let one = |client: Client| async move {
        loop {
            if let Ok(mut stream) = client.try_tcp().await {
                let _ = stream.read(&mut [0]).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    (0..count)
        .map(|number| tokio::spawn(one(attacker(client, number))))
        .collect()
}

/// Sends slow bodies from 50 addresses.
fn slow(client: &Client, count: usize) -> Vec<JoinHandle<()>> {
    let one = |client: Client| async move {
        loop {
            let Ok(mut stream) = client
                .try_handshake(Protocol::Http1, rustls::ALL_VERSIONS)
                .await
            else {
                continue;
            };
            let head = "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: \
                application/json\r\nContent-Length: 9\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.read(&mut [0]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    (0..count)
        .map(|number| tokio::spawn(one(attacker(client, number))))
        .collect()
}

/// Sends `count` reviews at the same time, each on a connection of its own. Returns the slowest
/// latency.
async fn crowd(client: &Client, count: usize) -> Duration {
    let began = Instant::now();
    let one = |client: Client| async move {
        client
            .post(Protocol::Http1, "/validate", command("nothing"))
            .await
            .status
    };
    let all: Vec<_> = (0..count)
        .map(|_| tokio::spawn(one(client.clone())))
        .collect();
    for answered in all {
        assert_eq!(answered.await.expect("answered"), StatusCode::OK);
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_of_one_address_pass_among_fifty_attackers() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(policies.path(), &["--no-watch", "--max-connections", "400"]);
    let mut attack = silent(&host.client, 400);
    attack.extend(slow(&host.client, 100));
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..2 {
        let took = crowd(&host.client, 200).await;
        assert!(took < WEBHOOK_TIMEOUT, "{took:?}");
    }
    attack.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_kept_for_the_range_of_the_api_servers() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let flags = [
        "--no-watch",
        "--max-connections",
        "40",
        "--api-server-cidr",
        "127.0.0.1/32",
    ];
    let host = Program::serve(policies.path(), &flags);
    let attack = slow(&host.client, 60);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let took = crowd(&host.client, 10).await;
    assert!(took < WEBHOOK_TIMEOUT, "{took:?}");
    attack.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn places_are_kept_for_clients_with_a_certificate() {
    let authority = Authority::new();
    let limits = Limits {
        connections: 8,
        reserves: true,
        ..Limits::default()
    };
    let host = Host::with(&misbehaving(&json!({})), limits).await;
    let clients =
        Clients::from_pem(authority.pem().as_bytes(), BTreeSet::new()).expect("an authority");
    host.live.tls().set_clients(clients);
    let (certificate, key) = authority.client("api-server");
    let api_server = host.client.showing(certificate, key);
    // These stay open. They use the shared slots only until their handshake has ended.
    let mut kept = vec![];
    for protocol in PROTOCOLS.repeat(2) {
        let mut connection = api_server.connect(protocol).await;
        assert_eq!(
            connection
                .post("/validate", command("nothing"))
                .await
                .status,
            StatusCode::OK
        );
        kept.push(connection);
    }
    let attack = silent(&host.client, 20);
    eventually(|| host.metric("sallyport_connections_evicted_total") > 20).await;
    for connection in &mut kept {
        assert_eq!(
            connection
                .post("/validate", command("nothing"))
                .await
                .status,
            StatusCode::OK
        );
    }
    attack.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_alone_may_have_all_places() {
    let host = Host::with(
        &misbehaving(&json!({})),
        Limits {
            connections: 50,
            ..Limits::default()
        },
    )
    .await;
    let mut kept = vec![];
    for _ in 0..50 {
        kept.push(host.client.connect(Protocol::Http1).await);
    }
    for connection in &mut kept {
        assert_eq!(
            connection
                .post("/validate", command("nothing"))
                .await
                .status,
            StatusCode::OK
        );
    }
    assert_eq!(host.metric("sallyport_connections_evicted_total"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_if_its_client_does_not_read_the_answer() {
    let limits = Limits {
        write_time: SHORT,
        ..Limits::default()
    };
    let host = Host::with(&misbehaving(&json!({})), limits).await;
    let stream = host.client.handshake(Protocol::Http2).await;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (mut sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    let request =
        crate::client::request("POST", "/validate", "application/json", command("nothing"));
    let answer = tokio::spawn(async move { (sender.send_request(request).await, sender) });
    let ended = tokio::time::timeout(Duration::from_secs(5), connection).await;
    assert!(ended.is_ok(), "the connection stays");
    assert_eq!(host.metric(r#"sallyport_timeouts_total{kind="write"}"#), 1);
    drop(answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_over_http1_is_let_go() {
    let limits = Limits {
        write_time: SHORT,
        ..Limits::default()
    };
    let host = Host::with(&misbehaving(&json!({})), limits).await;
    let mut stream = host.client.handshake(Protocol::Http1).await;
    let body = command("nothing");
    let head = format!(
        "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: \
         {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    let sent = async {
        // Until the buffers of both kernels are full and the host closes the connection.
        while stream.write_all(&request).await.is_ok() {}
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(20), sent)
            .await
            .is_ok(),
        "the connection stays"
    );
    assert_eq!(host.metric(r#"sallyport_timeouts_total{kind="write"}"#), 1);
}

/// Returns a review with a change.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut review = serde_json::from_slice(&command("deny")).expect("JSON");
    change(&mut review);
    review.to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_write_is_repeated_in_excerpts() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(policies.path(), &["--no-watch", "--log-level", "debug"]);
    let long = || Value::from("\u{200b}".repeat(1 << 18));
    let denied = changed(|review| {
        review["request"]["userInfo"]["username"] = long();
        review["request"]["namespace"] = long();
        review["request"]["name"] = long();
    });
    let refused = [
        changed(|review| review["request"]["uid"] = long()),
        changed(|review| review["request"]["operation"] = long()),
        changed(|review| review["kind"] = long()),
        changed(|review| review["apiVersion"] = long()),
    ];
    for protocol in PROTOCOLS {
        let reply = host
            .client
            .post(protocol, "/validate", denied.clone())
            .await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(
            reply.body.len() < 8 << 10,
            "an answer of {} bytes",
            reply.body.len()
        );
        for body in &refused {
            let reply = host.client.post(protocol, "/validate", body.clone()).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST);
            assert!(
                reply.body.len() < 8 << 10,
                "an answer of {} bytes",
                reply.body.len()
            );
        }
    }
    let longest = host.log().lines().map(str::len).max();
    assert!(longest < Some(16 << 10), "a log line of {longest:?} bytes");
}

#[tokio::test]
async fn a_uid_is_short() {
    let host = Host::start(&misbehaving(&json!({}))).await;
    for (length, status) in [(128, StatusCode::OK), (129, StatusCode::BAD_REQUEST)] {
        let body = changed(|review| review["request"]["uid"] = "u".repeat(length).into());
        let reply = host.client.post(Protocol::Http1, "/validate", body).await;
        assert_eq!(reply.status, status);
        if status == StatusCode::BAD_REQUEST {
            let expected =
                "request.uid: expected at most 128 bytes, found 129; an API server sends 36";
            assert_eq!(reply.text(), expected);
        }
    }
}
