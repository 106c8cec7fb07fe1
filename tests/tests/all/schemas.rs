//! The JSON Schemas in `docs/schemas` are current, and know every file of the repository.
//! `WRITE_DOCS=1` writes them.

use crate::command_line::sallyport;
use crate::host::root;
use crate::json_schema::violations;
use sallyport_core::manifest::API_VERSION;
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Kind of the files, argument of `sallyport schema`, and name of the file.
const SCHEMAS: [(&str, &str); 3] = [
    ("Suite", "suite"),
    ("ServicePolicy", "service-policy"),
    ("HostConfig", "host-config"),
];

pub(crate) fn schema(kind: &str) -> Value {
    let output = sallyport(&["schema", kind]);
    assert!(output.status.success(), "{kind}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_committed_schemas_are_current() {
    for (_, name) in SCHEMAS {
        let made = String::from_utf8(sallyport(&["schema", name]).stdout).expect("UTF-8");
        let file = format!("docs/schemas/{name}.json");
        let path = root().join(&file);
        if std::env::var_os("WRITE_DOCS").is_some() {
            std::fs::write(&path, &made).expect("it can be written");
            continue;
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == made, "{file} is not current; run `make docs`");
    }
}

/// Calls `see` with every YAML document of our kinds below a directory.
fn documents(directory: &Path, see: &mut impl FnMut(&Path, &str, &Value)) {
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
                documents(&path, see);
            }
        } else if name.ends_with(".yaml") {
            // Files for `check` may be no text and no YAML, on purpose.
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for document in yaml::documents(&text).unwrap_or_default() {
                let kind = document["kind"].as_str().unwrap_or_default();
                if document["apiVersion"] == API_VERSION {
                    see(&path, kind, &document);
                }
            }
        }
    }
}

#[test]
fn every_file_of_the_repository_satisfies_its_schema() {
    let schemas = BTreeMap::from(SCHEMAS.map(|(kind, name)| (kind, schema(name))));
    let (mut seen, mut wrong) = (BTreeMap::<String, usize>::new(), vec![]);
    documents(&root(), &mut |path, kind, document| {
        *seen.entry(kind.to_owned()).or_default() += 1;
        let found = violations(&schemas[kind], document);
        wrong.extend(
            found
                .into_iter()
                .map(|found| format!("{}{found}", path.display())),
        );
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (kind, _) in SCHEMAS {
        assert!(seen.contains_key(kind), "no {kind} was seen: {seen:?}");
    }
}

#[test]
fn a_schema_marks_what_the_format_refuses() {
    let head = |kind: &str, spec: Value| {
        let metadata = json!({"name": "x"});
        json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})
    };
    let case = |case: Value| {
        let spec = json!({"policy": {"manifest": "p.yaml"}, "cases": [case]});
        head("Suite", spec)
    };
    for (name, value, path) in [
        (
            "suite",
            head("Suit", json!({"policy": {}, "cases": [{"name": "a"}]})),
            ".kind",
        ),
        (
            "suite",
            head("Suite", json!({"policy": {}, "cases": []})),
            ".spec.cases",
        ),
        (
            "suite",
            case(json!({"name": "a", "expected": {}})),
            ".spec.cases[0].expected",
        ),
        ("suite", case(json!({})), ".spec.cases[0]"),
        (
            "suite",
            case(json!({"name": "a", "policy": {"mode": "enforce"}})),
            ".spec.cases[0]",
        ),
        (
            "suite",
            case(json!({"name": "a", "expect": {"error": "panic"}})),
            ".spec.cases[0]",
        ),
        (
            "service-policy",
            head(
                "ServicePolicy",
                json!({"module": {"file": "p.wasm"}, "modus": "Warn"}),
            ),
            ".spec.modus",
        ),
        ("service-policy", head("ServicePolicy", json!({})), ".spec"),
        (
            "host-config",
            head(
                "HostConfig",
                json!({"inventory": {"namespaces": {"Team": {}}}}),
            ),
            ".spec.inventory.namespaces.Team",
        ),
        (
            "host-config",
            head("HostConfig", json!({"exemptions": {"services": ["web"]}})),
            ".spec.exemptions.services[0]",
        ),
    ] {
        let found = violations(&schema(name), &value);
        assert!(
            found.iter().any(|found| found.starts_with(path)),
            "{name} {value}: {found:?}"
        );
    }
}
