//! The one that writes: takes events from all watchers, a batch at a time, and publishes what comes
//! of them.
//!
//! A batch is what arrives within a moment of its first event: a list of 50,000 Pods is published
//! some dozen times, not 50,000 times, and a new namespace is known before the review that waits
//! for it gives up.

use crate::watchers::Watched;
use sallyport_core::inventory::{Event, Index, Kind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// How long a batch is open: a fifth of what a review waits for an unknown namespace.
const BATCH: Duration = Duration::from_millis(50);

/// Events that are taken from the queue at once.
const AT_ONCE: usize = 256;

pub(super) async fn run(mut events: mpsc::Receiver<Event>, watched: Arc<Watched>) {
    let mut index = Index::new();
    let mut taken = Vec::with_capacity(AT_ONCE);
    while events.recv_many(&mut taken, AT_ONCE).await > 0 {
        let end = Instant::now() + BATCH;
        let mut batch = Batch::default();
        batch.take(&mut taken, &mut index, &watched);
        while let Ok(1..) = timeout_at(end, events.recv_many(&mut taken, AT_ONCE)).await {
            batch.take(&mut taken, &mut index, &watched);
        }
        batch.publish(&index, &watched);
    }
}

/// What came of some events.
#[derive(Default)]
struct Batch {
    changed: bool,
    listed: Vec<Kind>,
}

impl Batch {
    fn take(&mut self, events: &mut Vec<Event>, index: &mut Index, watched: &Watched) {
        for event in events.drain(..) {
            let kind = event.kind();
            if let Event::Listed(kind) = event {
                self.listed.push(kind);
            }
            watched.took(kind.resource(), 1);
            self.changed |= index.apply(event);
        }
    }

    fn publish(self, index: &Index, watched: &Watched) {
        if self.changed {
            watched.publish(index);
        }
        // Not before: whoever sees it listed sees the list.
        for kind in self.listed {
            if watched.listed(kind.resource()) {
                tracing::info!(
                    resource = kind.resource(),
                    objects = index.count(kind),
                    "listed"
                );
            }
        }
    }
}
