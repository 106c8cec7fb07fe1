//! Denials as Events on the Service, limited in rate: a client that tries again and again must not
//! fill etcd.

use super::warning;
use crate::metrics::{Metrics, Recorded};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::Event;
use prometheus_client::metrics::counter::Counter;
use sallyport_core::admission::{AdmissionRequest, Outcome};
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// The largest number of denials that wait to be written.
const MAX_QUEUED: usize = 64;

/// The denials that may come at once, and those that may follow in a second: as many Events as one
/// client of Kubernetes may write about one object at once, and 1,800 in an hour.
const BURST: f64 = 25.0;
const PER_SECOND: f64 = 0.5;

/// The entrance for denials.
pub struct Denials {
    queue: mpsc::Sender<Denial>,
    bucket: Mutex<Bucket>,
    dropped: Counter,
}

/// A denied Service.
#[derive(Debug)]
pub(super) struct Denial {
    namespace: String,
    name: String,
    /// Absent when the Service was to be created.
    uid: Option<String>,
    note: String,
}

/// A token bucket.
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Denials {
    pub(super) fn new(metrics: &Metrics) -> (Self, mpsc::Receiver<Denial>) {
        let (queue, received) = mpsc::channel(MAX_QUEUED);
        let bucket = Bucket {
            tokens: BURST,
            filled: Instant::now(),
        };
        let result = "dropped";
        (
            Self {
                queue,
                bucket: Mutex::new(bucket),
                dropped: metrics
                    .records
                    .events
                    .get_or_create_owned(&Recorded { result }),
            },
            received,
        )
    }

    /// Queues a denial. A dry run has none, since nothing was to be stored.
    pub(crate) fn offer(&self, request: &AdmissionRequest<'_>, outcome: &Outcome) {
        let Some(denial) = &outcome.response.denial else {
            return;
        };
        if request.dry_run.unwrap_or_default() {
            return;
        }
        let has_token = self
            .bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now());
        let denial = || Denial {
            namespace: request.namespace().to_owned(),
            name: request.name().to_owned(),
            uid: uid(request),
            note: denial.message.clone(),
        };
        if !has_token || self.queue.try_send(denial()).is_err() {
            self.dropped.inc();
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * PER_SECOND).min(BURST);
        self.filled = now;
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}

impl Denial {
    pub(super) fn event(&self) -> Event {
        warning("ServiceDenied", "Admit", &self.note)
    }

    pub(super) fn regarding(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(self.namespace.clone()),
            name: (!self.name.is_empty()).then(|| self.name.clone()),
            uid: self.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

#[derive(Deserialize)]
struct Identified {
    metadata: Uid,
}

#[derive(Deserialize)]
struct Uid {
    uid: Option<String>,
}

/// Returns the uid of a Service that exists.
fn uid(request: &AdmissionRequest<'_>) -> Option<String> {
    let old: Identified = serde_json::from_str(request.old_object?.get()).ok()?;
    old.metadata.uid
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_and_then_one_every_two_seconds() {
        let start = Instant::now();
        let mut bucket = Bucket {
            tokens: BURST,
            filled: start,
        };
        let passed = (0..100).filter(|_| bucket.take(start)).count();
        assert_eq!(passed, 25);
        assert!(!bucket.take(start + Duration::from_secs(1)));
        assert!(bucket.take(start + Duration::from_secs(2)));
        assert!(!bucket.take(start + Duration::from_secs(2)));
    }
}
