//! Match conditions of webhook configurations, as an API server evaluates them: none skips what the
//! host would judge.

use crate::cel::{Cel, evaluate};
use crate::host::{ENGINE_OF_SUITES, root};
use sallyport::evaluator;
use sallyport::suites::{self, ModuleSearch};
use sallyport::webhooks::registration::{
    DELETIONS, Endpoint, NAME, OnFailure, Options, Registration,
};
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::{LoadError, Policy};
use sallyport_core::service;
use sallyport_core::suite::{self, Case, Setup};
use serde_json::{Value, json};
use std::sync::Arc;

/// Returns a request's CEL variables: empty members are absent.
fn variables(review: &Value) -> [(&'static str, Value); 3] {
    let mut request = review["request"].clone();
    let members = request.as_object_mut().expect("a request");
    let (object, old) = (members.remove("object"), members.remove("oldObject"));
    members.retain(|_, value| !(value.is_null() || value == "" || value == false));
    if let Some(user) = members.get_mut("userInfo").and_then(Value::as_object_mut) {
        user.retain(|_, value| value != &json!([]));
    }
    [
        ("request", request),
        ("object", object.unwrap_or_default()),
        ("oldObject", old.unwrap_or_default()),
    ]
}

/// Returns true when all conditions hold.
pub(crate) fn passes(conditions: &Value, review: &Value) -> bool {
    let variables = variables(review);
    let variables = variables.each_ref().map(|(name, value)| (*name, value));
    conditions
        .as_array()
        .into_iter()
        .flatten()
        .all(|condition| {
            let expression = condition["expression"].as_str().expect("CEL");
            match evaluate(expression, &variables) {
                Ok(Cel::Bool(holds)) => holds,
                other => panic!("{expression}: {other:?}\n{review}"),
            }
        })
}

/// Evaluates an expression to text for a review.
pub(crate) fn said(expression: &str, review: &Value) -> String {
    let variables = variables(review);
    match evaluate(
        expression,
        &variables.each_ref().map(|(name, value)| (*name, value)),
    ) {
        Ok(Cel::String(text)) => text.to_string(),
        other => panic!("{expression}: {other:?}\n{review}"),
    }
}

/// Returns every case of the suites, with its request.
pub(crate) fn cases(path: &str) -> Vec<Case> {
    let (files, errors) = suites::find(&[root().join(path)]);
    assert!(errors.is_empty(), "{errors:?}");
    let search = ModuleSearch {
        directory: Some(root().join("target/policies")),
    };
    files
        .iter()
        .flat_map(|file| suites::read(file, &search).expect("a suite").cases)
        .collect()
}

/// Returns the request as an API server sends it: only objects that decode, serialized again.
pub(crate) fn review(case: &Case) -> Option<Value> {
    let mut review: Value = serde_json::from_slice(&case.review_body()).ok()?;
    for name in ["object", "oldObject"] {
        let object = &mut review["request"][name];
        if !object.is_null() {
            service::from_value(object).ok()?;
            without_null(object);
        }
    }
    review["request"]["object"]["spec"]
        .is_object()
        .then_some(review)
}

pub(crate) fn without_null(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

pub(crate) fn options() -> Options {
    Options {
        policies_from_cluster: false,
        deletions: false,
        name: NAME.to_owned(),
        endpoint: Endpoint::Service {
            namespace: "sallyport-system".into(),
            name: "sallyport".into(),
            port: 443,
        },
        ca_bundle: None,
        on_failure: OnFailure::Fail,
        include_kube_system: true,
        match_conditions: true,
    }
}

pub(crate) fn loaded(setup: &Setup) -> Option<Vec<Arc<Policy>>> {
    let load = |source: &suite::Source| {
        let file = source.component.as_ref().expect("components are files");
        let component = std::fs::read(file).expect("a component");
        evaluator::load(&ENGINE_OF_SUITES, source.manifest.clone(), &component)
            .ok()
            .map(Arc::new)
    };
    setup.policies.iter().map(load).collect()
}

#[test]
fn no_condition_skips_what_the_host_would_judge() {
    let mut runner = suites::runner(Arc::clone(&ENGINE_OF_SUITES), |reference, _| {
        Err(LoadError::component(format!("{reference} is no file")))
    });
    let (mut skipped, mut asked) = (0, 0);
    for case in cases("tests/fixtures/host") {
        let Some(review) = review(&case) else {
            continue;
        };
        let options = options();
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
        if passes(&json!(conditions), &review) {
            asked += 1;
            continue;
        }
        skipped += 1;
        let exempt = runner.run(&case).got.exempt;
        assert!(
            exempt.is_some(),
            "{}: the API server would not ask, and the host would judge",
            case.name
        );
    }
    assert!(
        skipped >= 5 && asked >= 20,
        "{skipped} skipped, {asked} asked"
    );
}

/// Returns the match conditions of the webhook for deletions, under the exemptions of a case.
fn conditions_of_deletions(exemptions: &Exemptions) -> Value {
    let options = Options {
        deletions: true,
        ..options()
    };
    let registration = Registration {
        policies: &[],
        candidates: &[],
        exemptions,
        options: &options,
    };
    let webhooks = registration.validating().expect("a webhook").webhooks;
    let [webhook] = &webhooks.expect("webhooks")[..] else {
        panic!("deletions alone are asked about");
    };
    assert_eq!(webhook.name, DELETIONS);
    serde_json::to_value(&webhook.match_conditions).expect("JSON")
}

#[test]
fn no_condition_skips_a_deletion_that_the_host_would_judge() {
    let mut runner = suites::runner(Arc::clone(&ENGINE_OF_SUITES), |reference, _| {
        Err(LoadError::component(format!("{reference} is no file")))
    });
    let (mut skipped, mut asked) = (0, 0);
    for case in cases("tests/fixtures/host/deleted.yaml") {
        let mut review: Value =
            serde_json::from_slice(&case.review_body()).expect("an AdmissionReview");
        without_null(&mut review);
        if passes(&conditions_of_deletions(&case.setup.exemptions), &review) {
            asked += 1;
            continue;
        }
        skipped += 1;
        let exempt = runner.run(&case).got.exempt;
        assert!(
            exempt.is_some(),
            "{}: the API server would not ask, and the host would judge",
            case.name
        );
    }
    assert!(
        skipped >= 5 && asked >= 5,
        "{skipped} skipped, {asked} asked"
    );
}

#[test]
fn a_condition_means_the_exemption_to_the_letter() {
    let hostile = "o'brien\\\"]) ||\n true";
    let exemptions = json!({
        "users": [hostile], "groups": ["ops"], "serviceAccounts": ["a/b"],
        "services": ["ingress-*/web-*-v1", "edge/*"],
    });
    let exemptions: Exemptions = serde_json::from_value(exemptions).expect("exemptions");
    let options = options();
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
    let asked = |user: &str, groups: &[&str], namespace: &str, name: &str| {
        let service = json!({"metadata": {}, "spec": {}});
        let user = json!({"username": user, "groups": groups});
        let request = json!({
            "operation": "CREATE", "namespace": namespace, "name": name, "userInfo": user,
            "object": service,
        });
        passes(&json!(conditions), &json!({"request": request}))
    };
    for (user, groups, namespace, name) in [
        (hostile, &[][..], "n", "w"),
        ("jane", &["dev", "ops"], "n", "w"),
        ("system:serviceaccount:a:b", &[], "n", "w"),
        ("jane", &[], "ingress-nginx", "web-a-v1"),
        ("jane", &[], "edge", "any"),
        ("system:apiserver", &[], "default", "kubernetes"),
    ] {
        assert!(
            !asked(user, groups, namespace, name),
            "{user} {groups:?} {namespace}/{name}"
        );
    }
    for (user, groups, namespace, name) in [
        ("o'brien", &["op"][..], "n", "w"),
        ("a:b", &[], "n", "w"),
        ("jane", &[], "ingress-nginx", "web-a-v12"),
        ("jane", &[], "my-ingress-nginx", "web-a-v1"),
        ("jane", &[], "edge", ""),
        ("jane", &[], "edge2", "any"),
        ("jane", &[], "default", "kubernetes"),
        ("system:apiserver", &[], "default", ""),
    ] {
        assert!(
            asked(user, groups, namespace, name),
            "{user} {groups:?} {namespace}/{name}"
        );
    }
}
