//! The webhook's TLS server: accept, handshake, HTTP, drain.
//!
//! Every connection is a task of its own from its first byte on, so that a slow client stalls nobody. Every wait has a
//! deadline, every input and every queue a bound. Called by `cli::serve` and by tests; it is given sockets and certificates,
//! and knows no files.

mod activity;
mod admin;
mod capacity;
mod certificate_metrics;
mod certificate_status;
mod connection;
mod engine_metrics;
mod feed_metrics;
mod handlers;
mod limits;
mod listen;
mod live;
mod metrics;
mod policy_metrics;
mod queue;
mod recorder;
mod refusal;
mod registration_status;
mod sentinel;
mod shadow;
mod spare_memory;
mod status;
mod tally;
mod timeout;
pub mod tls;
mod weight;

pub use admin::Admin;
pub use certificate_status::{CertificateStatus, CertificateTrouble, SelfManagedStatus, TroubleReason};
pub use handlers::PolicyCheck;
pub use limits::Limits;
pub use listen::listen;
pub use live::Live;
pub use metrics::Metrics;
pub use policy_metrics::EvaluationCounts;
pub use recorder::Recorder;
pub use registration_status::RegistrationStatus;
pub use status::{CandidateStatus, FeedStatus, LastReload, PolicyStatus, Status};

use capacity::Capacity;
use connection::{Phase, Shared};
use sentinel::Sentinel;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// More than a process has file descriptors.
const MOST_CONNECTIONS: u32 = 1 << 20;

/// One in so many places must be free before idle connections may stay again.
const ROOMY: usize = 8;

/// After a failed accept, which is out of file descriptors most of the time.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How a server ends.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// How long it serves on, until the cluster has noticed; answers over HTTP/1.1 then ask the client to connect anew, which
    /// leads it to another replica.
    pub delay: Duration,
    /// How long requests in flight may take after that. No connection is accepted any more, and idle ones are closed.
    pub most: Duration,
}

/// A webhook server, not listening yet.
pub struct Server {
    shared: Arc<Shared>,
    capacity: Arc<Capacity>,
    phase: watch::Sender<Phase>,
    places: Arc<Semaphore>,
    connections: u32,
}

impl Server {
    /// A server that answers with what the live set decides. Handshakes fail until [`Live::tls`] has an identity.
    pub fn new(live: Arc<Live>, limits: Limits) -> Self {
        Self::build(live, limits, None)
    }

    /// One that also says of ServicePolicies whether they could be loaded, on `/validate-policies`.
    pub fn with_check(live: Arc<Live>, limits: Limits, check: PolicyCheck) -> Self {
        Self::build(live, limits, Some(check))
    }

    fn build(live: Arc<Live>, limits: Limits, check: Option<PolicyCheck>) -> Self {
        let capacity = Arc::new(Capacity::new(&limits, Arc::clone(&live)));
        let router = handlers::router(Arc::clone(&live), Arc::clone(&capacity), &limits, check);
        let connections = u32::try_from(limits.connections).unwrap_or(u32::MAX).clamp(1, MOST_CONNECTIONS);
        Self {
            shared: Arc::new(Shared { router, live, limits, leaving: AtomicBool::new(false) }),
            capacity,
            phase: watch::Sender::new(Phase::Open),
            places: Arc::new(Semaphore::new(connections as usize)),
            connections,
        }
    }

    /// Serves until `stop` is ready, and drains.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>, drain: Drain) {
        let _sentinel = Sentinel::start(&self.capacity).expect("a process can start one more thread");
        self.serve(&listener, stop).await;
        // A client that is busy all the time would find its connection closed in the middle of its next request.
        self.shared.leaving.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Leaving);
        self.serve(&listener, tokio::time::sleep(drain.delay)).await;
        drop(listener);
        self.phase.send_replace(Phase::Stopping);
        if tokio::time::timeout(drain.most, self.places.acquire_many(self.connections)).await.is_err() {
            tracing::warn!("connections were still busy after {:?}; closing them", drain.most);
        }
    }

    /// Accepts connections, each served on a task of its own, until `stop` is ready.
    async fn serve(&self, listener: &TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.accept(listener) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let (shared, phase) = (Arc::clone(&self.shared), self.phase.subscribe());
                    tokio::spawn(async move {
                        connection::serve(&shared, stream, phase).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// The next connection, once there is a place for it. Until then it waits in the kernel's queue, and idle connections are
    /// asked to go.
    async fn accept(&self, listener: &TcpListener) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let places = Arc::clone(&self.places);
        let place = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.enter(Phase::Full);
                places.acquire_owned().await.expect("the semaphore is never closed")
            }
        };
        // Not at the first free place: each change of phase wakes every connection.
        if self.places.available_permits() > self.connections as usize / ROOMY {
            self.enter(Phase::Open);
        }
        let (stream, _) = listener.accept().await?;
        Ok((stream, place))
    }

    fn enter(&self, phase: Phase) {
        let entered =
            self.phase.send_if_modified(|now| *now != Phase::Leaving && std::mem::replace(now, phase) != phase);
        if entered && phase == Phase::Full {
            self.shared.live.metrics().full();
            tracing::warn!(
                "all {} connections are taken: further ones wait, idle ones are closed; see --max-connections",
                self.connections
            );
        }
    }
}
