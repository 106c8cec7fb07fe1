//! Errors that a client gets instead of an AdmissionReview: an HTTP status and a sentence. The
//! `failurePolicy` of the webhook configuration decides then.

use crate::large_body::TooManyLarge;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sallyport_core::excerpt::{MAX_MESSAGE, cut};

/// A request that is not reviewed.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The label in metrics; never changes.
    pub(super) reason: &'static str,
    /// Says what is wrong and what to do.
    pub(super) sentence: String,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        reason: &'static str,
        sentence: impl Into<String>,
    ) -> Self {
        Self {
            status,
            reason,
            sentence: cut(&sentence.into(), MAX_MESSAGE).into_owned(),
        }
    }

    /// Creates a 400 response: the client's mistake.
    pub(super) fn bad_request(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, sentence)
    }

    /// Creates a 503 response: the host has no capacity now.
    pub(super) fn overload(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, sentence)
    }
}

impl From<TooManyLarge> for Refusal {
    fn from(error: TooManyLarge) -> Self {
        Self::overload("memory", error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.sentence)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
