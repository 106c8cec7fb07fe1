//! Requests to a collector: OTLP over HTTP/1.1, as protobuf.
//!
//! Invariants: no request takes longer than the timeout; no answer is read beyond [`MAX_ANSWER`];
//! redirects are not followed; no header and no value of one is in an error.

use super::endpoint::Endpoint;
use super::messages::{PartialSuccess, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use rustls::{CertificateError, ClientConfig};
use sallyport_core::excerpt::excerpt;
use std::error::Error;
use std::io;
use std::time::Duration;

/// The most bytes of an answer, which only says what was rejected.
const MAX_ANSWER: usize = 64 << 10;

/// The longest pause that a collector may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The connections to one collector.
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Endpoint,
    headers: HeaderMap,
    timeout: Duration,
}

/// An error: nothing was taken.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct SendError {
    message: String,
    /// The pause after which the same request may succeed; `None` if it never does.
    pub(super) retry: Option<Retry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// After a pause of the sender's choice.
    Backoff,
    /// After the pause that the collector asks for.
    After(Duration),
}

impl Client {
    pub(super) fn new(
        endpoint: Endpoint,
        mut headers: HeaderMap,
        tls: ClientConfig,
        timeout: Duration,
    ) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let agent = HeaderValue::from_static(concat!("sallyport/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, protobuf);
        Self {
            http: legacy::Client::builder(TokioExecutor::new()).build(connector),
            endpoint,
            headers,
            timeout,
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a message. Returns what the collector rejected of it, if anything.
    pub(super) async fn send(&self, body: Bytes) -> Result<Option<PartialSuccess>, SendError> {
        let exchange = self.exchange(body);
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(SendError {
                message: format!("no answer within {:?}", self.timeout),
                retry: Some(Retry::Backoff),
            }),
        }
    }

    async fn exchange(&self, body: Bytes) -> Result<Option<PartialSuccess>, SendError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.uri();
        *request.headers_mut() = self.headers.clone();
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|error| SendError {
                message: self.why(&error),
                retry: Some(Retry::Backoff),
            })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        // An answer that breaks off does not change what its status says.
        let body = body
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        if head.status.is_success() {
            let answer = Response::decode(body).unwrap_or_default();
            return Ok(answer.partial_success.filter(|part| part.rejected > 0));
        }
        Err(self.refused(head.status, &head.headers, &body))
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> SendError {
        // Those that the specification names.
        let is_transient = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        let seconds = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let seconds = seconds.and_then(|value| value.parse().ok());
        let retry = match seconds.map(Duration::from_secs) {
            _ if !is_transient => None,
            Some(pause) => Some(Retry::After(pause.min(MAX_RETRY_AFTER))),
            None => Some(Retry::Backoff),
        };
        let text = String::from_utf8_lossy(body);
        let is_text = !text.is_empty() && !text.contains(char::is_control);
        let quoted = if is_text {
            format!(": {:?}", excerpt(&text))
        } else {
            String::new()
        };
        let fix = match status.as_u16() {
            401 | 403 => "; set the header that it wants by OTEL_EXPORTER_OTLP_HEADERS",
            404 => "; there is no OTLP receiver at this path",
            415 => "; its receiver takes no protobuf over HTTP",
            _ => "",
        };
        SendError {
            message: format!("it answers {status}{quoted}{fix}"),
            retry,
        }
    }

    /// Says why there was no answer: the causes of the error, and what may help.
    fn why(&self, error: &(dyn Error + 'static)) -> String {
        let mut message = error.to_string();
        let (mut cause, mut is_unknown_issuer) = (error.source(), false);
        while let Some(inner) = cause {
            message = format!("{message}: {inner}");
            is_unknown_issuer |= matches!(
                tls_error(inner),
                Some(rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer
                ))
            );
            cause = inner.source();
        }
        let fix = if is_unknown_issuer {
            "; if its authority is yours, name its certificate with --otlp-ca"
        } else if self.endpoint.has_port_of_grpc() {
            "; 4317 is the port for gRPC, and that for HTTP is 4318 by default"
        } else {
            ""
        };
        message + fix
    }
}

/// Returns the error of TLS that an error of a connection holds, if any.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    tls_error(error.downcast_ref::<io::Error>()?.get_ref()?)
}
