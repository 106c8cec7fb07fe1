//! What a connection is doing, and since when: hyper's own timer can't tell a slow head from an idle connection.
//!
//! Written by the stream below hyper (a byte came) and by the service above it (a request began, ended); read by `connection`,
//! which closes what takes too long. All in one task for HTTP/1.1; HTTP/2 runs each request in a task of its own.

use super::limits::Limits;
use super::metrics::TimedOut;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Times are milliseconds since `born`.
pub(super) struct Activity {
    born: Instant,
    requests: AtomicUsize,
    /// The end of the last request, or of the handshake.
    rested: AtomicU64,
    /// The first byte of a head that is not complete; 0 is none.
    head: AtomicU64,
}

/// A request that is being answered.
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            requests: AtomicUsize::new(0),
            rested: AtomicU64::new(0),
            head: AtomicU64::new(0),
        })
    }

    /// A request begins: its head is complete.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// When this connection takes too long, as it stands, and at what; never while a request is being answered, which has
    /// deadlines of its own. In a hurry, idleness takes too long sooner.
    pub(super) fn due(&self, limits: &Limits, hurry: bool) -> Option<(Instant, TimedOut)> {
        if self.requests.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let at = |millis: u64, most: Duration| self.born + Duration::from_millis(millis) + most;
        match self.head.load(Ordering::Relaxed) {
            0 => {
                let idle = if hurry { limits.idle_time_in_a_hurry.min(limits.idle_time) } else { limits.idle_time };
                Some((at(self.rested.load(Ordering::Relaxed), idle), TimedOut::Idle))
            }
            began => Some((at(began, limits.head_time), TimedOut::Head)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn byte(&self) {
        if self.requests.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now().max(1), Ordering::Relaxed);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rested.store(self.0.now(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that tells of its first bytes.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    /// `None` for HTTP/2, where bytes need not be a request's: pings and window updates come at any time.
    pub(super) activity: Option<Arc<Activity>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(activity) = self.activity.as_ref().filter(|_| buffer.filled().len() > before) {
            activity.byte();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
