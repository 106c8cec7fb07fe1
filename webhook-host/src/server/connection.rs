//! One connection, from its first byte to its last: TLS handshake, HTTP/2 or HTTP/1.1, and the end of what takes too long.
//!
//! It is a task of its own, so that a slow client stalls nobody. Called by `Server::run`.

use super::activity::{Activity, Watched};
use super::certificate_metrics::ClientRefused;
use super::limits::Limits;
use super::live::Live;
use super::metrics::TimedOut;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
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
const HEAD: u32 = 32 << 10;

/// How long a connection that is closed for idleness may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// The first byte of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What a client gets that speaks plain HTTP.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 48\r\n\r\nthis port speaks TLS; use https instead of http\n";

/// What the server does, and with it every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There are places for further connections.
    Open,
    /// All are taken: idle connections make room.
    Full,
    /// It will end soon: who is answered over HTTP/1.1 is told to connect anew the next time, which leads elsewhere by then.
    Leaving,
    /// It ends: requests in flight are answered, others not taken.
    Stopping,
}

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) live: Arc<Live>,
    pub(super) limits: Limits,
    /// Whether the phase is [`Phase::Leaving`] or later: read by every request, where the phase itself would take a lock.
    pub(super) leaving: AtomicBool,
}

/// Serves one client until it, the server or a timeout ends it.
pub(super) async fn serve(shared: &Shared, stream: TcpStream, mut phase: watch::Receiver<Phase>) {
    let _open = shared.live.metrics().connection();
    let Some(stream) = shared.handshake(stream).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let activity = Activity::new();
    let watched = Watched { stream, activity: (!http2).then(|| Arc::clone(&activity)) };
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let busy = activity.begin();
        // HTTP/2 has its own farewell, which comes when the server stops.
        let leaving = !http2 && shared.leaving.load(Ordering::Relaxed);
        let answer = TowerToHyperService::new(shared.router.clone()).call(request);
        async move {
            let mut answer = answer.await;
            if let (true, Ok(answer)) = (leaving, &mut answer) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(busy);
            answer
        }
    });
    let builder = http(http2, shared.limits.streams);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
    let mut timer = pin!(tokio::time::sleep(shared.limits.head_time));
    loop {
        let now = *phase.borrow_and_update();
        if now == Phase::Stopping {
            connection.as_mut().graceful_shutdown();
        }
        let serve = std::future::poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(ended));
            }
            overdue(&activity, &shared.limits, matches!(now, Phase::Full | Phase::Stopping), timer.as_mut(), cx)
                .map(Err)
        });
        tokio::select! {
            ended = serve => match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => return tracing::debug!(error, "a connection ended early"),
                Err(kind) => {
                    shared.live.metrics().timed_out(kind);
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(GOODBYE, connection).await;
                    return;
                }
            },
            changed = phase.changed() => if changed.is_err() { return },
        }
    }
}

/// Ready when the connection takes too long. The timer is set anew only when it would fire too late; when it fires too early, it
/// looks again.
fn overdue(
    activity: &Activity,
    limits: &Limits,
    hurry: bool,
    mut timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<TimedOut> {
    loop {
        let due = activity.due(limits, hurry);
        let now = Instant::now();
        match due {
            Some((at, kind)) if at <= now => return Poll::Ready(kind),
            Some((at, _)) if at < timer.deadline() || timer.is_elapsed() => timer.as_mut().reset(at),
            None if timer.is_elapsed() => timer.as_mut().reset(now + limits.head_time),
            _ => {}
        }
        ready!(timer.as_mut().poll(cx));
    }
}

impl Shared {
    async fn handshake(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let Some(config) = self.live.tls().config() else {
            self.live.metrics().handshake_failed("there is no certificate yet");
            return None;
        };
        match tokio::time::timeout(self.limits.handshake_time, handshake(config.into(), stream)).await {
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

async fn handshake(acceptor: TlsAcceptor, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    // Head and body of a response are one write; delayed acknowledgements would cost 40 ms otherwise.
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0] != TLS_HANDSHAKE {
        // What was sent is read, or closing would reset the connection and the answer with it.
        let _ = stream.read(&mut [0; 4096]).await?;
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client doesn't speak TLS"));
    }
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, stream)) => {
            part(stream).await;
            Err(error)
        }
    }
}

/// Lets the client read the alert that says why: closing while bytes of it are unread would reset the connection, and take the
/// alert back.
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

/// The protocol is what the handshake agreed on; guessing it from the first bytes would wait for them without a deadline.
fn http(http2: bool, streams: u32) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    // `Activity` has the times of head and idleness.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEAD)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        // A request of 1 MiB must not wait for window updates.
        .adaptive_window(true);
    builder
}
