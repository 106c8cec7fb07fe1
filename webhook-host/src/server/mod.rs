//! The webhook's TLS server: accept, handshake, HTTP, drain.
//!
//! Every connection is a task of its own from its first byte on, so that a slow client stalls nobody. Every wait has a
//! deadline, every input and every queue a bound. Called by `cli::serve` and by tests; it is given sockets and certificates,
//! and knows no files.

mod admin;
mod handlers;
mod metrics;
mod timeout;
pub mod tls;

pub use admin::Admin;
pub use metrics::Metrics;

use crate::admission::Admission;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections at a time. An API server opens one for each concurrent call over HTTP/1.1; further ones wait in the
/// kernel's queue.
const CONNECTIONS: usize = 4096;

/// From accept to the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// From the first byte of a request to the end of its head.
const HEAD: Duration = Duration::from_secs(5);

/// An idle HTTP/2 connection is asked whether it lives.
const PING: Duration = Duration::from_secs(30);

/// Streams of one HTTP/2 connection.
const STREAMS: u32 = 1024;

/// After a failed accept, which is out of file descriptors most of the time.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The first byte of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What a client gets that speaks plain HTTP.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 48\r\n\r\nthis port speaks TLS; use https instead of http\n";

/// What requests may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a request's body. API objects may have 3 MiB, and a review of an update holds two.
    pub body: usize,
    /// Requests that are read or answered at the same time; more are told to come back (503).
    pub requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 8 << 20, requests: 512 }
    }
}

/// A webhook server, not listening yet.
pub struct Server {
    router: Router,
    acceptor: TlsAcceptor,
    metrics: Arc<Metrics>,
}

impl Server {
    /// A server that answers with what `admission` decides.
    pub fn new(admission: Arc<Admission>, tls: Arc<ServerConfig>, metrics: Arc<Metrics>, limits: Limits) -> Self {
        let router = handlers::router(admission, Arc::clone(&metrics), limits);
        Self { router, acceptor: TlsAcceptor::from(tls), metrics }
    }

    /// Serves until `stop` is ready; then accepts nothing more, and returns when all requests are answered or `drain` has passed.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>, drain: Duration) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut stop = std::pin::pin!(stop);
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = self.connection(stream, graceful.watcher());
                    tokio::spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were still busy after {drain:?}; closing them");
        }
    }

    fn connection(&self, stream: TcpStream, watcher: Watcher) -> impl Future<Output = ()> + use<> {
        let (acceptor, router, metrics) = (self.acceptor.clone(), self.router.clone(), Arc::clone(&self.metrics));
        async move {
            let handshake = handshake(&acceptor, stream);
            let stream = match tokio::time::timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return metrics.handshake_failed(&error.to_string()),
                Err(_) => return metrics.handshake_failed("it took too long"),
            };
            let open = metrics.connection();
            let builder = http();
            let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(error, "a connection ended early");
            }
            drop(open);
        }
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    mut stream: TcpStream,
) -> std::io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    // Head and body of a response are one write; delayed acknowledgements would cost 40 ms otherwise.
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0] != TLS_HANDSHAKE {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the client doesn't speak TLS"));
    }
    acceptor.accept(stream).await
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING)
        // A request of 1 MiB must not wait for window updates.
        .adaptive_window(true);
    builder
}
