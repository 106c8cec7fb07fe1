//! The state of the watchers of a cluster: the objects that they know, and how each of them fares.
//!
//! Readers take the current version without a lock and keep it for a whole review; a version, once
//! published, never changes. What was known when contact was lost stays known, and `Feed` says that
//! it is stale. Written by `cluster`, read by reviews through
//! [`Current`], shown by `status` and `metrics`.

use sallyport_core::inventory::{Current, Index, Kind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// The current version of what is known, and the state of the feed of each resource that is
/// watched.
#[derive(Debug)]
pub struct Watched {
    current: Arc<Current>,
    published: watch::Sender<()>,
    /// By resource, as the API calls it. Off the hot path.
    feeds: Mutex<BTreeMap<&'static str, Feed>>,
}

/// The state of the watcher of one resource.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Says if policies may rely on the objects that are known.
    pub state: State,
    /// When the API server was last heard of by this watcher; bookmarks count.
    pub contact: Option<SystemTime>,
    /// Objects that are known.
    pub objects: usize,
    /// Events taken in.
    pub events: u64,
    /// Failures, by reason.
    pub errors: BTreeMap<&'static str, u64>,
    /// A list is under way, or has to be: contact alone does not make it whole.
    listing: bool,
}

/// Says if policies may rely on the objects that are known of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The first list has not ended: policies are told that nothing is known. Why, when something
    /// is wrong.
    Waiting(Option<Trouble>),
    /// As the API server told last.
    Synced,
    /// As it was when contact was lost.
    Stale {
        /// When that was noticed.
        since: SystemTime,
        /// Why.
        trouble: Trouble,
    },
}

impl State {
    /// A stable word for metrics and people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Synced => "synced",
            Self::Stale { .. } => "stale",
        }
    }

    /// Returns whether there was a whole list, at some time.
    pub fn is_listed(&self) -> bool {
        !matches!(self, Self::Waiting(_))
    }

    /// Returns the trouble, if there is any.
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Waiting(trouble) => trouble.as_ref(),
            Self::Synced => None,
            Self::Stale { trouble, .. } => Some(trouble),
        }
    }
}

/// Why a watcher has no contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// From a closed set: `unreachable`, `forbidden`, `expired`, `missing`, `busy`, `refused`,
    /// `unreadable`.
    pub reason: &'static str,
    /// The failure, and the fix.
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
    /// Nothing is known, and nothing watched.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Returns what reviews see, to make an inventory of.
    pub fn current(&self) -> &Arc<Current> {
        &self.current
    }

    /// Publishes an index. Reviews see it from now on.
    pub fn publish(&self, index: &Index) {
        for kind in Kind::ALL {
            self.holds(kind.resource(), index.count(kind));
        }
        self.current.publish(index);
        self.published.send_replace(());
    }

    /// Ready when a namespace is known, and never when it never is: bound it.
    pub async fn namespace_known(&self, name: &str) {
        let mut published = self.published.subscribe();
        while !self.current.knows_namespace(name) {
            // The sender lives as long as `self`.
            let _ = published.changed().await;
        }
    }

    /// So many objects are known of a resource.
    pub fn holds(&self, resource: &'static str, objects: usize) {
        self.with(resource, |feed| feed.objects = objects);
    }

    /// The feeds of all resources that are watched.
    pub fn feeds(&self) -> BTreeMap<&'static str, Feed> {
        self.lock().clone()
    }

    /// Returns whether a kind is watched, was listed, and is in contact.
    pub fn is_synced(&self, kind: Kind) -> bool {
        self.lock()
            .get(kind.resource())
            .is_some_and(|feed| feed.state == State::Synced)
    }

    /// A resource is watched from now on.
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

    /// A resource is not watched any more.
    pub fn end(&self, resource: &'static str) {
        self.lock().remove(resource);
    }

    /// So many events were taken in.
    pub fn took(&self, resource: &'static str, events: u64) {
        self.with(resource, |feed| feed.events += events);
    }

    /// The API server was heard of. Whether that ends a time without contact.
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

    /// A list begins, or has to.
    pub fn listing(&self, resource: &'static str) {
        self.with(resource, |feed| feed.listing = true);
    }

    /// A whole list was taken in and published. Whether that is news.
    pub fn listed(&self, resource: &'static str) -> bool {
        self.with(resource, |feed| {
            feed.listing = false;
            std::mem::replace(&mut feed.state, State::Synced) != State::Synced
        })
        .unwrap_or_default()
    }

    /// Contact was lost, or could not be made. Whether that is news: the first trouble of a time,
    /// or of another reason.
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
    /// Since the API server was last heard of.
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
