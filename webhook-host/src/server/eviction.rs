//! The choice of connections to evict when permits of a kind have run out.
//!
//! Only connections that keep the server waiting are candidates. First come clients that never got
//! a response, then those of the address that holds most of the scarce permits, or that wasted most
//! of them lately; API servers' own connections go last, and for other API servers alone.

use super::peer::{Peer, Waited};
use super::waste::Waste;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The time for a handshake and the first request during which a connection is not evicted.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// The time for which a request may wait for its body before its memory can be reclaimed.
const SLOW_BODY: Duration = Duration::from_millis(200);

/// Connections that are evicted together when all candidates are idle and never got a response.
const BATCH: usize = 16;

/// The permits that can run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scarce {
    Connections,
    Requests,
    Memory,
}

/// A need of permits that have run out.
pub(super) struct Need<'a> {
    pub(super) scarce: Scarce,
    /// The connection that needs one.
    pub(super) needy: Option<&'a Peer>,
    /// The time for which a client with a response may be idle while others need its connection.
    pub(super) idle_time: Duration,
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

impl Need<'_> {
    /// Returns the numbers of the connections to evict; none where all are busy.
    pub(super) fn victims(&self, peers: &HashMap<u64, Arc<Peer>>, waste: &Waste) -> Vec<u64> {
        let mut candidates = self.eligible(self.waiting(peers, false));
        if candidates.is_empty() && self.needy.is_some_and(Peer::is_api_server) {
            candidates = self.eligible(self.waiting(peers, true));
        }
        let Some(worst) = worst_address(&candidates, waste) else {
            return vec![];
        };
        candidates.retain(|candidate| candidate.address == worst);
        candidates
            .sort_by_key(|candidate| (candidate.has_response, Reverse(candidate.waited.time)));
        let count = if candidates.iter().all(Candidate::is_stale) {
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

    /// Returns the connections that keep the server waiting: those of API servers, or all others.
    fn waiting(&self, peers: &HashMap<u64, Arc<Peer>>, are_api_servers: bool) -> Vec<Candidate> {
        peers
            .iter()
            .filter(|(_, peer)| peer.is_api_server() == are_api_servers)
            .filter_map(|(number, peer)| Candidate::of(*number, peer, self.scarce))
            .collect()
    }

    /// Keeps the connections that may be evicted: if any client never got a response and has kept
    /// the server waiting for a second, only such clients.
    fn eligible(&self, mut waiting: Vec<Candidate>) -> Vec<Candidate> {
        if waiting.iter().any(Candidate::is_stale) {
            waiting.retain(Candidate::is_stale);
            return waiting;
        }
        let needy = self.needy.map(|needy| needy.address());
        waiting.retain(|one| match self.scarce {
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
}

/// Returns the address with the highest score: what its candidates hold, plus what it wasted.
fn worst_address(candidates: &[Candidate], waste: &Waste) -> Option<IpAddr> {
    let mut amounts = HashMap::<IpAddr, usize>::new();
    for candidate in candidates {
        *amounts.entry(candidate.address).or_default() += candidate.amount;
    }
    let score = |(address, amount): (IpAddr, usize)| {
        let amount = f64::from(u32::try_from(amount).unwrap_or(u32::MAX));
        (amount + waste.score(address), address)
    };
    let worst = amounts.into_iter().map(score);
    worst
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, address)| address)
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
