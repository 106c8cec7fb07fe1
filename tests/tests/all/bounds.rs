//! Oversized inputs: the host names and refuses them before it asks a policy, and never repeats
//! their content.

use crate::host::{ENGINE, VALIDATE, ask, body, built, misbehaving};
use sallyport::evaluator;
use sallyport_core::admission::Admission;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use serde_json::{Value, json};

/// Returns an Admission with `external-ips` in mode Enforce.
fn external_ips(failure_policy: &str) -> Admission {
    let manifest = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
        "metadata": {"name": "external-ips"},
        "spec": {"module": {"file": "external_ips.wasm"}, "failurePolicy": failure_policy},
    });
    let manifest = ServicePolicy::from_value(&manifest).expect("valid");
    let policy =
        evaluator::load(&ENGINE, manifest, &built("policies/external_ips.wasm")).expect("a policy");
    Admission::new(vec![policy], Inventory::default(), Exemptions::default())
}

fn service(metadata: &Value, spec: &Value) -> Vec<u8> {
    let mut object =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec});
    for (member, value) in metadata.as_object().into_iter().flatten() {
        object["metadata"][member] = value.clone();
    }
    body("CREATE", &object, &Value::Null)
}

#[test]
fn thousands_of_external_ips_are_denied_without_a_policy() {
    let many: Vec<String> = (0..60_000_u32)
        .map(|i| format!("198.51.{}.{}", i / 256 % 256, i % 256))
        .collect();
    for failure_policy in ["Fail", "Ignore"] {
        let host = external_ips(failure_policy);
        for _ in 0..4 {
            let outcome = ask(
                &host,
                VALIDATE,
                &service(&json!({}), &json!({"externalIPs": many})),
            );
            assert!(outcome.evaluations.is_empty(), "no policy was asked");
            assert_eq!(
                outcome.response.denial.expect("denied").message,
                "[sallyport] spec.externalIPs: expected at most 1000 entries, found 60000; remove \
                 some; see `kubectl explain \
                 service.spec.externalIPs`"
            );
        }
        let outcome = ask(
            &host,
            VALIDATE,
            &service(&json!({}), &json!({"externalIPs": ["8.8.8.8"]})),
        );
        assert!(
            outcome.evaluations[0].error.is_none() && !outcome.response.allowed,
            "others are judged as ever"
        );
    }
}

#[test]
fn a_policy_that_loops_on_large_reviews_serves_others() {
    let host = misbehaving(&json!({"limits": {"deadline": "100ms"}, "failurePolicy": "Ignore"}));
    let mut annotations: serde_json::Map<_, _> =
        (0..501).map(|i| (format!("test/{i}"), json!(""))).collect();
    annotations.insert("test/do".to_owned(), "loop".into());
    let large = service(
        &json!({"annotations": annotations}),
        &json!({"ports": [{"port": 80}]}),
    );
    for _ in 0..5 {
        let error = ask(&host, VALIDATE, &large).evaluations[0]
            .error
            .as_ref()
            .map(|error| error.kind());
        assert_eq!(error, Some("deadline"));
    }
    assert!(!host.policies()[0].is_short_circuited());
}

#[test]
fn an_answer_is_short_whatever_a_client_sends() {
    let host = external_ips("Fail");
    let long = "x".repeat(450_000);
    let hostile = |c: char| c.to_string().repeat(100_000);
    for object in [
        service(&json!({}), &json!({"selector": {long.clone(): "y"}})),
        service(&json!({"labels": {"a": hostile('\u{200b}')}}), &json!({})),
        service(
            &json!({"annotations": {hostile('\u{202e}'): "y"}}),
            &json!({}),
        ),
        service(&json!({}), &json!({"type": hostile('\u{1}')})),
        service(&json!({}), &json!({"ports": [{"port": long}]})),
        service(
            &json!({}),
            &json!({"ports": [{"port": 80, long.clone(): "y", "targetPort": [hostile('"')]}]}),
        ),
        service(&json!({"labels": {long.clone(): 1}}), &json!({})),
        service(
            &json!({}),
            &json!({"externalIPs": vec![long[..317].to_owned(); 1000]}),
        ),
    ] {
        let response = ask(&host, VALIDATE, &object).response;
        let answer = response.to_json();
        assert!(
            !response.allowed && answer.len() < 32 << 10,
            "{} bytes",
            answer.len()
        );
    }
}

#[test]
fn a_user_with_a_name_of_megabytes_is_refused_in_a_few_words() {
    let mut review: Value =
        serde_json::from_slice(&service(&json!({}), &json!({"externalIPs": ["8.8.8.8"]})))
            .expect("JSON");
    review["request"]["userInfo"]["username"] = "x".repeat(6 << 20).into();
    let outcome = ask(
        &external_ips("Ignore"),
        VALIDATE,
        review.to_string().as_bytes(),
    );
    let message = outcome.response.denial.expect("denied").message;
    assert!(
        message.contains("have 6291476 bytes, and 262144 are the most") && message.len() < 300,
        "{message}"
    );
}
