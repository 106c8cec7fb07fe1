//! A connection, from its first byte to its last: TLS handshake, HTTP/2 or HTTP/1.1, time-outs and
//! drain.
//!
//! Each connection is a task of its own, so a slow client delays nobody else. Called by
//! `Server::run`.

use super::answer::{ResponseBody, ResponsePermits};
use super::capacity::Capacity;
use super::limits::Limits;
use super::peer::{Peer, WatchedStream};
use super::peers::{Peers, Ticket};
use super::refusal::Refusal;
use crate::live::Live;
use crate::metrics::ClientRefused;
use crate::metrics::TimedOut;
use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::IntoResponse as _;
use hyper::body::{Body as _, Incoming};
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The interval of HTTP/2 keep-alive pings on an idle connection, and the time to answer one.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest head of a request in bytes. An API server's have a few hundred.
const MAX_HEAD_BYTES: u32 = 16 << 10;

/// Bytes that a client may send before they are read, for one request and for all requests of an
/// HTTP/2 connection. They are not accounted for while a request waits for memory. At this size a
/// body of 1 MiB takes eight round trips.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// The time for a graceful shutdown of a connection that timed out, and of one that is evicted.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
const EVICTION_TIMEOUT: Duration = Duration::from_millis(100);

/// The first byte of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The response to a client that speaks plain HTTP.
const NOT_TLS_RESPONSE: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 48\r\n\r\nthis port speaks TLS; use https instead of http\n";

/// The moment when the server stopped accepting: from then on requests in flight are answered, and
/// idle connections closed. `None` while it serves.
pub(super) type Stopping = Option<Instant>;

/// The state that all connections of a server share.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) live: Arc<Live>,
    pub(super) limits: Limits,
    pub(super) capacity: Arc<Capacity>,
    pub(super) peers: Arc<Peers>,
    /// The server is about to drain: HTTP/1.1 responses carry `Connection: close`, so that clients
    /// reconnect to another replica.
    pub(super) is_draining: AtomicBool,
}

/// Serves one client until it, the server or a timeout ends it.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    mut ticket: Ticket,
    stopping: watch::Receiver<Stopping>,
) {
    let _open = shared.live.metrics().connections.connection();
    let peer = Arc::clone(ticket.peer());
    let stream = tokio::select! {
        stream = shared.handshake(stream) => stream,
        () = peer.evicted() => None,
    };
    let Some(stream) = stream else { return };
    if stream.get_ref().1.peer_certificates().is_some() {
        ticket.mark_api_server();
    }
    // On the heap, so that a connection takes this memory only once its handshake is done.
    Box::pin(serve_http(&shared, stream, peer, stopping)).await;
}

async fn serve_http(
    shared: &Arc<Shared>,
    stream: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    mut stopping: watch::Receiver<Stopping>,
) {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = WatchedStream {
        stream,
        peer: Arc::clone(&peer),
        http2,
    };
    let service =
        service_fn(|request| respond(Arc::clone(shared), Arc::clone(&peer), http2, request));
    let builder = http(http2, shared.limits.streams);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut timer = pin!(tokio::time::sleep(
        shared.limits.head_time.min(shared.limits.write_time)
    ));
    loop {
        let stopping_at = *stopping.borrow_and_update();
        // HTTP/1.1 responses carry `Connection: close` already, and idle connections time out.
        // Closing one here would lose a request that is under way.
        if stopping_at.is_some() && http2 {
            connection.as_mut().graceful_shutdown();
        }
        let serve = std::future::poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(ended));
            }
            overdue(&peer, &shared.limits, stopping_at, timer.as_mut(), cx).map(Err)
        });
        let shutdown_timeout = tokio::select! {
            ended = serve => match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => return tracing::debug!(error, "a connection ended early"),
                Err(kind) => {
                    shared.live.metrics().connections.timed_out(kind);
                    // A client that reads nothing would not read a graceful shutdown either.
                    if kind == TimedOut::Write { Duration::ZERO } else { SHUTDOWN_TIMEOUT }
                }
            },
            () = peer.evicted() => {
                if peer.has_response() { EVICTION_TIMEOUT } else { Duration::ZERO }
            }
            changed = stopping.changed() => if changed.is_err() { return } else { continue },
        };
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(shutdown_timeout, connection).await;
        return;
    }
}

/// Answers one request. Its permits are held until the last byte of the response is written.
async fn respond(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    http2: bool,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, h2::Error> {
    let Some(request_permit) = shared.peers.begin(&peer, shared.live.metrics()).await else {
        return shared.refuse(http2);
    };
    request.extensions_mut().insert(Arc::clone(&peer));
    let Ok(response) = TowerToHyperService::new(shared.router.clone())
        .call(request)
        .await;
    let size = response
        .body()
        .size_hint()
        .exact()
        .and_then(|size| usize::try_from(size).ok());
    let (memory, response) = match shared.capacity.response_memory(size.unwrap_or(usize::MAX)) {
        Ok(memory) => (memory, response),
        Err(refusal) => (None, shared.refusal(refusal)),
    };
    let permits = ResponsePermits {
        _request: request_permit,
        _wait: peer.wait_for_reader(),
        _memory: memory,
    };
    let mut response = response.map(|body| ResponseBody::new(body, permits));
    // HTTP/2 connections get a GOAWAY frame when the server stops.
    if !http2 && shared.is_draining.load(Ordering::Relaxed) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Becomes ready when a time-out of the connection has passed. The timer is reset only when it
/// would fire too late; when it fires too early, the time-outs are computed again.
fn overdue(
    peer: &Peer,
    limits: &Limits,
    stopping: Stopping,
    mut timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<TimedOut> {
    loop {
        let due = peer.due(limits, stopping);
        let now = Instant::now();
        match due {
            Some((at, kind)) if at <= now => return Poll::Ready(kind),
            Some((at, _)) if at < timer.deadline() || timer.is_elapsed() => {
                timer.as_mut().reset(at)
            }
            None if timer.is_elapsed() => timer
                .as_mut()
                .reset(now + limits.head_time.min(limits.write_time)),
            _ => {}
        }
        ready!(timer.as_mut().poll(cx));
    }
}

impl Shared {
    /// Refuses a request for want of a permit.
    fn refuse(&self, http2: bool) -> Result<Response<ResponseBody>, h2::Error> {
        let refusal = Refusal::overload(
            "requests",
            "too many requests are open at the same time; try again",
        );
        let mut response = self.refusal(refusal).map(ResponseBody::without_permits);
        if http2 {
            // A response would take memory until the client has read it.
            return Err(h2::Reason::REFUSED_STREAM.into());
        }
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(response)
    }

    fn refusal(&self, refusal: Refusal) -> Response<Body> {
        self.live
            .metrics()
            .connections
            .refused(refusal.status.as_u16(), refusal.reason);
        refusal.into_response()
    }

    async fn handshake(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let Some(config) = self.live.tls().config() else {
            self.live
                .metrics()
                .connections
                .handshake_failed("there is no certificate yet");
            return None;
        };
        match tokio::time::timeout(self.limits.handshake_time, handshake(config.into(), stream))
            .await
        {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => {
                self.live
                    .metrics()
                    .connections
                    .handshake_failed(&error.to_string());
                if let Some(why) = client_refused(&error) {
                    self.live.tls().metrics().client_refused(why);
                }
            }
            Err(_) => {
                self.live
                    .metrics()
                    .connections
                    .timed_out(TimedOut::Handshake);
                self.live
                    .metrics()
                    .connections
                    .handshake_failed("it took too long");
            }
        }
        None
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    mut stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    // Nagle's algorithm and delayed acknowledgements together would cost 40 ms a response.
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0] != TLS_HANDSHAKE {
        // Bytes left unread would make `close` reset the connection, and the response would be
        // lost.
        let _ = stream.read(&mut [0; 4096]).await?;
        stream.write_all(NOT_TLS_RESPONSE).await?;
        stream.shutdown().await?;
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the client doesn't speak TLS",
        ));
    }
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, stream)) => {
            close_after_alert(stream).await;
            Err(error)
        }
    }
}

/// Lets the client read the TLS alert: closing while bytes of it are unread would reset the
/// connection, and the alert would be lost.
async fn close_after_alert(mut stream: TcpStream) {
    let read_the_rest = async {
        stream.shutdown().await?;
        tokio::io::copy(
            &mut stream.take(u64::from(MAX_HEAD_BYTES)),
            &mut tokio::io::sink(),
        )
        .await
    };
    // Errors mean that the client has gone.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, read_the_rest).await;
}

/// Returns why the client's certificate was refused, if that is why the handshake failed.
fn client_refused(error: &io::Error) -> Option<ClientRefused> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::NoCertificatesPresented => Some(ClientRefused::Missing),
        rustls::Error::InvalidCertificate(_) => Some(ClientRefused::Invalid),
        _ => None,
    }
}

/// Builds the HTTP server for the protocol that ALPN selected. Detecting it from the first bytes
/// would wait for them without a deadline.
fn http(http2: bool, streams: u32) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    // `Peer::due` holds the time-outs of heads and of idleness.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
