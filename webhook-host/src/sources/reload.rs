//! Reload: when the files or the cluster's ServicePolicies change, or on SIGHUP, what they say
//! replaces what is served, as a whole or not at all.
//!
//! A thread of its own watches, compiles and tests, so that requests are served meanwhile. A change
//! of files is taken when they stood still from one look to the next; see `watch`. Started by
//! `cli::serve`.

use super::source::{Set, Source};
use super::watch::{Ask, Fingerprint, Watch};
use crate::admission::Admission;
use crate::live::Live;
use crate::policy::Policy;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a reload waits for the first list of what only the new policies ask about: most lists
/// take less than a second.
const LIST_WAIT: Duration = Duration::from_secs(10);

/// Watches the files and keeps what is served up to date with them.
pub(crate) struct Reloader {
    source: Source,
    live: Arc<Live>,
    /// What the files looked like when they were last read, whatever came of it.
    seen: Fingerprint,
}

impl Reloader {
    pub(crate) fn new(source: Source, live: Arc<Live>, seen: Fingerprint) -> Self {
        Self { source, live, seen }
    }

    /// Starts the thread. Without an interval nothing is watched, but [`Ask`] works all the same.
    ///
    /// # Errors
    ///
    /// When the process can't start one more thread.
    pub(crate) fn start(self, interval: Option<Duration>) -> std::io::Result<Ask> {
        let (ask, watch) = Watch::new(interval);
        std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || self.run(&watch))?;
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
        let read = || {
            catch_unwind(AssertUnwindSafe(|| self.read(&current))).unwrap_or_else(|_| panicked())
        };
        let (seen, read) = self.source.settled(read);
        self.seen = seen;
        match read {
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
    }

    /// What the new policies ask about the cluster is listed before they are asked, when it can be;
    /// the old ones keep what they have until then.
    fn watch_before(&self, admission: &Admission) {
        let Some(watchers) = &self.source.watchers else {
            return;
        };
        let wanted = watchers.wanted();
        let both: BTreeSet<_> = admission.asks().union(&wanted).copied().collect();
        if both != wanted {
            watchers.want(both);
            if let Err(unlisted) = watchers.wait(LIST_WAIT) {
                tracing::error!("reloading all the same; to policies, this is unknown: {unlisted}");
            }
        }
    }

    /// A set of files without any fault, and what can be made of the custom resources.
    fn read(&self, before: &Admission) -> Result<Set> {
        let set = self.source.read(Some(before))?;
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
