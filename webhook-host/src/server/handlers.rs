//! `POST /validate` and `POST /mutate`: one AdmissionReview in, one out.
//!
//! What is no AdmissionReview is answered with 4xx and a sentence that says what to do; the API server's failurePolicy decides
//! then. Evaluation runs inline on the worker: it takes microseconds, and a runaway policy is bounded by its own deadline.

use super::metrics::Metrics;
use super::{Limits, timeout};
use crate::admission::{Admission, AdmissionRequest, Clock, Function, Outcome};
use crate::contract::review::Phase;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Semaphore, SemaphorePermit};

/// From the end of a request's head to the end of its body.
const BODY: Duration = Duration::from_secs(5);

/// How long a request waits for room before it is told to come back.
const PATIENCE: Duration = Duration::from_millis(250);

const KIB: usize = 1024;

/// Bytes of a refused body that are read and forgotten.
const DISCARDED: usize = 64 << 20;

/// What all requests share.
struct App {
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    limits: Limits,
    /// In KiB.
    room: Semaphore,
}

pub(super) fn router(admission: Arc<Admission>, metrics: Arc<Metrics>, limits: Limits) -> Router {
    let app = App { admission, metrics, limits, room: Semaphore::new(limits.held.div_ceil(KIB)) };
    Router::new()
        .route("/validate", post(validate))
        .route("/mutate", post(mutate))
        .method_not_allowed_fallback(async |State(app): State<Arc<App>>, request: Request<Body>| {
            app.refuse(request, Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "send an AdmissionReview by POST")).await
        })
        .fallback(async |State(app): State<Arc<App>>, request: Request<Body>| {
            app.refuse(request, Refusal::new(StatusCode::NOT_FOUND, "there are only /validate and /mutate here")).await
        })
        .with_state(Arc::new(app))
}

async fn validate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.answer(Function::Validate(Phase::Validating), request).await
}

async fn mutate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.answer(Function::Mutate, request).await
}

/// Why a request gets no AdmissionReview back.
struct Refusal {
    status: StatusCode,
    sentence: String,
}

impl Refusal {
    fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }

    fn answer(self, app: &App) -> Response {
        app.metrics.refused(self.status);
        tracing::debug!(status = self.status.as_u16(), "refused: {}", self.sentence);
        let mut response = (self.status, format!("{}\n", self.sentence)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl App {
    async fn answer(&self, function: Function, request: Request<Body>) -> Response {
        let arrived = Instant::now();
        let (head, mut body) = request.into_parts();
        match self.review(function, &head, &mut body, arrived).await {
            Ok(body) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(refusal) => {
                // Who let a body time out will not send the rest now.
                if refusal.status != StatusCode::REQUEST_TIMEOUT {
                    discard(&mut body).await;
                }
                refusal.answer(self)
            }
        }
    }

    async fn refuse(&self, request: Request<Body>, refusal: Refusal) -> Response {
        discard(&mut request.into_body()).await;
        refusal.answer(self)
    }

    async fn review(
        &self,
        function: Function,
        head: &Parts,
        body: &mut Body,
        arrived: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let time = timeout::time_to_answer(head.uri.query())
            .map_err(|sentence| Refusal::new(StatusCode::BAD_REQUEST, sentence))?;
        check_content_type(&head.headers)?;
        let (body, _room) = self.read(&head.headers, body).await?;
        let review =
            AdmissionRequest::parse(&body).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let clock = Clock { now: SystemTime::now(), deadline: arrived + time };
        let outcome = self.admission.review(function, &review, clock);
        self.metrics.reviewed(function, &review, &outcome, arrived.elapsed());
        log(&review, &outcome);
        Ok(outcome.response.to_json())
    }

    /// The body, and the room that it takes up while it is held.
    async fn read(&self, headers: &HeaderMap, body: &mut Body) -> Result<(Bytes, SemaphorePermit<'_>), Refusal> {
        let limit = self.limits.body;
        let too_large = || {
            let sentence = format!("the body has more than {limit} bytes; raise --body-limit if this is a real object");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
        };
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let room = self.room(announced.unwrap_or(limit)).await?;
        match tokio::time::timeout(BODY, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), room)),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the body ended early: {error}"))),
            Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {BODY:?}"))),
        }
    }

    /// Room for so many bytes, as soon as there is some.
    async fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        let most = self.limits.held.div_ceil(KIB);
        let wanted = u32::try_from(bytes.div_ceil(KIB).clamp(1, most)).unwrap_or(u32::MAX);
        match tokio::time::timeout(PATIENCE, self.room.acquire_many(wanted)).await {
            Ok(room) => Ok(room.expect("the semaphore is never closed")),
            Err(_) => {
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at the same time; try again"))
            }
        }
    }
}

/// Reads on, for a while, so that the client gets to read the refusal: an HTTP/2 stream whose request is dropped is reset, and
/// its response is lost.
async fn discard(body: &mut Body) {
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
    let _ = tokio::time::timeout(BODY, read_on).await;
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let found = headers.get(CONTENT_TYPE).and_then(|found| found.to_str().ok()).unwrap_or_default();
    let media_type = found.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let sentence = format!("Content-Type: expected application/json, found {found:?}");
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence))
}

/// One line for what someone will ask about later: denials, and policies that failed.
fn log(request: &AdmissionRequest<'_>, outcome: &Outcome) {
    let (uid, namespace, name) = (&*request.uid, request.namespace(), request.name());
    for evaluation in &outcome.evaluations {
        if let Some(error) = &evaluation.error {
            tracing::error!(policy = &*evaluation.policy, kind = error.kind(), uid, namespace = ?namespace, name = ?name, "no verdict: {error}");
        }
    }
    match &outcome.response.denial {
        Some(denial) => {
            let user = &request.user_info.username;
            tracing::info!(uid, namespace = ?namespace, name = ?name, user = ?user, "denied: {}", denial.message.replace('\n', " | "));
        }
        None => tracing::debug!(uid, namespace = ?namespace, name = ?name, exempt = ?outcome.exemption, "allowed"),
    }
}
