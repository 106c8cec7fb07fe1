//! Somebody always looks after sockets and timers: a thread that wakes a worker while guests run.
//!
//! Guests run on the workers, and the worker that runs one may be the one that waited for sockets
//! and timers on behalf of all. tokio wakes no other for a single event, so everybody else would
//! sleep as long as that guest runs (its option for that, `enable_eager_driver_handoff`, is
//! unstable). A task spawned from outside wakes a worker if one sleeps, and that one looks after
//! them when it is done. Requests pay next to nothing for it, and a host without any sleeps.
//! Started by `Server::run`.

use super::capacity::Capacity;
use crate::pulse::{Beat, Pulse};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long sockets and timers may go without a look. Much longer than a good guest takes.
const TICK: Duration = Duration::from_millis(5);

/// Ticks without any guest before it sleeps: more than a second.
const QUIET: u64 = 200;

/// Ends its thread when dropped.
pub(super) struct Sentinel {
    _pulse: Pulse,
}

impl Sentinel {
    /// For the runtime that it is called on.
    pub(super) fn start(capacity: &Arc<Capacity>) -> std::io::Result<Self> {
        let (watched, runtime) = (Arc::clone(capacity), Handle::current());
        let beat = move || {
            if !watched.is_running() {
                return Beat::Idle;
            }
            runtime.spawn(async {});
            Beat::Busy
        };
        let pulse = Pulse::start("sentinel", TICK, QUIET, beat)?;
        capacity.tell(pulse.stirrer().clone());
        Ok(Self { _pulse: pulse })
    }
}
