//! Reload: when the files change, or on SIGHUP, what they say replaces what is served, as a whole or not at all.
//!
//! A thread of its own watches, compiles and tests, so that requests are served meanwhile. A change is taken when it has stood
//! still from one look to the next; see `watch`. Started by `cli::serve`.

use super::source::Source;
use super::watch::{Ask, Fingerprint, Watch};
use crate::admission::Admission;
use crate::policy::Policy;
use crate::server::Live;
use anyhow::{Result, bail};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Watches the files and keeps what is served up to date with them.
pub(super) struct Reloader {
    source: Source,
    live: Arc<Live>,
    /// What the files looked like when they were last read, whatever came of it.
    seen: Fingerprint,
}

impl Reloader {
    pub(super) fn new(source: Source, live: Arc<Live>, seen: Fingerprint) -> Self {
        Self { source, live, seen }
    }

    /// Starts the thread. Without an interval nothing is watched, but [`Ask`] works all the same.
    ///
    /// # Errors
    ///
    /// When the process can't start one more thread.
    pub(super) fn start(self, interval: Option<Duration>) -> std::io::Result<Ask> {
        let (ask, watch) = Watch::new(interval);
        std::thread::Builder::new().name("reload".into()).spawn(move || self.run(&watch))?;
        Ok(ask)
    }

    fn run(mut self, watch: &Watch) {
        while watch.next(&self.seen, || self.source.fingerprint()) {
            self.reload();
        }
    }

    fn reload(&mut self) {
        let began = Instant::now();
        let current = self.live.admission();
        // A bug that a policy's bytes bring to light must not end all later reloads.
        let read = || catch_unwind(AssertUnwindSafe(|| self.read(&current))).unwrap_or_else(|_| panicked());
        let (seen, read) = self.source.settled(read);
        self.seen = seen;
        match read {
            Ok(admission) => {
                let kept = |policy: &&Arc<Policy>| current.policies().iter().any(|old| Arc::ptr_eq(old, policy));
                let (policies, kept) = (admission.policies().len(), admission.policies().iter().filter(kept).count());
                let generation = self.live.publish(Arc::new(admission));
                tracing::info!(generation, policies, kept, took = ?began.elapsed(), "reloaded");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    generation = self.live.generation(),
                    "not reloaded, the policies from before serve on: {error}"
                );
                self.live.refuse(error);
            }
        }
    }

    /// A set without any fault.
    fn read(&self, before: &Admission) -> Result<Admission> {
        let admission = self.source.admission(Some(before))?;
        let all = admission.policies().iter().chain(admission.candidates());
        let broken = all.filter_map(|policy| policy.load_error());
        let broken: Vec<_> = broken.map(ToString::to_string).collect();
        if !broken.is_empty() {
            bail!("{}", broken.join("; "));
        }
        self.source.self_test()?;
        Ok(admission)
    }
}

fn panicked<T>() -> Result<T> {
    bail!("loading panicked; its message is on standard error")
}
