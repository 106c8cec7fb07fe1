//! The bounds of a webhook server, set by `cli::serve` from flags. A request beyond one of them
//! waits within its deadline, is refused, or is closed; nothing queues without end.

use ipnet::IpNet;
use std::time::Duration;

/// The bounds of a webhook server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body of a request in bytes. API objects may have 3 MiB, and the review of an
    /// update holds two.
    pub body: usize,
    /// Bytes of bodies and of responses in memory at the same time; requests beyond are refused
    /// (503).
    pub held: usize,
    /// Reviews in flight, including those that wait for an evaluation permit; more are refused
    /// (503).
    pub in_flight: usize,
    /// Reviews that run guests at the same time, each on a worker thread: fewer than the runtime
    /// has workers, so that one of them is always free to accept and to refuse.
    pub evaluations: usize,
    /// Open connections. When all are taken, a connection that keeps the server waiting is closed
    /// for each new one.
    pub connections: usize,
    /// The addresses of API servers, for which a quarter of the connections and of the in-flight
    /// slots is reserved.
    pub api_servers: Vec<IpNet>,
    /// Reserves that quarter. Set when API servers can be recognised by their address or by their
    /// client certificate.
    pub reserves: bool,
    /// Concurrent requests on one HTTP/2 connection; a client that needs more opens another one.
    pub streams: u32,
    /// The time from accept to the end of the TLS handshake.
    pub handshake_time: Duration,
    /// The time from the first byte of a request's head to its last (HTTP/1.1).
    pub head_time: Duration,
    /// The time from the end of a request's head to the end of its body.
    pub body_time: Duration,
    /// The time from the response to its last byte, and for each write of which the client reads
    /// nothing.
    pub write_time: Duration,
    /// The time without any request. An API server's client closes an idle connection after 90 s
    /// (Go `net/http`). It should close first, because a request that crosses the server's close
    /// fails.
    pub idle_time: Duration,
    /// The time without any request while all connections are taken and others wait, and while the
    /// server drains.
    pub short_idle_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 << 20,
            // Together with the JSON tree of one large body, less than half of the 256 MiB that
            // `deploy/` gives the container.
            held: 24 << 20,
            // One API server sends at most 200 mutating requests at a time
            // (`--max-mutating-requests-inflight`).
            in_flight: 256,
            evaluations: std::thread::available_parallelism().map_or(2, usize::from),
            // Over HTTP/1.1 a few API servers open one connection for each concurrent call. Below
            // the usual limit of 1,024 file descriptors.
            connections: 960,
            api_servers: vec![],
            reserves: false,
            // The default of Go's HTTP/2 server.
            streams: 250,
            handshake_time: Duration::from_secs(5),
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(5),
            write_time: Duration::from_secs(5),
            idle_time: Duration::from_secs(95),
            short_idle_time: Duration::from_secs(1),
        }
    }
}
