//! Server-sent events: the state whenever it changes, at most once a second, and each denial and
//! divergence that is kept.
//!
//! Invariants: there are at most [`MAX_STREAMS`] streams. A slow client queues nothing: its stream
//! makes the next event from the current state once the client has taken the last one, and all
//! streams share the text of a state. `accept` closes the connection of a client that reads
//! nothing. A stream ends after [`MAX_STREAM_AGE`], so that its client's token is checked again.

use super::App;
use super::refusal::Refusal;
use super::state;
use crate::observers::Ring;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// The most streams at the same time: a few people with a few windows each. Half of the console's
/// connections are left for other requests.
const MAX_STREAMS: usize = 16;

/// The life of a stream. A browser opens the next one by itself.
const MAX_STREAM_AGE: Duration = Duration::from_mins(5);

/// The interval at which the state is compared with the last one.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The silence after which a comment is sent, so that a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The streams of a console.
pub(super) struct Streams {
    places: Arc<Semaphore>,
    /// The event with the last state.
    state: watch::Sender<Bytes>,
}

/// One client's stream.
struct Subscriber {
    app: Arc<App>,
    state: watch::Receiver<Bytes>,
    denials: Followed,
    divergences: Followed,
    ends: Instant,
    _place: OwnedSemaphorePermit,
}

/// A client's place in a ring of items.
struct Followed {
    event: &'static str,
    newest: watch::Receiver<u64>,
    /// The number of the last item that the client has.
    last: u64,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            state: watch::Sender::default(),
        }
    }
}

/// Compares the state at each interval for as long as the console lives. Does nothing while no
/// stream is open.
pub(super) async fn look(app: Arc<App>) {
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    loop {
        interval.tick().await;
        if app.streams.state.receiver_count() > 0 {
            refresh(&app);
        }
    }
}

/// Publishes the present state, if it has changed.
fn refresh(app: &App) {
    let event = event("state", &state::state(app));
    app.streams.state.send_if_modified(|last| {
        let differs = *last != event;
        if differs {
            *last = event;
        }
        differs
    });
}

fn event(name: &str, json: &str) -> Bytes {
    // JSON has no line breaks between its tokens, and escapes those in texts.
    format!("event: {name}\ndata: {json}\n\n").into()
}

/// Opens a stream, which begins with the state and the items that are kept.
pub(super) fn open(app: &Arc<App>) -> Result<Response<Body>, Refusal> {
    let place = Arc::clone(&app.streams.places)
        .try_acquire_owned()
        .map_err(|_| {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many streams are open; close another window of the console",
            )
        })?;
    refresh(app);
    let mut state = app.streams.state.subscribe();
    state.mark_changed();
    let subscriber = Subscriber {
        app: Arc::clone(app),
        state,
        denials: Followed::new("denials", app.sources.recent.denials()),
        divergences: Followed::new("divergences", app.sources.recent.divergences()),
        ends: Instant::now() + MAX_STREAM_AGE,
        _place: place,
    };
    let events = futures::stream::unfold(subscriber, async |mut subscriber| {
        let event = subscriber.next().await?;
        Some((Ok::<_, Infallible>(event), subscriber))
    });
    let mut response = head();
    *response.body_mut() = Body::from_stream(events);
    Ok(response)
}

/// Returns the response without its events.
pub(super) fn head() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Subscriber {
    /// Returns the next event; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                // The state first, because denials refer to it.
                biased;
                () = tokio::time::sleep_until(self.ends) => return None,
                changed = self.state.changed() => {
                    changed.ok()?;
                    return Some(self.state.borrow_and_update().clone());
                }
                changed = self.denials.newest.changed() => {
                    changed.ok()?;
                    if let Some(event) = self.denials.next(self.app.sources.recent.denials()) {
                        return Some(event);
                    }
                }
                changed = self.divergences.newest.changed() => {
                    changed.ok()?;
                    let ring = self.app.sources.recent.divergences();
                    if let Some(event) = self.divergences.next(ring) {
                        return Some(event);
                    }
                }
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }
}

impl Followed {
    fn new(event: &'static str, ring: &Ring) -> Self {
        let mut newest = ring.newest();
        newest.mark_changed();
        Self {
            event,
            newest,
            last: 0,
        }
    }

    /// Returns an event with the items that the client lacks.
    fn next(&mut self, ring: &Ring) -> Option<Bytes> {
        self.newest.borrow_and_update();
        let (newest, json) = ring.after(self.last)?;
        self.last = newest;
        Some(event(self.event, &json))
    }
}
