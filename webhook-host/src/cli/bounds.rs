//! The flags of the server's limits.

use super::quantity::{body_size, short_time};
use crate::server::Limits;
use clap::Args;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// The most connections or reviews. A larger number is a typo.
const MAX_COUNT: usize = 1 << 20;

/// The limits of a server. Requests and connections beyond them are refused with 503 and
/// Retry-After, wait in the kernel's queue, or are closed; then the webhook's failurePolicy
/// decides.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct Bounds {
    /// Reviews at the same time, those included that wait for one of the processors; one more is
    /// refused with 503. They wait in the order in which they came, each at most as long as the API
    /// server waits for it
    #[arg(long, value_name = "N", default_value_t = Limits::default().in_flight,
        value_parser = at_least_one)]
    max_in_flight: usize,
    /// Open connections. When all are taken, each new one takes the place of one whose client keeps
    /// the host waiting
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections,
        value_parser = at_least_one)]
    max_connections: usize,
    /// Where API servers call from, such as 10.0.0.0/28; several times for several ranges. A
    /// quarter of all connections and of all reviews in flight is kept for them, whatever others
    /// do. Clients that --client-ca lets in count as API servers, too
    #[arg(long, value_name = "CIDR", value_parser = range)]
    api_server_cidr: Vec<IpNet>,
    /// Largest request body
    #[arg(long, value_name = "SIZE", default_value = "8Mi", value_parser = body_size)]
    body_limit: usize,
    /// For the body of a request
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = short_time)]
    body_timeout: Duration,
    /// For a connection without requests. An API server closes after 90s; closing earlier than it
    /// does can fail a request
    #[arg(long, value_name = "TIME", default_value = "95s", value_parser = short_time)]
    idle_timeout: Duration,
}

impl Bounds {
    pub(super) fn limits(&self, evaluations: usize, knows_clients: bool) -> Limits {
        Limits {
            api_servers: self.api_server_cidr.clone(),
            reserves: knows_clients || !self.api_server_cidr.is_empty(),
            body: self.body_limit,
            in_flight: self.max_in_flight,
            evaluations,
            connections: self.max_connections,
            body_time: self.body_timeout,
            idle_time: self.idle_timeout,
            ..Limits::default()
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=MAX_COUNT).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MAX_COUNT}"))
}

/// Parses a range of addresses, or one address.
fn range(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let range = text.parse::<IpNet>().or_else(|_| address());
    range.map_err(|_| {
        "expected a range of addresses such as 10.0.0.0/28 or fd00::/64, or one address".to_owned()
    })
}
