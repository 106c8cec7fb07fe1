//! `POST /validate` and `POST /mutate`: one AdmissionReview in, one out.
//!
//! What is no AdmissionReview is answered with 4xx and a sentence that says what to do; the API
//! server's failurePolicy decides then. Evaluation runs inline on the worker: it takes
//! microseconds, and a runaway policy is bounded by its own deadline.

mod gate;

pub use gate::PolicyCheck;

use super::capacity::{Capacity, Room};
use super::limits::Limits;
use super::peer::Peer;
use super::received::Received;
use super::refusal::Refusal;
use super::timeout;
use super::weight;
use crate::large_body::{BodyGuard, BodyLock};
use crate::live::Live;
use crate::metrics::TimedOut;
use crate::observers::{Answered, Recorder, Shadow};
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

/// Bytes of a refused body that are read and forgotten.
const DISCARDED: usize = 64 << 20;

/// Bytes of memory for what a body holds. A Service with 5,000 ports takes some 20 MiB in an
/// update, where one manager owns them.
const HEAVIEST: usize = 32 << 20;

/// Bytes of a body that is not weighed.
const SMALL: usize = 16 << 10;

/// For watchers to tell of a namespace that was created a moment ago: they are some milliseconds
/// behind, and publish every 50 ms.
const NAMESPACE_WAIT: Duration = Duration::from_millis(250);

/// What all requests share.
struct App {
    live: Arc<Live>,
    capacity: Arc<Capacity>,
    shadow: Shadow,
    recorder: Option<Arc<Recorder>>,
    gate: Option<Gate>,
    body_limit: usize,
    body_time: Duration,
}

/// A request without its body.
struct Asked {
    peer: Arc<Peer>,
    /// Bytes that the body has by its head.
    announced: Option<usize>,
    /// How long the answer may take, where the head is as it should be.
    time: Result<Duration, Refusal>,
}

/// A body that something can be made of.
struct Whole {
    body: Bytes,
    lock: BodyLock,
    guard: BodyGuard,
}

/// Duties of a server beside reviews.
#[derive(Default)]
pub struct Extras {
    /// Answers `/validate-policies`; `None`: the server has no such path.
    pub check: Option<PolicyCheck>,
    /// Records answered reviews.
    pub recorder: Option<Arc<Recorder>>,
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
    let shadow = Shadow::start().expect("a process can start one more thread");
    let app = App {
        live,
        capacity,
        shadow,
        recorder: extras.recorder,
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
        let (asked, mut body) = Asked::of(request);
        let result = self.review(function, &asked, &mut body, arrived).await;
        self.respond(&asked.peer, result, &mut body).await
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
                // Who let a body time out will not send the rest now.
                if refusal.status != StatusCode::REQUEST_TIMEOUT {
                    self.discard(peer, body).await;
                }
                self.count(refusal)
            }
        }
    }

    async fn refuse(&self, request: Request<Body>, refusal: Refusal) -> Response {
        let (asked, mut body) = Asked::of(request);
        self.discard(&asked.peer, &mut body).await;
        self.count(refusal)
    }

    fn count(&self, refusal: Refusal) -> Response {
        self.live
            .metrics()
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
        asked: &Asked,
        body: &mut Body,
        arrived: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let (now, deadline) = (SystemTime::now(), arrived + asked.time.clone()?);
        self.capacity.check(&asked.peer)?;
        let mut room = self.capacity.room(&asked.peer);
        let received = self.read(asked, body, &mut room).await?;
        let place = self.capacity.place(&asked.peer)?;
        let Whole { body, lock, guard } = self.whole(received, deadline).await?;
        let review = parse(&body)?;
        self.acquaint(function, &review, deadline).await;
        let turn = place.turn(deadline).await?;
        // Once: the whole answer is of one set.
        let set = self.live.set();
        let is_retold = set.has_candidates() || self.recorder.is_some();
        let seen = is_retold.then(|| set.admission.inventory().as_of_now());
        let inventory = seen.as_ref().unwrap_or_else(|| set.admission.inventory());
        let clock = Clock {
            now,
            deadline: deadline.into(),
        };
        let admission = &set.admission;
        let outcome = admission.review_with(inventory, function, &review, clock);
        set.count(
            self.live.metrics(),
            function,
            &review,
            &outcome,
            arrived.elapsed(),
        );
        log(&review, &outcome);
        let answer = outcome.response.to_json();
        drop((turn, guard));
        if let Some(inventory) = seen {
            let set = Arc::clone(&set);
            self.hand_over(Answered {
                function,
                body,
                lock,
                now,
                set,
                inventory,
                outcome,
            });
        }
        Ok(answer)
    }

    /// To the threads in the background that want to know what was answered.
    fn hand_over(&self, answered: Answered) {
        let answered = Arc::new(answered);
        if answered.set.has_candidates() {
            self.shadow.ask(&answered);
        }
        if let Some(recorder) = &self.recorder {
            recorder.take(&answered);
        }
    }

    /// Waits a moment for a namespace that is not known yet. One that stays unknown matches every
    /// selector.
    async fn acquaint(&self, function: Function, review: &AdmissionRequest<'_>, deadline: Instant) {
        let Some(watched) = self.live.watched() else {
            return;
        };
        let lacks = self.live.set().admission.lacks_namespace(function, review);
        if !lacks || !watched.is_synced(Kind::Namespaces) {
            return;
        }
        // Half of what is left at most: the policies need some of it.
        let most = NAMESPACE_WAIT.min(deadline.saturating_duration_since(Instant::now()) / 2);
        let known = watched.namespace_known(review.namespace());
        let came = tokio::time::timeout(most, known).await.is_ok();
        self.live.metrics().awaited_namespace(came);
    }

    /// The body, which takes memory as it arrives.
    async fn read(
        &self,
        asked: &Asked,
        body: &mut Body,
        room: &mut Room<'_>,
    ) -> Result<Received, Refusal> {
        if asked
            .announced
            .is_some_and(|length| length > self.body_limit)
        {
            return Err(self.too_large());
        }
        let _waits = asked.peer.reads();
        match tokio::time::timeout(self.body_time, self.collect(body, room)).await {
            Ok(read) => read,
            Err(_) => {
                self.live.metrics().timed_out(TimedOut::Body);
                let sentence = format!("the body took longer than {:?}", self.body_time);
                Err(Refusal::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "body-time",
                    sentence,
                ))
            }
        }
    }

    async fn collect(&self, body: &mut Body, room: &mut Room<'_>) -> Result<Received, Refusal> {
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
            room.grow(length).await?;
            received.push(data);
        }
        Ok(received)
    }

    /// A body in one piece, once nothing else is large: putting it together, unescaping its texts
    /// and making a tree of it take its bytes several times.
    async fn whole(&self, received: Received, deadline: Instant) -> Result<Whole, Refusal> {
        let by_length = self.capacity.body_lock(received.len(), 0);
        let guard = by_length.acquire(deadline).await?;
        let body = received.join();
        let lock = self.lock(&body)?;
        let guard = if guard.is_exclusive() {
            guard
        } else {
            lock.acquire(deadline).await?
        };
        Ok(Whole { body, lock, guard })
    }

    /// The lock that a body needs before it is parsed.
    fn lock(&self, body: &[u8]) -> Result<BodyLock, Refusal> {
        let weight = if body.len() <= SMALL {
            0
        } else {
            weight::of(body)
        };
        if weight > HEAVIEST {
            Err(too_heavy("the body", weight, HEAVIEST))
        } else {
            Ok(self.capacity.body_lock(body.len(), weight))
        }
    }

    fn too_large(&self) -> Refusal {
        let limit = self.body_limit;
        let sentence = format!(
            "the body has more than {limit} bytes; raise --body-limit if this is a real object"
        );
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body-size", sentence)
    }

    /// Reads on, for a while, so that the client gets to read the refusal: an HTTP/2 stream whose
    /// request is dropped is reset, and its response is lost.
    async fn discard(&self, peer: &Arc<Peer>, body: &mut Body) {
        if body.is_end_stream() {
            return;
        }
        let _waits = peer.reads();
        let read_on = async {
            let mut left = DISCARDED;
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

fn too_heavy(what: &str, weight: usize, most: usize) -> Refusal {
    let sentence = format!(
        "reading {what} would take some {} MiB of memory, and at most {} are given: it has too \
         many members and items",
        weight.div_ceil(1 << 20),
        most >> 20
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body-weight", sentence)
}

fn parse(body: &[u8]) -> Result<AdmissionRequest<'_>, Refusal> {
    AdmissionRequest::parse(body).map_err(|error| Refusal::bad_request("review", error.to_string()))
}

impl Asked {
    /// What counts of a request's head, which takes memory and is forgotten at once, and its body.
    fn of(request: Request<Body>) -> (Self, Body) {
        let (mut head, body) = request.into_parts();
        let peer = head
            .extensions
            .remove::<Arc<Peer>>()
            .expect("`connection` tells whose request it is");
        let announced = head.headers.get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        (
            Self {
                peer,
                announced,
                time: time_to_answer(&head),
            },
            body,
        )
    }
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

/// One line for what someone will ask about later: denials, and policies that failed. What clients
/// write is cut.
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
