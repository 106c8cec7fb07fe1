//! `about`: a policy is asked about Services that it concerns, and the harness reports a policy
//! whose `about` is wrong.

use crate::host::{VALIDATE, ask, body, command, load, misbehave};
use sallyport_core::admission::{Admission, Function};
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::Exemptions;
use serde_json::{Value, json};

/// Returns the guest `misbehave`, which declares that it is about external IPs, and obeys every
/// Service.
fn narrow() -> Admission {
    let policy = load(
        &misbehave(),
        &json!({"settings": {"atConfigure": "narrow"}}),
    )
    .expect("the guest can be loaded");
    Admission::new(vec![policy], Inventory::default(), Exemptions::default())
}

fn denied(ips: &Value) -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default", "annotations": {"test/do": "deny"}},
        "spec": {"type": "ClusterIP", "externalIPs": ips, "ports": [{"port": 80}]},
    })
}

#[test]
fn a_policy_is_not_asked_about_a_service_that_it_is_not_about() {
    let outcome = ask(&narrow(), VALIDATE, &command("deny"));
    assert!(outcome.response.allowed && outcome.matched && outcome.evaluations.is_empty());
    let outcome = ask(&narrow(), Function::Mutate, &command("deny"));
    assert_eq!(outcome.response.patch, None);
}

#[test]
fn a_policy_is_asked_when_the_old_or_new_service_concerns_it() {
    let (with, without) = (denied(&json!(["192.0.2.1"])), denied(&json!([])));
    for (operation, new, old) in [
        ("CREATE", &with, &Value::Null),
        ("UPDATE", &with, &without),
        ("UPDATE", &without, &with),
    ] {
        assert_eq!(
            ask(&narrow(), VALIDATE, &body(operation, new, old))
                .evaluations
                .len(),
            1,
            "{operation}"
        );
    }
    assert!(
        ask(&narrow(), VALIDATE, &body("UPDATE", &without, &without))
            .evaluations
            .is_empty()
    );
}

#[test]
fn the_harness_calls_an_opinion_on_another_service_an_error() {
    let outcome = ask(&narrow().thorough(), VALIDATE, &command("deny"));
    let error = outcome.evaluations[0]
        .error
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(
        error.contains("an opinion on a Service that it is not about"),
        "{error}"
    );
    let outcome = ask(
        &narrow().thorough(),
        VALIDATE,
        &body("CREATE", &denied(&json!(["192.0.2.1"])), &Value::Null),
    );
    assert_eq!(outcome.evaluations[0].violations.len(), 1);
}
