//! A policy that keeps missing its deadline is not asked for a while, so that one loop can't occupy
//! all workers.
//!
//! Three misses in a row open the breaker. From then on, one evaluation a second is let through to
//! try, one at a time; the first that ends before its deadline closes the breaker. It is one atomic
//! word: nobody waits for it, and while all is well nobody writes to it. Used by `Policy::call`
//! alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Misses in a row that open the breaker. One may be a processor that was busy elsewhere.
const MISSES: u64 = 3;

/// How long it stays open before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Somebody is trying.
const TRYING: u64 = u64::MAX;

/// Below [`MISSES`]: closed, with so many misses in a row. [`TRYING`]: open, somebody tries. Else:
/// open until so many milliseconds after `epoch`, plus [`MISSES`].
pub(super) struct Breaker {
    state: AtomicU64,
    epoch: Instant,
}

/// Leave to run one evaluation, which must say how it ended. One that doesn't (a panic) counts as
/// in time.
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

/// How an evaluation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Of its own accord, whatever it answered.
    InTime,
    /// It was interrupted, and had had its time.
    Missed,
    /// It was interrupted early by the request's deadline, or by a review that is large: no
    /// evidence against the policy.
    CutShort,
}

/// What an evaluation did to the breaker, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    /// Leave to run one evaluation, unless the breaker is open.
    pub(super) fn admit(&self, now: Instant) -> Option<Permit<'_>> {
        let state = self.state.load(Ordering::Relaxed);
        if state < MISSES {
            return Some(Permit {
                breaker: self,
                is_trial: false,
            });
        }
        // TRYING is later than any time.
        let is_due = self.at(now) >= state;
        let tries = is_due
            && self
                .state
                .compare_exchange(state, TRYING, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        // Not `then_some`: a permit that is dropped has an effect.
        tries.then(|| Permit {
            breaker: self,
            is_trial: true,
        })
    }

    /// Whether the next evaluation would not run, or only as a trial.
    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::Relaxed) >= MISSES
    }

    /// Forgets all misses.
    pub(super) fn reset(&self) {
        self.state.store(0, Ordering::Relaxed);
    }

    fn at(&self, now: Instant) -> u64 {
        MISSES
            + u64::try_from(now.saturating_duration_since(self.epoch).as_millis())
                .unwrap_or(TRYING - 1 - MISSES)
    }

    fn end(&self, is_trial: bool, ended: Ended, now: Instant) -> Option<Change> {
        let open = self.at(now + PAUSE);
        if is_trial {
            let closes = ended == Ended::InTime;
            self.state
                .store(if closes { 0 } else { open }, Ordering::Relaxed);
            return closes.then_some(Change::Closed);
        }
        if ended == Ended::InTime && self.state.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // One that began while the breaker was closed has no say once it is open.
        let counted = |state| match (state, ended) {
            (MISSES.., _) | (_, Ended::CutShort) => None,
            (_, Ended::InTime) => Some(0),
            (state, Ended::Missed) if state + 1 == MISSES => Some(open),
            (state, Ended::Missed) => Some(state + 1),
        };
        let before = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        (ended == Ended::Missed && before == Ok(MISSES - 1)).then_some(Change::Opened)
    }
}

impl Permit<'_> {
    /// The evaluation ended.
    pub(super) fn end(mut self, ended: Ended, now: Instant) -> Option<Change> {
        let change = self.breaker.end(self.is_trial, ended, now);
        // What `drop` would do is done.
        self.is_trial = false;
        change
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ended::{CutShort, InTime, Missed};
    use super::*;

    fn run(breaker: &Breaker, ended: Ended, now: Instant) -> Option<Change> {
        breaker.admit(now).expect("it may run").end(ended, now)
    }

    fn open(breaker: &Breaker, now: Instant) {
        assert_eq!(
            [run(breaker, Missed, now), run(breaker, Missed, now)],
            [None, None]
        );
        assert_eq!(run(breaker, Missed, now), Some(Change::Opened));
    }

    #[test]
    fn three_misses_in_a_row_open_it() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        open(&breaker, now);
        assert!(breaker.admit(now).is_none());
    }

    #[test]
    fn an_evaluation_in_time_begins_the_count_anew() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        for _ in 0..5 {
            run(&breaker, Missed, now);
            run(&breaker, Missed, now);
            assert_eq!(run(&breaker, InTime, now), None);
        }
        assert!(breaker.admit(now).is_some());
    }

    #[test]
    fn one_at_a_time_tries_once_a_second() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        open(&breaker, now);
        assert!(breaker.admit(now + PAUSE / 2).is_none());
        let trial = breaker.admit(now + PAUSE).expect("due");
        assert!(
            breaker.admit(now + PAUSE * 5).is_none(),
            "one tries already"
        );
        assert_eq!(trial.end(Missed, now + PAUSE * 5), None);
        assert!(breaker.admit(now + PAUSE * 5).is_none());
        assert!(breaker.admit(now + PAUSE * 6).is_some());
    }

    #[test]
    fn a_trial_in_time_closes_it() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        open(&breaker, now);
        assert_eq!(run(&breaker, InTime, now + PAUSE), Some(Change::Closed));
        assert!(breaker.admit(now + PAUSE).is_some() && breaker.admit(now + PAUSE).is_some());
    }

    #[test]
    fn an_evaluation_that_is_cut_short_proves_nothing() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        for ended in [Missed, CutShort, Missed, CutShort] {
            assert_eq!(run(&breaker, ended, now), None);
        }
        assert_eq!(run(&breaker, Missed, now), Some(Change::Opened));
        assert_eq!(run(&breaker, CutShort, now + PAUSE), None);
        assert!(breaker.admit(now + PAUSE).is_none());
    }

    #[test]
    fn what_began_before_it_opened_has_no_say() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        let [early, late] =
            [breaker.admit(now), breaker.admit(now)].map(|permit| permit.expect("closed"));
        open(&breaker, now);
        assert_eq!(
            [early.end(InTime, now), late.end(Missed, now)],
            [None, None]
        );
        assert!(breaker.admit(now).is_none());
    }

    #[test]
    fn a_trial_that_is_never_ended_does_not_leave_it_open_forever() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        open(&breaker, now);
        drop(breaker.admit(now + PAUSE).expect("due"));
        assert!(breaker.admit(now + PAUSE).is_some());
    }

    #[test]
    fn of_many_threads_one_tries() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        open(&breaker, now);
        let tried = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if let Some(trial) = breaker.admit(now + PAUSE) {
                        tried.fetch_add(1, Ordering::Relaxed);
                        trial.end(Missed, now + PAUSE);
                    }
                });
            }
        });
        assert_eq!(tried.into_inner(), 1);
    }
}
