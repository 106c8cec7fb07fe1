//! The clock of guests: a thread that increments the engine's epoch once a millisecond while guests
//! may run.
//!
//! It adds one a tick and never catches up, so that a throttled processor doesn't interrupt
//! well-behaved guests. It sleeps once no guest was started for longer than any deadline.
//! Invariant: whoever starts a guest takes its deadline from here, which wakes the thread.

use crate::pulse::{Beat, Pulse};
use std::time::Duration;

/// The length of an epoch: the resolution of every deadline.
const TICK: Duration = Duration::from_millis(1);

/// The longest deadline, which is also a manifest's maximum; longer ones are cut.
const MAX_DEADLINE: Duration = Duration::from_secs(10);

/// The ticks without a new guest after which no guest can be running.
const IDLE_TICKS: u64 = 11_000;

/// Returns a time in epochs, rounded up, plus one because the current epoch has begun already.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(TICK.as_micros())).unwrap_or(u64::MAX - 1) + 1
}

/// Handle of the thread, which ends when this is dropped.
pub(super) struct Ticker(Pulse);

impl Ticker {
    pub(super) fn start(engine: &wasmtime::Engine) -> Self {
        Self::sleeping_after(engine, IDLE_TICKS)
    }

    fn sleeping_after(engine: &wasmtime::Engine, idle_ticks: u64) -> Self {
        let engine = engine.weak();
        let beat = move || match engine.upgrade() {
            Some(engine) => {
                engine.increment_epoch();
                Beat::Idle
            }
            None => Beat::Over,
        };
        Self(
            Pulse::start("epoch", TICK, idle_ticks, beat)
                .expect("a process can start one more thread"),
        )
    }

    /// Returns the deadline of a guest that is started now, in epochs from now, and wakes the
    /// clock.
    pub(super) fn deadline(&self, time: Duration) -> u64 {
        self.0.notifier().notify();
        ticks(time.min(MAX_DEADLINE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use wasmtime::{Config, Engine, Instance, Module, Store, Trap};

    /// `(module (func (loop br 0)) (start 0))`
    const LOOP: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\
          \x08\x01\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";

    #[test]
    fn a_time_is_rounded_up_and_never_short() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_micros(1)), 2);
        assert_eq!(ticks(Duration::from_millis(50)), 51);
    }

    #[test]
    fn no_deadline_is_longer_than_the_clock_goes_on() {
        let ticker = Ticker::start(&Engine::default());
        assert!(ticker.deadline(Duration::MAX) < IDLE_TICKS);
    }

    #[test]
    fn a_clock_that_sleeps_is_woken_by_the_next_guest_and_keeps_its_deadline() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).expect("an engine");
        let module = Module::new(&engine, LOOP).expect("a module");
        let ticker = Ticker::sleeping_after(&engine, 50);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(200));
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(ticker.deadline(Duration::from_millis(20)));
            let began = Instant::now();
            let error = Instance::new(&mut store, &module, &[]).expect_err("it loops");
            assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
            assert!(began.elapsed() >= Duration::from_millis(20));
        }
    }
}
