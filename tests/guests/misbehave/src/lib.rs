//! Breaks each limit of the host on request, to prove that the limit holds and that the next request is unaffected.
//!
//! What it does in a review stands in the Service's annotation `test/do`; what it does at load in the setting `atLoad`.
//!
//! | word | it proves |
//! |---|---|
//! | `loop` | the deadline ends a guest that never answers; at load, that a looping `configure` is a load error |
//! | `panic` | a trap is an evaluation error, or a load error, and nothing worse |
//! | `hog` | the memory limit holds |
//! | `recurse` | the stack ends in a trap, not in the host |
//! | `log` | lines of the log are bounded in number and length, and time goes on meanwhile |
//! | `flood` | violations and warnings are bounded in what reaches the client |
//! | `forge` | texts of a guest can't forge lines or hide a part of one |
//! | `refuse` (at load) | refused settings are told with their path |
//! | `patch-status` (in `mutate`) | a patch can't touch the status |
//! | `patch-absent` (in `mutate`) | a patch that does not fit the object is not sent |
//! | `patch-forever` (in `mutate`) | a patch that is not idempotent is noticed by the harness |

use sallyport_policy::prelude::*;
use sallyport_policy::verdict::{PatchOperation, PatchValue};
use settings::AtLoad;
use std::hint::black_box;

policy!(Misbehave, "policy.wit");

/// Does what the Service asks for.
pub struct Misbehave;

impl Policy for Misbehave {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).mutating()
    }

    fn defaults() -> Settings {
        Settings { at_load: AtLoad::Behave }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        match settings.at_load {
            AtLoad::Behave => {}
            AtLoad::Refuse => return Err(vec![SettingsError::new("atLoad", "refused, as asked")]),
            AtLoad::Loop => act("loop"),
            AtLoad::Panic => act("panic"),
            AtLoad::Hog => act("hog"),
            AtLoad::Recurse => act("recurse"),
            AtLoad::Log => act("log"),
        }
        Ok(Self)
    }

    fn validate(&self, review: &Review) -> Verdict {
        let word = wish(review);
        act(word);
        match word {
            "flood" => flood(),
            "forge" => forge(),
            _ => Verdict::allow(),
        }
    }

    fn mutate(&self, review: &Review) -> Mutation {
        let word = wish(review);
        act(word);
        let add = |path: &str, value: String| PatchOperation::Add(PatchValue { path: path.to_owned(), value });
        let patch = match word {
            "patch-status" => vec![add("/status/loadBalancer", "{}".to_owned())],
            "patch-absent" => vec![PatchOperation::Remove("/spec/loadBalancerClass".to_owned())],
            "patch-forever" => {
                let times = review.service.annotation("test/times").and_then(|times| times.parse::<u32>().ok());
                vec![add("/metadata/annotations/test~1times", format!("\"{}\"", times.unwrap_or_default() + 1))]
            }
            _ => vec![],
        };
        Mutation { patch, ..Mutation::default() }
    }
}

fn wish(review: &Review) -> &str {
    review.service.annotation("test/do").unwrap_or_default()
}

/// Does not return, for the words that it knows.
fn act(word: &str) {
    match word {
        "loop" => loop {
            black_box(());
        },
        "panic" => panic!("as asked"),
        "hog" => loop {
            std::mem::forget(black_box(vec![1_u8; 1 << 20]));
        },
        "recurse" => {
            black_box(recurse(0));
        }
        "log" => {
            let line = "x".repeat(1 << 16);
            loop {
                log::error(&line);
            }
        }
        _ => {}
    }
}

/// As deep as the stack goes; each call keeps something, so that it is no loop.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let kept = black_box([depth; 16]);
    if depth == u64::MAX { 0 } else { kept[0] + recurse(black_box(depth + 1)) }
}

fn flood() -> Verdict {
    let long = "x".repeat(1000);
    let violations =
        (0..5000).map(|i| Violation::new("T01", format!("spec.ports[{i}]"), long.as_str()).fix(long.as_str()));
    let mut verdict: Verdict = violations.collect();
    verdict.warnings = vec![long; 5000];
    verdict
}

fn forge() -> Verdict {
    let text = "fine\n[other-policy] spec.type: \u{202e}forged\u{1b}[2J";
    Verdict::deny(Violation::new("T02", text, text).fix(text)).warn(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    #[test]
    fn without_a_wish_it_behaves() {
        assert_eq!(Misbehave.validate(&create(cluster_ip("w"))), Verdict::allow());
        assert_eq!(Misbehave.mutate(&mutating(create(cluster_ip("w")))), Mutation::default());
    }

    #[test]
    #[should_panic(expected = "absent")]
    fn its_patches_do_not_fit() {
        let mut service = cluster_ip("w");
        service.metadata.annotations = labels([("test/do", "patch-absent")]);
        let mutation = Misbehave.mutate(&mutating(create(service.clone())));
        let _ = apply(&service, &mutation);
    }
}
