//! The backstop (`--backstop`): it denies nothing that the policies allow, and can't be evaded by
//! annotations or deletion.

use crate::cel::with_variables;
use crate::command_line::sallyport;
use crate::host::{ENGINE, ask, body, root};
use crate::match_conditions::{cases, loaded, options, passes, review, said, without_null};
use crate::webhooks::BARE_METAL;
use sallyport::evaluator;
use sallyport::import::{Imported, import};
use sallyport::report::registration::defaults_documents;
use sallyport::webhooks::backstop::{self, Backstop};
use sallyport::webhooks::defaults::{self, Defaults};
use sallyport::webhooks::registration::Registration;
use sallyport_core::admission::{Admission, Function};
use sallyport_core::contract::review::Phase;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::Policy;
use sallyport_core::suite::Setup;
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Returns the message with which the backstop denies; its match conditions and namespaces are
/// evaluated, too.
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

/// Returns true when the backstop denies.
pub(crate) fn denies(backstop: &Backstop, review: &Value) -> bool {
    denial(backstop, review).is_some()
}

/// Returns an Admission with the policies of a case, and their backstops.
pub(crate) fn host_with_backstops(setup: &Setup) -> Option<(Admission, Vec<Backstop>)> {
    let (policies, options) = (loaded(setup)?, options());
    let registration = Registration {
        policies: &policies,
        candidates: &[],
        exemptions: &setup.exemptions,
        options: &options,
    };
    let backstops = backstop::policies(&registration);
    Some((
        Admission::new(
            policies,
            Inventory::from(setup.inventory.clone()),
            setup.exemptions.clone(),
        ),
        backstops,
    ))
}

/// Counts the denials of a policy, and those that the backstop has, too. Every case that the
/// backstop denies, the policy must deny.
fn caught(policy: &str) -> (usize, usize) {
    // Compiling takes most of the time, so it happens once for each choice of settings.
    let mut hosts = BTreeMap::new();
    let (mut caught, mut denied) = (0, 0);
    for case in cases(&format!("tests/fixtures/{policy}")) {
        let Some(review) = review(&case).filter(|_| matches!(case.function, Function::Validate(_)))
        else {
            continue;
        };
        // The constraints of a backstop leave deletions out, and they are no CEL.
        if review["request"]["operation"] == "DELETE" {
            continue;
        }
        let host = hosts
            .entry(case.setup.fingerprint())
            .or_insert_with(|| host_with_backstops(&case.setup));
        let Some((admission, backstops)) = host else {
            continue;
        };
        let outcome = ask(admission, case.function, &case.review_body());
        // The API server compares namespaces with `matchConstraints`, which are no CEL.
        if outcome.evaluations.is_empty() && outcome.malformed.is_none() {
            continue;
        }
        let is_denied = !outcome.response.allowed;
        let messages: Vec<_> = backstops
            .iter()
            .filter_map(|backstop| denial(backstop, &review))
            .collect();
        let is_caught = !messages.is_empty();
        assert!(
            is_denied || !is_caught,
            "{policy}: {}: the backstop denies what the policy allows",
            case.name
        );
        let names_the_field = |message: &String| {
            message.starts_with('[')
                && (message.contains("] spec.") || message.contains("] metadata."))
        };
        assert!(messages.iter().all(names_the_field), "{messages:?}");
        denied += usize::from(is_denied);
        caught += usize::from(is_caught);
    }
    (caught, denied)
}

#[test]
fn the_net_denies_nothing_that_a_policy_allows() {
    let policies = [
        "service-type",
        "nodeport-range",
        "external-ips",
        "external-name",
        "loadbalancer-cloud-only",
        "selectorless",
        "ports",
        "annotations",
        "loadbalancer-address",
        "change-protection",
    ];
    let page = std::fs::read_to_string(root().join("docs/operations.md")).expect("a page");
    for policy in policies {
        let (caught, denied) = caught(policy);
        let row = format!("| {policy} | {caught} of {denied} |");
        assert!(page.contains(&row), "docs/operations.md lacks {row}");
    }
}

/// Returns the object as a host patches it.
fn patched(admission: &Admission, review: &Value) -> Value {
    let outcome = ask(admission, Function::Mutate, review.to_string().as_bytes());
    let mut object = review["request"]["object"].clone();
    if let Some(patch) = &outcome.response.patch {
        let patch: json_patch::Patch = serde_json::from_str(patch).expect("a patch");
        json_patch::patch(&mut object, &patch).expect("it fits");
    }
    object
}

/// Returns an API server's view of MutatingAdmissionPolicies: the component `expressions` with the
/// policies imported, which gives the answers of a real one (`parity`).
fn api_server(defaults: &[Defaults]) -> Admission {
    let objects: Vec<Value> = defaults
        .iter()
        .flat_map(|defaults| defaults_documents(defaults).map(|document| document.object))
        .collect();
    let imported = import(&objects).expect("they decode");
    assert!(imported.refused.is_empty(), "{:?}", imported.refused);
    let component =
        std::fs::read(root().join("target/policies/expressions.wasm")).expect("a component");
    let load = |imported: &Imported| {
        let manifest = serde_json::to_value(&imported.manifest).expect("JSON");
        let manifest = ServicePolicy::from_value(&manifest).expect("a valid manifest");
        evaluator::load(&ENGINE, manifest, &component).expect("a policy")
    };
    Admission::new(
        imported.policies.iter().map(load).collect(),
        Inventory::default(),
        Exemptions::default(),
    )
}

/// An API server applies MutatingAdmissionPolicies before it calls webhooks. The object that the
/// host then returns must be the one that it returns without them.
#[test]
fn the_defaults_of_the_backstop_are_those_of_the_host() {
    for (policy, least) in [("loadbalancer-exposure", 5), ("dormant-fields", 3)] {
        let mut set = 0;
        for case in cases(&format!("tests/fixtures/{policy}")) {
            let Some(mut review) = review(&case).filter(|_| case.function == Function::Mutate)
            else {
                continue;
            };
            let (Some(policies), options) = (loaded(&case.setup), options()) else {
                continue;
            };
            let registration = Registration {
                policies: &policies,
                candidates: &[],
                exemptions: &case.setup.exemptions,
                options: &options,
            };
            let defaults = defaults::policies(&registration);
            let inventory = Inventory::from(case.setup.inventory.clone());
            let exemptions = case.setup.exemptions.clone();
            let host = Admission::new(policies.clone(), inventory, exemptions);
            let expected = patched(&host, &review);
            let before = review["request"]["object"].clone();
            let after = patched(&api_server(&defaults), &review);
            set += usize::from(after != before);
            review["request"]["object"] = after;
            assert_eq!(patched(&host, &review), expected, "{policy}: {}", case.name);
        }
        assert!(
            set >= least,
            "{policy}: the net sets something in {set} cases"
        );
    }
}

/// Returns one of the shipped policies with exemptions.
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

/// Returns the policy's backstop.
fn backstop_of((policy, exemptions): &(Arc<Policy>, Exemptions)) -> Backstop {
    let policies = [Arc::clone(policy)];
    let registration = Registration {
        policies: &policies,
        candidates: &[],
        exemptions,
        options: &options(),
    };
    backstop::policies(&registration).remove(0)
}

/// Returns the backstop of `nodeport-range` with its default settings.
fn node_port_backstop(updates: &str, exemptions: &Value) -> Backstop {
    let settings = json!({"ranges": [{"from": 30000, "to": 32767}]});
    backstop_of(&host("nodeport_range.wasm", updates, &settings, exemptions))
}

/// Returns a Service with these annotations and node ports, in deletion or not.
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
fn annotations_and_deletion_do_not_evade_the_backstop() {
    const OUT: u16 = 29_999;
    let break_glass = json!({"breakGlass": {"users": ["root"]}});
    let broken = json!({"sallyport.dev/break-glass": "whatever"});
    for updates in ["Ratchet", "Always"] {
        let backstop = node_port_backstop(updates, &break_glass);
        let old = object(&broken, false, &[30_000]);
        let denied = |user, ports: &[u16], old: &Value| {
            denies(
                &backstop,
                &update(user, &object(&broken, false, ports), old),
            )
        };
        assert!(
            denied("jane", &[OUT], &old),
            "{updates}: the annotation was there, and excuses what was"
        );
        assert!(
            !denied("root", &[OUT], &old),
            "{updates}: a granter is exempt whatever the time"
        );
        assert!(
            !denied("jane", &[OUT], &object(&broken, false, &[OUT])),
            "{updates}: what was there may stay"
        );
    }
    let none = json!({});
    let deletion = |updates, ports: &[u16], old: &[u16]| {
        denies(
            &node_port_backstop(updates, &none),
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
        let (backstop, (policy, exemptions)) = (backstop_of(&host), host);
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
                denies(&backstop, &review),
                !allowed,
                "the backstop, {updates}: {review}"
            );
        }
    }
}

#[test]
fn the_backstop_knows_the_exemptions_of_its_policy() {
    let manifest = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy", "metadata": {"name": "p"},
        "spec": {
            "module": {"file": "nodeport_range.wasm"},
            "settings": {"ranges": [{"from": 30000, "to": 32767}]},
            "exemptions": {
                "services": ["edge/gateway-*"], "users": ["root"], "groups": ["platform"],
                "serviceAccounts": ["strimzi/op"],
            },
        },
    });
    let component =
        std::fs::read(root().join("target/policies/nodeport_range.wasm")).expect("a component");
    let manifest = ServicePolicy::from_value(&manifest).expect("valid");
    let policy = Arc::new(evaluator::load(&ENGINE, manifest, &component).expect("a policy"));
    let none: Exemptions = serde_json::from_value(json!({})).expect("exemptions");
    let backstop = backstop_of(&(Arc::clone(&policy), none.clone()));
    let admission = Admission::new(vec![policy], Inventory::default(), none);
    for (place, user, allowed) in [
        ("n/w", json!({"username": "jane"}), false),
        ("n/w", json!({"username": "root"}), true),
        ("n/w", json!({"username": "roots"}), false),
        (
            "n/w",
            json!({"username": "jane", "groups": ["x", "platform"]}),
            true,
        ),
        (
            "n/w",
            json!({"username": "jane", "groups": ["platforms"]}),
            false,
        ),
        (
            "n/w",
            json!({"username": "system:serviceaccount:strimzi:op"}),
            true,
        ),
        ("n/w", json!({"username": "strimzi/op"}), false),
        ("edge/gateway-1", json!({"username": "jane"}), true),
        ("edge/my-gateway-1", json!({"username": "jane"}), false),
        ("edges/gateway-1", json!({"username": "jane"}), false),
    ] {
        let (namespace, name) = place.split_once('/').expect("two parts");
        let mut object = object(&json!({}), false, &[29_999]);
        object["metadata"]["name"] = name.into();
        object["metadata"]["namespace"] = namespace.into();
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u", "operation": "CREATE", "namespace": namespace, "name": name,
                "kind": {"group": "", "version": "v1", "kind": "Service"},
                "userInfo": user, "object": object,
            },
        });
        let body = review.to_string().into_bytes();
        let outcome = ask(&admission, Function::Validate(Phase::Validating), &body);
        assert_eq!(outcome.response.allowed, allowed, "the host: {review}");
        assert_eq!(
            denies(&backstop, &review),
            !allowed,
            "the backstop: {review}"
        );
        let noted = outcome.response.audit_annotations.contains_key("p.exempt");
        assert_eq!(noted, allowed, "the audit log: {review}");
    }
}

/// Returns a component with a custom section, as an author's tool may add it.
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
    let backstop = backstop_of(&(policy, Exemptions::default()));
    assert_eq!(backstop.rules, ["X"]);
    let none = object(&json!({}), false, &[]);
    assert_eq!(denial(&backstop, &update("jane", &none, &none)), None);

    let error = |text: &str| load(text).expect_err("refused").to_string();
    let message = error("validations: [{rule: X, message: m}]");
    assert!(
        message.starts_with("brings a backstop that can't be used: validations[0]")
            && message.contains("expression"),
        "{message}"
    );
    let large = format!("{rule}\n#{}", "x".repeat(1 << 16));
    let message = error(&large);
    assert!(message.contains("at most 65536 are read"), "{message}");
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

#[test]
fn defaults_are_printed_for_clusters_that_serve_them() {
    let policies = tempfile::tempdir().expect("a directory");
    let manifest = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy", "metadata": {"name": "lb"},
        "spec": {
            "module": {"file": "loadbalancer_exposure.wasm"},
            "settings": {"setOnCreate": {"noNodePorts": true}},
        },
    });
    std::fs::write(policies.path().join("lb.yaml"), manifest.to_string()).expect("written");
    let directory = policies.path().to_str().expect("UTF-8");
    let print = |version: &str| {
        let arguments = ["webhooks", "--backstop", "--modules", "target/policies"];
        let more = ["--policies", directory, "--kubernetes", version];
        let output = sallyport(&[&arguments[..], &more].concat());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let older = print("1.35");
    let left_out = "# Not covered: sallyport-lb: the defaults M4; with Kubernetes 1.36 or later: \
        --kubernetes 1.36";
    assert!(older.contains(left_out), "{older}");
    assert!(!older.contains("MutatingAdmissionPolicy"), "{older}");
    let objects = yaml::documents(&print("1.36")).expect("YAML");
    let kinds: Vec<_> = objects.iter().map(|object| &object["kind"]).collect();
    let expected = ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"];
    assert_eq!(kinds, expected);
    let spec = &objects[0]["spec"];
    assert_eq!(
        spec["mutations"].as_array().map(Vec::len),
        Some(1),
        "{spec}"
    );
    assert_eq!(spec["failurePolicy"], "Ignore");
    assert_eq!(spec["reinvocationPolicy"], "IfNeeded");
    for object in &objects {
        let label = &object["metadata"]["labels"]["sallyport.dev/registration"];
        assert_eq!(label, "sallyport", "{object}");
    }
}
