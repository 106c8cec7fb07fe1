//! One watcher: lists a kind, follows its changes, and starts again when it must.
//!
//! kube's watcher resumes where it was, lists again when the API server forgot what came since, and waits longer after each
//! failure (0.8 s to 30 s, with jitter). Lists come as a stream where the server can do that (no page is held at all), else in
//! pages of 500.

use super::kinds::{Node, Pod};
use super::trouble;
use crate::inventory::{Event, Kind, Object, Watched};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A list that comes as a stream has to go on: servers before 1.27 take the request for an ordinary watch and never end it.
const STREAM_SILENCE: Duration = Duration::from_secs(10);

/// Pods that ended are in no EndpointSlice (`ShouldPodBeInEndpoints` of k8s.io/endpointslice): no selector reaches them. Those
/// that are about to end are served from until they have.
const REACHABLE: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Feeds the objects of one kind to the writer.
pub(super) struct Feeder {
    kind: Kind,
    watched: Arc<Watched>,
    events: mpsc::Sender<Event>,
}

/// Why a watcher's stream is not read on.
enum Ended {
    /// The server does not stream lists.
    CannotStream,
    /// The writer is gone, and with it the host.
    NoWriter,
}

impl Feeder {
    pub(super) fn new(kind: Kind, watched: Arc<Watched>, events: mpsc::Sender<Event>) -> Self {
        Self { kind, watched, events }
    }

    /// Until it is aborted.
    pub(super) async fn run(self, client: Client) {
        match self.kind {
            Kind::Namespaces => {
                let api = Api::<PartialObjectMeta<Namespace>>::all(client);
                self.follow(|config| watcher(api.clone(), config)).await;
            }
            Kind::Nodes => {
                let api = Api::<Node>::all(client);
                self.follow(|config| watcher(api.clone(), config)).await;
            }
            Kind::Pods => {
                let api = Api::<Pod>::all(client);
                self.follow(|config| watcher(api.clone(), config.fields(REACHABLE))).await;
            }
        }
    }

    async fn follow<K, S>(&self, watch: impl Fn(watcher::Config) -> S)
    where
        K: Into<Object>,
        S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    {
        let config = watcher::Config::default();
        if let Ended::CannotStream = self.read(watch(config.clone().streaming_lists()), true).await {
            tracing::debug!(kind = self.kind.resource(), "the API server does not stream lists; listing in pages");
            self.read(watch(config), false).await;
        }
    }

    async fn read<K: Into<Object>>(
        &self,
        stream: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
        streaming: bool,
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
                Some(Ok(event)) => {
                    listing = match event {
                        watcher::Event::Init => true,
                        watcher::Event::InitDone => false,
                        _ => listing,
                    };
                    if self.events.send(self.translated(event)).await.is_err() {
                        return Ended::NoWriter;
                    }
                }
                Some(Err(error)) if streaming && refuses_to_stream(&error) => return Ended::CannotStream,
                Some(Err(error)) => self.lost(&error),
                None => return Ended::NoWriter,
            }
        }
    }

    fn translated<K: Into<Object>>(&self, event: watcher::Event<K>) -> Event {
        match event {
            watcher::Event::Init => {
                self.watched.listing(self.kind);
                Event::Listing(self.kind)
            }
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => Event::Apply(object.into()),
            watcher::Event::Delete(object) => Event::Delete(object.into()),
            watcher::Event::InitDone => Event::Listed(self.kind),
        }
    }

    fn lost(&self, error: &watcher::Error) {
        let trouble = trouble::of(self.kind, error);
        let (kind, reason, message) = (self.kind.resource(), trouble.reason, trouble.message.clone());
        if self.watched.lost(self.kind, trouble) {
            tracing::warn!(kind, reason, "the inventory is not kept up to date: {message}");
        } else {
            tracing::debug!(kind, reason, "still not: {message}");
        }
    }
}

/// A server that has no streaming lists, or has them switched off, finds `sendInitialEvents` invalid.
fn refuses_to_stream(error: &watcher::Error) -> bool {
    let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = error else { return false };
    matches!(status.code, 400 | 422)
}
