//! Reload: when the files or the cluster's ServicePolicies change, or on SIGHUP, a new Set replaces
//! the serving one, as a whole or not at all.
//!
//! A thread of its own watches, compiles and tests, while the old Set keeps serving. Changed files
//! are read once they stay unchanged for one interval; see `watch`. Started by `cli::serve`.

use super::source::{Set, Source};
use super::watch::{Ask, Fingerprint, Watch};
use crate::live::Live;
use anyhow::{Result, bail};
use sallyport_core::admission::Admission;
use sallyport_core::policy::Policy;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time that a reload waits for the first list of kinds that only the new policies ask about.
/// Most lists take less than a second.
const LIST_WAIT: Duration = Duration::from_secs(10);

/// Returns the pause before a registry that did not give a component is asked again: one second,
/// doubled with each attempt, up to a minute.
pub(crate) fn retry_pause(attempt: u32) -> Duration {
    Duration::from_secs(1 << attempt.min(6)).min(Duration::from_mins(1))
}

/// Watches the files, and publishes a new Set when they change.
pub(crate) struct Reloader {
    source: Source,
    live: Arc<Live>,
    /// The fingerprint of the last read, successful or not.
    seen: Fingerprint,
}

impl Reloader {
    pub(crate) fn new(source: Source, live: Arc<Live>, seen: Fingerprint) -> Self {
        Self { source, live, seen }
    }

    /// Starts the thread. Without an interval nothing is polled; [`Ask`] works in any case.
    ///
    /// # Errors
    ///
    /// When the process can't start another thread.
    pub(crate) fn start(self, interval: Option<Duration>) -> std::io::Result<Ask> {
        let (ask, watch) = Watch::new(interval);
        std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || self.run(&watch))?;
        Ok(ask)
    }

    fn run(mut self, watch: &Watch) {
        let mut attempts = None;
        while watch.next_or_after(
            &self.seen,
            || self.source.fingerprint(),
            attempts.map(retry_pause),
        ) {
            attempts = self
                .reload()
                .then(|| attempts.map_or(0, |attempt| attempt + 1));
        }
    }

    /// Reads the files and publishes the Set. Returns true if a registry did not give a component,
    /// so that another attempt may succeed.
    fn reload(&mut self) -> bool {
        let began = Instant::now();
        let current = self.live.admission();
        // A panic that some policy's bytes trigger must not end all later reloads.
        let read = || {
            catch_unwind(AssertUnwindSafe(|| self.source.read(Some(&current))))
                .unwrap_or_else(|_| panicked())
        };
        let (seen, read) = self.source.settled(read);
        self.seen = seen;
        let unreached = read.as_ref().is_ok_and(|set| !set.unreached.is_empty());
        match read.and_then(|set| self.sound(set)) {
            Ok(Set {
                admission, custom, ..
            }) => {
                let kept = |policy: &&Arc<Policy>| {
                    current
                        .policies()
                        .iter()
                        .any(|old| Arc::ptr_eq(old, policy))
                };
                self.watch_before(&admission);
                let asks = admission.asks();
                let (policies, kept) = (
                    admission.policies().len(),
                    admission.policies().iter().filter(kept).count(),
                );
                let generation = self.live.publish(Arc::new(admission));
                if let Some(watchers) = &self.source.watchers {
                    watchers.want(asks);
                }
                self.source.report(&custom);
                let setbacks = custom.setbacks();
                if !setbacks.is_empty() {
                    self.live.note_load_error(setbacks.join("; "));
                }
                tracing::info!(generation, policies, kept, took = ?began.elapsed(), "reloaded");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    generation = self.live.generation(),
                    "not reloaded, the policies from before serve on: {error}"
                );
                self.live.reload_failed(error);
            }
        }
        unreached
    }

    /// Watches the objects that the new policies need, so that these are listed before the policies
    /// serve. The old policies keep theirs until then.
    fn watch_before(&self, admission: &Admission) {
        let Some(watchers) = &self.source.watchers else {
            return;
        };
        let wanted = watchers.wanted();
        let both: BTreeSet<_> = admission.asks().union(&wanted).copied().collect();
        if both != wanted {
            watchers.want(both);
            if let Err(unlisted) = watchers.wait(LIST_WAIT) {
                tracing::error!(
                    "reloading without these facts, which policies see as unknown: {unlisted}"
                );
            }
        }
    }

    /// Fails on any fault of the files, but not on broken custom resources.
    fn sound(&self, set: Set) -> Result<Set> {
        if !set.broken_files.is_empty() {
            bail!("{}", set.broken_files.join("; "));
        }
        self.source.self_test()?;
        Ok(set)
    }
}

fn panicked<T>() -> Result<T> {
    bail!("loading panicked; its message is on standard error")
}
