//! Watches the cluster: namespaces, Nodes and Pods for the inventory, and ServicePolicies for the
//! reload.
//!
//! The watchers have a thread and a runtime of their own, so that no policy can delay a watcher and
//! no watcher a review. There is one watcher for each kind that the loaded policies ask about. All
//! of them feed one writer, which applies a batch of events to the index and publishes the result.
//! When contact is lost, the known objects stay, are reported as stale, and are replaced by the
//! next complete list. Started by `cli::serve`.

mod contact;
mod counts;
mod feed;
mod follow;
mod kinds;
mod policies;
mod report;
mod services;
mod watch_error;
mod writer;

pub use counts::{Counting, CountsOf};
pub use policies::{ClusterPolicy, Policies};
pub use report::{Report, Reports, Serves, TAKEN};
pub use services::{Followed, ListError, Listed, Services};

use crate::watchers::{Feed, Trouble, Watched};
use crate::write_gate::WriteGate;
use feed::Feeder;
use kube::{Client, Config};
use sallyport_core::inventory::{Event, Kind, Need};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};

/// The read timeout of a connection. It exceeds the duration of a watch, because the watcher itself
/// gives up on a watch 5 s after its end is due.
const READ_TIMEOUT: Duration = Duration::from_secs(follow::WATCH_SECONDS as u64 + 15);

/// The timeout of a TCP connection and its TLS handshake, which take milliseconds in a cluster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The capacity of the event queue. A watcher that finds it full waits.
const QUEUE_CAPACITY: usize = 1024;

/// The polling interval of `wait`.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A resource that an API server lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Resource {
    group: &'static str,
    plural: &'static str,
}

impl Resource {
    fn of(kind: Kind) -> Self {
        Self {
            group: "",
            plural: kind.resource(),
        }
    }
}

/// The watchers of a cluster. Dropping it ends them.
#[derive(Debug)]
pub struct Watchers {
    wanted: watch::Sender<BTreeSet<Need>>,
    watched: Arc<Watched>,
    /// `None` when the host does not serve the ServicePolicies of the cluster.
    policies: Option<Arc<Policies>>,
    reports: watch::Sender<Reports>,
    counting: watch::Sender<Option<Counting>>,
}

/// Resources that were not listed within the timeout.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct Unlisted {
    /// The unlisted resources, each with the failure of its watcher, if any.
    pub resources: Vec<(&'static str, Option<Trouble>)>,
    /// The time that `wait` took.
    pub waited: Duration,
}

impl Unlisted {
    fn text(&self) -> String {
        let of = |(resource, trouble): &(&str, Option<Trouble>)| match trouble {
            None => format!("{resource}: the list has not ended"),
            Some(trouble) => format!("{resource}: {}", trouble.message),
        };
        let resources: Vec<_> = self.resources.iter().map(of).collect();
        format!(
            "the cluster was not listed within {:?}: {}",
            self.waited,
            resources.join("; ")
        )
    }
}

impl Watchers {
    /// Starts the thread. It watches ServicePolicies when they are `served`, and writes their
    /// status as long as the gate is open; other kinds are watched from the first `want`. An API
    /// server that can't be reached is no error: the watchers keep trying.
    ///
    /// # Errors
    ///
    /// When no client can be made from the configuration, or the process can't start another
    /// thread.
    pub fn start(mut config: Config, served: bool, writes: &WriteGate) -> Result<Self, StartError> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        // The watchers retry by themselves, and report their state in between.
        config.default_retry = false;
        let watched = Watched::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // A client spawns tasks, so it needs the runtime.
        let (clients, own, writer) = runtime.block_on(async {
            let client = |kind| {
                Ok((
                    kind,
                    contact::client(&config, Resource::of(kind), &watched)?,
                ))
            };
            let clients = Kind::ALL
                .into_iter()
                .map(client)
                .collect::<kube::Result<BTreeMap<_, _>>>()?;
            let own = contact::client(&config, policies::RESOURCE, &watched)?;
            // The writer of statuses: its responses prove no watcher's contact.
            Ok::<_, kube::Error>((clients, own, Client::try_from(config)?))
        })?;
        let (wanted, reports) = (
            watch::Sender::new(BTreeSet::new()),
            watch::Sender::new(Reports::new()),
        );
        let counting = watch::Sender::new(None);
        let (asked, reported, counted) = (
            wanted.subscribe(),
            reports.subscribe(),
            counting.subscribe(),
        );
        let (supervisor, policies) = (
            Supervisor::new(clients, Arc::clone(&watched)),
            Arc::new(Policies::default()),
        );
        let (known, feeds) = (Arc::clone(&policies), Arc::clone(&watched));
        let writes = writes.clone();
        let run = async move {
            if served {
                tokio::task::spawn_local(policies::run(own, Arc::clone(&known), feeds));
                let reporter = report::run(writer.clone(), Arc::clone(&known), reported);
                let counter = counts::run(writer, known, counted);
                let writers = async { _ = tokio::join!(reporter, counter) };
                tokio::task::spawn_local(async move { writes.run(writers).await });
            }
            supervisor.run(asked).await;
        };
        std::thread::Builder::new()
            .name("cluster".into())
            .spawn(move || LocalSet::new().block_on(&runtime, run))?;
        Ok(Self {
            wanted,
            watched,
            policies: served.then_some(policies),
            reports,
            counting,
        })
    }

    /// Returns the watchers' shared state.
    pub fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// Watches exactly these objects from now on.
    pub fn want(&self, needs: BTreeSet<Need>) {
        self.wanted.send_replace(needs);
    }

    /// Returns the objects that are watched.
    pub fn wanted(&self) -> BTreeSet<Need> {
        self.wanted.borrow().clone()
    }

    /// Returns the ServicePolicies of the cluster, when they are served.
    pub fn policies(&self) -> Option<&Arc<Policies>> {
        self.policies.as_ref()
    }

    /// Queues load results, to be written into the status of the ServicePolicies.
    pub fn report(&self, reports: Reports) {
        self.reports.send_replace(reports);
    }

    /// Returns the load results, as they change.
    pub fn reported(&self) -> watch::Receiver<Reports> {
        self.reports.subscribe()
    }

    /// Starts writing evaluation counts into the status of the ServicePolicies.
    pub fn count(&self, counting: Counting) {
        self.counting.send_replace(Some(counting));
    }

    /// Blocks until every wanted kind was listed once.
    ///
    /// # Errors
    ///
    /// [`Unlisted`] when the timeout ends first.
    pub fn wait(&self, most: Duration) -> Result<(), Unlisted> {
        let kinds: BTreeSet<_> = self.wanted().into_iter().map(Need::kind).collect();
        let wanted: Vec<_> = kinds.into_iter().map(Kind::resource).collect();
        self.wait_for(&wanted, most)
    }

    /// Blocks until the ServicePolicies were listed once.
    ///
    /// # Errors
    ///
    /// [`Unlisted`] when the timeout ends first.
    pub fn wait_for_policies(&self, most: Duration) -> Result<(), Unlisted> {
        self.wait_for(&[policies::RESOURCE.plural], most)
    }

    /// Blocks until every wanted kind was listed once or failed to be. Returns those that are not
    /// listed, each with its failure: for a command, which goes on without them.
    pub fn settle(&self, most: Duration) -> Vec<(&'static str, Option<Trouble>)> {
        let kinds: BTreeSet<_> = self.wanted().into_iter().map(Need::kind).collect();
        let wanted: Vec<_> = kinds.into_iter().map(Kind::resource).collect();
        let deadline = Instant::now() + most;
        loop {
            let unlisted = self.unlisted(&wanted);
            let has_failed = unlisted.iter().all(|(_, trouble)| trouble.is_some());
            if has_failed || Instant::now() >= deadline {
                return unlisted;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn wait_for(&self, wanted: &[&'static str], most: Duration) -> Result<(), Unlisted> {
        let deadline = Instant::now() + most;
        loop {
            let resources = self.unlisted(wanted);
            if resources.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Unlisted {
                    resources,
                    waited: most,
                });
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn unlisted(&self, wanted: &[&'static str]) -> Vec<(&'static str, Option<Trouble>)> {
        let feeds = self.watched.feeds();
        let trouble = |feed: &Feed| feed.state.trouble().cloned();
        let missing = |resource: &&'static str| {
            feeds
                .get(*resource)
                .is_none_or(|feed| !feed.state.is_listed())
        };
        let missing = wanted.iter().copied().filter(missing);
        missing
            .map(|resource| (resource, feeds.get(resource).and_then(trouble)))
            .collect()
    }
}

/// The reason why watchers can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration gives no client.
    #[error("can't make a client for the API server: {0}")]
    Client(#[from] kube::Error),
    /// The thread or its runtime can't be created.
    #[error("can't start the thread that watches the cluster: {0}")]
    Thread(#[from] std::io::Error),
}

/// A watcher, and what it was started for.
struct Running {
    needs: BTreeSet<Need>,
    keeps_annotations: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// Starts and ends watchers as the needs of policies change.
struct Supervisor {
    clients: BTreeMap<Kind, Client>,
    watched: Arc<Watched>,
    running: BTreeMap<Kind, Running>,
}

impl Supervisor {
    fn new(clients: BTreeMap<Kind, Client>, watched: Arc<Watched>) -> Self {
        Self {
            clients,
            watched,
            running: BTreeMap::new(),
        }
    }

    async fn run(mut self, mut wanted: watch::Receiver<BTreeSet<Need>>) {
        let (events, received) = mpsc::channel(QUEUE_CAPACITY);
        tokio::task::spawn_local(writer::run(received, Arc::clone(&self.watched)));
        loop {
            let now = wanted.borrow_and_update().clone();
            self.adapt(&now, &events).await;
            if wanted.changed().await.is_err() {
                return;
            }
        }
    }

    async fn adapt(&mut self, wanted: &BTreeSet<Need>, events: &mpsc::Sender<Event>) {
        for (kind, client) in &self.clients {
            let needs: BTreeSet<_> = wanted
                .iter()
                .copied()
                .filter(|need| need.kind() == *kind)
                .collect();
            match self.running.remove(kind) {
                Some(running) if running.needs == needs => {
                    self.running.insert(*kind, running);
                }
                Some(running) if !needs.is_empty() && needs.is_subset(&running.needs) => {
                    running.keeps_annotations.store(false, Ordering::Relaxed);
                    let _ = events.send(Event::ForgetAnnotations).await;
                    self.running.insert(*kind, Running { needs, ..running });
                }
                Some(running) => {
                    running.task.abort();
                    // All events that it has sent precede those below.
                    let _ = running.task.await;
                    if needs.is_empty() {
                        self.watched.end(kind.resource());
                        let _ = events.send(Event::Forget(*kind)).await;
                        tracing::info!(
                            resource = kind.resource(),
                            "not watched any more: no policy asks for it"
                        );
                    } else {
                        let running = self.start(*kind, client, needs, events);
                        self.running.insert(*kind, running);
                    }
                }
                None if needs.is_empty() => {}
                None => {
                    let running = self.start(*kind, client, needs, events);
                    self.running.insert(*kind, running);
                }
            }
        }
    }

    /// Starts a watcher, which lists all objects first.
    fn start(
        &self,
        kind: Kind,
        client: &Client,
        needs: BTreeSet<Need>,
        events: &mpsc::Sender<Event>,
    ) -> Running {
        self.watched.begin(kind.resource());
        tracing::info!(resource = kind.resource(), "watching: a policy asks for it");
        let keeps_annotations =
            Arc::new(AtomicBool::new(needs.contains(&Need::NamespaceAnnotations)));
        let feeder = Feeder::new(
            kind,
            Arc::clone(&keeps_annotations),
            Arc::clone(&self.watched),
            events.clone(),
        );
        Running {
            needs,
            keeps_annotations,
            task: tokio::task::spawn_local(feeder.run(client.clone())),
        }
    }
}
