//! Backoff between writes that somebody else keeps reverting, so that two writers who disagree do
//! not write without end.
//!
//! One [`WriteBackoff`] for each object; used by `ca_bundle` and the
//! [`registrar`](crate::webhooks::registrar).

use std::time::{Duration, Instant};

/// The delay before the same value is written a second time. It doubles with each further write.
const FIRST_DELAY: Duration = Duration::from_secs(10);
const MAX_DELAY: Duration = Duration::from_secs(300);

/// The last write, if there was one.
#[derive(Debug)]
pub(crate) struct WriteBackoff<T>(Option<Written<T>>);

#[derive(Debug)]
struct Written<T> {
    what: T,
    at: Instant,
    /// The delay before the same value may be written again.
    delay: Duration,
}

impl<T: PartialEq + Clone> WriteBackoff<T> {
    /// Returns a backoff without a write.
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Checks whether a value may be written now. Writing the same value again means that somebody
    /// has changed it.
    ///
    /// # Errors
    ///
    /// The delay after the last write that is not over yet.
    pub(crate) fn may_write(&self, what: &T, now: Instant) -> Result<(), Duration> {
        match self.last(what) {
            Some(last) if now < last.at + last.delay => Err(last.delay),
            _ => Ok(()),
        }
    }

    /// Records a successful write. Failed writes are not recorded.
    pub(crate) fn record(&mut self, what: &T, now: Instant) {
        // After a long pause the delay starts over.
        let last = self
            .last(what)
            .filter(|last| now < last.at + last.delay + MAX_DELAY);
        let delay = last.map_or(FIRST_DELAY, |last| (last.delay * 2).min(MAX_DELAY));
        self.0 = Some(Written {
            what: what.clone(),
            at: now,
            delay,
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
    fn the_same_value_is_delayed_and_another_one_is_not() {
        let (start, mut backoff) = (Instant::now(), WriteBackoff::new());
        let mut write = |what: &'static str, at: u64| {
            let now = start + second(at);
            backoff
                .may_write(&what, now)
                .map(|()| backoff.record(&what, now))
        };
        assert_eq!(write("a", 0), Ok(()));
        assert_eq!(write("a", 9), Err(FIRST_DELAY));
        assert_eq!(write("a", 10), Ok(()));
        assert_eq!(write("a", 29), Err(FIRST_DELAY * 2));
        assert_eq!(write("b", 29), Ok(()));
        assert_eq!(write("b", 30), Err(FIRST_DELAY));
        for round in 0..10 {
            assert_eq!(write("b", 300 * (round + 1)), Ok(()));
        }
        assert_eq!(write("b", 3299), Err(MAX_DELAY));
        assert_eq!(write("b", 3300), Ok(()));
        // The pause was longer than the longest delay.
        assert_eq!(write("b", 3900), Ok(()));
        assert_eq!(write("b", 3909), Err(FIRST_DELAY));
    }

    #[test]
    fn a_value_that_was_not_written_is_not_delayed() {
        let backoff = WriteBackoff::new();
        assert_eq!(backoff.may_write(&"a", Instant::now()), Ok(()));
        assert_eq!(backoff.may_write(&"a", Instant::now()), Ok(()));
    }
}
