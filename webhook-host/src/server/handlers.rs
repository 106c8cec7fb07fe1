//! `POST /validate` and `POST /mutate`: one AdmissionReview in, one out.
//!
//! A request that is no AdmissionReview gets a 4xx status and a sentence that says what to do; the
//! API server's `failurePolicy` decides then. Evaluation runs inline on the worker: it takes
//! microseconds, and each policy has its own deadline.

mod gate;

pub use gate::PolicyCheck;

use super::capacity::{BodyMemory, Capacity};
use super::limits::Limits;
use super::peer::Peer;
use super::received::Received;
use super::refusal::Refusal;
use super::timeout;
use super::weight;
use crate::events::Denials;
use crate::large_body::{BodyGuard, BodyLock};
use crate::live::Live;
use crate::metrics::TimedOut;
use crate::observers::{Answered, LineWriter, Recent, Shadow};
use crate::record::Summary;
use crate::telemetry::Telemetry;
use crate::trace_context::{TRACEPARENT, TraceContext};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use gate::Gate;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use sallyport_core::admission::{AdmissionRequest, Clock, Function, Outcome};
use sallyport_core::contract::review::Phase;
use sallyport_core::excerpt::{MAX_MESSAGE, cut, excerpt};
use sallyport_core::inventory::Kind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The bytes of a refused body that are read and discarded before the connection is closed.
const MAX_DISCARDED_BYTES: usize = 64 << 20;

/// The largest JSON tree of a body, in estimated bytes. A Service with 5,000 ports takes some 20
/// MiB in an update when one field manager owns them all.
const MAX_TREE_BYTES: usize = 32 << 20;

/// Bytes up to which the tree of a body is not estimated.
const SMALL_BODY_BYTES: usize = 16 << 10;

/// The longest wait for a namespace that was created a moment ago: watchers learn of it some
/// milliseconds later, and publish every 50 ms.
const NAMESPACE_WAIT: Duration = Duration::from_millis(250);

/// The state that all requests share.
struct App {
    live: Arc<Live>,
    capacity: Arc<Capacity>,
    shadow: Shadow,
    recorder: Option<Arc<LineWriter>>,
    decision_log: Option<Arc<LineWriter>>,
    telemetry: Option<Arc<Telemetry>>,
    denials: Option<Arc<Denials>>,
    recent: Option<Arc<Recent>>,
    gate: Option<Gate>,
    body_limit: usize,
    body_time: Duration,
}

/// The parts of a request's head that the handlers need.
struct RequestHead {
    peer: Arc<Peer>,
    /// The body's length by `Content-Length`.
    content_length: Option<usize>,
    trace: Option<TraceContext>,
    /// The time for the review, or the refusal of a malformed `?timeout=` or Content-Type.
    time: Result<Duration, Refusal>,
}

/// A complete body that may be parsed now: if it is large, under the large-body lock.
struct CompleteBody {
    body: Bytes,
    lock: BodyLock,
    guard: BodyGuard,
}

/// Optional features of a server.
#[derive(Default)]
pub struct Extras {
    /// The check behind `/validate-policies`. `None`: the path does not exist.
    pub check: Option<PolicyCheck>,
    /// Records answered reviews, if set.
    pub recorder: Option<Arc<LineWriter>>,
    /// Writes a line for each decision, if set.
    pub decision_log: Option<Arc<LineWriter>>,
    /// Sends a span for each sampled review, if set.
    pub telemetry: Option<Arc<Telemetry>>,
    /// Writes Events about denials, if set.
    pub denials: Option<Arc<Denials>>,
    /// Keeps recent denials and divergences for the live console, if set.
    pub recent: Option<Arc<Recent>>,
}

pub(super) fn router(
    live: Arc<Live>,
    capacity: Arc<Capacity>,
    limits: &Limits,
    extras: Extras,
) -> Router {
    let gate = extras.check.map(Gate::new);
    let (routes, paths) = match gate {
        None => (Router::new(), "there are only /validate and /mutate here"),
        Some(_) => (
            Router::new().route("/validate-policies", post(gate::validate_policies)),
            "there are only /validate, /mutate and /validate-policies here",
        ),
    };
    let shadow = Shadow::start(extras.recent.clone()).expect("a process can start one more thread");
    let app = App {
        live,
        capacity,
        shadow,
        recorder: extras.recorder,
        decision_log: extras.decision_log,
        telemetry: extras.telemetry,
        denials: extras.denials,
        recent: extras.recent,
        gate,
        body_limit: limits.body,
        body_time: limits.body_time,
    };
    routes
        .route("/validate", post(validate))
        .route("/mutate", post(mutate))
        .method_not_allowed_fallback(
            async |State(app): State<Arc<App>>, request: Request<Body>| {
                app.refuse(
                    request,
                    Refusal::new(
                        StatusCode::METHOD_NOT_ALLOWED,
                        "method",
                        "send an AdmissionReview by POST",
                    ),
                )
                .await
            },
        )
        .fallback(
            async move |State(app): State<Arc<App>>, request: Request<Body>| {
                app.refuse(request, Refusal::new(StatusCode::NOT_FOUND, "path", paths))
                    .await
            },
        )
        .with_state(Arc::new(app))
}

async fn validate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.answer(Function::Validate(Phase::Validating), request)
        .await
}

async fn mutate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.answer(Function::Mutate, request).await
}

impl App {
    async fn answer(&self, function: Function, request: Request<Body>) -> Response {
        let arrived = Instant::now();
        let (head, mut body) = RequestHead::split(request);
        let result = self.review(function, &head, &mut body, arrived).await;
        self.respond(&head.peer, result, &mut body).await
    }

    async fn respond(
        &self,
        peer: &Arc<Peer>,
        result: Result<Vec<u8>, Refusal>,
        body: &mut Body,
    ) -> Response {
        match result {
            Ok(body) => (
                [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
                body,
            )
                .into_response(),
            Err(refusal) => {
                // A client whose body timed out won't send the rest now.
                if refusal.status != StatusCode::REQUEST_TIMEOUT {
                    self.discard(peer, body).await;
                }
                self.count(refusal)
            }
        }
    }

    async fn refuse(&self, request: Request<Body>, refusal: Refusal) -> Response {
        let (head, mut body) = RequestHead::split(request);
        self.discard(&head.peer, &mut body).await;
        self.count(refusal)
    }

    fn count(&self, refusal: Refusal) -> Response {
        self.live
            .metrics()
            .connections
            .refused(refusal.status.as_u16(), refusal.reason);
        tracing::debug!(
            status = refusal.status.as_u16(),
            "refused: {}",
            excerpt(&refusal.sentence)
        );
        refusal.into_response()
    }

    async fn review(
        &self,
        function: Function,
        head: &RequestHead,
        body: &mut Body,
        arrived: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let (now, deadline) = (SystemTime::now(), arrived + head.time.clone()?);
        self.capacity.check(&head.peer)?;
        let mut memory = self.capacity.body_memory(&head.peer);
        let received = self.read(head, body, &mut memory).await?;
        let slot = self.capacity.slot(&head.peer)?;
        let CompleteBody { body, lock, guard } = self.complete(received, deadline).await?;
        let review = parse(&body)?;
        self.await_namespace(function, &review, deadline).await;
        let permit = slot.evaluation_permit(deadline).await?;
        // Loaded once, so that the response comes from one set.
        let set = self.live.set();
        let telemetry = self.telemetry.as_ref();
        let traced = telemetry.filter(|telemetry| telemetry.samples(head.trace.as_ref()));
        let is_observed = set.has_candidates()
            || self.recorder.is_some()
            || self.decision_log.is_some()
            || traced.is_some();
        let snapshot = is_observed.then(|| set.admission.inventory().as_of_now());
        let summary = is_observed.then(|| Summary::of(&review));
        let inventory = snapshot
            .as_ref()
            .unwrap_or_else(|| set.admission.inventory());
        let clock = Clock {
            now,
            deadline: deadline.into(),
        };
        let admission = &set.admission;
        let outcome = admission.review_with(inventory, function, &review, clock);
        let took = arrived.elapsed();
        set.count(self.live.metrics(), function, &review, &outcome, took);
        log(&review, &outcome);
        if let Some(denials) = &self.denials {
            denials.offer(&review, &outcome);
        }
        let answer = outcome.response.to_json();
        drop((permit, guard));
        let is_shown = self.recent.is_some() && outcome.response.denial.is_some();
        // The console's recent denials don't show the inventory, so the current one is enough.
        let shown = || (set.admission.inventory().as_of_now(), Summary::of(&review));
        let observed = snapshot.zip(summary).or_else(|| is_shown.then(shown));
        if let Some((inventory, request)) = observed {
            let set = Arc::clone(&set);
            let answered = Arc::new(Answered {
                function,
                request,
                body,
                lock,
                now,
                set,
                inventory,
                outcome,
                took,
                trace: head.trace,
            });
            self.notify_observers(&answered);
            if let Some(telemetry) = traced {
                telemetry.take(&answered);
            }
        }
        Ok(answer)
    }

    /// Passes an answered review to the observers: the shadow, the recorder, the decision log and
    /// the console's recent denials.
    fn notify_observers(&self, answered: &Arc<Answered>) {
        if answered.set.has_candidates() {
            self.shadow.ask(answered);
        }
        for writer in [&self.recorder, &self.decision_log].into_iter().flatten() {
            writer.take(answered);
        }
        if let Some(recent) = &self.recent {
            recent.take(answered);
        }
    }

    /// Waits up to `NAMESPACE_WAIT` for a namespace that is not in the inventory yet. A namespace
    /// that stays unknown matches every selector.
    async fn await_namespace(
        &self,
        function: Function,
        review: &AdmissionRequest<'_>,
        deadline: Instant,
    ) {
        let Some(watched) = self.live.watched() else {
            return;
        };
        let lacks = self.live.set().admission.lacks_namespace(function, review);
        if !lacks || !watched.is_synced(Kind::Namespaces) {
            return;
        }
        // At most half of the remaining time: the policies need some of it.
        let timeout = NAMESPACE_WAIT.min(deadline.saturating_duration_since(Instant::now()) / 2);
        let known = watched.namespace_known(review.namespace());
        let is_known = tokio::time::timeout(timeout, known).await.is_ok();
        self.live.metrics().awaited_namespace(is_known);
    }

    /// Reads the body, which takes memory permits as it arrives.
    async fn read(
        &self,
        head: &RequestHead,
        body: &mut Body,
        memory: &mut BodyMemory<'_>,
    ) -> Result<Received, Refusal> {
        if head
            .content_length
            .is_some_and(|length| length > self.body_limit)
        {
            return Err(self.too_large());
        }
        let _waits = head.peer.wait_for_body();
        match tokio::time::timeout(self.body_time, self.collect(body, memory)).await {
            Ok(read) => read,
            Err(_) => {
                self.live.metrics().connections.timed_out(TimedOut::Body);
                let sentence = format!("the body took longer than {:?}", self.body_time);
                Err(Refusal::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "body-time",
                    sentence,
                ))
            }
        }
    }

    async fn collect(
        &self,
        body: &mut Body,
        memory: &mut BodyMemory<'_>,
    ) -> Result<Received, Refusal> {
        let mut received = Received::default();
        while let Some(frame) = body.frame().await {
            let ended_early =
                |error| Refusal::bad_request("body", format!("the body ended early: {error}"));
            let Ok(data) = frame.map_err(ended_early)?.into_data() else {
                continue;
            };
            let length = received.len() + data.len();
            if length > self.body_limit {
                return Err(self.too_large());
            }
            memory.grow(length).await?;
            received.push(data);
        }
        Ok(received)
    }

    /// Joins a received body, and takes the large-body lock first if it is large: joining,
    /// unescaping and parsing take its bytes several times.
    async fn complete(
        &self,
        received: Received,
        deadline: Instant,
    ) -> Result<CompleteBody, Refusal> {
        let by_length = self.capacity.body_lock(received.len(), 0);
        let guard = by_length.acquire(deadline).await?;
        let body = received.join();
        let lock = self.body_lock(&body)?;
        let guard = if guard.is_exclusive() {
            guard
        } else {
            lock.acquire(deadline).await?
        };
        Ok(CompleteBody { body, lock, guard })
    }

    /// Returns the lock that a body needs before it is parsed; refuses a body whose tree would be
    /// too large.
    fn body_lock(&self, body: &[u8]) -> Result<BodyLock, Refusal> {
        let tree_bytes = if body.len() <= SMALL_BODY_BYTES {
            0
        } else {
            weight::tree_bytes(body)
        };
        if tree_bytes > MAX_TREE_BYTES {
            Err(tree_too_large("the body", tree_bytes, MAX_TREE_BYTES))
        } else {
            Ok(self.capacity.body_lock(body.len(), tree_bytes))
        }
    }

    fn too_large(&self) -> Refusal {
        let limit = self.body_limit;
        let sentence = format!(
            "the body has more than {limit} bytes; raise --body-limit if this is a real object"
        );
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body-size", sentence)
    }

    /// Reads and discards the rest of a body for a while, so that the client can read the refusal:
    /// an HTTP/2 stream whose request is dropped is reset, and its response is lost.
    async fn discard(&self, peer: &Arc<Peer>, body: &mut Body) {
        if body.is_end_stream() {
            return;
        }
        let _waits = peer.wait_for_body();
        let read_on = async {
            let mut left = MAX_DISCARDED_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(self.body_time, read_on).await;
    }
}

fn tree_too_large(what: &str, tree_bytes: usize, max: usize) -> Refusal {
    let sentence = format!(
        "parsing {what} would take about {} MiB of memory, and at most {} MiB are allowed: it has \
         too many members and items",
        tree_bytes.div_ceil(1 << 20),
        max >> 20
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body-weight", sentence)
}

fn parse(body: &[u8]) -> Result<AdmissionRequest<'_>, Refusal> {
    AdmissionRequest::parse(body).map_err(|error| Refusal::bad_request("review", error.to_string()))
}

impl RequestHead {
    /// Splits a request into its body and the parts of its head that matter. The rest of the head
    /// is dropped at once, since it takes memory.
    fn split(request: Request<Body>) -> (Self, Body) {
        let (mut parts, body) = request.into_parts();
        let peer = parts
            .extensions
            .remove::<Arc<Peer>>()
            .expect("`connection` adds the peer to every request");
        let content_length = parts.headers.get(CONTENT_LENGTH);
        let content_length = content_length.and_then(|length| length.to_str().ok()?.parse().ok());
        (
            Self {
                peer,
                content_length,
                trace: trace(&parts.headers),
                time: time_to_answer(&parts),
            },
            body,
        )
    }
}

fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
}

fn time_to_answer(head: &Parts) -> Result<Duration, Refusal> {
    let time = timeout::time_to_answer(head.uri.query())
        .map_err(|sentence| Refusal::bad_request("timeout-parameter", sentence))?;
    check_content_type(&head.headers)?;
    Ok(time)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let found = headers
        .get(CONTENT_TYPE)
        .and_then(|found| found.to_str().ok())
        .unwrap_or_default();
    let media_type = found.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let sentence = format!(
        "Content-Type: expected application/json, found {:?}",
        excerpt(found)
    );
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content-type",
        sentence,
    ))
}

/// Logs denials, policies without a verdict, and requests that break-glass excused. Text that
/// clients wrote is shortened.
fn log(request: &AdmissionRequest<'_>, outcome: &Outcome) {
    let (uid, user) = (&*request.uid, || excerpt(&request.user_info.username));
    let (namespace, name) = (|| excerpt(request.namespace()), || excerpt(request.name()));
    for evaluation in &outcome.evaluations {
        if let Some(error) = &evaluation.error {
            tracing::error!(
                policy = &*evaluation.policy,
                kind = error.kind(),
                uid,
                namespace = &*namespace(),
                name = &*name(),
                "no verdict: {}",
                cut(&error.to_string(), MAX_MESSAGE)
            );
        }
    }
    if let Some(grant) = &outcome.break_glass {
        let (until, reason) = (grant.until, excerpt(&grant.reason));
        tracing::warn!(
            uid,
            namespace = &*namespace(),
            name = &*name(),
            user = &*user(),
            %until,
            reason = &*reason,
            "excused by break-glass"
        );
    }
    match &outcome.response.denial {
        Some(denial) => {
            let message = cut(&denial.message, MAX_MESSAGE).replace('\n', " | ");
            tracing::info!(
                uid,
                namespace = &*namespace(),
                name = &*name(),
                user = &*user(),
                "denied: {message}"
            );
        }
        None => tracing::debug!(
            uid,
            namespace = &*namespace(),
            name = &*name(),
            exempt = ?outcome.exemption,
            "allowed"
        ),
    }
}
