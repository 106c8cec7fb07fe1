//! A collector of OpenTelemetry in the test's process. It takes OTLP over HTTP, as Sallyport sends
//! it, and over gRPC, as kube-apiserver does, and decodes it with OpenTelemetry's own types.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The path of spans over HTTP.
pub const TRACES: &str = "/v1/traces";

/// The path of spans over gRPC.
pub const GRPC_TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A collector. It ends when it is dropped.
pub struct Collector {
    /// The address that both protocols are served at.
    pub address: SocketAddr,
    state: Arc<Collected>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Collected {
    requests: Mutex<Vec<Taken>>,
    /// The answers to the next requests. Afterwards each is accepted.
    answers: Mutex<VecDeque<Answer>>,
}

/// A request with the status of its answer.
#[derive(Clone)]
pub struct Taken {
    /// The path of the request.
    pub path: String,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The message: of gRPC without the prefix.
    pub body: Bytes,
    /// The status of the answer.
    pub status: StatusCode,
}

/// An answer to a request over HTTP.
pub enum Answer {
    /// A status, a header and a body.
    Reply(StatusCode, Option<(&'static str, &'static str)>, Vec<u8>),
    /// None: the connection stays open.
    Hang,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Collector {
    /// Starts a collector on a free port of the loopback interface.
    pub async fn start() -> Self {
        Self::on("127.0.0.1:0".parse().expect("an address")).await
    }

    /// Starts a collector on this address.
    pub async fn on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::<Collected>::default();
        let router = axum::Router::new()
            .fallback(take)
            .with_state(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            address,
            state,
            serving,
        }
    }

    /// Returns the URL for `--otlp-endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the answer to the next request that has none yet.
    pub fn answer(&self, answer: Answer) {
        self.state
            .answers
            .lock()
            .expect("no panic")
            .push_back(answer);
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Taken> {
        self.state.requests.lock().expect("no panic").clone()
    }

    /// Returns the statuses of the answers to requests of this path.
    #[must_use]
    pub fn statuses(&self, path: &str) -> Vec<u16> {
        let requests = self.requests();
        let of_path = requests.iter().filter(|taken| taken.path == path);
        of_path.map(|taken| taken.status.as_u16()).collect()
    }

    /// Returns the spans of this path that were accepted.
    #[must_use]
    pub fn spans(&self, path: &str) -> Vec<Span> {
        let resources = self.decoded::<ExportTraceServiceRequest>(path);
        let resources = resources
            .into_iter()
            .flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Returns the messages of this path that were accepted.
    #[must_use]
    pub fn decoded<T: prost::Message + Default>(&self, path: &str) -> Vec<T> {
        let requests = self.requests();
        let accepted = requests
            .into_iter()
            .filter(|taken| taken.path == path && taken.status.is_success());
        accepted
            .map(|taken| T::decode(taken.body).expect("a message"))
            .collect()
    }
}

async fn take(
    State(state): State<Arc<Collected>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path() == GRPC_TRACES {
        return take_grpc(&state, uri, headers, &body);
    }
    let next = state.answers.lock().expect("no panic").pop_front();
    let mut response = StatusCode::OK.into_response();
    match next {
        None => {}
        Some(Answer::Hang) => std::future::pending().await,
        Some(Answer::Reply(status, header, body)) => {
            response = (status, body).into_response();
            if let Some((name, value)) = header {
                let name = HeaderName::from_static(name);
                response
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
        }
    }
    state.requests.lock().expect("no panic").push(Taken {
        path: uri.path().to_owned(),
        headers,
        body,
        status: response.status(),
    });
    response
}

/// Accepts a unary call of gRPC: a message stands behind a byte for its compression and four for
/// its length, and the status is a trailer
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
fn take_grpc(state: &Collected, uri: Uri, headers: HeaderMap, body: &Bytes) -> Response {
    assert_eq!(body.first(), Some(&0), "compressed");
    state.requests.lock().expect("no panic").push(Taken {
        path: uri.path().to_owned(),
        headers,
        body: body.slice(5..),
        status: StatusCode::OK,
    });
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Frame::data(Bytes::from_static(&[0; 5])),
        Frame::trailers(trailers),
    ];
    let frames = futures::stream::iter(frames.map(Ok::<_, Infallible>));
    let content = [("content-type", "application/grpc")];
    (content, Body::new(StreamBody::new(frames))).into_response()
}
