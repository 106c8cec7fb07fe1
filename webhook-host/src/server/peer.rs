//! One connection as the server sees it: whose it is, what it is doing, and since when the server
//! waits for its client.
//!
//! Written by the stream below hyper (a byte came, a byte could not be sent), by `handlers` (a body
//! is being read) and by the service above hyper (a request began; its answer is written). Read by
//! `connection`, which closes what takes too long, and by `peers`, which closes what keeps the
//! server waiting while others need its place. Nothing here takes a lock.

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

/// Times are milliseconds since `born`; 0 is never.
pub(super) struct Peer {
    address: IpAddr,
    /// An API server, by its address or its certificate: it has reserved places.
    preferred: AtomicBool,
    born: Instant,
    /// Requests that are not answered yet, or whose answer is not written yet.
    requests: AtomicUsize,
    /// Reviews among those in flight.
    reviews: AtomicUsize,
    /// The end of the last request.
    rested: AtomicU64,
    /// The first byte of a head that is not complete.
    head: AtomicU64,
    /// The first of the writes that the client takes nothing of.
    stalled: AtomicU64,
    reading: Waits,
    writing: Waits,
    /// KiB of the memory for bodies.
    held: AtomicUsize,
    answered: AtomicBool,
    evicted: Notify,
}

/// Since when, by the clock of [`Peer`], requests wait for their client: how many began in each
/// tick. Waits longer than `TICKS` look shorter than they are, which nobody relies on.
struct Waits([AtomicU32; TICKS as usize]);

/// Milliseconds of a tick, and how many are told apart: 6.4 s.
const TICK: u64 = 100;
const TICKS: u64 = 64;

/// A request that is not over: dropped when its answer is written.
pub(super) struct Busy(Arc<Peer>);

/// A request that waits for its client, to send the body or to take the answer.
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

/// How long a connection has kept the server waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waited {
    pub(super) time: Duration,
    /// In the middle of a request: its body is missing, or its answer is not taken.
    pub(super) in_request: bool,
}

impl Peer {
    pub(super) fn new(address: IpAddr, preferred: bool) -> Arc<Self> {
        Arc::new(Self {
            address,
            preferred: AtomicBool::new(preferred),
            born: Instant::now(),
            requests: AtomicUsize::new(0),
            reviews: AtomicUsize::new(0),
            rested: AtomicU64::new(0),
            head: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            reading: Waits::new(),
            writing: Waits::new(),
            held: AtomicUsize::new(0),
            answered: AtomicBool::new(false),
            evicted: Notify::new(),
        })
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    pub(super) fn is_preferred(&self) -> bool {
        self.preferred.load(Ordering::Relaxed)
    }

    pub(super) fn prefer(&self) {
        self.preferred.store(true, Ordering::Relaxed);
    }

    /// Whether any request of it was answered, whatever the answer.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Its reviews in flight; `capacity` counts them.
    pub(super) fn reviews(&self) -> &AtomicUsize {
        &self.reviews
    }

    /// KiB of bodies; `capacity` counts them.
    pub(super) fn held(&self) -> &AtomicUsize {
        &self.held
    }

    /// Asks its task to end the connection, since others need what it has.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Ready once it is asked to end; once only.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// A request begins: its head is complete.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// A request waits for its body while this lives.
    pub(super) fn reads(self: &Arc<Self>) -> Wait {
        self.wait(WaitKind::Reading)
    }

    /// A request waits for its answer to be taken while this lives.
    pub(super) fn writes(self: &Arc<Self>) -> Wait {
        self.wait(WaitKind::Writing)
    }

    fn wait(self: &Arc<Self>, kind: WaitKind) -> Wait {
        let tick = self.now() / TICK;
        self.waits(kind).begin(tick);
        Wait {
            peer: Arc::clone(self),
            kind,
            tick,
        }
    }

    fn waits(&self, kind: WaitKind) -> &Waits {
        match kind {
            WaitKind::Reading => &self.reading,
            WaitKind::Writing => &self.writing,
        }
    }

    /// For how long it has kept the server waiting; `None` while the server is at work for it.
    pub(super) fn waited(&self) -> Option<Waited> {
        let now = self.now();
        let stalled = Some(self.stalled.load(Ordering::Relaxed)).filter(|since| *since > 0);
        let in_request = [stalled, self.reading.oldest(now), self.writing.oldest(now)]
            .into_iter()
            .flatten()
            .min();
        let since = match in_request {
            Some(since) => since,
            None if self.requests() > 0 => return None,
            None => match self.head.load(Ordering::Relaxed) {
                0 => self.rested.load(Ordering::Relaxed),
                began => began,
            },
        };
        let time = Duration::from_millis(now.saturating_sub(since));
        Some(Waited {
            time,
            in_request: in_request.is_some(),
        })
    }

    /// When this connection takes too long, as it stands, and at what. A request that is being read
    /// or reviewed has deadlines of its own. While the server ends (`stopping`), idleness takes too
    /// long sooner.
    pub(super) fn due(
        &self,
        limits: &Limits,
        stopping: Option<Instant>,
    ) -> Option<(Instant, TimedOut)> {
        let at = |millis: u64, most: Duration| self.born + Duration::from_millis(millis) + most;
        let stalled = Some(self.stalled.load(Ordering::Relaxed)).filter(|since| *since > 0);
        let unwritten = [stalled, self.writing.oldest(self.now())]
            .into_iter()
            .flatten()
            .min();
        if let Some(since) = unwritten {
            return Some((at(since, limits.write_time), TimedOut::Write));
        }
        if self.requests() > 0 {
            return None;
        }
        match (self.head.load(Ordering::Relaxed), stopping) {
            (0, None) => Some((
                at(self.rested.load(Ordering::Relaxed), limits.idle_time),
                TimedOut::Idle,
            )),
            (0, Some(stopping)) => {
                let since = stopping.max(at(self.rested.load(Ordering::Relaxed), Duration::ZERO));
                Some((
                    since + limits.idle_time_in_a_hurry.min(limits.idle_time),
                    TimedOut::Idle,
                ))
            }
            (began, _) => Some((at(began, limits.head_time), TimedOut::Head)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A byte came.
    fn heard(&self) {
        if self.requests() == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now().max(1), Ordering::Relaxed);
        }
    }

    /// A byte was sent, or could not be.
    fn sent(&self, is_stalled: bool) {
        let since = self.stalled.load(Ordering::Relaxed);
        if is_stalled && since == 0 {
            self.stalled.store(self.now().max(1), Ordering::Relaxed);
        } else if !is_stalled && since != 0 {
            self.stalled.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let peer = &self.0;
        peer.rested.store(peer.now(), Ordering::Relaxed);
        peer.answered.store(true, Ordering::Relaxed);
        peer.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.peer.waits(self.kind).end(self.tick);
    }
}

impl Waits {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }

    fn begin(&self, tick: u64) {
        self.of(tick).fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, tick: u64) {
        self.of(tick).fetch_sub(1, Ordering::Relaxed);
    }

    /// When the longest wait began.
    fn oldest(&self, now: u64) -> Option<u64> {
        let last = now / TICK;
        let first = (last + 1).saturating_sub(TICKS);
        (first..=last)
            .find(|tick| self.of(*tick).load(Ordering::Relaxed) > 0)
            .map(|tick| tick * TICK)
    }

    fn of(&self, tick: u64) -> &AtomicU32 {
        &self.0[usize::try_from(tick % TICKS).expect("it is less than TICKS")]
    }
}

/// A stream that tells of its bytes.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) peer: Arc<Peer>,
    /// Over HTTP/2, bytes need not be a request's: pings and window updates come at any time.
    pub(super) http2: bool,
}

impl<S> Watched<S> {
    fn sent<T>(&self, written: Poll<T>) -> Poll<T> {
        self.peer.sent(written.is_pending());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if !self.http2 && buffer.filled().len() > before {
            self.peer.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.sent(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.sent(shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_is_the_one_that_began_first() {
        let waits = Waits::new();
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
}
