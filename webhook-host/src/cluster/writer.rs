//! The writer of the inventory: takes events from all watchers in batches, applies them to the
//! index, and publishes the result.
//!
//! A batch is the events that arrive within 50 ms of its first one. So a list of 50,000 Pods is
//! published a few dozen times instead of 50,000 times, and a new namespace is known before the
//! review that waits for it gives up.

use crate::watchers::Watched;
use sallyport_core::inventory::{Event, Index, Kind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// The duration of a batch: a fifth of the time that a review waits for an unknown namespace.
const BATCH_DURATION: Duration = Duration::from_millis(50);

/// The most events that are taken from the queue at once.
const MAX_EVENTS_AT_ONCE: usize = 256;

pub(super) async fn run(mut events: mpsc::Receiver<Event>, watched: Arc<Watched>) {
    let mut index = Index::new();
    let mut taken = Vec::with_capacity(MAX_EVENTS_AT_ONCE);
    while events.recv_many(&mut taken, MAX_EVENTS_AT_ONCE).await > 0 {
        let end = Instant::now() + BATCH_DURATION;
        let mut batch = Batch::default();
        batch.take(&mut taken, &mut index, &watched);
        while let Ok(1..) = timeout_at(end, events.recv_many(&mut taken, MAX_EVENTS_AT_ONCE)).await
        {
            batch.take(&mut taken, &mut index, &watched);
        }
        batch.publish(&index, &watched);
    }
}

/// The effect of a batch of events.
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
        // After publishing, so that a reader who sees the kind as listed sees the list.
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
