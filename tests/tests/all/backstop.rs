//! The net under the webhook, `--backstop`: it denies nothing that the policies allow, and lets
//! nobody through by a trick.

use crate::cel::with_variables;
use crate::command_line::sallyport;
use crate::host::{ENGINE, ask, body, root};
use crate::webhooks::{BARE_METAL, cases, loaded, options, passes, review, said, without_null};
use sallyport::admission::{Admission, Function};
use sallyport::contract::review::Phase;
use sallyport::evaluator;
use sallyport::inventory::Inventory;
use sallyport::manifest::{Exemptions, ServicePolicy};
use sallyport::policy::Policy;
use sallyport::suite::Setup;
use sallyport::webhooks::backstop::{self, Backstop};
use sallyport::webhooks::registration::Registration;
use sallyport::yaml;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The message with which the net denies, conditions and namespaces included.
pub(crate) fn denial(backstop: &Backstop, review: &Value) -> Option<String> {
    let spec = serde_json::to_value(&backstop.policy.spec).expect("JSON");
    let request = &review["request"];
    let asked = request["subResource"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
        && (request["operation"] == "CREATE" || request["operation"] == "UPDATE");
    if !asked || !passes(&spec["matchConditions"], review) {
        return None;
    }
    let validations = spec["validations"].as_array().expect("a list");
    let denying = validations.iter().find(|validation| {
        let expression = with_variables(text(&validation["expression"]), &spec["variables"]);
        !passes(&json!([{"expression": expression}]), review)
    })?;
    let Some(says) = denying["messageExpression"].as_str() else {
        return Some(text(&denying["message"]).to_owned());
    };
    Some(said(&with_variables(says, &spec["variables"]), review))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Whether the net denies.
pub(crate) fn denies(backstop: &Backstop, review: &Value) -> bool {
    denial(backstop, review).is_some()
}

/// A host with the policies of a case, and the net under it.
pub(crate) fn host_with_net(setup: &Setup) -> Option<(Admission, Vec<Backstop>)> {
    let (policies, options) = (loaded(setup)?, options());
    let registration = Registration {
        policies: &policies,
        candidates: &[],
        exemptions: &setup.exemptions,
        options: &options,
    };
    let net = backstop::policies(&registration);
    Some((
        Admission::new(
            policies,
            Inventory::from(setup.inventory.clone()),
            setup.exemptions.clone(),
        ),
        net,
    ))
}

/// What the net catches of a policy's denials. Every case that it denies, the policy must deny,
/// too.
fn caught(policy: &str) -> (usize, usize) {
    // Compiling the policies takes most of the time: once for each choice of settings.
    let mut hosts = BTreeMap::new();
    let (mut caught, mut denied) = (0, 0);
    for case in cases(&format!("tests/fixtures/{policy}")) {
        let Some(review) = review(&case).filter(|_| matches!(case.function, Function::Validate(_)))
        else {
            continue;
        };
        let host = hosts
            .entry(case.setup.fingerprint())
            .or_insert_with(|| host_with_net(&case.setup));
        let Some((admission, net)) = host else {
            continue;
        };
        let outcome = ask(admission, case.function, &case.review_body());
        // The API server compares namespaces with `matchConstraints`, which are no CEL.
        if outcome.evaluations.is_empty() && outcome.malformed.is_none() {
            continue;
        }
        let is_denied = !outcome.response.allowed;
        let messages: Vec<_> = net
            .iter()
            .filter_map(|backstop| denial(backstop, &review))
            .collect();
        let is_caught = !messages.is_empty();
        assert!(
            is_denied || !is_caught,
            "{policy}: {}: the net denies what the policy allows",
            case.name
        );
        let names_the_field =
            |message: &String| message.starts_with('[') && message.contains("] spec.");
        assert!(messages.iter().all(names_the_field), "{messages:?}");
        denied += usize::from(is_denied);
        caught += usize::from(is_caught);
    }
    (caught, denied)
}

#[test]
fn the_net_denies_nothing_that_a_policy_allows_and_catches_its_share() {
    let policies = [
        ("service-type", 5),
        ("nodeport-range", 17),
        ("external-ips", 6),
        ("external-name", 20),
        ("loadbalancer-cloud-only", 6),
        ("selectorless", 5),
    ];
    for (policy, least) in policies {
        let (caught, denied) = caught(policy);
        assert!(
            caught >= least,
            "{policy}: the net catches {caught} of {denied} denials"
        );
    }
}

/// A host with one of the shipped policies.
fn host(
    module: &str,
    updates: &str,
    settings: &Value,
    exemptions: &Value,
) -> (Arc<Policy>, Exemptions) {
    let manifest = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy", "metadata": {"name": "p"},
        "spec": {"module": {"file": module}, "updates": updates, "settings": settings},
    });
    let component =
        std::fs::read(root().join("target/policies").join(module)).expect("a component");
    let manifest = ServicePolicy::from_value(&manifest).expect("valid");
    let policy = evaluator::load(&ENGINE, manifest, &component).expect("a policy");
    (
        Arc::new(policy),
        serde_json::from_value(exemptions.clone()).expect("exemptions"),
    )
}

/// The net under it.
fn under((policy, exemptions): &(Arc<Policy>, Exemptions)) -> Backstop {
    let policies = [Arc::clone(policy)];
    let registration = Registration {
        policies: &policies,
        candidates: &[],
        exemptions,
        options: &options(),
    };
    backstop::policies(&registration).remove(0)
}

/// The net of `nodeport-range` with its default settings.
fn net(updates: &str, exemptions: &Value) -> Backstop {
    let settings = json!({"ranges": [{"from": 30000, "to": 32767}]});
    under(&host("nodeport_range.wasm", updates, &settings, exemptions))
}

/// Of a Service with an annotation, whether in deletion or not, and with these node ports.
fn object(annotations: &Value, deleted: bool, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|port| json!({"port": 80, "nodePort": port, "protocol": "TCP"}))
        .collect();
    let mut object = json!({"metadata": {"annotations": annotations},
        "spec": {"type": "NodePort", "ports": ports}});
    if deleted {
        object["metadata"]["deletionTimestamp"] = "2026-11-23T08:00:00Z".into();
    }
    object
}

fn update(user: &str, object: &Value, old: &Value) -> Value {
    json!({"request": {
        "operation": "UPDATE", "namespace": "n", "name": "w", "userInfo": {"username": user},
        "object": object, "oldObject": old,
    }})
}

#[test]
fn nobody_gets_through_the_net_by_an_annotation_or_a_deletion() {
    const OUT: u16 = 29_999;
    let glass = json!({"breakGlass": {"users": ["root"]}});
    let broken = json!({"sallyport.dev/break-glass": "whatever"});
    for updates in ["Ratchet", "Always"] {
        let net = net(updates, &glass);
        let old = object(&broken, false, &[30_000]);
        let denied = |user, ports: &[u16], old: &Value| {
            denies(&net, &update(user, &object(&broken, false, ports), old))
        };
        assert!(
            denied("jane", &[OUT], &old),
            "{updates}: the annotation was there, and excuses what was"
        );
        assert!(
            !denied("root", &[OUT], &old),
            "{updates}: who may break the glass is believed"
        );
        assert!(
            !denied("jane", &[OUT], &object(&broken, false, &[OUT])),
            "{updates}: what was there may stay"
        );
    }
    let none = json!({});
    let deletion = |updates, ports: &[u16], old: &[u16]| {
        denies(
            &net(updates, &none),
            &update(
                "jane",
                &object(&none, true, ports),
                &object(&none, true, old),
            ),
        )
    };
    assert!(
        deletion("Ratchet", &[OUT], &[30_000]),
        "what is in deletion is programmed all the same"
    );
    assert!(!deletion("Ratchet", &[OUT], &[OUT, 29_998]));
    assert!(
        !deletion("Always", &[OUT], &[OUT, 29_998]),
        "a deletion ratchets, whatever `updates` says"
    );
    assert!(deletion("Always", &[OUT], &[30_000]));
}

#[test]
fn a_service_may_not_lose_its_selector_in_its_deletion() {
    let object = |deleted: bool, selector: Value| {
        let mut object = object(&json!({}), deleted, &[30_000]);
        object["spec"]["selector"] = selector;
        object
    };
    let some = || json!({"app": "web"});
    for updates in ["Ratchet", "Always"] {
        let host = host("selectorless.wasm", updates, &json!({}), &json!({}));
        let (net, (policy, exemptions)) = (under(&host), host);
        let admission = Admission::new(vec![policy], Inventory::default(), exemptions);
        for (deleted, selector, old, allowed) in [
            (true, json!({}), some(), false),
            (true, Value::Null, some(), false),
            (true, some(), some(), true),
            (true, json!({}), json!({}), true),
            (false, json!({}), some(), false),
            (false, some(), json!({}), true),
        ] {
            let body = body("UPDATE", &object(deleted, selector), &object(deleted, old));
            let mut review: Value = serde_json::from_slice(&body).expect("JSON");
            let outcome = ask(&admission, Function::Validate(Phase::Validating), &body);
            assert_eq!(
                outcome.response.allowed, allowed,
                "the host, {updates}: {review}"
            );
            for name in ["object", "oldObject"] {
                without_null(&mut review["request"][name]);
            }
            assert_eq!(
                denies(&net, &review),
                !allowed,
                "the net, {updates}: {review}"
            );
        }
    }
}

/// A component of an author whose tool adds a custom section.
fn with_section(component: &[u8], text: &str) -> Vec<u8> {
    const NAME: &str = "sallyport:backstop";
    let leb = |mut number: usize| {
        let mut bytes = vec![];
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let content = [&leb(NAME.len()), NAME.as_bytes(), text.as_bytes()].concat();
    [component, &[0], &leb(content.len()), &content].concat()
}

#[test]
fn any_policy_brings_its_own_rules() {
    let file = root().join("target/policies/dormant_fields.wasm");
    let component = std::fs::read(file).expect("a component");
    let load = |text: &str| {
        let manifest = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": "own"}, "spec": {"module": {"file": "own.wasm"}},
        });
        let manifest = ServicePolicy::from_value(&manifest).expect("valid");
        evaluator::load(&ENGINE, manifest, &with_section(&component, text))
    };
    let rule = r#"validations:
        - {rule: X, message: "spec.x: no", expression: "variables.settings.strip == dyn(false)"}"#;
    let policy = Arc::new(load(rule).expect("a policy"));
    let net = under(&(policy, Exemptions::default()));
    assert_eq!(net.rules, ["X"]);
    let none = object(&json!({}), false, &[]);
    assert_eq!(denial(&net, &update("jane", &none, &none)), None);

    let error = |text: &str| load(text).expect_err("refused").to_string();
    let told = error("validations: [{rule: X, message: m}]");
    assert!(
        told.starts_with("brings a backstop that can't be used: validations[0]")
            && told.contains("expression"),
        "{told}"
    );
    let large = format!("{rule}\n#{}", "x".repeat(1 << 16));
    let told = error(&large);
    assert!(told.contains("at most 65536 are read"), "{told}");
}

#[test]
fn the_net_says_what_it_does_not_cover() {
    let arguments = [&BARE_METAL[..], &["--backstop"]].concat();
    let text = String::from_utf8(sallyport(&arguments).stdout).expect("UTF-8");
    assert!(
        text.contains("# Not covered: dormant-fields: its rules are not expressed in CEL"),
        "{text}"
    );
    let objects = yaml::documents(&text).expect("YAML");
    for object in objects
        .iter()
        .filter(|object| object["kind"] == "ValidatingAdmissionPolicy")
    {
        let bound = |binding: &&Value| binding["spec"]["policyName"] == object["metadata"]["name"];
        assert_eq!(
            objects.iter().filter(bound).count(),
            1,
            "{}",
            object["metadata"]["name"]
        );
    }
    let output = sallyport(&[&arguments[..], &["--kubernetes", "1.29"]].concat());
    assert_eq!(output.status.code(), Some(2));
}
