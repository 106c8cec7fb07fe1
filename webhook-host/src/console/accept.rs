//! Connections of the console, within small bounds.
//!
//! The newest connection is always served, and the oldest is closed when there are too many. Each
//! wait has a limit: for the handshake, for a request's head, for a client that reads nothing, and
//! for the connection as a whole.

use super::App;
use super::stream;
use crate::live::Live;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

/// Enough for the streams, and for the pages' other requests.
const MAX_CONNECTIONS: usize = 32;

/// The time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time from the end of a response to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The time in which a client must read something while a response is being written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest life of a connection: more than a stream's.
const MAX_CONNECTION_AGE: Duration = Duration::from_mins(6);

/// The largest head of a request in bytes. A token may have some thousand.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// The pause after a failed accept. Most of these failures mean that the process has no free file
/// descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Returns the TLS acceptor of a console. It presents the webhook server's current certificate and
/// asks clients for none.
pub(super) fn tls(live: &Arc<Live>) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shown(Arc::clone(live))));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config).into()
}

/// The certificate that the webhook's server shows.
struct Shown(Arc<Live>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.tls().identity().map(|identity| identity.key)
    }
}

/// Serves for as long as the process lives.
pub(super) async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(stream::look(Arc::clone(&app)));
    let mut open = VecDeque::<AbortHandle>::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= MAX_CONNECTIONS {
                    open.pop_front().expect("it is not empty").abort();
                }
                let served = connection(stream, tls.clone(), Arc::clone(&app));
                open.push_back(tokio::spawn(served).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection of the console");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, app: Arc<App>) {
    // Errors are the client's and need no handling.
    let served = async {
        stream.set_nodelay(true).ok()?;
        match tls {
            None => http(stream, app).await,
            Some(tls) => {
                let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
                http(handshake.await.ok()?.ok()?, app).await;
            }
        }
        Some(())
    };
    let _ = tokio::time::timeout(MAX_CONNECTION_AGE, served).await;
}

async fn http<S: AsyncRead + AsyncWrite + Unpin>(stream: S, app: Arc<App>) {
    let service = service_fn(|request| {
        let app = Arc::clone(&app);
        async { Ok::<_, Infallible>(app.answer(request).await) }
    });
    let stream = Impatient::new(stream, WRITE_TIMEOUT);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// A stream whose writes fail when the client reads nothing for a while.
struct Impatient<S> {
    stream: S,
    timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S, timeout: Duration) -> Self {
        Self {
            stream,
            timeout,
            stalled: None,
        }
    }

    /// Passes on the result of a write, or fails if writes have been pending for too long.
    fn within<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.timeout)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.within(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.within(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut_off_and_a_slow_one_is_not() {
        let (client, server) = tokio::io::duplex(8);
        let mut server = Impatient::new(server, Duration::from_millis(100));
        let written = server.write_all(&[0; 64]).await;
        assert_eq!(
            written.map_err(|error| error.kind()),
            Err(io::ErrorKind::TimedOut)
        );
        drop(client);

        let (mut client, server) = tokio::io::duplex(8);
        let mut server = Impatient::new(server, Duration::from_millis(500));
        let read = tokio::spawn(async move {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                client.read_exact(&mut [0; 8]).await.expect("it is written");
            }
        });
        server
            .write_all(&[0; 64])
            .await
            .expect("it is read in time");
        read.await.expect("no panic");
    }
}
