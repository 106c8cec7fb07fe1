//! A growing pause after writes that an API server failed to take.

use std::time::{Duration, Instant};

/// The first pause. It doubles with each further failure.
const FIRST: Duration = Duration::from_secs(10);
const MAX: Duration = Duration::from_mins(5);

/// The time in which nothing is written.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<Failed>);

#[derive(Debug)]
struct Failed {
    at: Instant,
    pause: Duration,
}

impl Pause {
    /// Returns true while nothing should be written.
    pub(super) fn holds(&self, now: Instant) -> bool {
        let failed = self.0.as_ref();
        failed.is_some_and(|failed| now < failed.at + failed.pause)
    }

    /// Records a failed write.
    pub(super) fn failed(&mut self, at: Instant) {
        let pause = self
            .0
            .as_ref()
            .map_or(FIRST, |last| (last.pause * 2).min(MAX));
        self.0 = Some(Failed { at, pause });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_maximum() {
        let (mut pause, mut now) = (Pause::default(), Instant::now());
        assert!(!pause.holds(now));
        let mut pauses = vec![];
        for _ in 0..7 {
            pause.failed(now);
            let began = now;
            while pause.holds(now) {
                now += Duration::from_secs(1);
            }
            pauses.push((now - began).as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    }
}
