//! What was answered and waits for a thread in the background: bounded by number and by bytes, and
//! never waited for.
//!
//! The hot path hands over and goes on; what doesn't fit is the caller's to count. Used by `shadow`
//! and `recorder`.

use crate::large_body::BodyLock;
use crate::live::Set;
use bytes::Bytes;
use sallyport_core::admission::{Function, Outcome};
use sallyport_core::inventory::Inventory;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// Reviews that may wait: some hundredths of a second of a busy cluster.
const MAX_WAITING: usize = 1024;

/// Bytes of bodies that may wait, beside those of requests in flight: `Limits::held` does not
/// count them.
const MOST_BYTES: usize = 16 << 20;

/// A review with its answer, and all that it was answered by.
pub(crate) struct Answered {
    pub(crate) function: Function,
    pub(crate) body: Bytes,
    /// Of the body, for whoever reads it once more.
    pub(crate) lock: BodyLock,
    /// When it arrived, as policies saw it.
    pub(crate) now: SystemTime,
    pub(crate) set: Arc<Set>,
    /// As policies saw it: watchers may have told more since.
    pub(crate) inventory: Inventory,
    pub(crate) outcome: Outcome,
}

/// The end that requests see.
pub(crate) struct Queue {
    sender: SyncSender<Arc<Answered>>,
    held: Arc<AtomicUsize>,
}

/// The end that a thread reads.
pub(crate) struct Waiting {
    receiver: Receiver<Arc<Answered>>,
    held: Arc<AtomicUsize>,
}

/// Both ends.
pub(crate) fn queue() -> (Queue, Waiting) {
    let (sender, receiver) = sync_channel(MAX_WAITING);
    let held = Arc::new(AtomicUsize::new(0));
    (
        Queue {
            sender,
            held: Arc::clone(&held),
        },
        Waiting { receiver, held },
    )
}

impl Queue {
    /// Whether there was room for it.
    #[must_use]
    pub(crate) fn offer(&self, answered: &Arc<Answered>) -> bool {
        let bytes = answered.body.len();
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits =
            before + bytes <= MOST_BYTES && self.sender.try_send(Arc::clone(answered)).is_ok();
        if !fits {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl Waiting {
    /// The next one, or `Timeout`, or `Disconnected` when nothing can come any more.
    pub(crate) fn next(&self, patience: Duration) -> Result<Arc<Answered>, RecvTimeoutError> {
        let next = self.receiver.recv_timeout(patience)?;
        self.held.fetch_sub(next.body.len(), Ordering::Relaxed);
        Ok(next)
    }
}
