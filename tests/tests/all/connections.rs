//! Connections: slow clients, the API server's timeout, drain, and an answer in one piece.

use crate::client::{PROTOCOLS, Protocol};
use crate::host::{Host, command, misbehaving};
use hyper::StatusCode;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn silent_clients_do_not_delay_others() {
    let host = Host::start(&misbehaving(&json!({}))).await;
    let mut silent = vec![];
    for _ in 0..50 {
        silent.push(
            TcpStream::connect(host.address)
                .await
                .expect("the host listens"),
        );
    }
    // An incomplete handshake is treated the same.
    let mut half = TcpStream::connect(host.address)
        .await
        .expect("the host listens");
    half.write_all(&[22, 3]).await.expect("sent");
    let handshaken = host.client.handshake(Protocol::Http1).await;
    for protocol in PROTOCOLS {
        let began = Instant::now();
        assert_eq!(
            host.client
                .post(protocol, "/validate", command("nothing"))
                .await
                .status,
            StatusCode::OK
        );
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
    }
    drop((silent, half, handshaken));
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_is_let_go() {
    let host = Host::start(&misbehaving(&json!({}))).await;
    let mut silent = TcpStream::connect(host.address)
        .await
        .expect("the host listens");
    let closed = tokio::time::timeout(Duration::from_secs(15), silent.read(&mut [0])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
}

#[tokio::test]
async fn the_api_servers_timeout_is_the_reviews_deadline() {
    let host = Host::start(&misbehaving(&json!({"limits": {"deadline": "10s"}}))).await;
    let began = Instant::now();
    let reply = host
        .client
        .post(Protocol::Http1, "/validate?timeout=1s", command("loop"))
        .await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let message = reply.json()["response"]["status"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        message.contains("the request's deadline was reached before it could answer"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_begun_is_answered_before_the_host_ends() {
    for protocol in PROTOCOLS {
        let host = Host::start(&misbehaving(&json!({"limits": {"deadline": "1s"}}))).await;
        let (client, address) = (host.client.clone(), host.address);
        let slow =
            tokio::spawn(async move { client.post(protocol, "/validate", command("loop")).await });
        tokio::time::sleep(Duration::from_millis(400)).await;
        let served = host.stop();
        let reply = slow.await.expect("answered");
        assert_eq!(reply.status, StatusCode::OK, "{protocol:?}");
        assert_eq!(
            reply.json()["response"]["status"]["details"]["causes"][0]["reason"],
            "EvaluationError"
        );
        tokio::time::timeout(Duration::from_secs(5), served)
            .await
            .expect("the drain ends")
            .expect("without a panic");
        assert!(
            TcpStream::connect(address).await.is_err(),
            "{protocol:?}: it still listens"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_the_end() {
    let host = Host::start(&misbehaving(&json!({}))).await;
    let mut idle = vec![];
    for protocol in PROTOCOLS {
        let mut connection = host.client.connect(protocol).await;
        assert_eq!(
            connection
                .post("/validate", command("nothing"))
                .await
                .status,
            StatusCode::OK
        );
        idle.push(connection);
    }
    tokio::time::timeout(Duration::from_secs(5), host.stop())
        .await
        .expect("the drain ends")
        .expect("without a panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_request_do_not_delay_the_end() {
    let host = Host::start(&misbehaving(&json!({}))).await;
    let mut silent = vec![];
    for protocol in PROTOCOLS {
        silent.push(host.client.handshake(protocol).await);
    }
    tokio::time::timeout(Duration::from_secs(5), host.stop())
        .await
        .expect("the drain ends")
        .expect("without a panic");
}

#[tokio::test]
async fn head_and_body_of_an_answer_arrive_together() {
    let host = Host::start(&misbehaving(&json!({}))).await;
    let mut stream = host.client.handshake(Protocol::Http1).await;
    let body = command("nothing");
    let head = format!(
        "POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(&[head.as_bytes(), &body].concat())
        .await
        .expect("sent");
    // One read returns at most one TLS record.
    let mut record = vec![0; 16 << 10];
    let length = stream.read(&mut record).await.expect("an answer");
    let answer = String::from_utf8_lossy(&record[..length]);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("}}"),
        "{answer}"
    );
}
