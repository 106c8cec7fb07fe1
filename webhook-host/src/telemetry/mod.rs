//! OpenTelemetry: a span for each sampled review, in the trace of the API server, and the metrics
//! of `/metrics`, sent to a collector (OTLP over HTTP).
//!
//! Without an endpoint, neither threads nor queue exist. A request puts its review into a bounded
//! queue and never waits; the thread `spans` makes spans of reviews, and the thread `otlp` sends
//! spans and metrics (`sending`). Started by `cli`, fed by `server`.

mod client;
mod endpoint;
mod exposition;
mod messages;
mod sampler;
mod sending;
mod spans;

pub use endpoint::{Endpoint, headers, pairs};
pub use sampler::Sampler;

use crate::live::Live;
use crate::metrics::Recorded;
use crate::observers::{Answered, Queue, queue};
use crate::trace_context::TraceContext;
use client::Client;
use hyper::header::HeaderMap;
use messages::{KeyValue, Resource};
use prometheus_client::metrics::counter::Counter;
use rustls::ClientConfig;
use sending::Signal;
use spans::{Batcher, MAX_WAITING_BATCHES};
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, watch};

/// The signals to send, and their addresses.
pub struct Config {
    /// The address for spans, if they are wanted.
    pub traces: Option<Target>,
    /// The address for metrics, if they are wanted.
    pub metrics: Option<Target>,
    /// The TLS of addresses with `https`.
    pub tls: ClientConfig,
    /// The time for one request.
    pub timeout: Duration,
    /// The time between two readings of the metrics.
    pub interval: Duration,
    /// The rule by which reviews get a span.
    pub sampler: Sampler,
    /// The attributes of this host (`service.name` and the like).
    pub resource: BTreeMap<String, String>,
}

/// An address of a collector with the headers of each request to it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The URL of one signal.
    pub endpoint: Endpoint,
    /// Headers, such as one with a token.
    pub headers: HeaderMap,
}

/// Running exporters.
pub struct Telemetry {
    spans: Option<Spans>,
    /// Ends the thread `spans`.
    is_ending: Arc<AtomicBool>,
    /// Ends the tasks of the thread `otlp`, after the batches that are still to come.
    ending: watch::Sender<bool>,
    sender: JoinHandle<()>,
}

/// The entrance for reviews.
struct Spans {
    queue: Queue,
    sampler: Sampler,
    dropped: Counter,
}

impl Telemetry {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// Fails when the process can't start another thread.
    pub fn start(config: Config, live: &Arc<Live>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let resource = resource(&config.resource);
        let signal = |target: Target, noun, counts| {
            let Target { endpoint, headers } = target;
            let client = Client::new(endpoint, headers, config.tls.clone(), config.timeout);
            Signal::new(client, resource.clone(), noun, counts)
        };
        let (ending, is_ended) = watch::channel(false);
        let is_ending = Arc::new(AtomicBool::new(false));
        let counts = &live.metrics().records.otlp_spans;
        let mut spans = None;
        let mut traces = None;
        if let Some(target) = config.traces {
            let (batches, waiting_batches) = mpsc::channel(MAX_WAITING_BATCHES);
            let (queue, waiting) = queue();
            let dropped = counts.get_or_create_owned(&Recorded { result: "dropped" });
            let batcher = Batcher::new(batches, dropped.clone(), Arc::clone(&is_ending));
            std::thread::Builder::new()
                .name("spans".into())
                .spawn(move || batcher.run(&waiting))?;
            spans = Some(Spans {
                queue,
                sampler: config.sampler,
                dropped,
            });
            traces = Some((signal(target, "spans", counts), waiting_batches));
        }
        let readings = &live.metrics().records.otlp_metrics;
        let metrics = config
            .metrics
            .map(|target| signal(target, "metrics", readings));
        let live = Arc::clone(live);
        let send_spans = {
            let ended = is_ended.clone();
            async move {
                if let Some((signal, batches)) = traces {
                    signal.send_spans(batches, ended).await;
                }
            }
        };
        let send_metrics = async move {
            if let Some(signal) = metrics {
                signal.send_metrics(live, config.interval, is_ended).await;
            }
        };
        let sender = std::thread::Builder::new()
            .name("otlp".into())
            .spawn(move || {
                runtime.block_on(async { tokio::join!(send_spans, send_metrics) });
            })?;
        Ok(Self {
            spans,
            is_ending,
            ending,
            sender,
        })
    }

    /// Returns true if a review with this caller gets a span.
    pub(crate) fn samples(&self, caller: Option<&TraceContext>) -> bool {
        let spans = self.spans.as_ref();
        spans.is_some_and(|spans| spans.sampler.samples(caller))
    }

    /// Queues a review for its span, or counts it as dropped.
    pub(crate) fn take(&self, answered: &Arc<Answered>) {
        if let Some(spans) = &self.spans
            && !spans.queue.offer(answered)
        {
            spans.dropped.inc();
        }
    }

    /// Sends what is queued and the last reading of the metrics, for as long as the timeout allows.
    pub fn finish(&self, timeout: Duration) {
        const LOOK: Duration = Duration::from_millis(10);
        let began = Instant::now();
        self.is_ending.store(true, Ordering::Relaxed);
        self.ending.send_replace(true);
        while !self.sender.is_finished() {
            if began.elapsed() > timeout {
                tracing::warn!(
                    "some spans or metrics are lost: sending them takes more than {timeout:?}"
                );
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn resource(attributes: &BTreeMap<String, String>) -> Resource {
    let attributes = attributes.iter();
    Resource {
        attributes: attributes
            .map(|(key, value)| KeyValue::new(key, value.as_str()))
            .collect(),
    }
}

/// Returns nanoseconds since 1970.
fn nanos(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a random number other than 0. Ids need to be unique and may be guessed.
pub(crate) fn random() -> u64 {
    // The standard library's source of distinct keys for hash tables.
    RandomState::new().build_hasher().finish().max(1)
}
