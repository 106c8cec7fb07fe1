//! A thread that does something at regular ticks for as long as there is cause, and sleeps while
//! there is none.
//!
//! So that a host which is asked nothing costs nothing. Who gives cause stirs it, on the hot path:
//! mostly that is one read, since a pulse that was stirred a moment ago needs no more. Used by the
//! clock of [`engine`](crate::engine) and by the server's sentinel.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// It was stirred since the last tick.
const STIRRED: u8 = 0;
/// It was not.
const WAITING: u8 = 1;
/// There was no cause for long enough: no tick comes before it is stirred.
const ASLEEP: u8 = 2;
/// The thread ends.
const ENDED: u8 = 3;

/// What came of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It need not go on, unless it is stirred.
    Idle,
    /// It must go on.
    Busy,
    /// There is nothing to tick for any more.
    Over,
}

/// Ends the thread when dropped.
pub(crate) struct Pulse(Stir);

/// What stirs a pulse; of no effect once that has ended.
#[derive(Clone)]
pub(crate) struct Stir(Arc<Shared>);

struct Shared {
    state: AtomicU8,
    /// There before it ever sleeps.
    thread: OnceLock<Thread>,
}

impl Pulse {
    /// Ticks until that many ticks in a row were idle, again and again.
    pub(crate) fn start(
        name: &str,
        tick: Duration,
        quiet: u64,
        mut beat: impl FnMut() -> Beat + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(STIRRED),
            thread: OnceLock::new(),
        });
        let stir = Stir(Arc::clone(&shared));
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
                if shared.change(STIRRED, WAITING) {
                    idle = 0;
                } else if idle > quiet && shared.change(WAITING, ASLEEP) {
                    while shared.state.load(Ordering::Acquire) == ASLEEP {
                        thread::park();
                    }
                    idle = 0;
                }
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self(stir))
    }

    /// For whoever gives cause.
    pub(crate) fn stirrer(&self) -> &Stir {
        &self.0
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.0.state.store(ENDED, Ordering::Release);
        self.0.0.wake();
    }
}

impl Stir {
    /// There is cause: that many ticks come, at least.
    pub(crate) fn stir(&self) {
        let news = |state| (state == WAITING || state == ASLEEP).then_some(STIRRED);
        if self
            .0
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, news)
            == Ok(ASLEEP)
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
            self.0.0.state.load(Ordering::Acquire) == ASLEEP
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
            pulse.stirrer().stir();
            until("awake", || count.load(Ordering::Relaxed) > before + 5);
        }
    }

    #[test]
    fn it_goes_on_while_it_is_busy() {
        let busy = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&busy);
        let beat = move || {
            if told.load(Ordering::Relaxed) {
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
        for (quiet, last) in [(u64::MAX, Beat::Idle), (0, Beat::Idle), (0, Beat::Over)] {
            let pulse = Pulse::start("test", TICK, quiet, move || last).expect("a thread");
            if (quiet, last) == (0, Beat::Idle) {
                until("asleep", || pulse.sleeps());
            }
            let stir = pulse.stirrer().clone();
            if last != Beat::Over {
                drop(pulse);
            }
            until("ended", || {
                Arc::strong_count(&stir.0) <= 2 - usize::from(last != Beat::Over)
            });
            stir.stir();
        }
    }
}
