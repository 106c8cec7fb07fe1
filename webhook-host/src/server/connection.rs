//! One connection, from its first byte to its last: TLS handshake, HTTP/2 or HTTP/1.1, and the end
//! of what takes too long.
//!
//! It is a task of its own, so that a slow client stalls nobody. Called by `Server::run`.

use super::answer::{Answer, Held};
use super::capacity::Capacity;
use super::limits::Limits;
use super::peer::{Peer, Watched};
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

/// An idle HTTP/2 connection is asked whether it lives, and is given so long to answer.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// Bytes of a request's head. Those of an API server have a few hundred.
const HEAD: u32 = 16 << 10;

/// Bytes that a client may send before they are read: of one request, and of all requests of an
/// HTTP/2 connection. They are in nobody's count while a request waits for memory. A body of 1 MiB
/// takes eight round trips.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// How long a connection that is closed for idleness may take to say goodbye, and one that is
/// closed because others need its place.
const GOODBYE: Duration = Duration::from_secs(1);
const QUICK_GOODBYE: Duration = Duration::from_millis(100);

/// The first byte of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What a client gets that speaks plain HTTP.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 48\r\n\r\nthis port speaks TLS; use https instead of http\n";

/// When the server began to end: from then on requests in flight are answered, and no others taken.
/// `None`: it serves.
pub(super) type Stopping = Option<Instant>;

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) live: Arc<Live>,
    pub(super) limits: Limits,
    pub(super) capacity: Arc<Capacity>,
    pub(super) peers: Arc<Peers>,
    /// Whether the server will end soon: responses over HTTP/1.1 carry `Connection: close`, so that
    /// clients connect to another replica the next time.
    pub(super) leaving: AtomicBool,
}

/// Serves one client until it, the server or a timeout ends it.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    mut ticket: Ticket,
    stopping: watch::Receiver<Stopping>,
) {
    let _open = shared.live.metrics().connection();
    let peer = Arc::clone(ticket.peer());
    let stream = tokio::select! {
        stream = shared.handshake(stream) => stream,
        () = peer.evicted() => None,
    };
    let Some(stream) = stream else { return };
    if stream.get_ref().1.peer_certificates().is_some() {
        ticket.prefer();
    }
    // On the heap, since a connection takes the memory of all this from its first moment on
    // otherwise.
    Box::pin(serve_http(&shared, stream, peer, stopping)).await;
}

async fn serve_http(
    shared: &Arc<Shared>,
    stream: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    mut stopping: watch::Receiver<Stopping>,
) {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let watched = Watched {
        stream,
        peer: Arc::clone(&peer),
        http2,
    };
    let service =
        service_fn(|request| answer(Arc::clone(shared), Arc::clone(&peer), http2, request));
    let builder = http(http2, shared.limits.streams);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
    let mut timer = pin!(tokio::time::sleep(
        shared.limits.head_time.min(shared.limits.write_time)
    ));
    loop {
        let now = *stopping.borrow_and_update();
        // Over HTTP/1.1 every answer says that it is the last one, and who asks nothing is idle; a
        // connection that were closed at once would take a request along that is under way.
        if now.is_some() && http2 {
            connection.as_mut().graceful_shutdown();
        }
        let serve = std::future::poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(ended));
            }
            overdue(&peer, &shared.limits, now, timer.as_mut(), cx).map(Err)
        });
        let goodbye = tokio::select! {
            ended = serve => match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => return tracing::debug!(error, "a connection ended early"),
                Err(kind) => {
                    shared.live.metrics().timed_out(kind);
                    // Who takes nothing hears no goodbye either.
                    if kind == TimedOut::Write { Duration::ZERO } else { GOODBYE }
                }
            },
            () = peer.evicted() => if peer.is_answered() { QUICK_GOODBYE } else { Duration::ZERO },
            changed = stopping.changed() => if changed.is_err() { return } else { continue },
        };
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(goodbye, connection).await;
        return;
    }
}

/// One request. What it holds is held until the last byte of its answer is written.
async fn answer(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    http2: bool,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, h2::Error> {
    let Some(held) = shared.peers.begin(&peer, shared.live.metrics()).await else {
        return shared.refuse(http2);
    };
    request.extensions_mut().insert(Arc::clone(&peer));
    let Ok(answer) = TowerToHyperService::new(shared.router.clone())
        .call(request)
        .await;
    let size = answer
        .body()
        .size_hint()
        .exact()
        .and_then(|size| usize::try_from(size).ok());
    let (memory, answer) = match shared.capacity.answer(size.unwrap_or(usize::MAX)) {
        Ok(memory) => (memory, answer),
        Err(refusal) => (None, shared.refusal(refusal)),
    };
    let held = Held {
        _request: held,
        _wait: peer.writes(),
        _memory: memory,
    };
    let mut answer = answer.map(|body| Answer::new(body, held));
    // HTTP/2 has its own farewell, which comes when the server stops.
    if !http2 && shared.leaving.load(Ordering::Relaxed) {
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

/// Ready when the connection takes too long. The timer is set anew only when it would fire too
/// late; when it fires too early, it looks again.
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
    /// More requests are open than may be, and nobody's can make room.
    fn refuse(&self, http2: bool) -> Result<Response<Answer>, h2::Error> {
        let refusal = Refusal::overload(
            "requests",
            "too many requests are open at the same time; try again",
        );
        let mut answer = self.refusal(refusal).map(Answer::of_nobody);
        if http2 {
            // An answer would have to be taken by the client, and take memory until then.
            return Err(h2::Reason::REFUSED_STREAM.into());
        }
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(answer)
    }

    fn refusal(&self, refusal: Refusal) -> Response<Body> {
        self.live
            .metrics()
            .refused(refusal.status.as_u16(), refusal.reason);
        refusal.into_response()
    }

    async fn handshake(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let Some(config) = self.live.tls().config() else {
            self.live
                .metrics()
                .handshake_failed("there is no certificate yet");
            return None;
        };
        match tokio::time::timeout(self.limits.handshake_time, handshake(config.into(), stream))
            .await
        {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => {
                self.live.metrics().handshake_failed(&error.to_string());
                if let Some(why) = client_refused(&error) {
                    self.live.tls().metrics().client_refused(why);
                }
            }
            Err(_) => {
                self.live.metrics().timed_out(TimedOut::Handshake);
                self.live.metrics().handshake_failed("it took too long");
            }
        }
        None
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    mut stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    // Head and body of a response are one write; delayed acknowledgements would cost 40 ms
    // otherwise.
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0] != TLS_HANDSHAKE {
        // What was sent is read, or closing would reset the connection and the answer with it.
        let _ = stream.read(&mut [0; 4096]).await?;
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the client doesn't speak TLS",
        ));
    }
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, stream)) => {
            part(stream).await;
            Err(error)
        }
    }
}

/// Lets the client read the alert that says why: closing while bytes of it are unread would reset
/// the connection, and take the alert back.
async fn part(mut stream: TcpStream) {
    let read_the_rest = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(u64::from(HEAD)), &mut tokio::io::sink()).await
    };
    // The client's own end is no news.
    let _ = tokio::time::timeout(GOODBYE, read_the_rest).await;
}

/// Whether it was the client's certificate that a handshake failed for.
fn client_refused(error: &io::Error) -> Option<ClientRefused> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::NoCertificatesPresented => Some(ClientRefused::Missing),
        rustls::Error::InvalidCertificate(_) => Some(ClientRefused::Invalid),
        _ => None,
    }
}

/// The protocol is what the handshake agreed on; guessing it from the first bytes would wait for
/// them without a deadline.
fn http(http2: bool, streams: u32) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    // `Peer` has the times of head and idleness.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEAD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}
