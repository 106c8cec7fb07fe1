//! Feeds the objects of one kind to the writer of the inventory.

use super::Resource;
use super::follow::Follower;
use super::kinds::{IntoObject, Node, Pod};
use crate::watchers::Watched;
use futures::Stream;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Config, watcher};
use kube::{Api, Client};
use sallyport_core::inventory::{Event, Kind, Object};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// A field selector that leaves out Pods that have ended: they are in no EndpointSlice
/// (`ShouldPodBeInEndpoints` of k8s.io/endpointslice). Pods that are being terminated may still
/// serve.
const REACHABLE: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The watcher of one kind, with its channel to the writer.
pub(super) struct Feeder {
    kind: Kind,
    /// True while a policy needs the annotations of namespaces, which are dropped otherwise.
    keeps_annotations: Arc<AtomicBool>,
    follower: Follower,
    events: mpsc::Sender<Event>,
}

impl Feeder {
    pub(super) fn new(
        kind: Kind,
        keeps_annotations: Arc<AtomicBool>,
        watched: Arc<Watched>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            kind,
            keeps_annotations,
            follower: Follower {
                resource: Resource::of(kind),
                watched,
            },
            events,
        }
    }

    /// Runs until it is aborted.
    pub(super) async fn run(self, client: Client) {
        match self.kind {
            Kind::Namespaces => {
                let api = Api::<PartialObjectMeta<Namespace>>::all(client);
                self.feed(|config| watcher(api.clone(), config)).await;
            }
            Kind::Nodes => {
                let api = Api::<Node>::all(client);
                self.feed(|config| watcher(api.clone(), config)).await;
            }
            Kind::Pods => {
                let api = Api::<Pod>::all(client);
                self.feed(|config| watcher(api.clone(), config.fields(REACHABLE)))
                    .await;
            }
        }
    }

    async fn feed<K, S>(&self, watch: impl Fn(Config) -> S)
    where
        K: IntoObject,
        S: Stream<Item = watcher::Result<watcher::Event<K>>>,
    {
        let send = async |event| self.events.send(self.translated(event)).await.is_ok();
        self.follower.follow(watch, send).await;
    }

    fn translated<K: IntoObject>(&self, event: watcher::Event<K>) -> Event {
        match event {
            watcher::Event::Init => Event::Listing(self.kind),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                Event::Apply(self.reduced(object.into_object()))
            }
            watcher::Event::Delete(object) => Event::Delete(object.into_object()),
            watcher::Event::InitDone => Event::Listed(self.kind),
        }
    }

    /// Drops what no policy needs.
    fn reduced(&self, mut object: Object) -> Object {
        if let Object::Namespace { annotations, .. } = &mut object
            && !self.keeps_annotations.load(Ordering::Relaxed)
        {
            *annotations = None;
        }
        object
    }
}
