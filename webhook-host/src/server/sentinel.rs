//! A thread that wakes a tokio worker while guests run, so that sockets and timers are polled.
//!
//! Guests run on the workers, and the worker that runs one may be the one that polled sockets and
//! timers for the whole runtime. tokio wakes no other worker for a single event, so all other tasks
//! would wait as long as that guest runs. (tokio's option for that, `enable_eager_driver_handoff`,
//! is unstable.) A task spawned from outside wakes a sleeping worker, which then takes over the
//! polling. A request pays one atomic read for it, and an idle host nothing. Started by
//! `Server::run`.

use super::capacity::Capacity;
use crate::pulse::{Beat, Pulse};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// The longest time for which sockets and timers go unpolled. Much longer than a usual guest runs.
const TICK: Duration = Duration::from_millis(5);

/// Ticks without a guest before the thread sleeps: one second.
const IDLE_TICKS: u64 = 200;

/// Handle of the thread, which ends when this is dropped.
pub(super) struct Sentinel {
    _pulse: Pulse,
}

impl Sentinel {
    /// Starts the thread for the runtime that this is called on.
    pub(super) fn start(capacity: &Arc<Capacity>) -> std::io::Result<Self> {
        let (capacity_of_beat, runtime) = (Arc::clone(capacity), Handle::current());
        let beat = move || {
            if !capacity_of_beat.is_running() {
                return Beat::Idle;
            }
            runtime.spawn(async {});
            Beat::Busy
        };
        let pulse = Pulse::start("sentinel", TICK, IDLE_TICKS, beat)?;
        capacity.set_sentinel(pulse.notifier().clone());
        Ok(Self { _pulse: pulse })
    }
}
