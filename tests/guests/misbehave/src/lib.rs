//! A policy that misbehaves on demand: the annotation `test/do` of the Service is its command.
//!
//! `validate` knows the commands `loop`, `panic`, `hog`, `recurse`, `descend`, `log`, `shout`,
//! `log-and-panic` and `deny`, and `violations`, `warnings` and `patch` for answers that are too
//! large; without the annotation it behaves. `mutate` knows the same commands, and otherwise adds
//! the label `test/mutated`. Every answer has a warning with the number of calls of this instance.
//!
//! The functions that are called at load misbehave, too: `configure` by its setting, the others by
//! commands that a test writes over compiled-in ones.

use sallyport_policy::prelude::*;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

policy!(Misbehave, "policy.wit");

/// Without settings: they are for `configure` alone.
pub struct Misbehave;

/// Survives a call only if the instance does.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// True when `configure` must change the answer of `describe`.
static RENAMED: AtomicBool = AtomicBool::new(false);

/// True when `configure` must make the policy about external IPs only, whatever `validate` does.
static NARROW: AtomicBool = AtomicBool::new(false);

/// True when `configure` must change the answer of `defaults`.
static OTHER_DEFAULTS: AtomicBool = AtomicBool::new(false);

/// Tests overwrite it in the component with a command of the same length.
static AT_DESCRIBE: &str = "at-describe:accept";
static AT_DEFAULTS: &str = "at-defaults:accept";

/// Far more than any limit on memory that a test sets.
const HOGGED: usize = 1 << 30;

/// More parts than an answer has room for.
const MANY: usize = 20_000;

/// More lines than the host takes, and longer ones.
const LINES: usize = 1000;

impl Policy for Misbehave {
    type Settings = Settings;

    fn describe() -> Description {
        act(word(black_box(AT_DESCRIBE)));
        let name = if RENAMED.load(Ordering::Relaxed) {
            "renamed"
        } else {
            env!("CARGO_PKG_NAME")
        };
        let about = if NARROW.load(Ordering::Relaxed) {
            About::EXTERNAL_IPS
        } else {
            About::empty()
        };
        Description::new(name, env!("CARGO_PKG_VERSION"))
            .mutating()
            .about(about)
            .compares_annotations(["test/*"])
    }

    fn defaults() -> Settings {
        act(word(black_box(AT_DEFAULTS)));
        let word = if OTHER_DEFAULTS.load(Ordering::Relaxed) {
            "log"
        } else {
            "accept"
        };
        Settings {
            at_configure: word.into(),
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        match settings.at_configure.as_str() {
            "refuse" => Err(vec![
                SettingsError::new("atConfigure", "refused, as it was told"),
                SettingsError::new("atConfigure[1]", "refused twice"),
            ]),
            "accept" => Ok(Self),
            word => {
                act(word);
                Ok(Self)
            }
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        let verdict = match command(review) {
            "deny" => Verdict::deny(
                Violation::new("T01", "metadata.annotations", "told to deny")
                    .key("told")
                    .fix("remove test/do"),
            ),
            "violations" => {
                let violation = Violation::new("T01", "metadata.annotations", "told to deny");
                Verdict {
                    violations: vec![violation; MANY],
                    ..Verdict::allow()
                }
            }
            "warnings" => Verdict::allow().warn("w".repeat(MANY * 100)),
            word => {
                act(word);
                Verdict::allow()
            }
        };
        verdict.warn(count())
    }

    fn mutate(&self, review: &Review) -> Mutation {
        act(command(review));
        let mut patch = Patch::new(&review.service);
        let value = if command(review) == "patch" {
            "true".repeat(MANY * 100)
        } else {
            "true".to_owned()
        };
        patch.set_label("test/mutated", &value);
        patch.finish()
    }
}

fn command(review: &Review) -> &str {
    let annotations = &review.service.metadata.annotations;
    annotations
        .iter()
        .find(|(key, _)| key == "test/do")
        .map_or("", |(_, word)| word.as_str())
}

/// Returns the command of `at-describe:command`, without trailing blanks.
fn word(marker: &str) -> &str {
    marker.split(':').nth(1).unwrap_or_default().trim_end()
}

fn act(word: &str) {
    match word {
        "loop" => forever(),
        "panic" | "trap" => panic!("told to panic"),
        "hog" => hog(),
        "fill" => fill(),
        "dawdle" => dawdle(),
        "narrow" => NARROW.store(true, Ordering::Relaxed),
        "other-defaults" => OTHER_DEFAULTS.store(true, Ordering::Relaxed),
        "rename" => RENAMED.store(true, Ordering::Relaxed),
        "recurse" => drop(black_box(recurse(black_box(1)))),
        "descend" => drop(black_box(descend(&black_box(Step(descend)), 1))),
        "log" => chatter(),
        "log-and-panic" => {
            chatter();
            panic!("told to panic");
        }
        "shout" => log::info(&"0123456789".repeat(MANY)),
        _ => {}
    }
}

fn forever() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn hog() {
    let mut held = vec![];
    while held.len() << 20 < HOGGED {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Allocates all memory there is, and succeeds.
fn fill() {
    #[cfg(target_arch = "wasm32")]
    while core::arch::wasm32::memory_grow(0, 1) != usize::MAX {}
}

/// Takes some tens of milliseconds.
fn dawdle() {
    for step in 0..200_000_000 {
        black_box(step);
    }
}

/// Recurses without end, with a word of memory in each frame: the guest's own stack overflows.
fn recurse(depth: u64) -> u64 {
    if black_box(depth) == 0 {
        0
    } else {
        black_box(recurse(depth.wrapping_add(1))).wrapping_add(1)
    }
}

struct Step(fn(&Step, u64) -> u64);

/// Recurses without end and without memory: the native stack overflows.
fn descend(step: &Step, depth: u64) -> u64 {
    (step.0)(step, depth.wrapping_add(1)).wrapping_mul(depth)
}

fn chatter() {
    let line = "0123456789".repeat(1000);
    for _ in 0..LINES {
        log::info(&line);
    }
}

fn count() -> String {
    format!(
        "call {} of this instance",
        CALLS.fetch_add(1, Ordering::Relaxed) + 1
    )
}
