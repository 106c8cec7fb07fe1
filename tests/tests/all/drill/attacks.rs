//! The attacks of the drill: each goes on until it is dropped, from one or several addresses.

use super::ATTACK;
use crate::client::{Client, Protocol};
use crate::host::{body, command};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The connections of the largest attacks, where this process may open so many files.
const MANY: usize = 1500;

/// An attack from one or several client addresses. It goes on until it is dropped.
pub(super) type Attack = fn(Target) -> BoxFuture<'static, ()>;

#[derive(Clone)]
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) admin: SocketAddr,
}

impl Target {
    /// Returns the client with another address.
    fn from(&self, number: usize) -> Client {
        let low = u8::try_from(number % 50).expect("less than 50") + 1;
        self.client.from(Ipv4Addr::new(127, 0, 1, low))
    }
}

pub(super) const ATTACKS: [(&str, Attack); 19] = [
    (
        "uids of 7 MB over HTTP/2, whose answers nobody takes",
        |target| Box::pin(no_window(target, uid())),
    ),
    (
        "kinds of 8 MB of U+200B, whose answers nobody takes",
        |target| Box::pin(no_window(target, kind())),
    ),
    ("user names and names of 3 MB each", |target| {
        Box::pin(no_window(target, names()))
    }),
    (
        "uids of 7 MB over HTTP/1.1, whose answers nobody reads",
        |target| Box::pin(no_reads(target, uid())),
    ),
    (
        "kinds of 8 MB over HTTP/1.1, whose answers nobody reads",
        |target| Box::pin(no_reads(target, kind())),
    ),
    ("large patches that nobody takes", |target| {
        Box::pin(no_window(target, patched()))
    }),
    ("a selector's key of 450 KB", |target| {
        Box::pin(no_reads(target, selector()))
    }),
    ("JSON that is deep, or says everything twice", |target| {
        Box::pin(odd_json(target))
    }),
    ("silent connections from 50 addresses", |target| {
        Box::pin(silent(target))
    }),
    ("slow bodies from 50 addresses", |target| {
        Box::pin(slow_bodies(target))
    }),
    ("slow bodies on many streams", |target| {
        Box::pin(slow_streams(target))
    }),
    ("bodies of 60 KB that never end", |target| {
        Box::pin(halves(target))
    }),
    ("streams that are reset at once", |target| {
        Box::pin(frames(target, resets))
    }),
    ("heads in frames without end", |target| {
        Box::pin(frames(target, continuations))
    }),
    ("pings and settings whose answers nobody reads", |target| {
        Box::pin(frames(target, pings))
    }),
    ("heads without end over HTTP/1.1", |target| {
        Box::pin(heads(target))
    }),
    (
        "chunks of one byte, trailers, and bodies that say they are compressed",
        |target| Box::pin(chunks(target)),
    ),
    (
        "ordinary reviews, as many as 20 connections carry",
        |target| Box::pin(reviews(target)),
    ),
    ("the admin port", |target| Box::pin(admin(target))),
];

/// Returns a review of an ordinary Service with a change.
fn review(change: impl FnOnce(&mut Value)) -> Bytes {
    let mut review = serde_json::from_slice(&command("deny")).expect("JSON");
    change(&mut review);
    review.to_string().into()
}

fn uid() -> Bytes {
    review(|review| review["request"]["uid"] = "u".repeat(7 << 20).into())
}

fn kind() -> Bytes {
    review(|review| review["request"]["kind"]["kind"] = "\u{200b}".repeat(8_000_000 / 3).into())
}

fn names() -> Bytes {
    review(|review| {
        review["request"]["userInfo"]["username"] = "\u{202e}".repeat(1 << 20).into();
        review["request"]["name"] = "n".repeat(3 << 20).into();
    })
}

fn selector() -> Bytes {
    review(|review| {
        review["request"]["object"]["spec"]["selector"] = json!({"s".repeat(450_000): "x"})
    })
}

/// Returns a review whose patch is small and whose object is not.
fn patched() -> Bytes {
    review(|review| {
        let annotations = review["request"]["object"]["metadata"]["annotations"]
            .as_object_mut()
            .expect("it has some");
        annotations.insert("large".to_owned(), "x".repeat(200_000).into());
    })
}

fn head(more: &str) -> String {
    format!(
        "POST /validate?timeout=3s HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
         application/json\r\n{more}\r\n"
    )
}

fn request(path: &str, body: Bytes) -> hyper::Request<Full<Bytes>> {
    crate::client::request("POST", path, "application/json", body)
}

/// Runs `count` attacks at a time, and starts each again when it ends: at most 50 a second, since
/// the attacker uses the same processors as the program.
async fn many<F: Future<Output = ()> + Send + 'static>(count: usize, one: impl Fn(usize) -> F) {
    let mut all = JoinSet::new();
    for number in 0..count {
        all.spawn(one(number));
    }
    loop {
        match all.join_next().await {
            Some(_) => _ = all.spawn(one(all.len())),
            None => return,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends reviews over HTTP/2, with a window that leaves no room for answers.
async fn no_window(target: Target, review: Bytes) {
    many(4, move |number| {
        let (client, review) = (target.from(number), review.clone());
        async move {
            let Ok(stream) = client
                .try_handshake(Protocol::Http2, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .initial_stream_window_size(0)
                .initial_connection_window_size(1 << 16);
            let Ok((sender, connection)) = builder.handshake(TokioIo::new(stream)).await else {
                return;
            };
            let post = |path| {
                let mut sender = sender.clone();
                let request = request(path, review.clone());
                async move { sender.send_request(request).await }
            };
            let posts = (0..30).map(|number| {
                post(if number % 2 == 0 {
                    "/validate"
                } else {
                    "/mutate"
                })
            });
            let answers = async {
                let answers = futures::future::join_all(posts).await;
                std::future::pending::<()>().await;
                drop(answers);
            };
            tokio::select! {
                _ = connection => {}
                () = answers => {}
            }
        }
    })
    .await;
}

/// Sends reviews over HTTP/1.1, and reads nothing.
async fn no_reads(target: Target, review: Bytes) {
    many(30, move |number| {
        let (client, review) = (target.from(number), review.clone());
        async move {
            let Ok(mut stream) = client
                .try_handshake(Protocol::Http1, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            let head = head(&format!("Content-Length: {}\r\n", review.len()));
            for _ in 0..20 {
                if stream.write_all(head.as_bytes()).await.is_err()
                    || stream.write_all(&review).await.is_err()
                {
                    return;
                }
            }
            let _ = stream.flush().await;
            tokio::time::sleep(ATTACK).await;
        }
    })
    .await;
}

async fn odd_json(target: Target) {
    let text = |object: &str| {
        let review = String::from_utf8(body("CREATE", &json!("?"), &Value::Null)).expect("text");
        Bytes::from(review.replace(r#""?""#, object))
    };
    let deep = text(&format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20)));
    let nested = text(&format!(
        "{}1{}",
        r#"{"a":"#.repeat(500_000),
        "}".repeat(500_000)
    ));
    let twice = text(&format!(
        r#"{{{}"spec":{{}}}}"#,
        r#""spec":{"ports":[]},"#.repeat(200_000)
    ));
    let numbers = text(&format!("[{}1e999]", "1e-9,".repeat(400_000)));
    let bodies = [deep, nested, twice, numbers];
    many(20, move |number| {
        let (client, body) = (target.from(number), bodies[number % bodies.len()].clone());
        async move {
            let Ok(stream) = client
                .try_handshake(Protocol::Http2, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            let Ok((mut sender, connection)) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await
            else {
                return;
            };
            let answer = sender.send_request(request("/validate?timeout=3s", body));
            tokio::select! {
                _ = connection => {}
                _ = answer => {}
            }
        }
    })
    .await;
}

/// Returns the number of connections that this process may open for an attack.
fn count(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| {
        line.strip_prefix("Max open files")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    let most = files.unwrap_or(1024_usize).saturating_sub(400);
    if most < wanted {
        eprintln!(
            "only {most} connections instead of {wanted}: this process may not have more open files"
        );
    }
    wanted.min(most)
}

async fn silent(target: Target) {
    many(count(MANY), move |number| {
        let client = target.from(number);
        async move {
            let Ok(mut stream) = client.try_tcp().await else {
                return;
            };
            if number % 3 == 0 {
                // An incomplete handshake.
                let _ = stream.write_all(&[22, 3, 1, 2, 0, 1]).await;
            }
            let _ = stream.read(&mut [0; 64]).await;
        }
    })
    .await;
}

async fn slow_bodies(target: Target) {
    many(count(1200), move |number| {
        let client = target.from(number);
        async move {
            // A thousand handshakes at once take a second, most of it the attacker's.
            tokio::time::sleep(Duration::from_millis(
                u64::try_from(number).unwrap_or_default(),
            ))
            .await;
            let Ok(mut stream) = client
                .try_handshake(Protocol::Http1, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            if stream
                .write_all(head("Content-Length: 1000\r\n").as_bytes())
                .await
                .is_err()
            {
                return;
            }
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    })
    .await;
}

async fn slow_streams(target: Target) {
    many(20, move |number| {
        let client = target.from(number);
        async move {
            let Ok(mut stream) = client
                .try_handshake(Protocol::Http2, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            let mut bytes = preface(0);
            for stream in 0..250 {
                bytes.extend(post_head(stream * 2 + 1));
                bytes.extend(frame(0, 0, stream * 2 + 1, b"{"));
            }
            let _ = stream.write_all(&bytes).await;
            let _ = stream.read_to_end(&mut vec![]).await;
        }
    })
    .await;
}

async fn halves(target: Target) {
    many(200, move |number| {
        let client = target.from(number);
        async move {
            let Ok(mut stream) = client
                .try_handshake(Protocol::Http1, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            let _ = stream
                .write_all(head("Content-Length: 61000\r\n").as_bytes())
                .await;
            let _ = stream.write_all(&vec![b' '; 60_000]).await;
            let _ = stream.read_to_end(&mut vec![]).await;
        }
    })
    .await;
}

/// Sends endless frames on some connections.
async fn frames(target: Target, more: fn(u32) -> Vec<u8>) {
    many(6, move |number| {
        let client = target.from(number);
        async move {
            let Ok(mut stream) = client
                .try_handshake(Protocol::Http2, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            if stream.write_all(&preface(0)).await.is_err() {
                return;
            }
            for round in 0.. {
                if stream.write_all(&more(round)).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
}

fn resets(round: u32) -> Vec<u8> {
    let streams = (0..100).map(|number| (round * 100 + number) * 2 + 1);
    streams
        .flat_map(|stream| [post_head(stream), frame(3, 0, stream, &8_u32.to_be_bytes())].concat())
        .collect()
}

fn continuations(round: u32) -> Vec<u8> {
    let field = [&[0, 1, b'x', 127, 129, 62][..], &[b'y'; 8000]].concat();
    if round == 0 {
        frame(1, 0, 1, &field)
    } else {
        frame(9, 0, 1, &field)
    }
}

fn pings(_: u32) -> Vec<u8> {
    let one = [
        frame(6, 0, 0, &[0; 8]),
        frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]),
        frame(8, 0, 0, &1_u32.to_be_bytes()),
    ];
    one.concat().repeat(200)
}

/// Returns an HTTP/2 client's preface (RFC 9113), and settings with this window for answers.
fn preface(window: u32) -> Vec<u8> {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(4, 0, 0, &settings),
    ]
    .concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Returns the head of a review whose body follows.
fn post_head(stream: u32) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/validate?timeout=3s"),
        (":authority", "localhost"),
        ("content-type", "application/json"),
    ];
    let length = |text: &str| u8::try_from(text.len()).expect("short");
    let field = |(name, value): (&str, &str)| {
        [
            &[0, length(name)][..],
            name.as_bytes(),
            &[length(value)],
            value.as_bytes(),
        ]
        .concat()
    };
    frame(1, 4, stream, &fields.map(field).concat())
}

async fn heads(target: Target) {
    many(300, move |number| {
        let client = target.from(number);
        async move {
            let Ok(mut stream) = client
                .try_handshake(Protocol::Http1, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            let _ = stream
                .write_all(b"POST /validate HTTP/1.1\r\nHost: localhost\r\n")
                .await;
            while stream
                .write_all(format!("X-{number}: {}\r\n", "y".repeat(500)).as_bytes())
                .await
                .is_ok()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
    .await;
}

async fn chunks(target: Target) {
    many(60, move |number| {
        let client = target.from(number);
        async move {
            let Ok(mut stream) = client
                .try_handshake(Protocol::Http1, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            let encoding = if number % 2 == 0 {
                "Content-Encoding: gzip\r\n"
            } else {
                ""
            };
            let head = head(&format!("Transfer-Encoding: chunked\r\n{encoding}"));
            let mut bytes = head.into_bytes();
            bytes.extend(b"1;extension=x\r\n \r\n".repeat(5000));
            bytes.extend(b"0\r\n");
            bytes.extend(b"Trailer: x\r\n".repeat(5000));
            let _ = stream.write_all(&bytes).await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    })
    .await;
}

async fn reviews(target: Target) {
    many(20, move |number| {
        let client = target.from(number);
        async move {
            let Ok(stream) = client
                .try_handshake(Protocol::Http2, rustls::ALL_VERSIONS)
                .await
            else {
                return;
            };
            let Ok((sender, connection)) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await
            else {
                return;
            };
            let posts = (0..200).map(|_| {
                let mut sender = sender.clone();
                async move {
                    sender
                        .send_request(request("/validate?timeout=3s", command("nothing").into()))
                        .await
                }
            });
            tokio::select! {
                _ = connection => {}
                _ = futures::future::join_all(posts) => {}
            }
        }
    })
    .await;
}

pub(super) async fn admin(target: Target) {
    let address = target.admin;
    many(count(300), move |number| async move {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            return;
        };
        let asked = match number % 3 {
            0 => b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000),
            1 => [&b"GET /policies HTTP/1.1\r\nX: "[..], &[b'x'; 100_000]].concat(),
            _ => vec![],
        };
        let _ = stream.write_all(&asked).await;
        tokio::time::sleep(ATTACK).await;
    })
    .await;
}
