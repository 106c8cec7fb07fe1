//! The webhook's TLS server: accept, handshake, HTTP, drain.
//!
//! Every connection is a task of its own from its first byte on, so a slow client delays nobody
//! else. Every wait has a deadline; every input and every queue has a bound. `cli::serve` and tests
//! pass in sockets and limits; certificates come from [`Live`]. The server reads no files.

mod admin;
mod answer;
mod capacity;
mod connection;
mod eviction;
mod handlers;
mod limits;
mod listen;
mod peer;
mod peers;
mod permits;
mod received;
mod refusal;
mod sentinel;
mod timeout;
mod waste;
mod weight;

pub use admin::Admin;
pub use handlers::{Extras, PolicyCheck};
pub use limits::Limits;
pub use listen::listen;

use crate::large_body::spare_memory;
use crate::live::Live;
use capacity::Capacity;
use connection::{Shared, Stopping};
use eviction::Scarce;
use futures::FutureExt as _;
use peers::{Peers, Ticket};
use sentinel::Sentinel;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// The upper bound of `--max-connections`: more than a process has file descriptors.
const MAX_CONNECTIONS: u32 = 1 << 20;

/// The pause after a failed accept. Most of these failures mean that the process has no free file
/// descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The two phases in which a server ends.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// The server accepts and serves this long after the signal, until the cluster has removed its
    /// endpoint. HTTP/1.1 responses carry `Connection: close` meanwhile, so that clients reconnect
    /// to another replica.
    pub delay: Duration,
    /// Requests in flight may take this long after that. No connection is accepted any more, and
    /// idle ones are closed.
    pub timeout: Duration,
}

/// A webhook server, not listening yet.
pub struct Server {
    shared: Arc<Shared>,
    stopping: watch::Sender<Stopping>,
}

impl Server {
    /// Creates a server without extras. Handshakes fail until [`Live::tls`] has an identity.
    pub fn new(live: Arc<Live>, limits: Limits) -> Self {
        Self::with(live, limits, Extras::default())
    }

    /// Creates a server that also checks ServicePolicies or records reviews, as `extras` says.
    pub fn with(live: Arc<Live>, limits: Limits, extras: Extras) -> Self {
        let connections = u32::try_from(limits.connections)
            .unwrap_or(u32::MAX)
            .clamp(1, MAX_CONNECTIONS);
        let peers = Peers::new(&limits, connections);
        let capacity = Arc::new(Capacity::new(
            &limits,
            Arc::clone(&live),
            Arc::clone(&peers),
        ));
        let router = handlers::router(Arc::clone(&live), Arc::clone(&capacity), &limits, extras);
        let is_draining = AtomicBool::new(false);
        Self {
            shared: Arc::new(Shared {
                router,
                live,
                limits,
                capacity,
                peers,
                is_draining,
            }),
            stopping: watch::Sender::new(None),
        }
    }

    /// Serves until `stop` is ready, then drains as the returned [`Drain`] says.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = Drain>) {
        spare_memory::fix_mmap_threshold();
        let _sentinel =
            Sentinel::start(&self.shared.capacity).expect("a process can start one more thread");
        let drain = self.serve(&listener, stop).await;
        // From now on HTTP/1.1 responses carry `Connection: close`. Without it, a busy client would
        // lose its connection in the middle of its next request.
        self.shared.is_draining.store(true, Ordering::Relaxed);
        self.serve(&listener, tokio::time::sleep(drain.delay)).await;
        // Connections in the kernel's backlog may hold a request already.
        while let Some(Ok((stream, from))) = listener.accept().now_or_never() {
            self.admit(stream, from).await;
        }
        drop(listener);
        self.stopping.send_replace(Some(Instant::now()));
        if tokio::time::timeout(drain.timeout, self.shared.peers.all_gone())
            .await
            .is_err()
        {
            tracing::warn!(
                "connections were still busy after {:?}; closing them",
                drain.timeout
            );
        }
    }

    /// Accepts connections, each served on a task of its own, until `stop` is ready.
    async fn serve<T>(&self, listener: &TcpListener, stop: impl Future<Output = T>) -> T {
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                stopped = &mut stop => return stopped,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.admit(stream, from).await,
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    self.shared
                        .peers
                        .evict(Scarce::Connections, None, self.shared.live.metrics());
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Waits for a connection permit, then serves the client on a task of its own.
    async fn admit(&self, stream: TcpStream, from: SocketAddr) {
        let metrics = self.shared.live.metrics();
        let Some(ticket) = self.shared.peers.enter(from.ip(), metrics).await else {
            return tracing::debug!(%from, "all connections are taken");
        };
        self.spawn(stream, ticket);
    }

    fn spawn(&self, stream: TcpStream, ticket: Ticket) {
        let (shared, stopping) = (Arc::clone(&self.shared), self.stopping.subscribe());
        tokio::spawn(connection::serve(shared, stream, ticket, stopping));
    }
}
