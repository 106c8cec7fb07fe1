//! The shadow: asks candidates about answered reviews, on a thread in the background.
//!
//! Invariants: the thread takes at most a quarter of one processor (it rests three times as long as
//! it worked); a review that doesn't fit the queue is counted as skipped; a candidate that loops is
//! bounded by its own deadline, by [`CANDIDATE_TIMEOUT`], and by a circuit breaker that is not the
//! live policy's. Owned by `server`, and ends with it.

use super::queue::{Answered, Queue, QueueReader, queue};
use super::recent::Recent;
use sallyport_core::admission::{AdmissionRequest, Divergence, Shadowed};
use sallyport_core::excerpt::{MAX_MESSAGE, cut, excerpt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// The time for one candidate on one review, if its own deadline is longer. A review takes
/// microseconds, so a candidate that takes longer loops, and counts as having missed its deadline.
const CANDIDATE_TIMEOUT: Duration = Duration::from_millis(250);

/// The rest after work, as a multiple of the time worked.
const REST_FACTOR: u32 = 3;

/// The shortest rest that is slept: sleeping has a resolution of about 0.1 ms.
const MIN_REST: Duration = Duration::from_millis(2);

/// The divergences that are logged each second. A changed setting may make every review diverge.
const MAX_LINES_PER_SECOND: u32 = 10;

/// The interval after which the number of divergences that were not logged is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The sending end of the shadow's queue.
pub(crate) struct Shadow {
    queue: Queue,
}

impl Shadow {
    /// Starts the thread. Divergences that are logged are also kept in `recent`, if a console shows
    /// them.
    pub(crate) fn start(recent: Option<Arc<Recent>>) -> std::io::Result<Self> {
        let (queue, waiting) = queue();
        std::thread::Builder::new()
            .name("shadow".into())
            .spawn(move || run(&waiting, recent.as_deref()))?;
        Ok(Self { queue })
    }

    /// Queues a review for the candidates, or counts it as skipped.
    pub(crate) fn ask(&self, answered: &Arc<Answered>) {
        if !self.queue.offer(answered) {
            answered.skip();
        }
    }
}

fn run(waiting: &QueueReader, recent: Option<&Recent>) {
    let (mut log, mut rest) = (RateLimitedLog::new(Instant::now()), Duration::ZERO);
    loop {
        match waiting.next(LOG_INTERVAL) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => log.begin_interval_if_due(Instant::now()),
            Ok(answered) => {
                let guard = answered.lock.acquire_blocking();
                let began = Instant::now();
                // A panic on one review must not end the thread.
                let compare = || answered.compare(&mut log, recent);
                if catch_unwind(AssertUnwindSafe(compare)).is_err() {
                    answered.skip();
                }
                drop(guard);
                rest += began.elapsed() * REST_FACTOR;
                if rest >= MIN_REST {
                    std::thread::sleep(std::mem::take(&mut rest));
                }
            }
        }
    }
}

impl Answered {
    fn compare(&self, log: &mut RateLimitedLog, recent: Option<&Recent>) {
        // It was parsed before it was answered, so this never fails.
        let Ok(request) = AdmissionRequest::parse(&self.body) else {
            return;
        };
        let admission = &self.set.admission;
        for shadowed in admission.shadow(
            &self.inventory,
            self.function,
            &request,
            self.now,
            CANDIDATE_TIMEOUT,
            &self.outcome,
        ) {
            let divergence = shadowed.live.diverges(&shadowed.candidate);
            if let Some(tally) = self.set.tally(&shadowed.policy) {
                tally.count(divergence);
            }
            // A broken candidate was logged when it was loaded.
            let is_broken = admission
                .candidate(&shadowed.policy)
                .is_some_and(|next| next.load_error().is_some());
            if divergence != Divergence::Same && !is_broken && log.may_log(Instant::now()) {
                log_divergence(&request, &shadowed, divergence);
                if let Some(recent) = recent {
                    recent.diverged(self, &shadowed);
                }
            }
        }
    }

    /// Counts a skipped review for each candidate, if any policy matched it: the candidates that
    /// would have been asked are not known without parsing the Service.
    fn skip(&self) {
        for policy in self
            .set
            .admission
            .policies()
            .iter()
            .filter(|_| self.outcome.matched)
        {
            if let Some(tally) = self.set.tally(policy.name()) {
                tally.skip();
            }
        }
    }
}

fn log_divergence(request: &AdmissionRequest<'_>, shadowed: &Shadowed, divergence: Divergence) {
    tracing::info!(
        policy = &*shadowed.policy,
        result = divergence.name(),
        uid = &*request.uid,
        namespace = &*excerpt(request.namespace()),
        name = &*excerpt(request.name()),
        live = &*cut(&shadowed.live.summary(), MAX_MESSAGE),
        candidate = &*cut(&shadowed.candidate.summary(), MAX_MESSAGE),
        "the candidate diverges"
    );
}

/// Limits the lines logged a second, and counts those left out.
struct RateLimitedLog {
    since: Instant,
    logged: u32,
    suppressed: u64,
}

impl RateLimitedLog {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            logged: 0,
            suppressed: 0,
        }
    }

    fn may_log(&mut self, now: Instant) -> bool {
        self.begin_interval_if_due(now);
        let may = self.logged < MAX_LINES_PER_SECOND;
        if may {
            self.logged += 1
        } else {
            self.suppressed += 1
        }
        may
    }

    /// Begins a new interval when one has passed, and logs how many lines were left out.
    fn begin_interval_if_due(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) < LOG_INTERVAL {
            return;
        }
        if self.suppressed > 0 {
            tracing::info!(
                count = self.suppressed,
                "more divergences of candidates are counted and not logged"
            );
        }
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_divergences_is_so_many_lines_a_second_and_a_count() {
        let now = Instant::now();
        let mut log = RateLimitedLog::new(now);
        let logged = (0..100).filter(|_| log.may_log(now)).count();
        assert_eq!((logged, log.suppressed), (10, 90));
        assert!(log.may_log(now + LOG_INTERVAL));
        assert_eq!(log.suppressed, 0);
    }
}
