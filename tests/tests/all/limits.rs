//! The limits of an evaluation: a guest exceeds each of them, and none affects the next review.

use crate::host::{
    ENGINE, VALIDATE, ask, ask_within, body, command, manifest, misbehave, misbehaving,
};
use sallyport::evaluator;
use sallyport_core::admission::{Admission, Function, Outcome};
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::Exemptions;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Returns an Admission with limits for a guest in an unoptimized build on a busy machine.
fn host(spec: Value) -> std::sync::Arc<Admission> {
    let mut limits = json!({"limits": {"deadline": "2s", "memory": "4Mi"}});
    for (key, part) in spec.as_object().expect("an object") {
        limits[key] = part.clone();
    }
    misbehaving(&limits)
}

/// Returns the kind of the evaluation error.
fn kind(outcome: &Outcome) -> Option<&'static str> {
    outcome.evaluations[0]
        .error
        .as_ref()
        .map(|error| error.kind())
}

#[test]
fn a_policy_that_loops_is_ended_at_its_deadline() {
    let host = misbehaving(&json!({"limits": {"deadline": "30ms"}}));
    let began = Instant::now();
    let outcome = ask(&host, VALIDATE, &command("loop"));
    assert_eq!(kind(&outcome), Some("deadline"));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let message = outcome
        .response
        .denial
        .expect("failurePolicy is Fail")
        .message;
    assert_eq!(
        message,
        "[misbehave] no verdict: it did not answer within its deadline of 30ms; see \
         spec.limits.deadline; tell those who run \
         this cluster's policies"
    );
}

#[test]
fn a_policy_that_hogs_memory_is_refused_more() {
    assert_eq!(
        kind(&ask(&host(json!({})), VALIDATE, &command("hog"))),
        Some("memory")
    );
}

#[test]
fn a_policy_that_panics_traps() {
    assert_eq!(
        kind(&ask(&host(json!({})), VALIDATE, &command("panic"))),
        Some("trap")
    );
}

#[test]
fn a_policy_that_recurses_without_end_traps() {
    assert_eq!(
        kind(&ask(&host(json!({})), VALIDATE, &command("recurse"))),
        Some("trap")
    );
}

#[test]
fn a_policy_that_uses_up_the_native_stack_traps() {
    let outcome = ask(&host(json!({})), VALIDATE, &command("descend"));
    let error = outcome.evaluations[0]
        .error
        .as_ref()
        .map(ToString::to_string);
    assert_eq!(
        error.as_deref(),
        Some("it trapped: wasm trap: call stack exhausted")
    );
}

#[test]
fn a_policy_that_logs_without_end_still_answers() {
    let outcome = ask(&host(json!({})), VALIDATE, &command("log"));
    assert_eq!(kind(&outcome), None);
    assert!(outcome.response.allowed);
}

/// Returns the text of the evaluation error.
fn error(outcome: &Outcome) -> String {
    outcome.evaluations[0]
        .error
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[test]
fn an_answer_that_is_too_large_is_no_answer() {
    let host = misbehaving(&json!({"limits": {"deadline": "2s", "output": "256Ki"}}));
    for (function, word) in [
        (VALIDATE, "violations"),
        (VALIDATE, "warnings"),
        (Function::Mutate, "patch"),
    ] {
        let outcome = ask(&host, function, &command(word));
        assert_eq!(kind(&outcome), Some("answer"), "{word}");
        let error = error(&outcome);
        assert!(
            error.contains("too much data") && error.ends_with("; spec.limits.output is 256Ki"),
            "{error}"
        );
        assert_eq!(outcome.response.patch, None);
    }
}

#[test]
fn the_limit_of_an_answer_is_the_manifests() {
    let host = misbehaving(&json!({"limits": {"deadline": "2s", "output": "8Mi"}}));
    let outcome = ask(&host, VALIDATE, &command("violations"));
    assert_eq!(
        (kind(&outcome), outcome.evaluations[0].violations.len()),
        (None, 20_000)
    );
}

#[test]
fn a_line_for_the_log_is_output_too() {
    let host = misbehaving(&json!({"limits": {"deadline": "2s", "output": "64Ki"}}));
    assert_eq!(
        kind(&ask(&host, VALIDATE, &command("shout"))),
        Some("answer")
    );
}

#[test]
fn the_review_after_a_misbehaviour_is_unaffected() {
    let host = misbehaving(&json!({"limits": {"deadline": "200ms", "memory": "4Mi"}}));
    for word in ["loop", "panic", "hog", "recurse", "log"] {
        ask(&host, VALIDATE, &command(word));
        let next = ask(&host, VALIDATE, &command("nothing"));
        assert_eq!(
            (next.response.allowed, kind(&next)),
            (true, None),
            "after {word}"
        );
    }
}

#[test]
fn no_state_survives_a_review() {
    let host = host(json!({}));
    for _ in 0..5 {
        let outcome = ask(&host, VALIDATE, &command("nothing"));
        assert_eq!(
            outcome.response.warnings,
            ["[misbehave] call 1 of this instance"]
        );
    }
}

#[test]
fn no_state_survives_between_reviews_at_the_same_time() {
    let host = host(json!({}));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let outcome = ask(&host, VALIDATE, &command("nothing"));
                    assert_eq!(
                        outcome.response.warnings,
                        ["[misbehave] call 1 of this instance"]
                    );
                }
            });
        }
    });
}

#[test]
fn a_failure_denies_where_the_failure_policy_is_fail() {
    let response = ask(
        &host(json!({"failurePolicy": "Fail"})),
        VALIDATE,
        &command("panic"),
    )
    .response;
    let denial = response.denial.expect("denied");
    assert!(!response.allowed);
    assert_eq!(denial.causes[0].reason, "EvaluationError");
    assert!(
        denial
            .message
            .starts_with("[misbehave] no verdict: it trapped: "),
        "{}",
        denial.message
    );
}

#[test]
fn a_failure_warns_where_the_failure_policy_is_ignore() {
    let response = ask(
        &host(json!({"failurePolicy": "Ignore"})),
        VALIDATE,
        &command("panic"),
    )
    .response;
    assert!(response.allowed);
    assert!(
        response.warnings[0].starts_with("[misbehave] no verdict: it trapped: "),
        "{:?}",
        response.warnings
    );
}

#[test]
fn mode_warn_never_denies() {
    let host = host(json!({"mode": "Warn"}));
    for word in ["deny", "panic"] {
        let response = ask(&host, VALIDATE, &command(word)).response;
        assert!(response.allowed, "{word}");
        assert!(
            response.warnings[0].starts_with("[misbehave] "),
            "{word}: {:?}",
            response.warnings
        );
    }
}

#[test]
fn mode_audit_never_denies_and_tells_only_the_audit_log() {
    let host = host(json!({"mode": "Audit"}));
    for word in ["deny", "panic"] {
        let response = ask(&host, VALIDATE, &command(word)).response;
        assert!(response.allowed, "{word}");
        assert_eq!(response.warnings, [""; 0], "{word}");
        assert!(
            response
                .audit_annotations
                .contains_key("misbehave.violations"),
            "{word}"
        );
    }
}

#[test]
fn only_mode_enforce_patches() {
    let patch = |mode: &str| {
        ask(
            &host(json!({"mode": mode})),
            Function::Mutate,
            &command("nothing"),
        )
        .response
        .patch
    };
    assert!(patch("Enforce").is_some_and(|patch| patch.contains("test~1mutated")));
    assert_eq!((patch("Warn"), patch("Audit")), (None, None));
}

#[test]
fn the_mutating_phase_never_denies() {
    let host = host(json!({"failurePolicy": "Fail"}));
    let outcome = ask(&host, Function::Mutate, &command("panic"));
    assert_eq!(kind(&outcome), Some("trap"));
    assert!(outcome.response.allowed);
    assert_eq!(outcome.response.patch, None);
}

#[test]
fn an_update_may_keep_what_it_found() {
    let (old, new) = updated("deny");
    let response = ask(&host(json!({})), VALIDATE, &body("UPDATE", &new, &old)).response;
    assert!(response.allowed);
    assert!(
        response
            .warnings
            .iter()
            .any(|warning| warning.contains("told to deny")),
        "{:?}",
        response.warnings
    );
}

#[test]
fn an_update_may_not_bring_what_was_not_there() {
    let (old, new) = updated("nothing");
    assert!(
        !ask(&host(json!({})), VALIDATE, &body("UPDATE", &new, &old))
            .response
            .allowed
    );
}

#[test]
fn updates_always_excuses_nothing() {
    let (old, new) = updated("deny");
    assert!(
        !ask(
            &host(json!({"updates": "Always"})),
            VALIDATE,
            &body("UPDATE", &new, &old)
        )
        .response
        .allowed
    );
}

#[test]
fn a_failure_on_the_old_object_excuses_nothing() {
    let (old, new) = updated("panic");
    assert!(
        !ask(&host(json!({})), VALIDATE, &body("UPDATE", &new, &old))
            .response
            .allowed
    );
}

#[test]
fn a_policy_that_is_not_reached_in_time_has_no_opinion() {
    let outcome = ask_within(
        &host(json!({})),
        VALIDATE,
        &command("nothing"),
        Duration::ZERO,
    );
    assert_eq!(kind(&outcome), Some("request-deadline"));
}

#[test]
fn the_requests_deadline_ends_a_policy_before_its_own() {
    let began = Instant::now();
    let outcome = ask_within(
        &host(json!({})),
        VALIDATE,
        &command("loop"),
        Duration::from_millis(30),
    );
    assert_eq!(kind(&outcome), Some("request-deadline"));
    assert!(
        began.elapsed() < Duration::from_millis(1900),
        "{:?}",
        began.elapsed()
    );
}

/// Returns an Admission whose policy has looped until it was short-circuited.
fn short_circuited(failure_policy: &str) -> Arc<Admission> {
    let host =
        misbehaving(&json!({"failurePolicy": failure_policy, "limits": {"deadline": "200ms"}}));
    for _ in 0..3 {
        assert_eq!(
            kind(&ask(&host, VALIDATE, &command("loop"))),
            Some("deadline")
        );
    }
    host
}

#[test]
fn a_policy_that_misses_its_deadline_is_short_circuited() {
    let host = short_circuited("Fail");
    let outcome = ask(&host, VALIDATE, &command("nothing"));
    assert_eq!(kind(&outcome), Some("short-circuit"));
    assert_eq!(
        outcome
            .response
            .denial
            .expect("failurePolicy is Fail")
            .message,
        "[misbehave] no verdict: it is not asked for now, since it kept missing its deadline of \
         200ms; it is tried again once \
         a second; tell those who run this cluster's policies"
    );
}

#[test]
fn a_short_circuit_follows_the_failure_policy() {
    let response = ask(&short_circuited("Ignore"), VALIDATE, &command("deny")).response;
    assert!(response.allowed);
    assert!(
        response.warnings[0].starts_with("[misbehave] no verdict: it is not asked for now"),
        "{response:?}"
    );
}

#[test]
fn a_policy_that_answers_in_time_again_is_asked_again() {
    let host = short_circuited("Fail");
    let until = Instant::now() + Duration::from_secs(20);
    while kind(&ask(&host, VALIDATE, &command("nothing"))).is_some() {
        assert!(Instant::now() < until, "it is never tried again");
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..5 {
        assert_eq!(kind(&ask(&host, VALIDATE, &command("nothing"))), None);
    }
}

#[test]
fn a_short_circuit_of_one_policy_is_no_other_policys() {
    let policy = |name: &str| {
        let mut manifest = manifest(&json!({"limits": {"deadline": "200ms"}}));
        manifest.metadata.name = name.to_owned();
        evaluator::load(&ENGINE, manifest, &misbehave()).expect("the guest can be loaded")
    };
    let (looping, sound) = (policy("looping"), policy("sound"));
    let alone = Admission::new(
        vec![looping],
        Inventory::from(InventoryData::default()),
        Exemptions::default(),
    );
    for _ in 0..4 {
        ask(&alone, VALIDATE, &command("loop"));
    }
    let other = Admission::new(
        vec![sound],
        Inventory::from(InventoryData::default()),
        Exemptions::default(),
    );
    assert_eq!(
        kind(&ask(&alone, VALIDATE, &command("nothing"))),
        Some("short-circuit")
    );
    assert_eq!(kind(&ask(&other, VALIDATE, &command("nothing"))), None);
}

#[test]
fn policies_out_of_time_follow_their_own_failure_policy() {
    let policy = |name: &str, failure_policy: &str| {
        let mut manifest =
            manifest(&json!({"failurePolicy": failure_policy, "limits": {"deadline": "10s"}}));
        manifest.metadata.name = name.to_owned();
        evaluator::load(&ENGINE, manifest, &misbehave()).expect("the guest can be loaded")
    };
    let policies = vec![
        policy("a", "Ignore"),
        policy("b", "Ignore"),
        policy("c", "Fail"),
    ];
    let host = Admission::new(
        policies,
        Inventory::from(InventoryData::default()),
        Exemptions::default(),
    );
    let began = Instant::now();
    let outcome = ask_within(
        &host,
        VALIDATE,
        &command("loop"),
        Duration::from_millis(100),
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let kinds: Vec<_> = outcome
        .evaluations
        .iter()
        .map(|one| one.error.as_ref().map(|error| error.kind()))
        .collect();
    assert_eq!(kinds, [Some("request-deadline"); 3]);
    let denial = outcome.response.denial.expect("c denies");
    assert!(
        denial.message.starts_with("[c] no verdict: ") && denial.causes.len() == 1,
        "{}",
        denial.message
    );
    assert_eq!(outcome.response.warnings.len(), 2);
}

#[test]
fn more_memory_than_the_host_allows_is_a_load_error() {
    let error = crate::host::load(&misbehave(), &json!({"limits": {"memory": "1Gi"}}))
        .expect_err("too much");
    assert_eq!(
        error.to_string(),
        "spec.limits.memory: 1Gi is more than the host allows, 64Mi"
    );
}

/// Returns a Service with the command `old`, and its update to the command `deny`.
fn updated(old: &str) -> (Value, Value) {
    let service = |word: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default", "annotations": {"test/do": word}},
            "spec": {"type": "ClusterIP", "ports": [{"port": 80}]},
        })
    };
    (service(old), service("deny"))
}
