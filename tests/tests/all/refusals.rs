//! The playground's words for what an API server itself refuses, compared with those of a real one:
//! `tests/kubectl/refusals.json`.

use crate::host::root;
use console_engine::kubectl::printed;
use sallyport_core::admission::Admission;
use sallyport_core::check::{Applied, Circumstances, Manifests, Origin, apply};
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::Policy;
use sallyport_core::suite::User;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;

/// Returns the lines that the playground shows, and whether it says that they are the real ones.
fn shown(manifest: &str) -> (Vec<String>, bool) {
    let policies: Vec<Arc<Policy>> = vec![];
    let admission = Admission::new(policies, Inventory::default(), Exemptions::default());
    let mut manifests = Manifests::default();
    manifests.add("service.yaml", Origin::Named, Ok(manifest.into()));
    let circumstances = Circumstances {
        admission: &admission,
        namespace: "default",
        user: User::default(),
        now: SystemTime::UNIX_EPOCH,
        old: &Manifests::default(),
        progress: &mut |_, _| {},
    };
    let applied = apply(&circumstances, &manifests);
    let printed: Vec<_> = applied.iter().map(printed).collect();
    let is_verbatim = !printed.is_empty() && printed.iter().all(|lines| lines.is_verbatim);
    (printed.into_iter().map(|it| it.text).collect(), is_verbatim)
}

#[test]
fn the_playground_prints_what_kubectl_printed() {
    let text = std::fs::read_to_string(root().join("tests/kubectl/refusals.json"));
    let recorded: Value = serde_json::from_str(&text.expect("readable")).expect("JSON");
    assert_eq!(recorded["kubernetes"], "v1.36.2");
    let cases = recorded["cases"].as_array().expect("a list");
    assert!(cases.len() >= 70, "{} cases", cases.len());
    let mut wrong = vec![];
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let (lines, is_verbatim) = shown(text("manifest"));
        let is_known = case["here"] != "other words";
        let is_right = match (is_known, is_verbatim) {
            (true, true) => lines.join("\n") == text("printed").trim_end(),
            // It says that these are not the real words.
            (false, false) => lines.join("\n") != text("printed").trim_end(),
            _ => false,
        };
        if !is_right {
            wrong.push(format!(
                "{}:\n  kubectl: {}\n  here:    {}\n  real:    {is_verbatim}",
                text("name"),
                text("printed").trim_end(),
                lines.join("\n"),
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Applies a Service as an update of another one. The cluster has both families, IPv4 first.
fn updated(old: &Value, new: &Value) -> Applied {
    let policies: Vec<Arc<Policy>> = vec![];
    let admission = Admission::new(policies, Inventory::default(), Exemptions::default());
    let manifests = |spec: &Value| {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": spec});
        let mut manifests = Manifests::default();
        let text = service.to_string().into_bytes();
        manifests.add("service.yaml", Origin::Named, Ok(text));
        manifests
    };
    let circumstances = Circumstances {
        admission: &admission,
        namespace: "default",
        user: User::default(),
        now: SystemTime::UNIX_EPOCH,
        old: &manifests(old),
        progress: &mut |_, _| {},
    };
    apply(&circumstances, &manifests(new)).swap_remove(0)
}

/// Takes out what the API server allocates anew: any number or address will do.
fn without_allocated(stored: &Value, case: &Value) -> Value {
    let known = format!("{} {}", case["old"], case["new"]);
    let mut stored = stored.clone();
    let hide = |value: &mut Value| {
        let is_set = !value.is_null() && *value != 0;
        if is_set && !known.contains(&value.to_string()) {
            *value = "allocated".into();
        }
    };
    hide(&mut stored["healthCheckNodePort"]);
    hide(&mut stored["clusterIP"]);
    for (list, key) in [("ports", Some("nodePort")), ("clusterIPs", None)] {
        for item in stored[list].as_array_mut().into_iter().flatten() {
            hide(match key {
                Some(key) => &mut item[key],
                None => item,
            });
        }
    }
    without_nothing(&stored)
}

/// Takes out nulls, zeros and empty maps.
fn without_nothing(value: &Value) -> Value {
    let is_nothing = |value: &Value| value.is_null() || *value == 0 || *value == json!({});
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| !is_nothing(member))
            .map(|(key, member)| (key.clone(), without_nothing(member)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nothing).collect(),
        scalar => scalar.clone(),
    }
}

#[test]
fn an_update_becomes_what_an_api_server_made_of_it() {
    let text = std::fs::read_to_string(root().join("tests/kubectl/updates.json"));
    let recorded: Value = serde_json::from_str(&text.expect("readable")).expect("JSON");
    let cases = recorded["cases"].as_array().expect("a list");
    assert!(cases.len() >= 45, "{} cases", cases.len());
    let mut wrong = vec![];
    for case in cases {
        let applied = updated(&case["old"], &case["new"]);
        let problems = applied.rejection.iter().flat_map(|it| it.problems());
        let problems: Vec<_> = problems
            .map(|problem| format!("{}: {}", problem.field, problem.text))
            .collect();
        let expected = match case["refused"].as_str() {
            Some(text) => json!(text.trim_start_matches("Service \"web\" is invalid: ")),
            None => without_allocated(&case["stored"], case),
        };
        let got = match problems.is_empty() {
            true => without_allocated(&applied.stored["spec"], case),
            false => json!(problems.join(", ")),
        };
        // The cases are of `kubectl replace`.
        if (got == expected) == case["here"].is_string() {
            let name = &case["name"];
            wrong.push(format!("{name}:\n  cluster: {expected}\n  here:    {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
