//! The body of an answer, which holds what it was given until its client has taken the last byte.
//!
//! An answer that nobody reads would otherwise cost nothing and take memory: over HTTP/2 a client
//! may open no window, over HTTP/1.1 it may never read. So the memory of a large answer counts like
//! that of a body, the request stays among the open ones, and `connection` closes what is not taken
//! in time. Made by `connection` for every response.

use super::peer::Wait;
use super::peers::Request;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;

/// What an answer holds.
pub(super) struct Held {
    pub(super) _request: Request,
    pub(super) _wait: Wait,
    pub(super) _memory: Option<OwnedSemaphorePermit>,
}

/// A body whose bytes hold something.
pub(super) struct Answer {
    body: Body,
    held: Option<Held>,
}

/// Bytes that hold something: hyper drops them when they are written, or never will be.
struct Holding {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Holding {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answer {
    pub(super) fn new(body: Body, held: Held) -> Self {
        Self {
            body,
            held: Some(held),
        }
    }

    /// Of a request that was not even begun.
    pub(super) fn of_nobody(body: Body) -> Self {
        Self { body, held: None }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Every answer of this server is one frame.
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                let hold = |bytes: Bytes| match self.held.take() {
                    Some(held) => Bytes::from_owner(Holding { bytes, _held: held }),
                    None => bytes,
                };
                frame.map_data(hold)
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
