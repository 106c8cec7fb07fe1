//! The watchers' state: the known objects of the cluster, and the contact of each watcher with the
//! API server.
//!
//! Readers take the current version without a lock and keep it for a whole review; a published
//! version never changes. Objects stay known when contact is lost, and `Feed` then says that they
//! are stale. Written by `cluster`, read by reviews through [`Current`], shown by `status` and
//! `metrics`.

use sallyport_core::inventory::{Current, Index, Kind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// The current version of the inventory, and the state of each watcher.
#[derive(Debug)]
pub struct Watched {
    current: Arc<Current>,
    published: watch::Sender<()>,
    /// The watchers by resource, such as `pods`. Reviews lock it only while they wait for a
    /// namespace.
    feeds: Mutex<BTreeMap<&'static str, Feed>>,
}

/// The state of the watcher of one resource.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The freshness of the objects.
    pub state: State,
    /// The time of the watcher's last contact with the API server; bookmarks count.
    pub contact: Option<SystemTime>,
    /// The number of known objects.
    pub objects: usize,
    /// The number of events processed.
    pub events: u64,
    /// The number of failures by reason.
    pub errors: BTreeMap<&'static str, u64>,
    /// True while a list is needed: contact alone does not make the objects complete.
    listing: bool,
}

/// The freshness of the known objects of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The first list has not ended: policies see nothing of this resource. Holds the failure, if
    /// there is one.
    Waiting(Option<Trouble>),
    /// The objects are up to date.
    Synced,
    /// The objects are as they were when contact was lost.
    Stale {
        /// The time when the loss was noticed.
        since: SystemTime,
        /// The failure.
        trouble: Trouble,
    },
}

impl State {
    /// Returns the state's name in metrics and output; never changes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Synced => "synced",
            Self::Stale { .. } => "stale",
        }
    }

    /// Returns true once there was a complete list.
    pub fn is_listed(&self) -> bool {
        !matches!(self, Self::Waiting(_))
    }

    /// Returns the current failure, if any.
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Waiting(trouble) => trouble.as_ref(),
            Self::Synced => None,
            Self::Stale { trouble, .. } => Some(trouble),
        }
    }
}

/// A failure that keeps a watcher from contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// One of `unreachable`, `forbidden`, `expired`, `missing`, `busy`, `refused`, `unreadable`.
    pub reason: &'static str,
    /// The failure, and what to do.
    pub message: String,
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            current: Arc::default(),
            published: watch::Sender::new(()),
            feeds: Mutex::default(),
        }
    }
}

impl Watched {
    /// Creates the state of a host that watches nothing.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Returns the current version, to make an inventory of.
    pub fn current(&self) -> &Arc<Current> {
        &self.current
    }

    /// Publishes a version, which later reviews see.
    pub fn publish(&self, index: &Index) {
        for kind in Kind::ALL {
            self.set_objects(kind.resource(), index.count(kind));
        }
        self.current.publish(index);
        self.published.send_replace(());
    }

    /// Waits until a namespace is known. Never ends when it doesn't become known, so callers set a
    /// timeout.
    pub async fn namespace_known(&self, name: &str) {
        let mut published = self.published.subscribe();
        while !self.current.knows_namespace(name) {
            // The sender lives as long as `self`.
            let _ = published.changed().await;
        }
    }

    /// Sets the number of known objects of a resource.
    pub fn set_objects(&self, resource: &'static str, objects: usize) {
        self.with(resource, |feed| feed.objects = objects);
    }

    /// Returns the state of all watchers by resource.
    pub fn feeds(&self) -> BTreeMap<&'static str, Feed> {
        self.lock().clone()
    }

    /// Returns true if a kind is watched and its objects are up to date.
    pub fn is_synced(&self, kind: Kind) -> bool {
        self.lock()
            .get(kind.resource())
            .is_some_and(|feed| feed.state == State::Synced)
    }

    /// Adds a watcher, which waits for its first list.
    pub fn begin(&self, resource: &'static str) {
        let feed = Feed {
            state: State::Waiting(None),
            contact: None,
            objects: 0,
            events: 0,
            errors: BTreeMap::new(),
            listing: false,
        };
        self.lock().insert(resource, feed);
    }

    /// Removes a watcher.
    pub fn end(&self, resource: &'static str) {
        self.lock().remove(resource);
    }

    /// Counts processed events.
    pub fn took(&self, resource: &'static str, events: u64) {
        self.with(resource, |feed| feed.events += events);
    }

    /// Notes contact with the API server. Returns true if that ends a time without contact.
    pub fn contact(&self, resource: &'static str) -> bool {
        self.with(resource, |feed| {
            feed.contact = Some(SystemTime::now());
            let regained = matches!(feed.state, State::Stale { .. }) && !feed.listing;
            if regained {
                feed.state = State::Synced;
            }
            regained
        })
        .unwrap_or_default()
    }

    /// Notes that a list begins, or is needed.
    pub fn listing(&self, resource: &'static str) {
        self.with(resource, |feed| feed.listing = true);
    }

    /// Notes that a complete list was published. Returns true if the watcher was not in sync
    /// before.
    pub fn listed(&self, resource: &'static str) -> bool {
        self.with(resource, |feed| {
            feed.listing = false;
            std::mem::replace(&mut feed.state, State::Synced) != State::Synced
        })
        .unwrap_or_default()
    }

    /// Notes that contact was lost or could not be made. Returns true if the failure is new: the
    /// first one, or one for another reason.
    pub fn lost(&self, resource: &'static str, trouble: Trouble) -> bool {
        self.with(resource, |feed| {
            *feed.errors.entry(trouble.reason).or_default() += 1;
            let news = feed
                .state
                .trouble()
                .is_none_or(|known| known.reason != trouble.reason);
            feed.state = match &feed.state {
                State::Waiting(_) => State::Waiting(Some(trouble)),
                State::Synced => State::Stale {
                    since: SystemTime::now(),
                    trouble,
                },
                State::Stale { since, .. } => State::Stale {
                    since: *since,
                    trouble,
                },
            };
            news
        })
        .unwrap_or_default()
    }

    fn with<T>(&self, resource: &str, change: impl FnOnce(&mut Feed) -> T) -> Option<T> {
        self.lock().get_mut(resource).map(change)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Feed>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// Returns the time since the last contact.
    pub fn silence(&self, now: SystemTime) -> Option<Duration> {
        self.contact
            .map(|contact| now.duration_since(contact).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: &str = "pods";

    fn trouble(reason: &'static str) -> Trouble {
        Trouble {
            reason,
            message: String::new(),
        }
    }

    fn state(watched: &Watched) -> &'static str {
        watched.feeds()[PODS].state.name()
    }

    #[test]
    fn contact_alone_is_no_list() {
        let watched = Watched::new();
        watched.begin(PODS);
        watched.contact(PODS);
        assert_eq!(state(&watched), "waiting");
        assert!(watched.lost(PODS, trouble("unreachable")));
        assert!(
            !watched.lost(PODS, trouble("unreachable")),
            "the same again is no news"
        );
        assert!(watched.lost(PODS, trouble("forbidden")));
        assert_eq!(state(&watched), "waiting");
        assert!(watched.listed(PODS));
        assert_eq!(state(&watched), "synced");
        assert_eq!(
            watched.feeds()[PODS].errors,
            BTreeMap::from([("forbidden", 1), ("unreachable", 2)])
        );
    }

    #[test]
    fn a_watch_that_is_resumed_is_in_sync_and_one_that_must_list_again_only_after_the_list() {
        let watched = Watched::new();
        watched.begin(PODS);
        watched.listed(PODS);
        watched.lost(PODS, trouble("unreachable"));
        assert_eq!(state(&watched), "stale");
        assert!(watched.contact(PODS));
        assert_eq!(state(&watched), "synced");
        watched.lost(PODS, trouble("expired"));
        watched.listing(PODS);
        assert!(!watched.contact(PODS));
        assert_eq!(state(&watched), "stale");
        assert!(watched.listed(PODS));
        assert_eq!(state(&watched), "synced");
    }
}
