//! Candidates are asked here: on one thread in the background, after the answer was given.
//!
//! A request hands over what it was answered with and goes on. The thread takes at most a quarter
//! of one processor: it rests three times as long as it worked, and what waits meanwhile beyond the
//! queue's bounds is counted as skipped. A candidate that loops is bounded by its own deadline, by
//! [`MAX_EVALUATION`], and by a breaker of its own, which is not the live policy's. Owned by `handlers`;
//! the thread ends with it.

use super::queue::{Answered, Queue, Waiting, queue};
use sallyport_core::admission::{AdmissionRequest, Divergence, Shadowed};
use sallyport_core::excerpt::{MAX_MESSAGE, cut, excerpt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// For one candidate on one review, where its own deadline is longer. One that takes longer loops,
/// and counts as a miss.
const MAX_EVALUATION: Duration = Duration::from_millis(250);

/// Rest for each time worked.
const REST: u32 = 3;

/// Rest that is worth a sleep: sleeping has a resolution of about 0.1 ms.
const NAP: Duration = Duration::from_millis(2);

/// Divergences that are logged a second; a changed setting may make every review diverge.
const LINES: u32 = 10;

/// How often the count of those that were not logged is told.
const SECOND: Duration = Duration::from_secs(1);

/// What asks candidates.
pub(crate) struct Shadow {
    queue: Queue,
}

impl Shadow {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (queue, waiting) = queue();
        std::thread::Builder::new()
            .name("shadow".into())
            .spawn(move || run(&waiting))?;
        Ok(Self { queue })
    }

    /// Asks the candidates about this review, as soon as there is time, or not at all.
    pub(crate) fn ask(&self, answered: &Arc<Answered>) {
        if !self.queue.offer(answered) {
            answered.skip();
        }
    }
}

fn run(waiting: &Waiting) {
    let (mut log, mut debt) = (Log::new(Instant::now()), Duration::ZERO);
    loop {
        match waiting.next(SECOND) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => log.turn(Instant::now()),
            Ok(answered) => {
                let guard = answered.lock.acquire_blocking();
                let began = Instant::now();
                // A bug that one body brings to light must not end the thread.
                if catch_unwind(AssertUnwindSafe(|| answered.compare(&mut log))).is_err() {
                    answered.skip();
                }
                drop(guard);
                debt += began.elapsed() * REST;
                if debt >= NAP {
                    std::thread::sleep(std::mem::take(&mut debt));
                }
            }
        }
    }
}

impl Answered {
    fn compare(&self, log: &mut Log) {
        // It was read once already.
        let Ok(request) = AdmissionRequest::parse(&self.body) else {
            return;
        };
        let admission = &self.set.admission;
        for shadowed in admission.shadow(
            &self.inventory,
            self.function,
            &request,
            self.now,
            MAX_EVALUATION,
            &self.outcome,
        ) {
            let divergence = shadowed.live.diverges(&shadowed.candidate);
            if let Some(tally) = self.set.tally(&shadowed.policy) {
                tally.count(divergence);
            }
            // That it is broken was told when it was loaded.
            let is_broken = admission
                .candidate(&shadowed.policy)
                .is_some_and(|next| next.load_error().is_some());
            if divergence != Divergence::Same && !is_broken && log.may_tell(Instant::now()) {
                tell(&request, &shadowed, divergence);
            }
        }
    }

    /// Counts it for each candidate, where any policy had a say: which ones would have been asked
    /// takes a look at the Service.
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

fn tell(request: &AdmissionRequest<'_>, shadowed: &Shadowed, divergence: Divergence) {
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

/// So many lines a second, and how many more there would have been.
struct Log {
    since: Instant,
    told: u32,
    untold: u64,
}

impl Log {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            told: 0,
            untold: 0,
        }
    }

    fn may_tell(&mut self, now: Instant) -> bool {
        self.turn(now);
        let may = self.told < LINES;
        if may {
            self.told += 1
        } else {
            self.untold += 1
        }
        may
    }

    /// Begins a new second, when one has passed.
    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) < SECOND {
            return;
        }
        if self.untold > 0 {
            tracing::info!(
                count = self.untold,
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
        let mut log = Log::new(now);
        let told = (0..100).filter(|_| log.may_tell(now)).count();
        assert_eq!((told, log.untold), (10, 90));
        assert!(log.may_tell(now + SECOND));
        assert_eq!(log.untold, 0);
    }
}
