//! The connections of a server, and the eviction of some when connections, requests or memory run
//! out.
//!
//! While there is enough, no client is limited: an API server behind a proxy opens a connection for
//! each call. When something runs out, the server evicts connections that keep it waiting. It
//! begins with the address that holds most of the scarce permits or that wasted most of them
//! lately; API servers' own connections go last. A quarter of everything is reserved for API
//! servers, where the host can recognise them: by `--api-server-cidr`, or by the certificate that
//! `--client-ca` demands.
//!
//! The list of connections is locked when one opens or closes and when something runs out, and
//! never across a wait.

use super::limits::Limits;
use super::peer::{OpenRequest, Peer, Waited};
use super::permits::{Permit, Permits};
use crate::metrics::Metrics;
use ipnet::IpNet;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Open requests for each in-flight slot. A request whose body or response is under way takes
/// little memory beside its head.
const REQUESTS_PER_SLOT: usize = 4;

/// The time for a handshake and the first request during which a connection is not evicted.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// The time for which a request may wait for its body before its memory can be reclaimed.
const SLOW_BODY: Duration = Duration::from_millis(200);

/// The half-life of an address's wasted connections; the number of open connections that one of
/// them counts as; and the number of addresses that are remembered.
const WASTE_HALF_LIFE: Duration = Duration::from_secs(10);
const WASTE_WEIGHT: f64 = 32.0;
const MAX_WASTEFUL_ADDRESSES: usize = 4096;

/// Connections that are evicted together when all candidates are idle and never got a response.
const EVICTION_BATCH: usize = 16;

/// The interval between two evictions for a waiting connection or request, and the number of
/// attempts before a new connection is closed or a new request refused.
const EVICTION_INTERVAL: Duration = Duration::from_millis(50);
const CONNECTION_ATTEMPTS: usize = 20;
const REQUEST_ATTEMPTS: usize = 4;

/// Requests that may wait for a permit; nothing else limits them meanwhile. A quarter is for
/// connections without another request, open or waiting, as an API server's are over HTTP/1.1, so
/// that clients with hundreds of streams can't take them all.
const MAX_WAITING_REQUESTS: usize = 128;

/// The permits that can run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scarce {
    Connections,
    Requests,
    Memory,
}

/// The connections of one server.
pub(super) struct Peers {
    connections: Permits,
    requests: Permits,
    waiting_requests: Permits,
    api_servers: Vec<IpNet>,
    /// The time for which a client with a response may be idle while others need its connection.
    idle_time: Duration,
    max_connections: u32,
    open: Mutex<Open>,
    is_full: AtomicBool,
}

#[derive(Default)]
struct Open {
    peers: HashMap<u64, Arc<Peer>>,
    last: u64,
    wasted: HashMap<IpAddr, Wasted>,
}

/// Connections that an address wasted: its client got no response, or was evicted in the middle of
/// a request. Half is forgotten every `WASTE_HALF_LIFE`.
struct Wasted {
    connections: f64,
    at: Instant,
}

/// A connection's permit and its entry in the list; removed when dropped.
pub(super) struct Ticket {
    peers: Arc<Peers>,
    peer: Arc<Peer>,
    number: u64,
    permit: Permit,
}

/// An open request's permit, held until its response is written.
pub(super) struct RequestPermit {
    _open: OpenRequest,
    _permit: Permit,
}

impl Peers {
    pub(super) fn new(limits: &Limits, max_connections: u32) -> Arc<Self> {
        Arc::new(Self {
            connections: Permits::new(max_connections as usize, limits.reserves),
            requests: Permits::new(
                limits.in_flight.saturating_mul(REQUESTS_PER_SLOT),
                limits.reserves,
            ),
            waiting_requests: Permits::new(MAX_WAITING_REQUESTS, true),
            api_servers: limits.api_servers.clone(),
            idle_time: limits.short_idle_time.min(limits.idle_time),
            max_connections,
            open: Mutex::default(),
            is_full: AtomicBool::new(false),
        })
    }

    /// Waits for a permit for a new connection. Returns `None` if none becomes free within a
    /// second, which means that no connection could be evicted.
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
        if let Some(permit) = self.connections.take(peer.is_api_server()) {
            return Some(self.admit(peer, permit));
        }
        for _ in 0..CONNECTION_ATTEMPTS {
            self.warn_if_newly_full(metrics);
            self.evict(Scarce::Connections, Some(&peer), metrics);
            if let Some(permit) = self
                .connections
                .wait(peer.is_api_server(), EVICTION_INTERVAL)
                .await
            {
                return Some(self.admit(peer, permit));
            }
        }
        None
    }

    fn admit(self: &Arc<Self>, peer: Arc<Peer>, permit: Permit) -> Ticket {
        // With some distance from full, so that the warning is not logged again and again.
        if self.connections.free() > self.max_connections as usize / 8 {
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
            permit,
        }
    }

    fn warn_if_newly_full(&self, metrics: &Metrics) {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            metrics.connections.full();
            tracing::warn!(
                "all connections are taken (of {}): those that keep the host waiting are closed \
                 for new ones; see \
                 --max-connections and --api-server-cidr",
                self.max_connections
            );
        }
    }

    /// Takes a permit for a new request, and evicts connections if there are too many. Returns
    /// `None` when no permit becomes free.
    pub(super) async fn begin(&self, peer: &Arc<Peer>, metrics: &Metrics) -> Option<RequestPermit> {
        let request = |permit| RequestPermit {
            _open: peer.begin(),
            _permit: permit,
        };
        if let Some(permit) = self.requests.take(peer.is_api_server()) {
            return Some(request(permit));
        }
        let waiting = peer.wait_for_permit();
        let _waits = self.waiting_requests.take(waiting.is_only())?;
        for _ in 0..REQUEST_ATTEMPTS {
            self.evict(Scarce::Requests, Some(peer), metrics);
            if let Some(permit) = self
                .requests
                .wait(peer.is_api_server(), EVICTION_INTERVAL)
                .await
            {
                return Some(request(permit));
            }
        }
        None
    }

    /// Returns the in-flight slots that all connections of an address hold.
    pub(super) fn reviews_of(&self, address: IpAddr) -> usize {
        let open = self.open();
        let of_it = open.peers.values().filter(|peer| peer.address() == address);
        of_it
            .map(|peer| peer.reviews().load(Ordering::Relaxed))
            .sum()
    }

    /// Evicts connections that keep the server waiting, because `needy` needs a permit of a kind
    /// that has run out.
    pub(super) fn evict(&self, scarce: Scarce, needy: Option<&Peer>, metrics: &Metrics) {
        let mut open = self.open();
        let victims = self.victims(&open, scarce, needy);
        for number in &victims {
            let Some(peer) = open.peers.remove(number) else {
                continue;
            };
            // A connection that never got a response is counted when it is closed.
            if peer.has_response() && peer.waited().is_some_and(|waited| waited.in_request) {
                open.waste(peer.address());
            }
            peer.evict();
        }
        drop(open);
        metrics.connections.evicted(victims.len());
    }

    fn victims(&self, open: &Open, scarce: Scarce, needy: Option<&Peer>) -> Vec<u64> {
        let waiting = |is_api_server: bool| {
            let of_these = open
                .peers
                .iter()
                .filter(|(_, peer)| peer.is_api_server() == is_api_server);
            of_these
                .filter_map(|(number, peer)| Candidate::of(*number, peer, scarce))
                .collect::<Vec<_>>()
        };
        let address = needy.map(|needy| needy.address());
        let mut candidates = self.eligible(waiting(false), scarce, address);
        if candidates.is_empty() && needy.is_some_and(Peer::is_api_server) {
            candidates = self.eligible(waiting(true), scarce, address);
        }
        let mut amounts = HashMap::<IpAddr, usize>::new();
        for candidate in &candidates {
            *amounts.entry(candidate.address).or_default() += candidate.amount;
        }
        let worst = amounts
            .into_iter()
            .map(|(address, amount)| (open.score(address, amount), address));
        let Some((_, worst)) = worst.max_by(|(a, _), (b, _)| a.total_cmp(b)) else {
            return vec![];
        };
        candidates.retain(|candidate| candidate.address == worst);
        candidates
            .sort_by_key(|candidate| (candidate.has_response, Reverse(candidate.waited.time)));
        let count = if candidates.iter().all(Candidate::is_stale) {
            EVICTION_BATCH
        } else {
            1
        };
        candidates
            .into_iter()
            .take(count)
            .map(|candidate| candidate.number)
            .collect()
    }

    /// Keeps the connections that may be evicted: if any client never got a response and has kept
    /// the server waiting for a second, only such clients.
    fn eligible(
        &self,
        mut waiting: Vec<Candidate>,
        scarce: Scarce,
        needy: Option<IpAddr>,
    ) -> Vec<Candidate> {
        if waiting.iter().any(Candidate::is_stale) {
            waiting.retain(Candidate::is_stale);
            return waiting;
        }
        waiting.retain(|one| match scarce {
            Scarce::Connections if one.waited.in_request => {
                one.waited.time >= FIRST_REQUEST_GRACE || !one.has_response
            }
            Scarce::Connections => one.waited.time >= self.idle_time || !one.has_response,
            // An address that opens many requests at once doesn't evict those of others.
            Scarce::Requests => {
                one.waited.in_request
                    && (one.waited.time >= SLOW_BODY || needy != Some(one.address))
            }
            Scarce::Memory => one.waited.in_request && one.waited.time >= SLOW_BODY,
        });
        waiting
    }

    /// Waits until all connections are closed.
    pub(super) async fn all_gone(&self) {
        self.connections.all_free(self.max_connections).await;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn waste(&mut self, address: IpAddr) {
        if self.wasted.len() >= MAX_WASTEFUL_ADDRESSES && !self.wasted.contains_key(&address) {
            self.wasted.retain(|_, wasted| wasted.now() >= 1.0);
            if self.wasted.len() >= MAX_WASTEFUL_ADDRESSES {
                return;
            }
        }
        let connections = self.wasted.get(&address).map_or(0.0, Wasted::now) + 1.0;
        self.wasted.insert(
            address,
            Wasted {
                connections,
                at: Instant::now(),
            },
        );
    }

    /// Returns the score of an address: what it holds, plus what it wasted.
    fn score(&self, address: IpAddr, amount: usize) -> f64 {
        let wasted = self.wasted.get(&address).map_or(0.0, Wasted::now);
        f64::from(u32::try_from(amount).unwrap_or(u32::MAX)) + WASTE_WEIGHT * wasted
    }
}

impl Wasted {
    fn now(&self) -> f64 {
        self.connections * (-self.at.elapsed().as_secs_f64() / WASTE_HALF_LIFE.as_secs_f64()).exp2()
    }
}

/// A candidate for eviction: a connection that keeps the server waiting.
struct Candidate {
    number: u64,
    address: IpAddr,
    has_response: bool,
    waited: Waited,
    /// The amount that it holds of what is scarce.
    amount: usize,
}

impl Candidate {
    fn of(number: u64, peer: &Peer, scarce: Scarce) -> Option<Self> {
        let amount = match scarce {
            Scarce::Connections => 1,
            Scarce::Requests => peer.requests(),
            Scarce::Memory => peer.held_kib().load(Ordering::Relaxed),
        };
        let waited = peer.waited().filter(|_| amount > 0)?;
        Some(Self {
            number,
            address: peer.address(),
            has_response: peer.has_response(),
            waited,
            amount,
        })
    }

    fn is_stale(&self) -> bool {
        !self.has_response && self.waited.time >= FIRST_REQUEST_GRACE
    }
}

impl Ticket {
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Marks the connection as an API server's, which its certificate proves. Its unreserved permit
    /// becomes free.
    pub(super) fn mark_api_server(&mut self) {
        self.peer.mark_api_server();
        self.permit.free_unreserved();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.peers.open();
        open.peers.remove(&self.number);
        if !self.peer.has_response() {
            open.waste(self.peer.address());
        }
    }
}
