//! The connections of a server, and the eviction of some when connections, requests or memory run
//! out.
//!
//! While there is enough, no client is limited: an API server behind a proxy opens a connection for
//! each call. When something runs out, the server evicts connections that keep it waiting
//! (`eviction` chooses them). A quarter of everything is reserved for API servers, where the host
//! can recognise them: by `--api-server-cidr`, or by the certificate that `--client-ca` demands.
//!
//! The list of connections is locked when one opens or closes and when something runs out, and
//! never across a wait.

use super::eviction::{Need, Scarce};
use super::limits::Limits;
use super::peer::{OpenRequest, Peer};
use super::permits::{Permit, Permits};
use super::waste::Waste;
use crate::metrics::Metrics;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Open requests for each in-flight slot. A request whose body or response is under way takes
/// little memory beside its head.
const REQUESTS_PER_SLOT: usize = 4;

/// The interval between two evictions for a waiting connection or request, and the number of
/// attempts before a new connection is closed or a new request refused.
const EVICTION_INTERVAL: Duration = Duration::from_millis(50);
const CONNECTION_ATTEMPTS: usize = 20;
const REQUEST_ATTEMPTS: usize = 4;

/// Requests that may wait for a permit; nothing else limits them meanwhile. A quarter is for
/// connections without another request, open or waiting, as an API server's are over HTTP/1.1, so
/// that clients with hundreds of streams can't take them all.
const MAX_WAITING_REQUESTS: usize = 128;

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
    waste: Waste,
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
        let victims = Need {
            scarce,
            needy,
            idle_time: self.idle_time,
        }
        .victims(&open.peers, &open.waste);
        for number in &victims {
            let Some(peer) = open.peers.remove(number) else {
                continue;
            };
            // A connection that never got a response is counted when it is closed.
            if peer.has_response() && peer.waited().is_some_and(|waited| waited.in_request) {
                open.waste.add(peer.address());
            }
            peer.evict();
        }
        drop(open);
        metrics.connections.evicted(victims.len());
    }

    /// Waits until all connections are closed.
    pub(super) async fn all_gone(&self) {
        self.connections.all_free(self.max_connections).await;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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
            open.waste.add(self.peer.address());
        }
    }
}
