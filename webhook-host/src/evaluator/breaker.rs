//! A circuit breaker: a policy that keeps missing its deadline is not asked for a while, so that
//! one loop can't occupy all workers.
//!
//! Three misses in a row open the breaker. From then on, one evaluation a second is let through as
//! a trial, one at a time; the first that ends before its deadline closes the breaker.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Misses in a row that open the breaker. One may be a processor that was busy elsewhere.
const MISSES: u32 = 3;

/// The time for which the breaker stays open before a trial.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything is let through. With so many misses in a row, fewer than [`MISSES`].
    Closed(u32),
    /// Nothing is let through before this moment.
    Open(Instant),
    /// One evaluation is under way that was let through after a pause.
    Trying,
}

/// Leave to run one evaluation, which must say how it ended. One that doesn't (a panic) counts as
/// in time.
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

/// The end of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It ended of its own accord, whatever it answered.
    InTime,
    /// It was interrupted, and had had its time.
    Missed,
    /// It was interrupted early by the request's deadline, or by a review that is large: no
    /// evidence against the policy.
    CutShort,
}

/// A change of the breaker that an evaluation brought, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(State::Closed(0)))
    }
}

impl Breaker {
    /// Leave to run one evaluation, unless the breaker is open.
    pub(super) fn admit(&self, now: Instant) -> Option<Permit<'_>> {
        self.with(|state| {
            let is_trial = match *state {
                State::Closed(_) => false,
                State::Open(until) if now >= until => true,
                State::Open(_) | State::Trying => return None,
            };
            if is_trial {
                *state = State::Trying;
            }
            Some(Permit {
                breaker: self,
                is_trial,
            })
        })
    }

    /// Returns whether the next evaluation would not run, or only as a trial.
    pub(super) fn is_open(&self) -> bool {
        self.with(|state| !matches!(state, State::Closed(_)))
    }

    /// Forgets all misses.
    pub(super) fn reset(&self) {
        self.with(|state| *state = State::Closed(0));
    }

    fn end(&self, is_trial: bool, ended: Ended, now: Instant) -> Option<Change> {
        let open = State::Open(now + PAUSE);
        self.with(|state| {
            let (next, change) = match (*state, ended) {
                (_, Ended::InTime) if is_trial => (State::Closed(0), Some(Change::Closed)),
                _ if is_trial => (open, None),
                (State::Closed(_), Ended::InTime) => (State::Closed(0), None),
                (State::Closed(misses), Ended::Missed) if misses + 1 == MISSES => {
                    (open, Some(Change::Opened))
                }
                (State::Closed(misses), Ended::Missed) => (State::Closed(misses + 1), None),
                // One that began while the breaker was closed has no say once it is open.
                (state, _) => (state, None),
            };
            *state = next;
            change
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Permit<'_> {
    /// Tells the breaker how the evaluation ended.
    pub(super) fn end(mut self, ended: Ended, now: Instant) -> Option<Change> {
        let change = self.breaker.end(self.is_trial, ended, now);
        // Keeps `drop` from resetting the breaker.
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
    use std::sync::atomic::{AtomicU32, Ordering};

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
        let (breaker, now) = (Breaker::default(), Instant::now());
        open(&breaker, now);
        assert!(breaker.admit(now).is_none());
    }

    #[test]
    fn an_evaluation_in_time_begins_the_count_anew() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..5 {
            run(&breaker, Missed, now);
            run(&breaker, Missed, now);
            assert_eq!(run(&breaker, InTime, now), None);
        }
        assert!(breaker.admit(now).is_some());
    }

    #[test]
    fn one_at_a_time_tries_once_a_second() {
        let (breaker, now) = (Breaker::default(), Instant::now());
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
        let (breaker, now) = (Breaker::default(), Instant::now());
        open(&breaker, now);
        assert_eq!(run(&breaker, InTime, now + PAUSE), Some(Change::Closed));
        assert!(breaker.admit(now + PAUSE).is_some() && breaker.admit(now + PAUSE).is_some());
    }

    #[test]
    fn an_evaluation_that_is_cut_short_proves_nothing() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for ended in [Missed, CutShort, Missed, CutShort] {
            assert_eq!(run(&breaker, ended, now), None);
        }
        assert_eq!(run(&breaker, Missed, now), Some(Change::Opened));
        assert_eq!(run(&breaker, CutShort, now + PAUSE), None);
        assert!(breaker.admit(now + PAUSE).is_none());
    }

    #[test]
    fn what_began_before_it_opened_has_no_say() {
        let (breaker, now) = (Breaker::default(), Instant::now());
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
        let (breaker, now) = (Breaker::default(), Instant::now());
        open(&breaker, now);
        drop(breaker.admit(now + PAUSE).expect("due"));
        assert!(breaker.admit(now + PAUSE).is_some());
    }

    #[test]
    fn of_many_threads_one_tries() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        open(&breaker, now);
        let tried = AtomicU32::new(0);
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
