//! The body of a response, which keeps the request's permits until its client has taken the last
//! byte.
//!
//! A response that nobody reads takes memory: over HTTP/2 a client may open no window, and over
//! HTTP/1.1 it may never read. So the memory of a large response is accounted for like that of a
//! request body, the request stays open meanwhile, and `connection` closes a connection that takes
//! too long. Made by `connection` for every response.

use super::peer::Wait;
use super::peers::RequestPermit;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;

/// The permits that are released when the response is written.
pub(super) struct ResponsePermits {
    pub(super) _request: RequestPermit,
    pub(super) _wait: Wait,
    pub(super) _memory: Option<OwnedSemaphorePermit>,
}

/// A response body that owns the permits of its request.
pub(super) struct ResponseBody {
    body: Body,
    permits: Option<ResponsePermits>,
}

/// Bytes that own permits. hyper drops them when they are written or can't be written.
struct PermitBytes {
    bytes: Bytes,
    _permits: ResponsePermits,
}

impl AsRef<[u8]> for PermitBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl ResponseBody {
    pub(super) fn new(body: Body, permits: ResponsePermits) -> Self {
        Self {
            body,
            permits: Some(permits),
        }
    }

    /// Creates the body of a refusal for a request that got no permit.
    pub(super) fn without_permits(body: Body) -> Self {
        Self {
            body,
            permits: None,
        }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Every response of this server is one frame, so the first frame takes the permits.
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                let attach = |bytes: Bytes| match self.permits.take() {
                    Some(permits) => Bytes::from_owner(PermitBytes {
                        bytes,
                        _permits: permits,
                    }),
                    None => bytes,
                };
                frame.map_data(attach)
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
