//! One watch: lists a resource, follows its changes, and starts again when it must.
//!
//! kube's watcher resumes at its last resourceVersion, lists again when the API server has dropped
//! the changes since then, and backs off after each failure (0.8 s to 30 s, with jitter). Lists are
//! streamed where the server supports it, so that no page is held in memory, else read in pages of
//! 500.

use super::{Resource, watch_error};
use crate::watchers::Watched;
use futures::{Stream, StreamExt as _};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The duration of one watch in seconds, after which the server ends it and the watcher resumes it.
/// It tells a quiet cluster from a dead connection: bookmarks come every minute or not at all (a
/// kube-apiserver sends none before the first event since its own start), and a lost node never
/// closes its connections.
pub(super) const WATCH_SECONDS: u32 = 60;

/// The longest pause within a streamed list. Servers before 1.27 take the request for an ordinary
/// watch and never end it. The value is below [`WATCH_SECONDS`], at which the server cuts the list
/// off.
const MAX_STREAM_PAUSE: Duration = Duration::from_secs(10);

/// Reads one watcher and records its state in [`Watched`].
pub(super) struct Follower {
    pub(super) resource: Resource,
    pub(super) watched: Arc<Watched>,
}

/// The reason why a watcher's stream is read no further.
enum StreamEnd {
    /// The server does not stream lists, or not to their end.
    CannotStream,
    /// The receiver of the events is gone: the host is shutting down.
    ReceiverGone,
}

impl Follower {
    /// Passes events on until the receiver is gone.
    pub(super) async fn follow<K, S>(
        &self,
        watch: impl Fn(Config) -> S,
        mut take: impl AsyncFnMut(Event<K>) -> bool,
    ) where
        S: Stream<Item = watcher::Result<Event<K>>>,
    {
        let config = Config::default().timeout(WATCH_SECONDS);
        if let StreamEnd::CannotStream = self
            .read(watch(config.clone().streaming_lists()), true, &mut take)
            .await
        {
            tracing::debug!(
                resource = self.resource.plural,
                "the API server does not stream lists to their end; listing in pages"
            );
            self.read(watch(config), false, &mut take).await;
        }
    }

    async fn read<K>(
        &self,
        stream: impl Stream<Item = watcher::Result<Event<K>>>,
        streaming: bool,
        take: &mut impl AsyncFnMut(Event<K>) -> bool,
    ) -> StreamEnd {
        let mut stream = pin!(stream.default_backoff());
        let mut listing = false;
        loop {
            let next = if streaming && listing {
                match tokio::time::timeout(MAX_STREAM_PAUSE, stream.next()).await {
                    Ok(next) => next,
                    Err(_) => return StreamEnd::CannotStream,
                }
            } else {
                stream.next().await
            };
            match next {
                // The previous streamed list was cut off, as this one would be.
                Some(Ok(Event::Init)) if streaming && listing => return StreamEnd::CannotStream,
                Some(Ok(event)) => {
                    if let Event::Init = event {
                        self.watched.listing(self.resource.plural);
                    }
                    listing = matches!(event, Event::Init | Event::InitApply(_));
                    if !take(event).await {
                        return StreamEnd::ReceiverGone;
                    }
                }
                Some(Err(error)) if streaming && refuses_to_stream(&error) => {
                    return StreamEnd::CannotStream;
                }
                Some(Err(error)) => {
                    self.lost(&error);
                    if streaming && listing {
                        return StreamEnd::CannotStream;
                    }
                }
                None => return StreamEnd::ReceiverGone,
            }
        }
    }

    fn lost(&self, error: &watcher::Error) {
        if watch_error::ends_watch(error) {
            // Recorded before any contact, since only the end of the new list makes up for what was
            // missed.
            self.watched.listing(self.resource.plural);
        }
        let trouble = watch_error::explain(self.resource, error);
        let (resource, reason, message) = (
            self.resource.plural,
            trouble.reason,
            trouble.message.clone(),
        );
        if self.watched.lost(resource, trouble) {
            tracing::warn!(
                resource,
                reason,
                "known objects are kept, and are stale: {message}"
            );
        } else {
            tracing::debug!(resource, reason, "still stale: {message}");
        }
    }
}

/// Returns true when a server without streaming lists rejects `sendInitialEvents` as invalid.
fn refuses_to_stream(error: &watcher::Error) -> bool {
    let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = error else {
        return false;
    };
    matches!(status.code, 400 | 422)
}
