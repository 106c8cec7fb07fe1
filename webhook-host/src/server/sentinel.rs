//! Somebody always looks after sockets and timers: a thread that wakes a worker while guests run.
//!
//! Guests run on the workers, and the worker that runs one may be the one that waited for sockets and timers on behalf of all.
//! tokio wakes no other for a single event, so everybody else would sleep as long as that guest runs (its option for that,
//! `enable_eager_driver_handoff`, is unstable). A task spawned from outside wakes a worker if one sleeps, and that one looks
//! after them when it is done. Requests pay nothing for it. Started by `Server::run`.

use super::capacity::Capacity;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long sockets and timers may go without a look. Much longer than a good guest takes.
const TICK: Duration = Duration::from_millis(5);

/// Ends its thread when dropped.
pub(super) struct Sentinel {
    stop: Arc<AtomicBool>,
}

impl Sentinel {
    /// For the runtime that it is called on.
    pub(super) fn start(capacity: Arc<Capacity>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, runtime) = (Arc::clone(&stop), Handle::current());
        let run = move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                if capacity.is_running() {
                    runtime.spawn(async {});
                }
            }
        };
        std::thread::Builder::new().name("sentinel".into()).spawn(run)?;
        Ok(Self { stop })
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
