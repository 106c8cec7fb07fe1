//! Watches the cluster: for what policies ask about it, which keeps the inventory up to date, and
//! for its ServicePolicies, which the reload reads.
//!
//! A thread and a runtime of its own, so that no policy can hold up a watcher, nor a watcher a
//! review. One watcher a kind, and only for the kinds that the loaded policies ask for; all of them
//! feed one writer, which puts a batch of events into the index and publishes the result. Losing
//! contact takes nothing away: what is known stays, is told to be stale, and is made good by a new
//! list. Beside `cli`, the only module that knows `kube::Client`. Started by `cli::serve`.

mod contact;
mod counts;
mod feed;
mod follow;
mod kinds;
mod policies;
mod report;
mod trouble;
mod writer;

pub use counts::{Counting, CountsOf};
pub use policies::{Found, Policies};
pub use report::{Report, Reports, Serves, TAKEN};

use crate::watchers::{Feed, Trouble, Watched};
use crate::write_gate::WriteGate;
use feed::Feeder;
use kube::{Client, Config};
use sallyport_core::inventory::{Event, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};

/// For the next byte of an answer. Longer than a watch lasts: the watcher gives up on its end
/// itself, 5 s after it is due.
const SILENCE: Duration = Duration::from_secs(follow::WATCH as u64 + 15);

/// For a TCP connection and TLS, which take milliseconds in a cluster.
const CONNECT: Duration = Duration::from_secs(5);

/// Events that wait for the writer; a watcher with more waits itself.
const QUEUE: usize = 1024;

/// How often `wait` looks.
const LOOK: Duration = Duration::from_millis(20);

/// What an API server has lists of.
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

/// The watchers of a cluster. They end when this is dropped.
#[derive(Debug)]
pub struct Watchers {
    wanted: watch::Sender<BTreeSet<Kind>>,
    watched: Arc<Watched>,
    /// When they are served.
    policies: Option<Arc<Policies>>,
    reports: watch::Sender<Reports>,
    counting: watch::Sender<Option<Counting>>,
}

/// What could not be listed in time, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct Unlisted {
    /// What is missing, and what is wrong, if anything.
    pub resources: Vec<(&'static str, Option<Trouble>)>,
    /// How long it was waited for.
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
    /// Starts the thread; it watches nothing until it is told to, but ServicePolicies when they are
    /// `served`, and writes into their status as long as the gate is open. An API server that can't
    /// be reached is no error: it is tried again and again.
    ///
    /// # Errors
    ///
    /// When a client can't be made of the configuration, or the process can't start one more
    /// thread.
    pub fn start(mut config: Config, served: bool, writes: &WriteGate) -> Result<Self, StartError> {
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        // Watchers try again by themselves, and tell meanwhile.
        config.default_retry = false;
        let watched = Watched::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Clients have tasks, hence the runtime.
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
            // To be heard by it is no contact of any watcher.
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

    /// What the watchers know.
    pub fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// Watches these kinds from now on, and forgets the others.
    pub fn want(&self, kinds: BTreeSet<Kind>) {
        self.wanted.send_replace(kinds);
    }

    /// The kinds that are wanted.
    pub fn wanted(&self) -> BTreeSet<Kind> {
        self.wanted.borrow().clone()
    }

    /// The ServicePolicies of the cluster, when they are served.
    pub fn policies(&self) -> Option<&Arc<Policies>> {
        self.policies.as_ref()
    }

    /// What became of the ServicePolicies, to be written into their status.
    pub fn report(&self, reports: Reports) {
        self.reports.send_replace(reports);
    }

    /// How often ServicePolicies were asked goes into their status from now on.
    pub fn count(&self, counting: Counting) {
        self.counting.send_replace(Some(counting));
    }

    /// Waits until everything wanted was listed once, in the calling thread.
    ///
    /// # Errors
    ///
    /// What was not listed when the time was over.
    pub fn wait(&self, most: Duration) -> Result<(), Unlisted> {
        let wanted: Vec<_> = self.wanted().into_iter().map(Kind::resource).collect();
        self.wait_for(&wanted, most)
    }

    /// The same for the ServicePolicies.
    ///
    /// # Errors
    ///
    /// That they were not listed when the time was over.
    pub fn wait_for_policies(&self, most: Duration) -> Result<(), Unlisted> {
        self.wait_for(&[policies::RESOURCE.plural], most)
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
            std::thread::sleep(LOOK);
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

/// Why watchers can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is of no use.
    #[error("can't make a client for the API server: {0}")]
    Client(#[from] kube::Error),
    /// No thread, or no runtime.
    #[error("can't start the thread that watches the cluster: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts and ends watchers as they are wanted.
struct Supervisor {
    clients: BTreeMap<Kind, Client>,
    watched: Arc<Watched>,
    running: BTreeMap<Kind, JoinHandle<()>>,
}

impl Supervisor {
    fn new(clients: BTreeMap<Kind, Client>, watched: Arc<Watched>) -> Self {
        Self {
            clients,
            watched,
            running: BTreeMap::new(),
        }
    }

    async fn run(mut self, mut wanted: watch::Receiver<BTreeSet<Kind>>) {
        let (events, received) = mpsc::channel(QUEUE);
        tokio::task::spawn_local(writer::run(received, Arc::clone(&self.watched)));
        loop {
            let now = wanted.borrow_and_update().clone();
            self.adapt(&now, &events).await;
            if wanted.changed().await.is_err() {
                return;
            }
        }
    }

    async fn adapt(&mut self, wanted: &BTreeSet<Kind>, events: &mpsc::Sender<Event>) {
        for (kind, client) in &self.clients {
            match (wanted.contains(kind), self.running.remove(kind)) {
                (true, Some(running)) => {
                    self.running.insert(*kind, running);
                }
                (true, None) => {
                    self.watched.begin(kind.resource());
                    tracing::info!(resource = kind.resource(), "watching: a policy asks for it");
                    let feeder = Feeder::new(*kind, Arc::clone(&self.watched), events.clone());
                    self.running
                        .insert(*kind, tokio::task::spawn_local(feeder.run(client.clone())));
                }
                (false, Some(running)) => {
                    running.abort();
                    // Whatever it has sent comes before what follows.
                    let _ = running.await;
                    self.watched.end(kind.resource());
                    let _ = events.send(Event::Forget(*kind)).await;
                    tracing::info!(
                        resource = kind.resource(),
                        "not watched any more: no policy asks for it"
                    );
                }
                (false, None) => {}
            }
        }
    }
}
