//! Watches the cluster for what policies ask about it, and keeps the inventory up to date.
//!
//! A thread and a runtime of its own, so that no policy can hold up a watcher, nor a watcher a review. One watcher a kind, and
//! only for the kinds that the loaded policies ask for; all of them feed one writer, which puts a batch of events into the
//! index and publishes the result. Losing contact takes nothing away: what is known stays, is told to be stale, and is made
//! good by a new list. Beside `cli`, the only module that knows `kube::Client`. Started by `cli::serve`.

mod contact;
mod feed;
mod kinds;
mod trouble;
mod writer;

use crate::inventory::{Event, Feed, Kind, Trouble, Watched};
use feed::Feeder;
use kube::{Client, Config};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// An API server sends a bookmark a minute on each watch; one that is silent for longer than this is gone, and a connection
/// without a sender (a lost node, a dropped route) would never say so itself.
const SILENCE: Duration = Duration::from_secs(90);

/// For a TCP connection and TLS, which take milliseconds in a cluster.
const CONNECT: Duration = Duration::from_secs(5);

/// Events that wait for the writer; a watcher with more waits itself.
const QUEUE: usize = 1024;

/// How often `wait` looks.
const LOOK: Duration = Duration::from_millis(20);

/// The watchers of a cluster. They end when this is dropped.
#[derive(Debug)]
pub struct Watchers {
    wanted: watch::Sender<BTreeSet<Kind>>,
    watched: Arc<Watched>,
}

/// What could not be listed in time, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct Unlisted {
    /// What is missing, with the state of its watcher.
    pub kinds: Vec<(Kind, Option<Trouble>)>,
    /// How long it was waited for.
    pub waited: Duration,
}

impl Unlisted {
    fn text(&self) -> String {
        let of = |(kind, trouble): &(Kind, Option<Trouble>)| match trouble {
            None => format!("{}: the list has not ended", kind.resource()),
            Some(trouble) => format!("{}: {}", kind.resource(), trouble.message),
        };
        let kinds: Vec<_> = self.kinds.iter().map(of).collect();
        format!("the cluster was not listed within {:?}: {}", self.waited, kinds.join("; "))
    }
}

impl Watchers {
    /// Starts the thread; it watches nothing until it is told to. An API server that can't be reached is no error: it is tried
    /// again and again.
    ///
    /// # Errors
    ///
    /// When a client can't be made of the configuration, or the process can't start one more thread.
    pub fn start(mut config: Config) -> Result<Self, StartError> {
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        // Watchers try again by themselves, and tell meanwhile.
        config.default_retry = false;
        let watched = Watched::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Clients have tasks, hence the runtime.
        let clients = runtime.block_on(async {
            let client = |kind| Ok((kind, contact::client(&config, kind, &watched)?));
            Kind::ALL.into_iter().map(client).collect::<kube::Result<BTreeMap<_, _>>>()
        })?;
        let wanted = watch::Sender::new(BTreeSet::new());
        let supervisor = Supervisor::new(clients, Arc::clone(&watched));
        let asked = wanted.subscribe();
        std::thread::Builder::new().name("cluster".into()).spawn(move || runtime.block_on(supervisor.run(asked)))?;
        Ok(Self { wanted, watched })
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

    /// Waits until everything wanted was listed once, in the calling thread.
    ///
    /// # Errors
    ///
    /// What was not listed when the time was over.
    pub fn wait(&self, most: Duration) -> Result<(), Unlisted> {
        let deadline = Instant::now() + most;
        loop {
            let kinds = self.unlisted();
            if kinds.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Unlisted { kinds, waited: most });
            }
            std::thread::sleep(LOOK);
        }
    }

    fn unlisted(&self) -> Vec<(Kind, Option<Trouble>)> {
        let feeds = self.watched.feeds();
        let trouble = |feed: &Feed| feed.state.trouble().cloned();
        let missing = |kind: &Kind| feeds.get(kind).is_none_or(|feed| !feed.state.is_listed());
        self.wanted().into_iter().filter(missing).map(|kind| (kind, feeds.get(&kind).and_then(trouble))).collect()
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
        Self { clients, watched, running: BTreeMap::new() }
    }

    async fn run(mut self, mut wanted: watch::Receiver<BTreeSet<Kind>>) {
        let (events, received) = mpsc::channel(QUEUE);
        tokio::spawn(writer::run(received, Arc::clone(&self.watched)));
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
                    self.watched.begin(*kind);
                    tracing::info!(kind = kind.resource(), "watching: a policy asks for it");
                    let feeder = Feeder::new(*kind, Arc::clone(&self.watched), events.clone());
                    self.running.insert(*kind, tokio::spawn(feeder.run(client.clone())));
                }
                (false, Some(running)) => {
                    running.abort();
                    // Whatever it has sent comes before what follows.
                    let _ = running.await;
                    self.watched.end(*kind);
                    let _ = events.send(Event::Forget(*kind)).await;
                    tracing::info!(kind = kind.resource(), "not watched any more: no policy asks for it");
                }
                (false, None) => {}
            }
        }
    }
}
