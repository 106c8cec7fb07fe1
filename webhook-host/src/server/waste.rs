//! The connections that addresses wasted lately: their clients got no response, or were evicted in
//! the middle of a request. Half is forgotten every ten seconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const HALF_LIFE: Duration = Duration::from_secs(10);

/// The number of open connections that a wasted one counts as.
const WEIGHT: f64 = 32.0;

/// The number of addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// Wasted connections by address.
#[derive(Default)]
pub(super) struct Waste(HashMap<IpAddr, Wasted>);

struct Wasted {
    connections: f64,
    at: Instant,
}

impl Waste {
    /// Counts a connection.
    pub(super) fn add(&mut self, address: IpAddr) {
        if self.0.len() >= MAX_ADDRESSES && !self.0.contains_key(&address) {
            self.0.retain(|_, wasted| wasted.now() >= 1.0);
            if self.0.len() >= MAX_ADDRESSES {
                return;
            }
        }
        let wasted = Wasted {
            connections: self.of(address) + 1.0,
            at: Instant::now(),
        };
        self.0.insert(address, wasted);
    }

    /// Returns the number of open connections that those which the address wasted count as.
    pub(super) fn score(&self, address: IpAddr) -> f64 {
        WEIGHT * self.of(address)
    }

    fn of(&self, address: IpAddr) -> f64 {
        self.0.get(&address).map_or(0.0, Wasted::now)
    }
}

impl Wasted {
    fn now(&self) -> f64 {
        self.connections * (-self.at.elapsed().as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
    }
}
