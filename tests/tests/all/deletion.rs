//! Services in deletion: host, match conditions and backstop agree on each case of one table.

use crate::backstop::{denies, host_with_backstops};
use crate::host::ask;
use crate::match_conditions::{cases, options, passes, review};
use sallyport::webhooks::registration::Registration;
use serde_json::{Value, json};

/// The table of cases. Other suites of its directory are left out.
const TABLE: &str = "tests/fixtures/host/deletion.yaml";

#[test]
fn host_conditions_and_backstop_agree_on_deletion() {
    let options = options();
    let (mut exempt, mut judged, mut widened, mut host_of_all) = (0, 0, 0, None);
    for case in cases(TABLE) {
        let review = review(&case).expect("objects that decode");
        let (admission, backstops) =
            host_of_all.get_or_insert_with(|| host_with_backstops(&case.setup).expect("a host"));
        let outcome = ask(admission, case.function, &case.review_body());
        let is_exempt = outcome
            .exemption
            .is_some_and(|exemption| exemption.name() == "terminating");
        assert_eq!(
            is_exempt,
            case.expect.exempt.is_some(),
            "{}: the host",
            case.name
        );

        let registration = Registration {
            policies: &[],
            candidates: &[],
            exemptions: &case.setup.exemptions,
            options: &options,
        };
        let conditions: Vec<Value> = registration
            .conditions()
            .iter()
            .map(|condition| json!({"expression": condition.expression}))
            .collect();
        assert_eq!(
            passes(&json!(conditions), &review),
            !is_exempt,
            "{}: the match conditions",
            case.name
        );

        // The backstop covers the Service itself, and only the policy `types` here.
        let is_status = review["request"]["subResource"] == "status";
        let is_denied = !outcome.response.allowed && !is_status;
        let is_caught = backstops.iter().any(|backstop| denies(backstop, &review));
        // The backstop compares single fields; updates that expose more in another way are left to
        // the host.
        let denial = outcome
            .response
            .denial
            .as_ref()
            .map_or("", |denial| denial.message.as_str());
        let is_widened = denial.contains("kept until now, but the update adds");
        assert_eq!(
            is_caught,
            is_denied && !is_widened,
            "{}: the backstop",
            case.name
        );
        widened += usize::from(is_widened);
        exempt += usize::from(is_exempt);
        judged += usize::from(!is_exempt);
    }
    assert!(
        exempt >= 7 && judged >= 15 && widened >= 6,
        "{exempt} exempt, {judged} judged, {widened} widened"
    );
}

/// A condition that costs too much ends in an error, which an API server treats as a failed
/// webhook.
#[test]
fn the_host_is_asked_about_long_lists_of_ingress_points() {
    let options = options();
    let exemptions = sallyport_core::manifest::Exemptions::default();
    let registration = Registration {
        policies: &[],
        candidates: &[],
        exemptions: &exemptions,
        options: &options,
    };
    let conditions: Vec<Value> = registration
        .conditions()
        .iter()
        .map(|condition| json!({"expression": condition.expression}))
        .collect();
    let asked = |count: usize| {
        let ingress: Vec<Value> = (0..count)
            .map(|i| json!({"ip": format!("192.0.2.{i}")}))
            .collect();
        let metadata = json!({"name": "w", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let object = json!({"metadata": metadata, "spec": {},
            "status": {"loadBalancer": {"ingress": ingress}}});
        let request = json!({
            "operation": "UPDATE", "namespace": "n", "name": "w", "userInfo": {"username": "jane"},
            "object": object, "oldObject": object,
        });
        passes(&json!(conditions), &json!({"request": request}))
    };
    assert!(!asked(100) && asked(101));
}
