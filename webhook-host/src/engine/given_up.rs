//! Components whose compilation was given up lately, because it took too much memory or time.
//!
//! Each reload loads everything that does not serve yet, so one such component would delay all
//! later changes of other policies again and again. Its error is therefore repeated for a while
//! without another attempt. Asked by `load`.

use super::cache::Key;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time without another attempt. Afterwards the machine may be less busy or have more free
/// memory.
const RETRY_AFTER: Duration = Duration::from_secs(600);

/// The number of components that are remembered; the oldest ones are dropped.
const MAX_REMEMBERED: usize = 64;

#[derive(Default)]
pub(super) struct GivenUp(Mutex<Vec<Entry>>);

struct Entry {
    key: Key,
    since: Instant,
    problem: String,
}

impl GivenUp {
    /// Returns the error of a component that was given up lately.
    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<String> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| now.duration_since(entry.since) < RETRY_AFTER);
        let entry = entries.iter().find(|entry| entry.key == *key)?;
        let minutes = RETRY_AFTER.as_secs() / 60;
        Some(format!(
            "{} (as of less than {minutes} minutes ago, it is not tried again before)",
            entry.problem
        ))
    }

    pub(super) fn add(&self, key: Key, problem: &str, now: Instant) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == MAX_REMEMBERED {
            entries.remove(0);
        }
        entries.push(Entry {
            key,
            since: now,
            problem: problem.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_tried_again_after_a_while() {
        let (given_up, now) = (GivenUp::default(), Instant::now());
        given_up.add(Key::of(1), "too dear", now);
        assert!(
            given_up
                .find(&Key::of(1), now)
                .is_some_and(|problem| problem.starts_with("too dear (as of "))
        );
        assert_eq!(given_up.find(&Key::of(2), now), None);
        assert_eq!(given_up.find(&Key::of(1), now + RETRY_AFTER), None);
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let (given_up, now) = (GivenUp::default(), Instant::now());
        for number in 0..=MAX_REMEMBERED {
            given_up.add(Key::of(u8::try_from(number).expect("few")), "too dear", now);
        }
        assert_eq!(given_up.find(&Key::of(0), now), None);
        assert!(given_up.find(&Key::of(64), now).is_some());
    }
}
