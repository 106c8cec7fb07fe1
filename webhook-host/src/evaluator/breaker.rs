//! A circuit breaker: a policy that keeps missing its deadline is not asked for a while, so that a
//! policy that loops can't occupy all workers.
//!
//! Three misses in a row open the breaker. From then on, one evaluation a second is let through as
//! a trial, one at a time; the first that ends before its deadline closes the breaker.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The misses in a row that open the breaker. A single miss may be due to a busy processor.
const MAX_MISSES: u32 = 3;

/// The time that it stays open before a trial.
const OPEN_TIME: Duration = Duration::from_secs(1);

pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All evaluations are let through. Holds the misses in a row, fewer than [`MAX_MISSES`].
    Closed(u32),
    /// No evaluation is let through before this moment.
    Open(Instant),
    /// A trial is under way.
    Trying,
}

/// The permission to run one evaluation. Its holder reports the end; if it doesn't (after a panic),
/// the evaluation counts as in time.
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

/// The end of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EvaluationEnd {
    /// The guest returned or trapped, whatever the answer.
    InTime,
    /// The guest was interrupted at its deadline.
    Missed,
    /// The guest was interrupted by the request's deadline, or its review is large: no evidence
    /// against the policy.
    CutShort,
}

/// A change of the breaker, for the log.
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
    /// Permits one evaluation, unless the breaker is open.
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

    /// Returns true if the next evaluation would not run, or only as a trial.
    pub(super) fn is_open(&self) -> bool {
        self.with(|state| !matches!(state, State::Closed(_)))
    }

    /// Forgets all misses.
    pub(super) fn reset(&self) {
        self.with(|state| *state = State::Closed(0));
    }

    fn end(&self, is_trial: bool, end: EvaluationEnd, now: Instant) -> Option<Change> {
        let open = State::Open(now + OPEN_TIME);
        self.with(|state| {
            let (next, change) = match (*state, end) {
                (_, EvaluationEnd::InTime) if is_trial => (State::Closed(0), Some(Change::Closed)),
                _ if is_trial => (open, None),
                (State::Closed(_), EvaluationEnd::InTime) => (State::Closed(0), None),
                (State::Closed(misses), EvaluationEnd::Missed) if misses + 1 == MAX_MISSES => {
                    (open, Some(Change::Opened))
                }
                (State::Closed(misses), EvaluationEnd::Missed) => (State::Closed(misses + 1), None),
                // An evaluation that began while the breaker was closed changes nothing once it is
                // open.
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
    /// Reports the end of the evaluation to the breaker.
    pub(super) fn end(mut self, end: EvaluationEnd, now: Instant) -> Option<Change> {
        let change = self.breaker.end(self.is_trial, end, now);
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
    use super::EvaluationEnd::{CutShort, InTime, Missed};
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn run(breaker: &Breaker, end: EvaluationEnd, now: Instant) -> Option<Change> {
        breaker.admit(now).expect("it may run").end(end, now)
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
        assert!(breaker.admit(now + OPEN_TIME / 2).is_none());
        let trial = breaker.admit(now + OPEN_TIME).expect("due");
        assert!(
            breaker.admit(now + OPEN_TIME * 5).is_none(),
            "one tries already"
        );
        assert_eq!(trial.end(Missed, now + OPEN_TIME * 5), None);
        assert!(breaker.admit(now + OPEN_TIME * 5).is_none());
        assert!(breaker.admit(now + OPEN_TIME * 6).is_some());
    }

    #[test]
    fn a_trial_in_time_closes_it() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        open(&breaker, now);
        assert_eq!(run(&breaker, InTime, now + OPEN_TIME), Some(Change::Closed));
        assert!(
            breaker.admit(now + OPEN_TIME).is_some() && breaker.admit(now + OPEN_TIME).is_some()
        );
    }

    #[test]
    fn an_evaluation_that_is_cut_short_proves_nothing() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for end in [Missed, CutShort, Missed, CutShort] {
            assert_eq!(run(&breaker, end, now), None);
        }
        assert_eq!(run(&breaker, Missed, now), Some(Change::Opened));
        assert_eq!(run(&breaker, CutShort, now + OPEN_TIME), None);
        assert!(breaker.admit(now + OPEN_TIME).is_none());
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
        drop(breaker.admit(now + OPEN_TIME).expect("due"));
        assert!(breaker.admit(now + OPEN_TIME).is_some());
    }

    #[test]
    fn of_many_threads_one_tries() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        open(&breaker, now);
        let tried = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if let Some(trial) = breaker.admit(now + OPEN_TIME) {
                        tried.fetch_add(1, Ordering::Relaxed);
                        trial.end(Missed, now + OPEN_TIME);
                    }
                });
            }
        });
        assert_eq!(tried.into_inner(), 1);
    }
}
