//! One watcher: lists a resource, follows its changes, and starts again when it must.
//!
//! kube's watcher resumes where it was, lists again when the API server forgot what came since, and
//! waits longer after each failure (0.8 s to 30 s, with jitter). Lists come as a stream where the
//! server can do that (no page is held at all), else in pages of 500.

use super::{Resource, trouble};
use crate::watchers::Watched;
use futures::{Stream, StreamExt as _};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long one watch lasts, in seconds; then the server ends it, and the watcher asks for the next
/// where it was. That is what tells a quiet cluster from a dead connection: bookmarks come every
/// minute or not at all (a kube-apiserver sends none before the first event since its own start),
/// and a lost node never closes what it had open.
pub(super) const WATCH: u32 = 60;

/// A list that comes as a stream has to go on: servers before 1.27 take the request for an ordinary
/// watch and never end it. Nor may it take longer than [`WATCH`], when the server cuts it off.
const STREAM_SILENCE: Duration = Duration::from_secs(10);

/// Reads one watcher, and notes how it fares.
pub(super) struct Follower {
    pub(super) resource: Resource,
    pub(super) watched: Arc<Watched>,
}

/// Why a watcher's stream is not read on.
enum Ended {
    /// The server does not stream lists, or not to their end.
    CannotStream,
    /// Nobody takes events any more: the host ends.
    NotTaken,
}

impl Follower {
    /// Hands over events as long as they are taken.
    pub(super) async fn follow<K, S>(
        &self,
        watch: impl Fn(Config) -> S,
        mut take: impl AsyncFnMut(Event<K>) -> bool,
    ) where
        S: Stream<Item = watcher::Result<Event<K>>>,
    {
        let config = Config::default().timeout(WATCH);
        if let Ended::CannotStream = self
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
    ) -> Ended {
        let mut stream = pin!(stream.default_backoff());
        let mut listing = false;
        loop {
            let next = if streaming && listing {
                match tokio::time::timeout(STREAM_SILENCE, stream.next()).await {
                    Ok(next) => next,
                    Err(_) => return Ended::CannotStream,
                }
            } else {
                stream.next().await
            };
            match next {
                // The last one was cut off, as this would be.
                Some(Ok(Event::Init)) if streaming && listing => return Ended::CannotStream,
                Some(Ok(event)) => {
                    if let Event::Init = event {
                        self.watched.listing(self.resource.plural);
                    }
                    listing = matches!(event, Event::Init | Event::InitApply(_));
                    if !take(event).await {
                        return Ended::NotTaken;
                    }
                }
                Some(Err(error)) if streaming && refuses_to_stream(&error) => {
                    return Ended::CannotStream;
                }
                Some(Err(error)) => {
                    self.lost(&error);
                    if streaming && listing {
                        return Ended::CannotStream;
                    }
                }
                None => return Ended::NotTaken,
            }
        }
    }

    fn lost(&self, error: &watcher::Error) {
        if trouble::ends_watch(error) {
            // Before the API server is heard of again: only the end of the new list makes good what
            // was missed.
            self.watched.listing(self.resource.plural);
        }
        let trouble = trouble::of(self.resource, error);
        let (resource, reason, message) = (
            self.resource.plural,
            trouble.reason,
            trouble.message.clone(),
        );
        if self.watched.lost(resource, trouble) {
            tracing::warn!(
                resource,
                reason,
                "what is known is not kept up to date: {message}"
            );
        } else {
            tracing::debug!(resource, reason, "still not: {message}");
        }
    }
}

/// A server that has no streaming lists, or has them switched off, finds `sendInitialEvents`
/// invalid.
fn refuses_to_stream(error: &watcher::Error) -> bool {
    let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = error else {
        return false;
    };
    matches!(status.code, 400 | 422)
}
