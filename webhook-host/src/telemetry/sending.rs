//! The tasks that send batches of spans, and the metrics at an interval.
//!
//! Invariants: one request at a time for each signal; a batch of spans is tried at most
//! [`MAX_ATTEMPTS`] times and then counted as failed; metrics are not tried again, since the next
//! reading has all of them. Failures are logged when they begin and then at most once a minute.

use super::client::{Client, Retry, SendError};
use super::exposition::{Times, metrics};
use super::messages::{
    MetricsRequest, Resource, ResourceMetrics, ResourceSpans, Scope, ScopeMetrics, ScopeSpans,
    Span, TracesRequest,
};
use super::nanos;
use crate::live::Live;
use crate::metrics::{Recorded, RecordedReviews};
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prost::Message as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

/// The attempts to send one batch of spans.
const MAX_ATTEMPTS: u32 = 5;

/// The pause before the second attempt; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The shortest interval between two log lines about failures of one signal.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// One signal's way to its collector.
pub(super) struct Signal {
    client: Client,
    resource: Resource,
    noun: &'static str,
    sent: Counter,
    failed: Counter,
    failure_logged: Option<Instant>,
    is_failing: bool,
}

impl Signal {
    pub(super) fn new(
        client: Client,
        resource: Resource,
        noun: &'static str,
        counts: &RecordedReviews,
    ) -> Self {
        let counter = |result| counts.get_or_create_owned(&Recorded { result });
        Self {
            client,
            resource,
            noun,
            sent: counter("sent"),
            failed: counter("failed"),
            failure_logged: None,
            is_failing: false,
        }
    }

    /// Sends batches until there are no more. After `ending` a batch is tried once.
    pub(super) async fn send_spans(
        mut self,
        mut batches: mpsc::Receiver<Vec<Span>>,
        mut ending: watch::Receiver<bool>,
    ) {
        while let Some(spans) = batches.recv().await {
            let count = spans.len() as u64;
            let request = TracesRequest {
                resource_spans: vec![ResourceSpans {
                    resource: Some(self.resource.clone()),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(scope()),
                        spans,
                    }],
                }],
            };
            let body = Bytes::from(request.encode_to_vec());
            drop(request);
            self.send_batch(body, count, &mut ending).await;
        }
    }

    async fn send_batch(&mut self, body: Bytes, count: u64, ending: &mut watch::Receiver<bool>) {
        let mut attempt = 1;
        while let Err(error) = self.send(body.clone(), count).await {
            self.report(&error);
            let Some(retry) = error.retry.filter(|_| attempt < MAX_ATTEMPTS) else {
                self.failed.inc_by(count);
                return;
            };
            let pause = match retry {
                Retry::Backoff => FIRST_PAUSE * (1 << (attempt - 1)),
                Retry::After(pause) => pause,
            };
            let is_ended = ending.wait_for(|is_ending| *is_ending);
            if tokio::time::timeout(pause, is_ended).await.is_ok() {
                self.failed.inc_by(count);
                return;
            }
            attempt += 1;
        }
    }

    /// Sends the metrics at each interval, and once more at the end.
    pub(super) async fn send_metrics(
        mut self,
        live: Arc<Live>,
        interval: Duration,
        mut ending: watch::Receiver<bool>,
    ) {
        let start = nanos(SystemTime::now());
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                _ = ending.wait_for(|is_ending| *is_ending) => true,
            };
            let now = nanos(SystemTime::now());
            let request = MetricsRequest {
                resource_metrics: vec![ResourceMetrics {
                    resource: Some(self.resource.clone()),
                    scope_metrics: vec![ScopeMetrics {
                        scope: Some(scope()),
                        metrics: metrics(&live.metrics_text(), Times { start, now }),
                    }],
                }],
            };
            let body = Bytes::from(request.encode_to_vec());
            if let Err(error) = self.send(body, 1).await {
                self.report(&error);
                self.failed.inc();
            }
            if is_last {
                return;
            }
        }
    }

    /// Sends a message with this many spans, or one reading of all metrics.
    async fn send(&mut self, body: Bytes, count: u64) -> Result<(), SendError> {
        let rejected = self.client.send(body).await?;
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("{} are sent again to {}", self.noun, self.client.endpoint());
        }
        let failed = rejected.as_ref().map_or(0, |part| {
            u64::try_from(part.rejected).unwrap_or_default().min(count)
        });
        self.sent.inc_by(count - failed);
        self.failed.inc_by(failed);
        if let Some(part) = rejected {
            self.log(&format!(
                "it rejects {}: {:?}",
                part.rejected, part.error_message
            ));
        }
        Ok(())
    }

    fn report(&mut self, error: &SendError) {
        if self.log(&error.to_string()) {
            self.is_failing = true;
        }
    }

    /// Logs a failure, unless one was logged within `LOG_INTERVAL`. Returns true if it did.
    fn log(&mut self, problem: &str) -> bool {
        let logged = self.failure_logged;
        let is_due = logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL);
        if is_due {
            self.failure_logged = Some(Instant::now());
            tracing::error!(
                "{} can't be sent to {}: {problem}; further failures are only counted for a minute",
                self.noun,
                self.client.endpoint(),
            );
        }
        is_due
    }
}

fn scope() -> Scope {
    Scope {
        name: "sallyport".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
