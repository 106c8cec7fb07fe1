//! The activity of a connection: the requests that are open, and the time for which the server has
//! waited for the client.
//!
//! Written by the stream below hyper (a byte was read, a write is blocked), by `handlers` (a body
//! is being read) and by the service above hyper (a request began; its response is being written).
//! Read by `connection`, which enforces time-outs, and by `peers`, which evicts connections that
//! keep the server waiting while others need their permits. Lock-free.

use super::limits::Limits;
use crate::metrics::TimedOut;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The client end of one connection. Times are milliseconds since `opened`; 0 means never.
pub(super) struct Peer {
    address: IpAddr,
    /// True for an API server, recognised by its address or its certificate: a part of all permits
    /// is reserved for it.
    is_api_server: AtomicBool,
    opened: Instant,
    /// Requests whose response is not completely written.
    requests: AtomicUsize,
    /// Requests that wait for a permit.
    waiting: AtomicUsize,
    /// In-flight slots that its requests hold.
    reviews: AtomicUsize,
    /// The end of the last request.
    last_request_end: AtomicU64,
    /// The arrival of the first byte of an incomplete head.
    head_began: AtomicU64,
    /// The first of the writes of which the client has read nothing since.
    write_blocked: AtomicU64,
    reading: WaitAges,
    writing: WaitAges,
    /// Memory permits that its bodies hold, in KiB.
    held_kib: AtomicUsize,
    has_response: AtomicBool,
    evicted: Notify,
}

/// The ages of the requests that wait for their client: how many began to wait in each tick of
/// [`Peer`]'s clock. A wait longer than `TICKS` looks shorter than it is.
struct WaitAges([AtomicU32; TICKS as usize]);

/// The milliseconds of a tick, and the number of ticks that are distinguished: 6.4 s.
const TICK_MILLIS: u64 = 100;
const TICKS: u64 = 64;

/// An open request; dropped when its response is written.
pub(super) struct OpenRequest(Arc<Peer>);

/// A request that waits for a permit.
pub(super) struct WaitingRequest {
    peer: Arc<Peer>,
    is_only: bool,
}

/// A request that waits for its client, which is to send the body or to read the response.
pub(super) struct Wait {
    peer: Arc<Peer>,
    kind: WaitKind,
    tick: u64,
}

#[derive(Clone, Copy)]
enum WaitKind {
    Reading,
    Writing,
}

/// The time for which a connection has kept the server waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waited {
    pub(super) time: Duration,
    /// True in the middle of a request: its body is missing, or its response is not read.
    pub(super) in_request: bool,
}

impl Peer {
    pub(super) fn new(address: IpAddr, is_api_server: bool) -> Arc<Self> {
        Arc::new(Self {
            address,
            is_api_server: AtomicBool::new(is_api_server),
            opened: Instant::now(),
            requests: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            reviews: AtomicUsize::new(0),
            last_request_end: AtomicU64::new(0),
            head_began: AtomicU64::new(0),
            write_blocked: AtomicU64::new(0),
            reading: WaitAges::new(),
            writing: WaitAges::new(),
            held_kib: AtomicUsize::new(0),
            has_response: AtomicBool::new(false),
            evicted: Notify::new(),
        })
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    pub(super) fn is_api_server(&self) -> bool {
        self.is_api_server.load(Ordering::Relaxed)
    }

    pub(super) fn mark_api_server(&self) {
        self.is_api_server.store(true, Ordering::Relaxed);
    }

    /// Returns true once any request was answered, whatever the response.
    pub(super) fn has_response(&self) -> bool {
        self.has_response.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the counter of in-flight slots that its requests hold; `capacity` counts them.
    pub(super) fn reviews(&self) -> &AtomicUsize {
        &self.reviews
    }

    /// Returns the counter of memory permits that its bodies hold, in KiB; `capacity` counts them.
    pub(super) fn held_kib(&self) -> &AtomicUsize {
        &self.held_kib
    }

    /// Asks the connection's task to close it, because others need its permits.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Waits for an eviction. Becomes ready once only.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Counts a request whose head is complete as open while the result lives.
    pub(super) fn begin(self: &Arc<Self>) -> OpenRequest {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_began.store(0, Ordering::Relaxed);
        OpenRequest(Arc::clone(self))
    }

    /// Counts a request as waiting for a permit while the result lives.
    pub(super) fn wait_for_permit(self: &Arc<Self>) -> WaitingRequest {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingRequest {
            is_only: waiting == 0 && self.requests() == 0,
            peer: Arc::clone(self),
        }
    }

    /// Counts a request as waiting for its body while the result lives.
    pub(super) fn wait_for_body(self: &Arc<Self>) -> Wait {
        self.wait(WaitKind::Reading)
    }

    /// Counts a request as waiting for the client to read its response while the result lives.
    pub(super) fn wait_for_reader(self: &Arc<Self>) -> Wait {
        self.wait(WaitKind::Writing)
    }

    fn wait(self: &Arc<Self>, kind: WaitKind) -> Wait {
        let tick = self.now() / TICK_MILLIS;
        self.waits(kind).begin(tick);
        Wait {
            peer: Arc::clone(self),
            kind,
            tick,
        }
    }

    fn waits(&self, kind: WaitKind) -> &WaitAges {
        match kind {
            WaitKind::Reading => &self.reading,
            WaitKind::Writing => &self.writing,
        }
    }

    /// Returns the time for which the connection has kept the server waiting; `None` while the
    /// server works for it.
    pub(super) fn waited(&self) -> Option<Waited> {
        let now = self.now();
        let write_blocked =
            Some(self.write_blocked.load(Ordering::Relaxed)).filter(|since| *since > 0);
        let in_request = [
            write_blocked,
            self.reading.oldest(now),
            self.writing.oldest(now),
        ]
        .into_iter()
        .flatten()
        .min();
        let since = match in_request {
            Some(since) => since,
            None if self.requests() > 0 => return None,
            None => match self.head_began.load(Ordering::Relaxed) {
                0 => self.last_request_end.load(Ordering::Relaxed),
                began => began,
            },
        };
        let time = Duration::from_millis(now.saturating_sub(since));
        Some(Waited {
            time,
            in_request: in_request.is_some(),
        })
    }

    /// Returns the next time-out of the connection in its current state. Requests that are being
    /// read or reviewed have deadlines of their own. While the server drains (`stopping`), idle
    /// connections time out sooner.
    pub(super) fn due(
        &self,
        limits: &Limits,
        stopping: Option<Instant>,
    ) -> Option<(Instant, TimedOut)> {
        let at = |millis: u64, most: Duration| self.opened + Duration::from_millis(millis) + most;
        let write_blocked =
            Some(self.write_blocked.load(Ordering::Relaxed)).filter(|since| *since > 0);
        let unwritten = [write_blocked, self.writing.oldest(self.now())]
            .into_iter()
            .flatten()
            .min();
        if let Some(since) = unwritten {
            return Some((at(since, limits.write_time), TimedOut::Write));
        }
        if self.requests() > 0 {
            return None;
        }
        match (self.head_began.load(Ordering::Relaxed), stopping) {
            (0, None) => Some((
                at(
                    self.last_request_end.load(Ordering::Relaxed),
                    limits.idle_time,
                ),
                TimedOut::Idle,
            )),
            (0, Some(stopping)) => {
                let since = stopping.max(at(
                    self.last_request_end.load(Ordering::Relaxed),
                    Duration::ZERO,
                ));
                Some((
                    since + limits.short_idle_time.min(limits.idle_time),
                    TimedOut::Idle,
                ))
            }
            (began, _) => Some((at(began, limits.head_time), TimedOut::Head)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes that bytes were read.
    fn bytes_read(&self) {
        if self.requests() == 0 && self.head_began.load(Ordering::Relaxed) == 0 {
            self.head_began.store(self.now().max(1), Ordering::Relaxed);
        }
    }

    /// Notes that a write went through or is blocked.
    fn write_polled(&self, is_blocked: bool) {
        let since = self.write_blocked.load(Ordering::Relaxed);
        if is_blocked && since == 0 {
            self.write_blocked
                .store(self.now().max(1), Ordering::Relaxed);
        } else if !is_blocked && since != 0 {
            self.write_blocked.store(0, Ordering::Relaxed);
        }
    }
}

impl WaitingRequest {
    /// Returns true if the connection had no other request when this one began to wait.
    pub(super) fn is_only(&self) -> bool {
        self.is_only
    }
}

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        self.peer.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let peer = &self.0;
        peer.last_request_end.store(peer.now(), Ordering::Relaxed);
        peer.has_response.store(true, Ordering::Relaxed);
        peer.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.peer.waits(self.kind).end(self.tick);
    }
}

impl WaitAges {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }

    fn begin(&self, tick: u64) {
        self.tick_count(tick).fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, tick: u64) {
        self.tick_count(tick).fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the time when the longest wait began.
    fn oldest(&self, now: u64) -> Option<u64> {
        let last = now / TICK_MILLIS;
        let first = (last + 1).saturating_sub(TICKS);
        (first..=last)
            .find(|tick| self.tick_count(*tick).load(Ordering::Relaxed) > 0)
            .map(|tick| tick * TICK_MILLIS)
    }

    fn tick_count(&self, tick: u64) -> &AtomicU32 {
        &self.0[usize::try_from(tick % TICKS).expect("it is less than TICKS")]
    }
}

/// A stream that notes its reads and writes in its peer.
pub(super) struct WatchedStream<S> {
    pub(super) stream: S,
    pub(super) peer: Arc<Peer>,
    /// Over HTTP/2, reads are not noted: pings and window updates arrive at any time.
    pub(super) http2: bool,
}

impl<S> WatchedStream<S> {
    fn note_write<T>(&self, written: Poll<T>) -> Poll<T> {
        self.peer.write_polled(written.is_pending());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if !self.http2 && buffer.filled().len() > before {
            self.peer.bytes_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note_write(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note_write(shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_longest_wait_is_the_one_that_began_first() {
        let waits = WaitAges::new();
        assert_eq!(waits.oldest(0), None);
        for tick in [3, 7, 7, 65] {
            waits.begin(tick);
        }
        assert_eq!(waits.oldest(6_600), Some(300));
        waits.end(3);
        assert_eq!(waits.oldest(6_600), Some(700));
        waits.end(7);
        assert_eq!(waits.oldest(6_600), Some(700));
        waits.end(7);
        assert_eq!(waits.oldest(6_600), Some(6_500));
    }

    #[test]
    fn only_the_first_request_of_a_connection_waits_alone() {
        let peer = Peer::new(Ipv4Addr::LOCALHOST.into(), false);
        let first = peer.wait_for_permit();
        assert!(first.is_only());
        assert!(!peer.wait_for_permit().is_only());
        drop(first);
        let open = peer.begin();
        assert!(!peer.wait_for_permit().is_only());
        drop(open);
        assert!(peer.wait_for_permit().is_only());
    }
}
