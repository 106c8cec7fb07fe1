//! The queue between requests and an observer's thread, bounded by number and by bytes.
//!
//! Requests never wait for it: a review that doesn't fit is dropped, which the caller counts. Used
//! by `recent`, `shadow`, `writer` and `telemetry`.

use crate::large_body::BodyLock;
use crate::live::Set;
use crate::record::Summary;
use crate::trace_context::TraceContext;
use bytes::Bytes;
use sallyport_core::admission::{Function, Outcome};
use sallyport_core::inventory::Inventory;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// The largest number of queued reviews: those of some hundredths of a second in a busy cluster.
const MAX_QUEUED_REVIEWS: usize = 1024;

/// The largest size of queued bodies together. They come on top of the memory that requests in
/// flight may hold.
const MAX_QUEUED_BYTES: usize = 16 << 20;

/// An answered review with everything that decided it.
pub(crate) struct Answered {
    pub(crate) function: Function,
    pub(crate) request: Summary,
    pub(crate) body: Bytes,
    /// The lock to take before the body is parsed again.
    pub(crate) lock: BodyLock,
    /// The time of its arrival, as policies saw it.
    pub(crate) now: SystemTime,
    pub(crate) set: Arc<Set>,
    /// The inventory as policies saw it: watchers may have changed it since.
    pub(crate) inventory: Inventory,
    pub(crate) outcome: Outcome,
    /// The time from the end of the request's head until it was answered.
    pub(crate) took: Duration,
    pub(crate) trace: Option<TraceContext>,
}

/// The sending end, for requests.
pub(crate) struct Queue {
    sender: SyncSender<Arc<Answered>>,
    held: Arc<AtomicUsize>,
}

/// The receiving end, for the observer's thread.
pub(crate) struct QueueReader {
    receiver: Receiver<Arc<Answered>>,
    held: Arc<AtomicUsize>,
}

/// Creates a queue.
pub(crate) fn queue() -> (Queue, QueueReader) {
    let (sender, receiver) = sync_channel(MAX_QUEUED_REVIEWS);
    let held = Arc::new(AtomicUsize::new(0));
    (
        Queue {
            sender,
            held: Arc::clone(&held),
        },
        QueueReader { receiver, held },
    )
}

impl Queue {
    /// Queues a review. Returns false if there is no room for it.
    #[must_use]
    pub(crate) fn offer(&self, answered: &Arc<Answered>) -> bool {
        let bytes = answered.body.len();
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= MAX_QUEUED_BYTES
            && self.sender.try_send(Arc::clone(answered)).is_ok();
        if !fits {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl QueueReader {
    /// Returns the next review, `Timeout` if none arrives in time, or `Disconnected` when the queue
    /// was dropped.
    pub(crate) fn next(&self, timeout: Duration) -> Result<Arc<Answered>, RecvTimeoutError> {
        let next = self.receiver.recv_timeout(timeout)?;
        self.held.fetch_sub(next.body.len(), Ordering::Relaxed);
        Ok(next)
    }
}
