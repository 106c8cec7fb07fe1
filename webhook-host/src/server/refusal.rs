//! Why a request gets no AdmissionReview back: a status and a sentence. The API server's
//! failurePolicy decides then.

use crate::large_body::TooManyLarge;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sallyport_core::excerpt::{MAX_MESSAGE, cut};

/// A request that is not reviewed.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// A stable word for metrics.
    pub(super) reason: &'static str,
    /// What is wrong and what to do.
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

    /// The client's mistake.
    pub(super) fn bad_request(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, sentence)
    }

    /// Nobody's mistake.
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
