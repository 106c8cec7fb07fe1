//! The thread that makes spans of answered reviews, and passes them on in batches.
//!
//! Invariants: a request never waits for a span. A review that finds the queue full, and a span
//! that finds too many unsent batches, is counted as dropped. A span quotes no more of a review
//! than a line of the decision log does, and says nothing of the user.

use super::messages::{AnyValue, ERROR, Event, KeyValue, SERVER, Span, Status};
use super::{nanos, random};
use crate::metrics;
use crate::observers::{Answered, QueueReader};
use crate::trace_context::TraceContext;
use prometheus_client::metrics::counter::Counter;
use sallyport_core::admission::{Evaluation, Function};
use sallyport_core::manifest::Mode;
use sallyport_core::policy::Policy;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// The most spans of a request to the collector.
pub(super) const MAX_BATCH: usize = 512;

/// The most batches that wait while one is being sent.
pub(super) const MAX_WAITING_BATCHES: usize = 4;

/// The longest time that a span waits for others, unless a batch waits already.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// The interval at which an idle thread checks if it should end.
const TICK: Duration = Duration::from_millis(100);

/// The rest after each look at the queue, so that requests don't wake the thread each time. The
/// queue has room for the reviews of 5 ms.
const REST: Duration = Duration::from_millis(5);

/// The most events of a span. Policies beyond that are only counted.
const MAX_EVENTS: usize = 32;

/// The most rules that an attribute lists.
const MAX_RULES: usize = 32;

/// The flags that `traceparent` has for a sampled span.
const SAMPLED: u32 = 1;

/// `SpanFlags`: it is known if the parent is of another process.
const HAS_IS_REMOTE: u32 = 0x100;

/// `SpanFlags`: the parent is of another process.
const IS_REMOTE: u32 = 0x200;

/// The thread's state.
pub(super) struct Batcher {
    batches: Sender<Vec<Span>>,
    dropped: Counter,
    is_ending: Arc<AtomicBool>,
    batch: Vec<Span>,
    since: Instant,
}

impl Batcher {
    pub(super) fn new(
        batches: Sender<Vec<Span>>,
        dropped: Counter,
        is_ending: Arc<AtomicBool>,
    ) -> Self {
        Self {
            batches,
            dropped,
            is_ending,
            batch: vec![],
            since: Instant::now(),
        }
    }

    /// Runs until the host ends and the queue is empty.
    pub(super) fn run(mut self, waiting: &QueueReader) {
        loop {
            match waiting.next(TICK) {
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if self.is_ending.load(Ordering::Relaxed) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(answered) => {
                    let mut next = Some(answered);
                    while let Some(answered) = next {
                        self.add(&answered);
                        next = waiting.next(Duration::ZERO).ok();
                    }
                    std::thread::sleep(REST);
                }
            }
            let is_due = !self.batch.is_empty() && self.since.elapsed() >= BATCH_TIME;
            if is_due && self.none_waits() {
                self.hand_over();
            }
        }
        if !self.batch.is_empty() {
            let spans = self.batch.len();
            if self.batches.blocking_send(self.batch).is_err() {
                self.dropped.inc_by(spans as u64);
            }
        }
    }

    fn add(&mut self, answered: &Answered) {
        if self.batch.len() >= MAX_BATCH {
            self.hand_over();
        }
        if self.batch.len() >= MAX_BATCH {
            self.dropped.inc();
            return;
        }
        if self.batch.is_empty() {
            self.since = Instant::now();
        }
        // A panic on one review must not end the thread.
        match catch_unwind(AssertUnwindSafe(|| span(answered))) {
            Ok(span) => self.batch.push(span),
            Err(_) => {
                self.dropped.inc();
            }
        }
    }

    /// Returns true if no earlier batch waits. While one does, the current batch may fill up.
    fn none_waits(&self) -> bool {
        self.batches.capacity() == MAX_WAITING_BATCHES
    }

    /// Hands the batch to the task that sends, or keeps it while that has no room.
    fn hand_over(&mut self) {
        match self.batches.try_send(std::mem::take(&mut self.batch)) {
            Ok(()) => {}
            Err(TrySendError::Full(batch)) => self.batch = batch,
            Err(TrySendError::Closed(batch)) => {
                self.dropped.inc_by(batch.len() as u64);
            }
        }
    }
}

/// Makes the span of a review.
fn span(answered: &Answered) -> Span {
    let evaluations = &answered.outcome.evaluations;
    let (start, end) = (nanos(answered.now), nanos(answered.now + answered.took));
    let failed = evaluations
        .iter()
        .filter(|part| part.error.is_some())
        .count();
    let route = match answered.function {
        Function::Mutate => "/mutate",
        Function::Validate(_) => "/validate",
    };
    let events = evaluations.iter().take(MAX_EVENTS);
    Span {
        name: format!("POST {route}"),
        kind: SERVER,
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        attributes: attributes(answered, route),
        events: events.map(|part| event(part, end)).collect(),
        dropped_events_count: count(evaluations.len().saturating_sub(MAX_EVENTS)),
        status: (failed > 0).then(|| Status {
            message: format!("{failed} of {} policies had no verdict", evaluations.len()),
            code: ERROR,
        }),
        ..identity(answered.trace.as_ref())
    }
}

/// Returns a span with its ids: in the caller's trace, or in one of its own.
fn identity(caller: Option<&TraceContext>) -> Span {
    let trace_id = caller.map_or_else(
        || u128::from(random()) << 64 | u128::from(random()),
        |caller| caller.trace_id.0,
    );
    let parent = caller.map(|caller| caller.parent.0.to_be_bytes().to_vec());
    let remote = if caller.is_some() { IS_REMOTE } else { 0 };
    Span {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: random().to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        flags: SAMPLED | HAS_IS_REMOTE | remote,
        ..Span::default()
    }
}

fn attributes(answered: &Answered, route: &'static str) -> Vec<KeyValue> {
    let (request, outcome) = (&answered.request, &answered.outcome);
    let mut attributes = vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("http.route", route),
        KeyValue::new("http.response.status_code", 200_u64),
        KeyValue::new("k8s.namespace.name", request.namespace.as_str()),
        KeyValue::new("sallyport.name", request.name.as_str()),
        KeyValue::new("sallyport.uid", request.uid.as_str()),
        KeyValue::new("sallyport.operation", request.operation.as_str()),
        KeyValue::new("sallyport.verdict", metrics::result(outcome)),
        KeyValue::new("sallyport.allowed", outcome.response.allowed),
        KeyValue::new("sallyport.policies", outcome.evaluations.len()),
        KeyValue::new("sallyport.set", answered.set.digest()),
        KeyValue::new("sallyport.generation", answered.set.generation),
    ];
    if let Some(sub_resource) = &request.sub_resource {
        attributes.push(KeyValue::new(
            "sallyport.sub_resource",
            sub_resource.as_str(),
        ));
    }
    if request.is_dry_run {
        attributes.push(KeyValue::new("sallyport.dry_run", true));
    }
    if let Some(exemption) = &outcome.exemption {
        attributes.push(KeyValue::new("sallyport.exemption", exemption.name()));
    }
    if outcome.malformed.is_some() {
        attributes.push(KeyValue::new("sallyport.malformed", true));
    }
    if let Some(denial) = &outcome.response.denial {
        let policies = denying(answered.set.admission.policies(), &outcome.evaluations);
        let rules: BTreeSet<_> = denial.causes.iter().map(|cause| &*cause.reason).collect();
        let rules = rules.into_iter().take(MAX_RULES);
        attributes.extend([
            KeyValue::new("sallyport.denied_by", policies),
            KeyValue {
                key: "sallyport.denied_rules".to_owned(),
                value: Some(rules.collect()),
            },
        ]);
    }
    attributes
}

/// Returns the names of the policies whose violations deny.
fn denying(policies: &[Arc<Policy>], evaluations: &[Evaluation]) -> AnyValue {
    let enforces = |name: &str| {
        let policy = policies.iter().find(|policy| **policy.name() == *name);
        policy.is_some_and(|policy| policy.manifest().spec.mode == Mode::Enforce)
    };
    let denying = evaluations
        .iter()
        .filter(|part| !part.violations.is_empty() || part.error.is_some())
        .map(|part| &*part.policy);
    denying
        .filter(|name| enforces(name))
        .take(MAX_EVENTS)
        .collect()
}

/// Returns the event of one policy. Only its duration is known, so its time is the answer's.
fn event(evaluation: &Evaluation, time: u64) -> Event {
    let micros = u64::try_from(evaluation.elapsed.as_micros()).unwrap_or(u64::MAX);
    let mut attributes = vec![
        KeyValue::new("sallyport.policy", &*evaluation.policy),
        KeyValue::new("sallyport.duration_us", micros),
        KeyValue::new("sallyport.violations", evaluation.violations.len()),
    ];
    if !evaluation.violations.is_empty() {
        let violations = evaluation.violations.iter();
        let rules: BTreeSet<_> = violations.map(|violation| &*violation.rule).collect();
        attributes.push(KeyValue {
            key: "sallyport.rules".to_owned(),
            value: Some(rules.into_iter().take(MAX_RULES).collect()),
        });
    }
    if !evaluation.kept.is_empty() {
        attributes.push(KeyValue::new("sallyport.kept", evaluation.kept.len()));
    }
    if let Some(error) = &evaluation.error {
        attributes.push(KeyValue::new("sallyport.error", error.kind()));
    }
    Event {
        time_unix_nano: time,
        name: "sallyport.policy".to_owned(),
        attributes,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
