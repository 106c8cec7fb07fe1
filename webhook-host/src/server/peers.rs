//! All connections of a server, and who makes room when places, requests or memory run out.
//!
//! As long as there is enough, nobody is held back: an API server behind a proxy opens a connection
//! for each call. When something runs out, the connection goes that has kept the server waiting, of
//! the address that has most of what is scarce, or that has wasted most of it lately; the API
//! server's own connections go last. A share of everything is kept for API servers, where the host
//! can tell them: by `--api-server-cidr`, or by the certificate that `--client-ca` demands.
//!
//! The list of connections is locked when one comes or goes and when something runs out, and never
//! across a wait.

use super::limits::Limits;
use super::peer::{Busy, Peer, Waited};
use crate::metrics::Metrics;
use ipnet::IpNet;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Open requests for each review that may be in flight: those whose body or answer is under way
/// take little but memory for their heads.
const REQUESTS_A_REVIEW: usize = 4;

/// Of what is scarce, one in so many is kept for API servers where the host can tell them.
const RESERVED: usize = 4;

/// A client may take so long for its handshake and its first request also when others need its
/// place.
const GRACE: Duration = Duration::from_secs(1);

/// A request may wait so long for its body also when others need the memory that it holds.
const SLOW: Duration = Duration::from_millis(200);

/// How soon an address that wasted places is forgiven half of them; as how many open connections
/// one of them counts; and how many addresses are remembered.
const HALF_LIFE: Duration = Duration::from_secs(10);
const WASTED_WEIGHT: f64 = 32.0;
const REMEMBERED: usize = 4096;

/// Connections that go at once, where many do nothing.
const BATCH: usize = 16;

/// Between two looks for a place, and after how many of them a new connection is closed, and a new
/// request refused.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: usize = 20;
const REQUEST_LOOKS: usize = 4;

/// Requests that may wait for others to go: nothing of them is counted meanwhile. A quarter is for
/// connections that have no other request open, as an API server's have over HTTP/1.1: one client
/// with hundreds of streams must not take them all.
const MAX_WAITING_REQUESTS: usize = 128;

/// What can run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scarce {
    Places,
    Requests,
    Memory,
}

/// The connections of one server.
pub(super) struct Peers {
    places: Shares,
    requests: Shares,
    waiting: Shares,
    api_servers: Vec<IpNet>,
    /// How long an answered client may be idle while others need its place.
    idle_time: Duration,
    most: u32,
    open: Mutex<Open>,
    is_full: AtomicBool,
}

#[derive(Default)]
struct Open {
    peers: HashMap<u64, Arc<Peer>>,
    last: u64,
    wasted: HashMap<IpAddr, Wasted>,
}

/// Places that an address had for nothing: its client got no answer, or had to be interrupted. Half
/// is forgotten every `HALF_LIFE`.
struct Wasted {
    places: f64,
    at: Instant,
}

/// A connection's place.
pub(super) struct Ticket {
    peers: Arc<Peers>,
    peer: Arc<Peer>,
    number: u64,
    share: Share,
}

/// A request that is not over. Dropped, its connection has one less.
pub(super) struct Request {
    _busy: Busy,
    _share: Share,
}

/// A number of permits, part of which is for API servers alone.
pub(super) struct Shares {
    all: Arc<Semaphore>,
    /// Without the reserved ones.
    others: Arc<Semaphore>,
}

/// One of them.
pub(super) struct Share {
    _of_all: OwnedSemaphorePermit,
    of_others: Option<OwnedSemaphorePermit>,
}

impl Shares {
    pub(super) fn new(all: usize, reserves: bool) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        let others = if reserves {
            (all - all / RESERVED).max(1)
        } else {
            all
        };
        Self {
            all: Arc::new(Semaphore::new(all)),
            others: Arc::new(Semaphore::new(others)),
        }
    }

    /// One of them, unless they are all taken.
    pub(super) fn take(&self, preferred: bool) -> Option<Share> {
        let one = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_owned().ok();
        let of_others = if preferred {
            None
        } else {
            Some(one(&self.others)?)
        };
        Some(Share {
            _of_all: one(&self.all)?,
            of_others,
        })
    }

    /// Waits until one may be free, but not for long.
    async fn freed(&self, preferred: bool) {
        let scarce = if preferred || self.free() == 0 {
            &self.all
        } else {
            &self.others
        };
        let _ = tokio::time::timeout(LOOK, scarce.acquire()).await;
    }

    /// How many nobody has.
    pub(super) fn free(&self) -> usize {
        self.all.available_permits()
    }

    /// How many are left for anybody.
    pub(super) fn left(&self, preferred: bool) -> usize {
        if preferred {
            self.free()
        } else {
            self.free().min(self.others.available_permits())
        }
    }
}

impl Peers {
    pub(super) fn new(limits: &Limits, most: u32) -> Arc<Self> {
        Arc::new(Self {
            places: Shares::new(most as usize, limits.reserves),
            requests: Shares::new(
                limits.in_flight.saturating_mul(REQUESTS_A_REVIEW),
                limits.reserves,
            ),
            waiting: Shares::new(MAX_WAITING_REQUESTS, true),
            api_servers: limits.api_servers.clone(),
            idle_time: limits.idle_time_in_a_hurry.min(limits.idle_time),
            most,
            open: Mutex::default(),
            is_full: AtomicBool::new(false),
        })
    }

    /// A place for a connection, as soon as there is one. `None` when there is none for a second:
    /// all requests of all connections are being reviewed then.
    pub(super) async fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        metrics: &Metrics,
    ) -> Option<Ticket> {
        let address = address.to_canonical();
        let peer = Peer::new(
            address,
            self.api_servers
                .iter()
                .any(|range| range.contains(&address)),
        );
        for _ in 0..LOOKS {
            if let Some(share) = self.places.take(peer.is_preferred()) {
                return Some(self.admit(peer, share));
            }
            self.tell_full(metrics);
            self.evict(Scarce::Places, Some(&peer), metrics);
            self.places.freed(peer.is_preferred()).await;
        }
        None
    }

    fn admit(self: &Arc<Self>, peer: Arc<Peer>, share: Share) -> Ticket {
        // Not at the first free place, or the log would tell of it again and again.
        if self.places.free() > self.most as usize / 8 {
            self.is_full.store(false, Ordering::Relaxed);
        }
        let mut open = self.open();
        open.last += 1;
        let number = open.last;
        open.peers.insert(number, Arc::clone(&peer));
        Ticket {
            peers: Arc::clone(self),
            peer,
            number,
            share,
        }
    }

    fn tell_full(&self, metrics: &Metrics) {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            metrics.full();
            tracing::warn!(
                "all connections are taken (of {}): those that keep the host waiting are closed \
                 for new ones; see \
                 --max-connections and --api-server-cidr",
                self.most
            );
        }
    }

    /// A request of a connection begins, unless there are too many and nobody else's can make room.
    pub(super) async fn begin(&self, peer: &Arc<Peer>, metrics: &Metrics) -> Option<Request> {
        let request = |share| Request {
            _busy: peer.begin(),
            _share: share,
        };
        if let Some(share) = self.requests.take(peer.is_preferred()) {
            return Some(request(share));
        }
        let has_others = peer.requests() > 0;
        let _waits = self.waiting.take(!has_others)?;
        for _ in 0..REQUEST_LOOKS {
            self.evict(Scarce::Requests, Some(peer), metrics);
            self.requests.freed(peer.is_preferred()).await;
            if let Some(share) = self.requests.take(peer.is_preferred()) {
                return Some(request(share));
            }
        }
        None
    }

    /// Reviews in flight of all connections of an address.
    pub(super) fn reviews_of(&self, address: IpAddr) -> usize {
        let open = self.open();
        let of_it = open.peers.values().filter(|peer| peer.address() == address);
        of_it
            .map(|peer| peer.reviews().load(Ordering::Relaxed))
            .sum()
    }

    /// Ends connections that keep the server waiting, where something has run out, for a connection
    /// that needs it.
    pub(super) fn evict(&self, scarce: Scarce, needy: Option<&Peer>, metrics: &Metrics) {
        let mut open = self.open();
        let victims = self.victims(&open, scarce, needy);
        for number in &victims {
            let Some(peer) = open.peers.remove(number) else {
                continue;
            };
            // One that never got an answer is counted when it has ended.
            if peer.is_answered() && peer.waited().is_some_and(|waited| waited.in_request) {
                open.waste(peer.address());
            }
            peer.evict();
        }
        drop(open);
        metrics.evicted(victims.len());
    }

    fn victims(&self, open: &Open, scarce: Scarce, needy: Option<&Peer>) -> Vec<u64> {
        let waiting = |preferred: bool| {
            let of_these = open
                .peers
                .iter()
                .filter(|(_, peer)| peer.is_preferred() == preferred);
            of_these
                .filter_map(|(number, peer)| Waiting::of(*number, peer, scarce))
                .collect::<Vec<_>>()
        };
        let address = needy.map(|needy| needy.address());
        let mut candidates = self.eligible(waiting(false), scarce, address);
        if candidates.is_empty() && needy.is_some_and(Peer::is_preferred) {
            candidates = self.eligible(waiting(true), scarce, address);
        }
        let mut amounts = HashMap::<IpAddr, usize>::new();
        for candidate in &candidates {
            *amounts.entry(candidate.address).or_default() += candidate.amount;
        }
        let worst = amounts
            .into_iter()
            .map(|(address, amount)| (open.badness(address, amount), address));
        let Some((_, worst)) = worst.max_by(|(a, _), (b, _)| a.total_cmp(b)) else {
            return vec![];
        };
        candidates.retain(|candidate| candidate.address == worst);
        candidates.sort_by_key(|candidate| (candidate.is_answered, Reverse(candidate.waited.time)));
        let count = if candidates.iter().all(Waiting::is_stale) {
            BATCH
        } else {
            1
        };
        candidates
            .into_iter()
            .take(count)
            .map(|candidate| candidate.number)
            .collect()
    }

    /// Those whose clients never got an answer, and have done nothing for a second. Where there are
    /// none, all that may go.
    fn eligible(
        &self,
        mut waiting: Vec<Waiting>,
        scarce: Scarce,
        needy: Option<IpAddr>,
    ) -> Vec<Waiting> {
        if waiting.iter().any(Waiting::is_stale) {
            waiting.retain(Waiting::is_stale);
            return waiting;
        }
        waiting.retain(|one| match scarce {
            Scarce::Places if one.waited.in_request => one.waited.time >= GRACE || !one.is_answered,
            Scarce::Places => one.waited.time >= self.idle_time || !one.is_answered,
            // Who opens many requests at once refuses its own, not those of others.
            Scarce::Requests => {
                one.waited.in_request && (one.waited.time >= SLOW || needy != Some(one.address))
            }
            Scarce::Memory => one.waited.in_request && one.waited.time >= SLOW,
        });
        waiting
    }

    /// Until all connections have ended.
    pub(super) async fn all_gone(&self) {
        let _ = self.places.all.acquire_many(self.most).await;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn waste(&mut self, address: IpAddr) {
        if self.wasted.len() >= REMEMBERED && !self.wasted.contains_key(&address) {
            self.wasted.retain(|_, wasted| wasted.now() >= 1.0);
            if self.wasted.len() >= REMEMBERED {
                return;
            }
        }
        let places = self.wasted.get(&address).map_or(0.0, Wasted::now) + 1.0;
        self.wasted.insert(
            address,
            Wasted {
                places,
                at: Instant::now(),
            },
        );
    }

    /// How much an address takes from others: what it has, and what it wasted.
    fn badness(&self, address: IpAddr, amount: usize) -> f64 {
        let wasted = self.wasted.get(&address).map_or(0.0, Wasted::now);
        f64::from(u32::try_from(amount).unwrap_or(u32::MAX)) + WASTED_WEIGHT * wasted
    }
}

impl Wasted {
    fn now(&self) -> f64 {
        self.places * (-self.at.elapsed().as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
    }
}

/// A connection that keeps the server waiting.
struct Waiting {
    number: u64,
    address: IpAddr,
    is_answered: bool,
    waited: Waited,
    /// How much it has of what is scarce.
    amount: usize,
}

impl Waiting {
    fn of(number: u64, peer: &Peer, scarce: Scarce) -> Option<Self> {
        let amount = match scarce {
            Scarce::Places => 1,
            Scarce::Requests => peer.requests(),
            Scarce::Memory => peer.held().load(Ordering::Relaxed),
        };
        let waited = peer.waited().filter(|_| amount > 0)?;
        Some(Self {
            number,
            address: peer.address(),
            is_answered: peer.is_answered(),
            waited,
            amount,
        })
    }

    fn is_stale(&self) -> bool {
        !self.is_answered && self.waited.time >= GRACE
    }
}

impl Ticket {
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// It is an API server's, as its certificate proves: it gives back what is everybody's.
    pub(super) fn prefer(&mut self) {
        self.peer.prefer();
        self.share.of_others = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.peers.open();
        open.peers.remove(&self.number);
        if !self.peer.is_answered() {
            open.waste(self.peer.address());
        }
    }
}
