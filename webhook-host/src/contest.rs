//! Objects of a cluster that a host keeps as they should be: whoever keeps changing one back is answered ever more slowly.
//!
//! So that two who want different things do not write without end. One `Contest` for each object; used by
//! [`certificates`](crate::certificates) and the [`registrar`](crate::registrar).

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
    pub(crate) fn write(&mut self, what: &T, now: Instant) -> Result<(), Duration> {
        let wait = match &self.0 {
            Some(before) if before.what == *what => {
                if now < before.at + before.wait {
                    return Err(before.wait);
                }
                (before.wait * 2).min(LONGEST_WAIT)
            }
            _ => FIRST_WAIT,
        };
        self.0 = Some(Written { what: what.clone(), at: now, wait });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_written_ever_more_slowly_and_something_else_at_once() {
        let (start, mut contest) = (Instant::now(), Contest::new());
        let mut write = |what: &'static str, second: u64| contest.write(&what, start + Duration::from_secs(second));
        assert_eq!(write("a", 0), Ok(()));
        assert_eq!(write("a", 9), Err(FIRST_WAIT));
        assert_eq!(write("a", 10), Ok(()));
        assert_eq!(write("a", 29), Err(FIRST_WAIT * 2));
        assert_eq!(write("b", 29), Ok(()));
        assert_eq!(write("b", 30), Err(FIRST_WAIT));
        for round in 0..10 {
            assert_eq!(write("b", 400 * (round + 1)), Ok(()));
        }
        assert_eq!(write("b", 4299), Err(LONGEST_WAIT));
        assert_eq!(write("b", 4300), Ok(()));
    }
}
