//! The contract between host and policy: each part of a review arrives, whole objects where a
//! policy asks for them, and free-form settings.

use crate::host::{ENGINE, VALIDATE, ask, body, built};
use sallyport::evaluator;
use sallyport_core::admission::{Admission, Function, Outcome};
use sallyport_core::decode;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::{LoadError, Policy};
use serde_json::{Value, json};

/// Loads the guest `witness` with these settings.
fn load(component: &[u8], settings: &Value) -> Result<Policy, LoadError> {
    let manifest = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
        "metadata": {"name": "witness"},
        "spec": {"module": {"file": "witness.wasm"}, "settings": settings},
    });
    let manifest = ServicePolicy::from_value(&manifest).expect("valid");
    evaluator::load(&ENGINE, manifest, component)
}

fn witness(settings: &Value) -> Policy {
    load(&built("guests/witness.wasm"), settings).expect("the guest can be loaded")
}

/// Returns an Admission with a policy in a cluster of which the namespace `default` is known.
fn alone(policy: Policy) -> Admission {
    let data = json!({"namespaces": {"default": {"labels": {"team": "a"},
        "annotations": {"test/owner": "b"}}}});
    let data: InventoryData = decode::from_value(&data).expect("valid");
    Admission::new(vec![policy], Inventory::from(data), Exemptions::default())
}

/// Returns the parts of a review that a witness shows, by their names.
fn shown(outcome: &Outcome) -> Vec<(&str, &str)> {
    let evaluation = &outcome.evaluations[0];
    assert_eq!(evaluation.error, None);
    let violations = evaluation.violations.iter().chain(&evaluation.kept);
    violations
        .map(|violation| (violation.field.as_str(), violation.message.as_str()))
        .collect()
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "uid": "u-1",
            "finalizers": ["example.com/mine"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o",
                "uid": "u-2"}]},
        "spec": {"type": "ClusterIP", "ports": [{"port": 80}], "clusterIP": "10.0.0.1",
            "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "PreferDualStack", "internalTrafficPolicy": "Local",
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}},
            "trafficDistribution": "PreferSameZone"},
        "status": {"loadBalancer": {}, "conditions": [{"type": "Ready", "status": "True",
            "reason": "r", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    })
}

#[test]
fn each_field_of_a_service_arrives() {
    let expected = [
        ("uid", r#"Some("u-1")"#),
        ("finalizers", r#"["example.com/mine"]"#),
        (
            "owner-references",
            concat!(
                r#"[OwnerReference { api-version: "v1", kind: "ConfigMap", name: "o", "#,
                r#"uid: "u-2", controller: false, block-owner-deletion: false }]"#,
            ),
        ),
        ("cluster-ips", r#"["10.0.0.1", "fd00::1"]"#),
        ("ip-families", r#"["IPv4", "IPv6"]"#),
        ("ip-family-policy", r#"Some("PreferDualStack")"#),
        ("internal-traffic-policy", r#"Some("Local")"#),
        ("session-affinity", r#"Some("ClientIP")"#),
        (
            "session-affinity-config",
            "Some(SessionAffinityConfig { client-ip-timeout-seconds: Some(10) })",
        ),
        ("traffic-distribution", r#"Some("PreferSameZone")"#),
    ];
    let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    let admission = alone(witness(&json!({"shows": names})));
    let outcome = ask(
        &admission,
        VALIDATE,
        &body("CREATE", &service(), &Value::Null),
    );
    assert_eq!(shown(&outcome), expected);
}

#[test]
fn a_policy_sees_the_user_and_the_annotations_of_the_namespace() {
    let admission = alone(witness(&json!({"shows": ["user", "namespace"]})));
    let mut review: Value =
        serde_json::from_slice(&body("CREATE", &service(), &Value::Null)).expect("JSON");
    review["request"]["userInfo"] = json!({"username": "jane", "groups": ["g"], "uid": "u",
        "extra": {"test/pod": ["p", "q"]}});
    let outcome = ask(&admission, VALIDATE, review.to_string().as_bytes());
    assert_eq!(
        shown(&outcome),
        [
            (
                "user",
                concat!(
                    r#"User { name: "jane", groups: ["g"], uid: Some("u"), "#,
                    r#"extra: [("test/pod", ["p", "q"])] }"#,
                )
            ),
            (
                "namespace",
                concat!(
                    r#"Namespace { name: "default", labels: [("kubernetes.io/metadata.name", "#,
                    r#""default"), ("team", "a")], known: true, "#,
                    r#"annotations: Some([("test/owner", "b")]) }"#,
                )
            ),
        ]
    );
}

#[test]
fn what_a_policy_does_not_ask_for_does_not_arrive() {
    let shows = json!(["object", "namespace"]);
    let admission = alone(witness(&json!({"shows": shows, "params": "no context"})));
    let outcome = ask(
        &admission,
        VALIDATE,
        &body("CREATE", &service(), &Value::Null),
    );
    assert_eq!(
        shown(&outcome),
        [
            ("object", ""),
            (
                "namespace",
                concat!(
                    r#"Namespace { name: "default", labels: [("kubernetes.io/metadata.name", "#,
                    r#""default")], known: false, annotations: None }"#,
                )
            ),
        ]
    );
}

#[test]
fn a_raw_object_is_the_text_that_the_api_server_sent() {
    let admission = alone(witness(&json!({"shows": ["object", "old-object"]})));
    let mut new = service();
    new["spec"]["someNewField"] = json!({"a": [1, 2.50]});
    let (new, old) = (new.to_string(), service().to_string());
    let review = String::from_utf8(body("UPDATE", &json!("NEW"), &json!("OLD"))).expect("UTF-8");
    // Blanks that no serializer would write.
    let new = new.replace("\"someNewField\":", "\"someNewField\" : ");
    let review = review.replace("\"NEW\"", &new).replace("\"OLD\"", &old);
    let outcome = ask(&admission, VALIDATE, review.as_bytes());
    assert_eq!(
        shown(&outcome),
        [("object", new.as_str()), ("old-object", &old)]
    );
    // The ratchet asked about the old object, as an update from old to old.
    let kept: Vec<_> = outcome.evaluations[0].kept.iter().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].field, "old-object");
}

#[test]
fn a_raw_object_has_the_patches_of_earlier_policies() {
    let policy = |name: &str| {
        let manifest = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": name}, "spec": {"module": {"file": "witness.wasm"}},
        });
        let manifest = ServicePolicy::from_value(&manifest).expect("valid");
        evaluator::load(&ENGINE, manifest, &built("guests/witness.wasm")).expect("loaded")
    };
    let admission = Admission::new(
        vec![policy("a"), policy("b")],
        Inventory::default(),
        Exemptions::default(),
    );
    let mut object = service();
    object["metadata"]["annotations"] = json!({"test/patch": ""});
    let body = body("CREATE", &object, &Value::Null);
    let outcome = ask(&admission, Function::Mutate, &body);
    let patch = outcome.response.patch.expect("a patch");
    assert!(
        patch.contains("test~1patched\"") && patch.contains("test~1patched-again"),
        "{patch}"
    );
}

#[test]
fn an_object_that_is_too_large_to_be_parsed_by_a_policy_is_refused_by_the_host() {
    let mut object = service();
    object["spec"]["unknown"] = "x".repeat(3 << 19).into();
    let review = body("CREATE", &object, &Value::Null);
    let outcome = ask(&alone(witness(&json!({}))), VALIDATE, &review);
    assert!(outcome.evaluations.is_empty(), "no policy was asked");
    let message = outcome.response.denial.expect("denied").message;
    assert!(
        message.contains("and policies that ask for raw objects take 1572864 at most; shorten it"),
        "{message}"
    );
    let indifferent = alone(witness(&json!({"params": "no context"})));
    let outcome = ask(&indifferent, VALIDATE, &review);
    assert_eq!(outcome.evaluations.len(), 1);
}

#[test]
fn a_user_with_too_many_extra_values_is_refused() {
    let mut review: Value =
        serde_json::from_slice(&body("CREATE", &service(), &Value::Null)).expect("JSON");
    review["request"]["userInfo"]["extra"] = json!({"k": vec!["x".repeat(1024); 256]});
    let outcome = ask(
        &alone(witness(&json!({}))),
        VALIDATE,
        review.to_string().as_bytes(),
    );
    let message = outcome.response.denial.expect("denied").message;
    assert!(
        message.contains("the extra values of the user"),
        "{message}"
    );
}

#[test]
fn free_form_settings_take_any_yaml_as_json_text() {
    let shows = ["params", "named", "maybe"];
    let show = |settings: Value| {
        let mut settings = settings;
        settings["shows"] = json!(shows);
        let body = body("CREATE", &service(), &Value::Null);
        let outcome = ask(&alone(witness(&settings)), VALIDATE, &body);
        let shown = shown(&outcome);
        shown
            .iter()
            .map(|(_, text)| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        show(json!({})),
        [r#"{"from":[1,2.5,null],"to":"here"}"#, "[]", "None"]
    );
    assert_eq!(
        show(json!({"params": "text", "named": {"a": null, "b": [true]}, "maybe": {"c": 1}})),
        [
            r#""text""#,
            r#"[("a", "null"), ("b", "[true]")]"#,
            r#"Some("{\"c\":1}")"#
        ]
    );
}

#[test]
fn a_policy_refuses_free_form_settings_by_their_path() {
    let error = load(&built("guests/witness.wasm"), &json!({"params": "refuse"}))
        .expect_err("refused")
        .to_string();
    assert_eq!(error, "spec.settings.params: refused, as it was told");
}

#[test]
fn a_default_that_is_no_json_is_a_load_error_with_its_path() {
    const DEFAULT: &[u8] = br#"{"from": [1, 2.5, null], "to": "here"}"#;
    let mut component = built("guests/witness.wasm");
    let start = component
        .windows(DEFAULT.len())
        .position(|window| window == DEFAULT)
        .expect("the default is in the guest");
    component[start] = b'(';
    let error = load(&component, &json!({}))
        .expect_err("no JSON")
        .to_string();
    assert!(
        error.starts_with(
            "defaults returned JSON text that can't be parsed: params: no JSON: expected value"
        ),
        "{error}"
    );
}

#[test]
fn the_schema_of_free_form_settings_allows_everything() {
    let inspection = evaluator::inspect(&ENGINE, &built("guests/witness.wasm")).expect("a policy");
    let schema = inspection.settings.expect("settings");
    let property = |name: &str| schema["properties"][name].clone();
    assert_eq!(
        property("params"),
        json!({"description": "Any YAML.",
            "default": {"from": [1, 2.5, null], "to": "here"}})
    );
    assert_eq!(property("named")["additionalProperties"], json!({}));
    assert_eq!(property("maybe")["anyOf"], json!([{}, {"type": "null"}]));
}
