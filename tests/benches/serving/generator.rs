//! The load generator: this program as a process of its own, with one HTTP/2 connection and many
//! streams, or one HTTP/1.1 connection for each client. It stops after a fixed time. Clients with a
//! rate send at fixed times, and latency counts from these.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The duration of a load.
pub(crate) const TIME: Duration = Duration::from_millis(1500);

/// The description of a load.
pub(crate) struct Order {
    pub(crate) protocol: &'static str,
    pub(crate) clients: usize,
    pub(crate) body: Vec<u8>,
    /// Requests a second of all clients together; without it, each client sends again as soon as it
    /// has its answer.
    pub(crate) rate: Option<f64>,
}

/// The result of a load. Latencies are in microseconds.
pub(crate) struct Load {
    pub(crate) rate: f64,
    pub(crate) failed: u64,
    /// p50, p99, p99.9.
    latencies: [f64; 3],
    /// The server's processor time for each request in microseconds, filled in by the caller.
    pub(crate) processor: f64,
}

impl Load {
    pub(crate) fn median(loads: Vec<Self>) -> Self {
        let of = |part: &dyn Fn(&Self) -> f64| median(loads.iter().map(part).collect());
        Self {
            rate: of(&|load| load.rate),
            failed: loads.iter().map(|load| load.failed).sum(),
            latencies: [0, 1, 2].map(|i| of(&|load: &Self| load.latencies[i])),
            processor: of(&|load| load.processor),
        }
    }

    pub(crate) fn latency(&self) -> String {
        let [p50, p99, p999] = self.latencies;
        format!("{p50:.0}, {p99:.0}, {p999:.0}")
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A running load.
pub(crate) struct Running {
    child: Child,
    _body: NamedTempFile,
}

impl Running {
    pub(crate) fn wait(&mut self) -> Result<()> {
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Load> {
        let mut text = String::new();
        self.child
            .stdout
            .take()
            .context("piped")?
            .read_to_string(&mut text)?;
        if !self.child.wait()?.success() {
            bail!("the load generator failed: {text}");
        }
        let result: Value = serde_json::from_str(&text)?;
        let number = |name: &str| {
            result[name]
                .as_f64()
                .with_context(|| format!("no {name} in {result}"))
        };
        let latencies = [number("p50")?, number("p99")?, number("p99.9")?];
        Ok(Load {
            rate: number("rate")?,
            failed: result["failed"].as_u64().unwrap_or(0),
            latencies,
            processor: 0.0,
        })
    }
}

pub(crate) fn spawn(order: &Order, port: u16, ca: &Path) -> Result<Running> {
    let mut body = NamedTempFile::new()?;
    body.write_all(&order.body)?;
    let result = json!({
        "http2": order.protocol == "h2", "clients": order.clients, "rate": order.rate,
        "port": port, "ca": ca, "body": body.path(),
    });
    let child = Command::new(std::env::current_exe()?)
        .args(["load", &result.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(Running { child, _body: body })
}

/// Runs the generator's process.
///
/// # Errors
///
/// When it can't connect. Failed requests are counted.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(order: &str) -> Result<()> {
    let order: Value = serde_json::from_str(order)?;
    let path =
        |name: &str| Ok::<_, anyhow::Error>(PathBuf::from(order[name].as_str().context("a path")?));
    let (http2, port) = (
        order["http2"] == true,
        u16::try_from(order["port"].as_u64().context("a port")?)?,
    );
    let clients = order["clients"].as_u64().context("a number of clients")?;
    let connector = connector(http2, &std::fs::read(path("ca")?)?)?;
    let body = Bytes::from(std::fs::read(path("body")?)?);
    #[expect(clippy::cast_precision_loss, reason = "a handful of clients")]
    let pause = order["rate"]
        .as_f64()
        .map(|rate| Duration::from_secs_f64(clients as f64 / rate));
    let mut senders = vec![];
    let shared = if http2 {
        Some(connect_http2(&connector, port).await?)
    } else {
        None
    };
    for _ in 0..clients {
        senders.push(match &shared {
            Some(sender) => Sender::Http2(sender.clone()),
            None => Sender::Http1(connect_http1(&connector, port).await?),
        });
    }
    let began = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for (i, sender) in (0_u32..).zip(senders) {
        // Clients with a rate start one after the other.
        let first = pause.map(|pause| pause * i / u32::try_from(clients).unwrap_or(1));
        calls.spawn(ask(began, first.zip(pause), body.clone(), sender));
    }
    report(calls.join_all().await)
}

fn report(results: Vec<ClientResult>) -> Result<()> {
    let failed: u64 = results.iter().map(|asked| asked.failed).sum();
    let mut took: Vec<f64> = results.into_iter().flat_map(|asked| asked.took).collect();
    if took.is_empty() {
        bail!("{failed} requests failed, and none succeeded");
    }
    took.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank"
    )]
    let at = |share: f64| took[((took.len() as f64 * share) as usize).min(took.len() - 1)];
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let rate = took.len() as f64 / TIME.as_secs_f64();
    println!(
        "{}",
        json!({"rate": rate, "failed": failed, "p50": at(0.5), "p99": at(0.99), "p99.9": at(0.999)})
    );
    Ok(())
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<hyper::Response<hyper::body::Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// The measurements of one client.
struct ClientResult {
    took: Vec<f64>,
    failed: u64,
}

/// Sends requests one after the other. `times` are the first one's time and the interval; without
/// them there is no pause.
async fn ask(
    began: Instant,
    times: Option<(Duration, Duration)>,
    body: Bytes,
    mut sender: Sender,
) -> ClientResult {
    let mut asked = ClientResult {
        took: vec![],
        failed: 0,
    };
    let mut due = times.map(|(first, pause)| (began + first, pause));
    while began.elapsed() < TIME && !sender.is_closed() {
        let mut since = Instant::now();
        if let Some((at, pause)) = &mut due {
            if *at > since {
                // The timer is late by up to a millisecond, which is not the server's latency.
                tokio::time::sleep_until((*at).into()).await;
                since = Instant::now();
            } else {
                since = *at;
            }
            *at += *pause;
        }
        match call(&mut sender, body.clone()).await {
            Ok(()) => asked.took.push(since.elapsed().as_secs_f64() * 1e6),
            Err(_) => asked.failed += 1,
        }
    }
    asked
}

async fn call(sender: &mut Sender, body: Bytes) -> Result<()> {
    let request = Request::post("https://localhost/validate?timeout=10s")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    let response = sender.send(request).await?;
    if !response.status().is_success() {
        bail!("status {}", response.status());
    }
    response.into_body().collect().await?;
    Ok(())
}

fn connector(http2: bool, ca: &[u8]) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![if http2 {
        b"h2".to_vec()
    } else {
        b"http/1.1".to_vec()
    }];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect(
    connector: &TlsConnector,
    port: u16,
) -> Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(
        connector
            .connect(ServerName::try_from("localhost")?, stream)
            .await?,
    ))
}

async fn connect_http2(
    connector: &TlsConnector,
    port: u16,
) -> Result<hyper::client::conn::http2::SendRequest<Full<Bytes>>> {
    let stream = connect(connector, port).await?;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn connect_http1(
    connector: &TlsConnector,
    port: u16,
) -> Result<hyper::client::conn::http1::SendRequest<Full<Bytes>>> {
    let stream = connect(connector, port).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}
