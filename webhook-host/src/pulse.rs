//! A thread that calls a function at regular ticks while there is work, and sleeps otherwise, so
//! that an idle host uses no processor time.
//!
//! Invariant: after `Notifier::notify` at least `idle_ticks` ticks follow. Notifying is on the hot
//! path and mostly costs one atomic read, since a pulse that was notified since its last tick needs
//! nothing more. Used by the clock of [`engine`](crate::engine) and by the server's sentinel.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// It was notified since the last tick.
const NOTIFIED: u8 = 0;
/// It was not notified since the last tick.
const TICKING: u8 = 1;
/// It was idle for long enough: no tick comes before it is notified.
const SLEEPING: u8 = 2;
/// The pulse was dropped: the thread ends.
const ENDED: u8 = 3;

/// The result of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// There was no work.
    Idle,
    /// There was work, so further ticks must come.
    Busy,
    /// There will be no work any more: the thread ends.
    Over,
}

/// Handle of the thread, which ends when this is dropped.
pub(crate) struct Pulse(Notifier);

/// Wakes a pulse. Has no effect once the pulse has ended.
#[derive(Clone)]
pub(crate) struct Notifier(Arc<Shared>);

struct Shared {
    state: AtomicU8,
    /// Set before the thread sleeps for the first time.
    thread: OnceLock<Thread>,
}

impl Pulse {
    /// Starts the thread, which sleeps after more than `idle_ticks` idle ticks in a row until it is
    /// notified.
    pub(crate) fn start(
        name: &str,
        tick: Duration,
        idle_ticks: u64,
        mut beat: impl FnMut() -> Beat + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(NOTIFIED),
            thread: OnceLock::new(),
        });
        let notifier = Notifier(Arc::clone(&shared));
        let run = move || {
            shared.thread.get_or_init(thread::current);
            let mut idle = 0;
            loop {
                thread::sleep(tick);
                if shared.state.load(Ordering::Relaxed) == ENDED {
                    return;
                }
                idle = match beat() {
                    Beat::Over => return,
                    Beat::Busy => 0,
                    Beat::Idle => idle + 1,
                };
                if shared.change(NOTIFIED, TICKING) {
                    idle = 0;
                } else if idle > idle_ticks && shared.change(TICKING, SLEEPING) {
                    while shared.state.load(Ordering::Acquire) == SLEEPING {
                        thread::park();
                    }
                    idle = 0;
                }
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self(notifier))
    }

    /// Returns the notifier.
    pub(crate) fn notifier(&self) -> &Notifier {
        &self.0
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.0.state.store(ENDED, Ordering::Release);
        self.0.0.wake();
    }
}

impl Notifier {
    /// Announces work: at least `idle_ticks` ticks follow.
    pub(crate) fn notify(&self) {
        let next = |state| (state == TICKING || state == SLEEPING).then_some(NOTIFIED);
        if self
            .0
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, next)
            == Ok(SLEEPING)
        {
            self.0.wake();
        }
    }
}

impl Shared {
    fn change(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::time::Instant;

    const TICK: Duration = Duration::from_millis(1);

    fn until(what: &str, look: impl Fn() -> bool) {
        let began = Instant::now();
        while !look() {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{what}: it never came to that"
            );
            thread::sleep(TICK);
        }
    }

    impl Pulse {
        fn sleeps(&self) -> bool {
            self.0.0.state.load(Ordering::Acquire) == SLEEPING
        }
    }

    #[test]
    fn it_sleeps_without_cause_and_ticks_again_when_it_is_stirred() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let beat = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Beat::Idle
        };
        let pulse = Pulse::start("test", TICK, 5, beat).expect("a thread");
        for _ in 0..20 {
            until("asleep", || pulse.sleeps());
            let before = count.load(Ordering::Relaxed);
            thread::sleep(TICK * 5);
            assert_eq!(count.load(Ordering::Relaxed), before, "it sleeps");
            pulse.notifier().notify();
            until("awake", || count.load(Ordering::Relaxed) > before + 5);
        }
    }

    #[test]
    fn it_goes_on_while_it_is_busy() {
        let busy = Arc::new(AtomicBool::new(true));
        let is_busy = Arc::clone(&busy);
        let beat = move || {
            if is_busy.load(Ordering::Relaxed) {
                Beat::Busy
            } else {
                Beat::Idle
            }
        };
        let pulse = Pulse::start("test", TICK, 0, beat).expect("a thread");
        thread::sleep(TICK * 50);
        assert!(!pulse.sleeps());
        busy.store(false, Ordering::Relaxed);
        until("asleep", || pulse.sleeps());
    }

    #[test]
    fn its_thread_ends_with_it_awake_or_asleep_and_when_all_is_over() {
        for (idle_ticks, last) in [(u64::MAX, Beat::Idle), (0, Beat::Idle), (0, Beat::Over)] {
            let pulse = Pulse::start("test", TICK, idle_ticks, move || last).expect("a thread");
            if (idle_ticks, last) == (0, Beat::Idle) {
                until("asleep", || pulse.sleeps());
            }
            let notifier = pulse.notifier().clone();
            if last != Beat::Over {
                drop(pulse);
            }
            until("ended", || {
                Arc::strong_count(&notifier.0) <= 2 - usize::from(last != Beat::Over)
            });
            notifier.notify();
        }
    }
}
