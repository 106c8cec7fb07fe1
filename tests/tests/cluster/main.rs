//! Sallyport as webhook of a real kube-apiserver with a real etcd, asked by a real kubectl.
//!
//! `make assets` gets the three programs. Without them each test says that it is skipped; with
//! `SALLYPORT_REQUIRE_CLUSTER=1`, as in CI, it fails instead. What a version of Kubernetes lacks is asked of the server, and
//! named where a test leaves something out. Logs of all processes stay below `target/tmp/cluster`.

mod admission;
mod assets;
mod cluster;
mod kubectl;
mod outage;
mod process;
mod replicas;
mod runbook;
mod webhook;

use std::time::{Duration, Instant};

/// For whatever must come true on a busy machine: an API server alone takes 13 s there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what must come true; one look is often a run of kubectl.
const LOOK: Duration = Duration::from_millis(100);

/// Looks until something is there; what is told last says why it never was.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if began.elapsed() > PATIENCE => panic!("{what}: not after {PATIENCE:?}: {why}"),
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}
