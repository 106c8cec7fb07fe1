//! What clients may take: of time, of connections, of memory, of processors.

use ipnet::IpNet;
use std::time::Duration;

/// The bounds of a webhook server. Whatever goes beyond one of them is refused, closed or made to
/// wait; nothing queues without end.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request's body. API objects may have 3 MiB, and a review of an update holds two.
    pub body: usize,
    /// Bytes of bodies and of answers that are held at the same time, all requests together; more
    /// are told to come back (503).
    pub held: usize,
    /// Reviews at the same time, those included that wait for their turn; more are told to come
    /// back (503).
    pub in_flight: usize,
    /// Reviews that run at the same time, each on a worker thread. Fewer than the runtime has
    /// workers, so that one of them is always free to accept, to refuse and to answer.
    pub evaluations: usize,
    /// Open connections. When all are taken, one that keeps the server waiting is closed for each
    /// further one.
    pub connections: usize,
    /// Where API servers call from: a quarter of the connections and of the reviews in flight is
    /// kept for them.
    pub api_servers: Vec<IpNet>,
    /// Whether that quarter is kept: API servers can be told, by their address or by the
    /// certificate that they show.
    pub reserves: bool,
    /// Requests at the same time on one HTTP/2 connection; a client that wants more opens a further
    /// one.
    pub streams: u32,
    /// From accept to the end of the TLS handshake.
    pub handshake_time: Duration,
    /// From the first byte of a request's head to its last (HTTP/1.1).
    pub head_time: Duration,
    /// From the end of a request's head to the end of its body.
    pub body_time: Duration,
    /// From the answer to its last byte, while the client takes it; and for each write of which it
    /// takes nothing.
    pub write_time: Duration,
    /// Without any request. An API server's client closes after 90 s (Go `net/http`), and must be
    /// the one to do so: a request that crosses a close fails.
    pub idle_time: Duration,
    /// Without any request, while all connections are taken and others wait, and while the server
    /// ends.
    pub idle_time_in_a_hurry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 << 20,
            // Together with what is made of one large body, less than half of the 256 MiB that
            // `deploy/` gives.
            held: 24 << 20,
            // What one API server sends at most: 200 changing requests at a time
            // (`--max-mutating-requests-inflight`), and room.
            in_flight: 256,
            evaluations: std::thread::available_parallelism().map_or(2, usize::from),
            // Over HTTP/1.1, one for each call at the same time, of a few API servers; and below
            // the usual 1,024 descriptors.
            connections: 960,
            api_servers: vec![],
            reserves: false,
            // As Go's own server has it.
            streams: 250,
            handshake_time: Duration::from_secs(5),
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(5),
            write_time: Duration::from_secs(5),
            idle_time: Duration::from_secs(95),
            idle_time_in_a_hurry: Duration::from_secs(1),
        }
    }
}
