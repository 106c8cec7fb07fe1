//! Overload: the host refuses early and cheaply, drops slow clients, and keeps answering the
//! others.

use crate::client::{Client, PROTOCOLS, Protocol, Reply, probe, request};
use crate::host::{Host, command, misbehaving};
use hyper::StatusCode;
use sallyport::live::Live;
use sallyport::server::{Admin, Limits, listen};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

/// Far longer than an answer takes on a busy machine, and shorter than any wait that would be a
/// bug.
const SOON: Duration = Duration::from_millis(700);

/// A timeout that tests wait for.
const SHORT: Duration = Duration::from_millis(250);

/// Starts a host whose guest may loop until this deadline.
async fn host(deadline: &str, limits: Limits) -> Host {
    Host::with(
        &misbehaving(&json!({"limits": {"deadline": deadline}})),
        limits,
    )
    .await
}

/// Limits for two guests at a time; the tests that use this have three workers.
fn two() -> Limits {
    Limits {
        evaluations: 2,
        ..Limits::default()
    }
}

/// Sends requests whose guests loop, each on a connection of its own, and waits until all are in
/// flight.
async fn loops(host: &Host, count: u64) -> Vec<JoinHandle<Reply>> {
    let one = |client: Client| async move {
        client
            .post(Protocol::Http1, "/validate", command("loop"))
            .await
    };
    let loops = (0..count)
        .map(|_| tokio::spawn(one(host.client.clone())))
        .collect();
    eventually(|| host.metric("sallyport_reviews_in_flight") == count).await;
    loops
}

pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it never came true"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns a future's output and its duration.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (work.await, began.elapsed())
}

/// Returns true when the host closes the connection within some time, whatever it sends before.
async fn closes(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    let read = async {
        let mut buffer = [0; 4096];
        while stream
            .read(&mut buffer)
            .await
            .is_ok_and(|length| length > 0)
        {}
    };
    tokio::time::timeout(Duration::from_secs(5), read)
        .await
        .is_ok()
}

fn head(length: usize) -> String {
    format!(
        "POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
         application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn more_reviews_than_may_be_in_flight_are_refused_at_once() {
    let host = host(
        "2s",
        Limits {
            in_flight: 4,
            ..two()
        },
    )
    .await;
    let loops = loops(&host, 4).await;
    for protocol in PROTOCOLS {
        let (reply, took) =
            timed(host.client.post(protocol, "/validate", command("nothing"))).await;
        assert_eq!(
            reply.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{protocol:?}"
        );
        assert_eq!(reply.retry_after.as_deref(), Some("1"));
        assert_eq!(
            reply.text(),
            "as many reviews as --max-in-flight allows are in flight; try again"
        );
        assert!(took < SOON, "{protocol:?}: {took:?}");
    }
    assert_eq!(
        host.metric(r#"sallyport_http_refusals_total{code="503",reason="in-flight"}"#),
        2
    );
    loops.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_in_flight_is_answered_and_makes_room() {
    let host = host(
        "100ms",
        Limits {
            in_flight: 4,
            ..two()
        },
    )
    .await;
    for answered in loops(&host, 4).await {
        assert_eq!(answered.await.expect("answered").status, StatusCode::OK);
    }
    assert_eq!(host.metric("sallyport_reviews_in_flight"), 0);
    assert_eq!(
        host.client
            .post(Protocol::Http1, "/validate", command("nothing"))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_review_waits_for_its_turn_no_longer_than_it_has_time() {
    let host = host("2s", two()).await;
    let loops = loops(&host, 2).await;
    let (reply, took) = timed(host.client.post(
        Protocol::Http2,
        "/validate?timeout=400ms",
        command("nothing"),
    ))
    .await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.retry_after.as_deref(), Some("1"));
    assert_eq!(
        reply.text(),
        "other reviews used up this review's time; try again"
    );
    assert!(took < SOON, "{took:?}");
    assert_eq!(host.metric(r#"sallyport_timeouts_total{kind="turn"}"#), 1);
    loops.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_wait_for_a_turn_is_part_of_the_time_for_the_answer() {
    let host = host(
        "2s",
        Limits {
            evaluations: 1,
            ..Limits::default()
        },
    )
    .await;
    let first = loops(&host, 1).await;
    // After a wait of two seconds, less than half a second remains, not two.
    let (reply, took) = timed(host.client.post(
        Protocol::Http1,
        "/validate?timeout=2500ms",
        command("loop"),
    ))
    .await;
    assert!(took < Duration::from_millis(3700), "{took:?}");
    // On a machine so busy that nothing is left, its turn never comes.
    let text = reply.text();
    let in_time = text.contains("the request's deadline was reached before it could answer");
    assert!(
        in_time || text.starts_with("other reviews used up this review's time"),
        "{text}"
    );
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn ten_requests_that_loop_do_not_starve_the_others() {
    let host = host("50ms", two()).await;
    let loops = loops(&host, 10).await;
    let (reply, took) = timed(
        host.client
            .post(Protocol::Http1, "/validate", command("nothing")),
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(took < SOON, "{took:?}");
    drop(loops);
}

/// The clients have a runtime of their own: on a shared one, their events would wake the host's
/// workers.
#[test]
fn a_guest_that_loops_never_holds_up_the_sockets() {
    let workers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .expect("a runtime");
    let host = workers.block_on(host("1s", two()));
    let clients = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    clients.block_on(async {
        for looping in 1..=2 {
            // Everybody sleeps when the guests begin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let loops = loops(&host, looping).await;
            for protocol in PROTOCOLS {
                let request = request("POST", "/nowhere", "application/json", "");
                let (reply, took) = timed(host.client.send(protocol, request)).await;
                assert_eq!(reply.status, StatusCode::NOT_FOUND);
                assert!(took < SOON / 2, "{looping} loop, {protocol:?}: {took:?}");
            }
            for answered in loops {
                assert_eq!(answered.await.expect("answered").status, StatusCode::OK);
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_leaves_while_it_waits_leaves_its_place() {
    let host = host(
        "1500ms",
        Limits {
            in_flight: 3,
            ..two()
        },
    )
    .await;
    for protocol in PROTOCOLS {
        let mut waiting = loops(&host, 2).await;
        let client = host.client.clone();
        let gone =
            tokio::spawn(
                async move { client.post(protocol, "/validate", command("nothing")).await },
            );
        eventually(|| host.metric("sallyport_reviews_in_flight") == 3).await;
        gone.abort();
        eventually(|| host.metric("sallyport_reviews_in_flight") == 2).await;
        for answered in waiting.drain(..) {
            assert_eq!(answered.await.expect("answered").status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn a_slow_handshake_is_ended() {
    let host = host(
        "1s",
        Limits {
            handshake_time: SHORT,
            ..two()
        },
    )
    .await;
    for said in [&b""[..], &[22, 3]] {
        let mut stream = TcpStream::connect(host.address)
            .await
            .expect("the host listens");
        stream.write_all(said).await.expect("sent");
        assert!(closes(&mut stream).await, "after {said:?}");
    }
    assert_eq!(
        host.metric(r#"sallyport_timeouts_total{kind="handshake"}"#),
        2
    );
    assert_eq!(host.metric("sallyport_connections"), 0);
}

#[tokio::test]
async fn a_slow_head_is_ended_however_it_drips() {
    let host = host(
        "1s",
        Limits {
            head_time: SHORT,
            ..two()
        },
    )
    .await;
    let (mut read, mut write) = tokio::io::split(host.client.handshake(Protocol::Http1).await);
    let drip = tokio::spawn(async move {
        for byte in head(5).bytes().cycle() {
            if write.write_all(&[byte]).await.is_err() || byte == b'\n' {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    });
    assert!(closes(&mut read).await);
    assert_eq!(host.metric(r#"sallyport_timeouts_total{kind="head"}"#), 1);
    drip.abort();
}

#[tokio::test]
async fn a_second_slow_head_is_ended_too() {
    let host = host(
        "1s",
        Limits {
            head_time: SHORT,
            ..two()
        },
    )
    .await;
    let mut stream = host.client.handshake(Protocol::Http1).await;
    let body = command("nothing");
    stream
        .write_all(&[head(body.len()).as_bytes(), &body].concat())
        .await
        .expect("sent");
    assert!(
        stream
            .read(&mut [0; 4096])
            .await
            .is_ok_and(|length| length > 0)
    );
    // Idleness alone is no slow head.
    tokio::time::sleep(SHORT * 2).await;
    stream.write_all(b"POST ").await.expect("sent");
    assert!(closes(&mut stream).await);
    assert_eq!(host.metric(r#"sallyport_timeouts_total{kind="head"}"#), 1);
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let host = host(
        "1s",
        Limits {
            body_time: SHORT,
            ..two()
        },
    )
    .await;
    let mut stream = host.client.handshake(Protocol::Http1).await;
    stream.write_all(head(100).as_bytes()).await.expect("sent");
    stream.write_all(b"{").await.expect("sent");
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{answer}"
    );
    assert!(closes(&mut stream).await);
    assert_eq!(host.metric(r#"sallyport_timeouts_total{kind="body"}"#), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let host = host(
        "1s",
        Limits {
            idle_time: SHORT,
            ..two()
        },
    )
    .await;
    for protocol in PROTOCOLS {
        let mut stream = host.client.handshake(protocol).await;
        assert!(closes(&mut stream).await, "{protocol:?}");
    }
    assert_eq!(host.metric(r#"sallyport_timeouts_total{kind="idle"}"#), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_slow_answer_is_no_idleness() {
    let host = host(
        "1s",
        Limits {
            idle_time: SHORT,
            head_time: SHORT,
            ..two()
        },
    )
    .await;
    for protocol in PROTOCOLS {
        let reply = host
            .client
            .post(protocol, "/validate", command("loop"))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{protocol:?}");
    }
}

#[tokio::test]
async fn idle_connections_make_room_when_all_are_taken() {
    let limits = Limits {
        connections: 8,
        short_idle_time: SHORT,
        ..two()
    };
    let host = host("1s", limits).await;
    let mut idle = vec![];
    for protocol in PROTOCOLS.repeat(4) {
        idle.push(host.client.handshake(protocol).await);
    }
    let (reply, took) = timed(
        host.client
            .post(Protocol::Http1, "/validate", command("nothing")),
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(host.metric("sallyport_connections_full_total") >= 1);
    drop(idle);
}

#[tokio::test]
async fn a_flood_of_connections_never_has_more_than_its_places() {
    let limits = Limits {
        connections: 8,
        handshake_time: SHORT,
        ..two()
    };
    let host = host("1s", limits).await;
    let mut flood = vec![];
    for _ in 0..40 {
        flood.push(
            TcpStream::connect(host.address)
                .await
                .expect("the kernel's queue has room"),
        );
        assert!(host.metric("sallyport_connections") <= 8);
    }
    // 40 connections of 250 ms each, 8 at a time.
    let (reply, took) = timed(
        host.client
            .post(Protocol::Http2, "/validate", command("nothing")),
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_http2_connection_has_a_bounded_number_of_streams() {
    let host = host(
        "30ms",
        Limits {
            streams: 8,
            ..two()
        },
    )
    .await;
    // The first answer comes after the settings, which have the number.
    let mut connection = host.client.connect(Protocol::Http2).await;
    connection.post("/validate", command("nothing")).await;
    let sender = match connection {
        crate::client::Connection::Http2(sender) => sender,
        crate::client::Connection::Http1(_) => unreachable!("HTTP/2 was asked for"),
    };
    let one = |sender| async move {
        let mut connection = crate::client::Connection::Http2(sender);
        connection.post("/validate", command("loop")).await.status
    };
    let flood: Vec<_> = (0..40).map(|_| tokio::spawn(one(sender.clone()))).collect();
    while !flood.iter().all(JoinHandle::is_finished) {
        assert!(host.metric("sallyport_reviews_in_flight") <= 8);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for answered in flood {
        assert_eq!(answered.await.expect("answered"), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn streams_that_are_reset_at_once_leave_nothing_behind() {
    let host = host(
        "5ms",
        Limits {
            streams: 100,
            ..two()
        },
    )
    .await;
    for _ in 0..10 {
        let connection = host.client.connect(Protocol::Http2).await;
        let crate::client::Connection::Http2(sender) = connection else {
            unreachable!("HTTP/2 was asked for")
        };
        let one = |sender| async move {
            let mut connection = crate::client::Connection::Http2(sender);
            // Dropped before it is answered: the stream is reset.
            let post = connection.post("/validate", command("loop"));
            let _ = tokio::time::timeout(Duration::from_millis(1), post).await;
        };
        let flood: Vec<_> = (0..200)
            .map(|_| tokio::spawn(one(sender.clone())))
            .collect();
        for reset in flood {
            // The host may end a connection that resets too much.
            let _ = reset.await;
        }
    }
    eventually(|| host.metric("sallyport_reviews_in_flight") == 0).await;
    assert_eq!(
        host.client
            .post(Protocol::Http2, "/validate", command("nothing"))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let host = host("1s", two()).await;
    let mut stream = host.client.handshake(Protocol::Http1).await;
    let endless = format!(
        "POST /validate HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "x".repeat(1 << 20)
    );
    // The host stops reading before all of it is sent.
    let _ = stream.write_all(endless.as_bytes()).await;
    assert!(closes(&mut stream).await);
    assert_eq!(
        host.client
            .post(Protocol::Http1, "/validate", command("nothing"))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn bodies_that_are_announced_and_never_sent_take_no_room() {
    let host = host(
        "1s",
        Limits {
            held: 64 << 10,
            body: 64 << 10,
            ..two()
        },
    )
    .await;
    let mut slow = vec![];
    for _ in 0..10 {
        let mut stream = host.client.handshake(Protocol::Http1).await;
        stream
            .write_all(head(60 << 10).as_bytes())
            .await
            .expect("sent");
        slow.push(stream);
    }
    for protocol in PROTOCOLS {
        let (reply, took) =
            timed(host.client.post(protocol, "/validate", command("nothing"))).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(took < SOON, "{took:?}");
    }
}

#[tokio::test]
async fn more_bodies_than_memory_are_refused() {
    let host = host(
        "1s",
        Limits {
            held: 64 << 10,
            body: 64 << 10,
            ..two()
        },
    )
    .await;
    let fill = async |stream: &mut TlsStream<TcpStream>| {
        stream
            .write_all(head(64 << 10).as_bytes())
            .await
            .expect("sent");
        stream
            .write_all(&[b' '; (64 << 10) - 1])
            .await
            .expect("sent");
    };
    let mut many = vec![];
    for _ in 0..4 {
        many.push(host.client.handshake(Protocol::Http1).await);
    }
    for stream in &mut many {
        fill(stream).await;
    }
    let refused = || host.metric(r#"sallyport_http_refusals_total{code="503",reason="memory"}"#);
    // The first one has it until it is slow; then the next one.
    eventually(|| refused() + host.metric("sallyport_connections_evicted_total") >= 3).await;
}

#[tokio::test]
async fn a_slow_body_makes_room_for_others() {
    let host = host(
        "1s",
        Limits {
            held: 64 << 10,
            body: 64 << 10,
            ..two()
        },
    )
    .await;
    let mut slow = host.client.handshake(Protocol::Http1).await;
    slow.write_all(head(64 << 10).as_bytes())
        .await
        .expect("sent");
    slow.write_all(&[b' '; (64 << 10) - 1]).await.expect("sent");
    tokio::time::sleep(SHORT).await;
    let (reply, took) = timed(
        host.client
            .post(Protocol::Http1, "/validate", command("nothing")),
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert!(took < SOON, "{took:?}");
    assert!(closes(&mut slow).await);
}

/// Starts an admin server on a free port for the life of the process.
fn admin(admission: &Arc<sallyport_core::admission::Admission>) -> SocketAddr {
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let admin = Admin::new(Live::new(Arc::clone(admission), None));
    admin.serve(listener).expect("served");
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn probes_are_answered_while_guests_loop() {
    let admission = misbehaving(&json!({"limits": {"deadline": "1s"}}));
    let host = Host::with(&admission, two()).await;
    let address = admin(&admission);
    let loops = loops(&host, 10).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        let (answer, took) = timed(probe(address, path)).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        assert!(took < SOON, "{path}: {took:?}");
    }
    loops.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn probes_are_answered_while_others_hog_the_admin_port() {
    let address = admin(&misbehaving(&json!({})));
    let mut silent = vec![];
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.expect("it listens"));
    }
    let (answer, took) = timed(probe(address, "/livez")).await;
    assert!(answer.ends_with("ok\n"), "{answer}");
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn the_admin_port_closes_silent_connections() {
    let address = admin(&misbehaving(&json!({})));
    let mut silent = TcpStream::connect(address).await.expect("it listens");
    assert!(closes(&mut silent).await);
}
