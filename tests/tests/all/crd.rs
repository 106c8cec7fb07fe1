//! The CustomResourceDefinition against the file format: an API server's validation by schema and
//! CEL rules agrees with the parser.

use crate::cel::{Cel, evaluate};
use crate::command_line::sallyport;
use crate::host::root;
use sallyport_core::manifest::ServicePolicy;
use sallyport_core::units::{Bytes, Millis};
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;

/// `openAPIV3Schema` of the printed CustomResourceDefinition.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let output = sallyport(&["crd", "--output", "json"]);
    let crd: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

/// Validates a manifest as an API server does: by the schema with its CEL rules. (A crate that
/// implements all of JSON Schema would change features of the host's dependencies, and have it
/// compiled twice; a structural schema uses only a few keywords.)
fn accepts(manifest: &Value) -> Result<(), String> {
    check(&SCHEMA, manifest, "")
}

fn check(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let unless = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!("{path}: {value} {what}"))
        }
    };
    if value.is_null() && schema["nullable"] == true {
        return Ok(());
    }
    unless(has_type(schema["type"].as_str(), value), "has another type")?;
    unless(
        schema["enum"]
            .as_array()
            .is_none_or(|values| values.contains(value)),
        "is not in the enum",
    )?;
    let text = value.as_str().unwrap_or_default();
    unless(
        schema["maxLength"]
            .as_u64()
            .is_none_or(|most| text.chars().count() as u64 <= most),
        "is too long",
    )?;
    unless(
        schema["pattern"]
            .as_str()
            .is_none_or(|pattern| matches(pattern, text)),
        "does not match",
    )?;
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        unless(value.get(name).is_some(), &format!("lacks {name}"))?;
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let below = schema["properties"]
            .get(name)
            .or(schema.get("additionalProperties"));
        below.map_or(Ok(()), |below| {
            check(below, member, &format!("{path}.{name}"))
        })?;
    }
    for item in value.as_array().into_iter().flatten() {
        check(&schema["items"], item, &format!("{path}[]"))?;
    }
    for rule in rules(schema) {
        let holds = evaluate(rule["rule"].as_str().expect("CEL"), &[("self", value)]);
        unless(
            holds == Ok(Cel::Bool(true)),
            &format!("breaks a rule: {holds:?}"),
        )?;
    }
    Ok(())
}

fn has_type(wanted: Option<&str>, value: &Value) -> bool {
    match wanted {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        other => panic!("the schema has no type that is known here: {other:?}"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    evaluate(
        "text.matches(pattern)",
        &[("text", &json!(text)), ("pattern", &json!(pattern))],
    ) == Ok(Cel::Bool(true))
}

fn rules(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
}

fn manifests(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            manifests(&path, found);
        } else if path
            .file_name()
            .is_some_and(|name| name == "policy.yaml" || name == "policies.yaml")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_manifest_that_is_shipped_is_accepted() {
    let mut files = vec![];
    manifests(&root().join("policies"), &mut files);
    let mut count = 0;
    for file in files {
        for manifest in
            yaml::documents(&std::fs::read_to_string(&file).expect("readable")).expect("YAML")
        {
            accepts(&manifest).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            count += 1;
        }
    }
    assert!(count > 20, "only {count} manifests were found");
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
        "metadata": {"name": name}, "spec": spec})
}

#[test]
fn schema_and_file_format_accept_and_refuse_the_same() {
    let module = json!({"file": "p.wasm"});
    let with =
        |key: &str, value: Value| policy("p", &json!({"module": {"file": "p.wasm"}, key: value}));
    let selector = |value: Value| with("match", json!({"namespaceSelector": value}));
    let expression = |operator: &str| {
        json!({"matchExpressions": [{"key": "k",
        "operator": operator, "values": ["v"]}]})
    };
    let (mut taken, mut refused) = (0, 0);
    for manifest in [
        policy("p", &json!({"module": module})),
        policy("", &json!({"module": module})),
        policy("P", &json!({"module": module})),
        policy("a.b", &json!({"module": module})),
        policy("-a", &json!({"module": module})),
        policy(&"x".repeat(63), &json!({"module": module})),
        policy(&"x".repeat(64), &json!({"module": module})),
        policy("p", &json!({})),
        policy("p", &json!({"module": {}})),
        policy("p", &json!({"module": {"file": ""}})),
        policy("p", &json!({"module": {"file": "../p.wasm"}})),
        policy("p", &json!({"module": {"file": "a\\p.wasm"}})),
        policy("p", &json!({"module": {"file": ".p.wasm"}})),
        policy("p", &json!({"module": {"file": 1}})),
        with("mode", json!("Audit")),
        with("mode", json!("audit")),
        with("failurePolicy", json!("Ignore")),
        with("failurePolicy", json!("Closed")),
        with("updates", json!("Always")),
        with("updates", json!(true)),
        with("settings", json!({"any": [{"thing": 1}]})),
        with("settings", json!([])),
        with("limits", json!({})),
        with("limits", json!({"deadline": 50})),
        with("match", json!({"excludeNamespaces": ["a"]})),
        with("match", json!({"excludeNamespaces": "a"})),
        with("match", json!({"excludeNamespaces": ["team-*"]})),
        with("match", json!({"excludeNamespaces": ["Team"]})),
        selector(Value::Null),
        selector(json!({"matchLabels": {"a": "b"}})),
        selector(json!({"matchLabels": {"a": 1}})),
        selector(json!({"matchLabels": {"a": ""}})),
        selector(json!({"matchLabels": {"a": "b*"}})),
        selector(json!({"matchLabels": {"a": "b "}})),
        selector(json!({"matchExpressions": [{"key": "a b", "operator": "Exists"}]})),
        selector(
            json!({"matchExpressions": [{"key": "example.com/a", "operator": "In",
                "values": ["b", "c*"]}]}),
        ),
        selector(expression("In")),
        selector(expression("DoesNotExist")),
        selector(expression("Like")),
    ] {
        let (schema, file) = (accepts(&manifest), ServicePolicy::from_value(&manifest));
        assert_eq!(
            schema.is_ok(),
            file.is_ok(),
            "{manifest}\nschema: {schema:?}\nfile: {file:?}"
        );
        if file.is_ok() {
            taken += 1
        } else {
            refused += 1
        }
    }
    assert!(
        taken >= 10 && refused >= 10,
        "{taken} taken, {refused} refused"
    );
}

/// Checks that a limit's pattern accepts the same texts as its parser.
fn agree<T: FromStr<Err: Debug> + Debug>(limit: &str, texts: impl Iterator<Item = String>) {
    let pattern =
        SCHEMA["properties"]["spec"]["properties"]["limits"]["properties"][limit]["pattern"]
            .clone();
    let pattern = pattern.as_str().expect("a pattern");
    let texts: Vec<String> = texts.collect();
    let matched = evaluate(
        "texts.map(text, text.matches(pattern))",
        &[("texts", &json!(texts)), ("pattern", &json!(pattern))],
    );
    let Ok(Cel::List(matched)) = matched else {
        panic!("{matched:?}")
    };
    for (text, matched) in texts.iter().zip(matched.iter()) {
        assert_eq!(
            *matched == Cel::Bool(true),
            text.parse::<T>().is_ok(),
            "{text:?}"
        );
    }
}

#[test]
fn the_patterns_of_limits_accept_what_the_parser_does() {
    let odd = [
        "", "ms", "1", "-1ms", "1.5s", "0050ms", " 1s", "1s\n", "64ki", "1m", "1s500ms",
        "01s050ms", "9s999ms", "9s1000ms", "10s0ms", "10s1ms", "0s5ms", "s5ms", "500ms1s", "1s1s",
        "0065536",
    ]
    .map(str::to_owned);
    let numbers = (0..1200)
        .chain(9990..10_010)
        .map(|number| format!("{number}ms"))
        .chain((0..30).map(|number| format!("{number}s")));
    agree::<Millis>("deadline", numbers.chain(odd.clone()));
    let kibibytes = (0..200)
        .chain((1000..1_100_000).step_by(9973))
        .chain(1_048_560..1_048_590);
    let bytes = (65_500..65_600)
        .chain((0..1_200_000_000).step_by(999_983))
        .chain(1_073_741_700..1_073_741_900);
    let sizes = kibibytes
        .map(|number| format!("{number}Ki"))
        .chain(bytes.map(|number| number.to_string()))
        .chain((0..1100).map(|number| format!("{number}Mi")));
    agree::<Bytes>(
        "memory",
        sizes
            .chain(["0Gi", "1Gi", "01Gi", "2Gi", "1Ti"].map(str::to_owned))
            .chain(odd),
    );
}

#[test]
fn the_schema_is_structural() {
    let mut seen = 0;
    visit(&SCHEMA, &mut |schema| {
        seen += 1;
        // A structural schema has a type everywhere, and no properties beside additionalProperties.
        assert!(schema["type"].is_string(), "no type: {schema}");
        assert!(
            schema["properties"].is_null() || schema["additionalProperties"].is_null(),
            "{schema}"
        );
    });
    assert!(seen > 20, "only {seen} schemas were found");
}

fn visit(schema: &Value, see: &mut impl FnMut(&Value)) {
    see(schema);
    let members = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|properties| properties.values());
    let below = ["items", "additionalProperties"]
        .into_iter()
        .filter_map(|key| schema.get(key));
    members.chain(below).for_each(|schema| visit(schema, see));
}
