//! Objects of a cluster that a host keeps as they should be: whoever keeps changing one back is
//! answered ever more slowly.
//!
//! So that two who want different things do not write without end. One `Contest` for each object;
//! used by [`certificates`](crate::certificates) and the [`registrar`](crate::webhooks::registrar).

use std::time::{Duration, Instant};

/// What was written is written again after so long at first, and after twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What was written last.
#[derive(Debug)]
pub(crate) struct Contest<T>(Option<Written<T>>);

#[derive(Debug)]
struct Written<T> {
    what: T,
    at: Instant,
    /// By how long it is written again.
    wait: Duration,
}

impl<T: PartialEq + Clone> Contest<T> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Asked before each write. To write the same again means that somebody changed it.
    ///
    /// # Errors
    ///
    /// It is too early; by how long after the last time it is not.
    pub(crate) fn may_write(&self, what: &T, now: Instant) -> Result<(), Duration> {
        match self.last(what) {
            Some(last) if now < last.at + last.wait => Err(last.wait),
            _ => Ok(()),
        }
    }

    /// Told after each write that was made; one that failed contests nothing.
    pub(crate) fn wrote(&mut self, what: &T, now: Instant) {
        // Long after the last time, it begins anew.
        let last = self
            .last(what)
            .filter(|last| now < last.at + last.wait + LONGEST_WAIT);
        let wait = last.map_or(FIRST_WAIT, |last| (last.wait * 2).min(LONGEST_WAIT));
        self.0 = Some(Written {
            what: what.clone(),
            at: now,
            wait,
        });
    }

    fn last(&self, what: &T) -> Option<&Written<T>> {
        self.0.as_ref().filter(|last| last.what == *what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_same_is_written_ever_more_slowly_and_something_else_at_once() {
        let (start, mut contest) = (Instant::now(), Contest::new());
        let mut write = |what: &'static str, at: u64| {
            let now = start + second(at);
            contest
                .may_write(&what, now)
                .map(|()| contest.wrote(&what, now))
        };
        assert_eq!(write("a", 0), Ok(()));
        assert_eq!(write("a", 9), Err(FIRST_WAIT));
        assert_eq!(write("a", 10), Ok(()));
        assert_eq!(write("a", 29), Err(FIRST_WAIT * 2));
        assert_eq!(write("b", 29), Ok(()));
        assert_eq!(write("b", 30), Err(FIRST_WAIT));
        for round in 0..10 {
            assert_eq!(write("b", 300 * (round + 1)), Ok(()));
        }
        assert_eq!(write("b", 3299), Err(LONGEST_WAIT));
        assert_eq!(write("b", 3300), Ok(()));
        // Peace for longer than it was ever waited for.
        assert_eq!(write("b", 3900), Ok(()));
        assert_eq!(write("b", 3909), Err(FIRST_WAIT));
    }

    #[test]
    fn what_was_not_written_contests_nothing() {
        let contest = Contest::new();
        assert_eq!(contest.may_write(&"a", Instant::now()), Ok(()));
        assert_eq!(contest.may_write(&"a", Instant::now()), Ok(()));
    }
}
