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
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// From the end of a request's head to the end of its body.
const BODY: Duration = Duration::from_secs(5);

/// What all requests share.
struct App {
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    limits: Limits,
    places: Semaphore,
}

pub(super) fn router(admission: Arc<Admission>, metrics: Arc<Metrics>, limits: Limits) -> Router {
    let app = App { admission, metrics, limits, places: Semaphore::new(limits.requests) };
    Router::new()
        .route("/validate", post(validate))
        .route("/mutate", post(mutate))
        .method_not_allowed_fallback(async |State(app): State<Arc<App>>| {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "send an AdmissionReview by POST").answer(&app)
        })
        .fallback(async |State(app): State<Arc<App>>| {
            Refusal::new(StatusCode::NOT_FOUND, "there are only /validate and /mutate here").answer(&app)
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
        match self.review(function, request, arrived).await {
            Ok(body) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(refusal) => refusal.answer(self),
        }
    }

    async fn review(&self, function: Function, request: Request<Body>, arrived: Instant) -> Result<Vec<u8>, Refusal> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at the same time; try again"));
        };
        let time = timeout::time_to_answer(request.uri().query())
            .map_err(|sentence| Refusal::new(StatusCode::BAD_REQUEST, sentence))?;
        check_content_type(request.headers())?;
        let body = self.read(request).await?;
        let review =
            AdmissionRequest::parse(&body).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let clock = Clock { now: SystemTime::now(), deadline: arrived + time };
        let outcome = self.admission.review(function, &review, clock);
        self.metrics.reviewed(function, &review, &outcome, arrived.elapsed());
        log(&review, &outcome);
        Ok(outcome.response.to_json())
    }

    async fn read(&self, request: Request<Body>) -> Result<Bytes, Refusal> {
        let limit = self.limits.body;
        let too_large = || {
            let sentence = format!("the body has more than {limit} bytes; raise --body-limit if this is a real object");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
        };
        let announced =
            request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let read = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(BODY, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the body ended early: {error}"))),
            Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {BODY:?}"))),
        }
    }
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
