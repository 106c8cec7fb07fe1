//! The webhook's TLS server: accept, handshake, HTTP, drain.
//!
//! Every connection is a task of its own from its first byte on, so that a slow client stalls
//! nobody. Every wait has a deadline, every input and every queue a bound. Called by `cli::serve`
//! and by tests; it is given sockets and certificates, and knows no files.

mod admin;
mod answer;
mod capacity;
mod connection;
mod handlers;
mod limits;
mod listen;
mod peer;
mod peers;
mod received;
mod refusal;
mod sentinel;
mod timeout;
mod weight;

pub use admin::Admin;
pub use handlers::{Extras, PolicyCheck};
pub use limits::Limits;
pub use listen::listen;

use crate::large_body::spare_memory;
use crate::live::Live;
use capacity::Capacity;
use connection::{Shared, Stopping};
use futures::FutureExt as _;
use peers::{Peers, Scarce, Ticket};
use sentinel::Sentinel;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// More than a process has file descriptors.
const MOST_CONNECTIONS: u32 = 1 << 20;

/// After a failed accept, which is out of file descriptors most of the time.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How a server ends.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// How long it serves on, until the cluster has noticed; answers over HTTP/1.1 then ask the
    /// client to connect anew, which leads it to another replica.
    pub delay: Duration,
    /// How long requests in flight may take after that. No connection is accepted any more, and
    /// idle ones are closed.
    pub most: Duration,
}

/// A webhook server, not listening yet.
pub struct Server {
    shared: Arc<Shared>,
    stopping: watch::Sender<Stopping>,
}

impl Server {
    /// A server that answers with what the live set decides. Handshakes fail until [`Live::tls`]
    /// has an identity.
    pub fn new(live: Arc<Live>, limits: Limits) -> Self {
        Self::with(live, limits, Extras::default())
    }

    /// A server that also checks ServicePolicies, or records what it answers.
    pub fn with(live: Arc<Live>, limits: Limits, extras: Extras) -> Self {
        let connections = u32::try_from(limits.connections)
            .unwrap_or(u32::MAX)
            .clamp(1, MOST_CONNECTIONS);
        let peers = Peers::new(&limits, connections);
        let capacity = Arc::new(Capacity::new(
            &limits,
            Arc::clone(&live),
            Arc::clone(&peers),
        ));
        let router = handlers::router(Arc::clone(&live), Arc::clone(&capacity), &limits, extras);
        let leaving = AtomicBool::new(false);
        Self {
            shared: Arc::new(Shared {
                router,
                live,
                limits,
                capacity,
                peers,
                leaving,
            }),
            stopping: watch::Sender::new(None),
        }
    }

    /// Serves until `stop` is ready, and drains as it says.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = Drain>) {
        spare_memory::settle();
        let _sentinel =
            Sentinel::start(&self.shared.capacity).expect("a process can start one more thread");
        let drain = self.serve(&listener, stop).await;
        // A client that is busy all the time would find its connection closed in the middle of its
        // next request.
        self.shared.leaving.store(true, Ordering::Relaxed);
        self.serve(&listener, tokio::time::sleep(drain.delay)).await;
        // Who has connected may have sent its request already.
        while let Some(Ok((stream, from))) = listener.accept().now_or_never() {
            self.welcome(stream, from).await;
        }
        drop(listener);
        self.stopping.send_replace(Some(Instant::now()));
        if tokio::time::timeout(drain.most, self.shared.peers.all_gone())
            .await
            .is_err()
        {
            tracing::warn!(
                "connections were still busy after {:?}; closing them",
                drain.most
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
                Ok((stream, from)) => self.welcome(stream, from).await,
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    self.shared
                        .peers
                        .evict(Scarce::Places, None, self.shared.live.metrics());
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// Serves a client, once there is a place for it.
    async fn welcome(&self, stream: TcpStream, from: SocketAddr) {
        let metrics = self.shared.live.metrics();
        let Some(ticket) = self.shared.peers.enter(from.ip(), metrics).await else {
            return tracing::debug!(%from, "no place for a connection");
        };
        self.spawn(stream, ticket);
    }

    fn spawn(&self, stream: TcpStream, ticket: Ticket) {
        let (shared, stopping) = (Arc::clone(&self.shared), self.stopping.subscribe());
        tokio::spawn(connection::serve(shared, stream, ticket, stopping));
    }
}
