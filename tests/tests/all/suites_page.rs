//! `docs/suites.md`: its tables are made from the types that read suites, and its example passes.
//! `WRITE_DOCS=1` writes the tables.

use crate::command_line::sallyport;
use crate::host::root;
use crate::schemas::schema;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const PAGE: &str = "docs/suites.md";
const BEGIN: &str = "<!-- made from ";
const END: &str = "<!-- end -->\n";

fn page() -> String {
    std::fs::read_to_string(root().join(PAGE)).expect("it is there")
}

/// Returns the schema of an object by its name; `Suite` is the root.
fn definition<'a>(suite: &'a Value, name: &str) -> &'a Value {
    let found = match name {
        "Suite" => Some(suite),
        _ => suite["definitions"].get(name),
    };
    found.unwrap_or_else(|| panic!("{PAGE}: a suite has no {name}"))
}

/// Replaces the text between markers by the table of the type that each names. Also returns the
/// names.
fn written(page: &str, suite: &Value) -> (String, BTreeSet<String>) {
    let (mut text, mut names) = (String::new(), BTreeSet::new());
    let mut parts = page.split(BEGIN);
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once(" -->\n").expect("a marker ends");
        let (_, rest) = rest.split_once(END).expect("a table ends");
        let table = table(definition(suite, name));
        let _ = write!(text, "{BEGIN}{name} -->\n{table}{END}{rest}");
        names.insert(name.to_owned());
    }
    (text, names)
}

/// Returns one row for each key, those that are required first.
fn table(schema: &Value) -> String {
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let properties = schema["properties"].as_object().expect("an object");
    let is_required = |key: &str| required.iter().any(|required| *required == key);
    let (first, rest): (Vec<_>, Vec<_>) = properties.iter().partition(|(key, _)| is_required(key));
    let mut table = "\n| key | value | meaning |\n|---|---|---|\n".to_owned();
    for (key, property) in first.into_iter().chain(rest) {
        let star = if is_required(key) { " (required)" } else { "" };
        let value = value(property).replace('|', "\\|");
        let mut meaning = cell(property["description"].as_str().unwrap_or_default());
        if let Some(default) = default(property) {
            let _ = write!(meaning, " Default: `{default}`.");
        }
        let _ = writeln!(table, "| `{key}`{star} | {value} | {meaning} |");
    }
    table.push('\n');
    table
}

/// Returns a default that says something: none of an empty list, an object or false.
fn default(property: &Value) -> Option<String> {
    let default = property.get("default")?;
    match default {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) if !items.is_empty() => Some(default.to_string()),
        _ => None,
    }
}

/// Says which values a schema allows.
fn value(schema: &Value) -> String {
    let null = |schema: &&Value| schema["type"] != "null";
    if let Some(name) = schema["$ref"].as_str() {
        return format!("{{{}}}", name.rsplit('/').next().unwrap_or_default());
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        if let Some(alternatives) = schema[key].as_array() {
            let shown: Vec<_> = alternatives.iter().filter(null).map(value).collect();
            return shown.join(" or ");
        }
    }
    let word = |word: &Value| {
        word.as_str()
            .map_or_else(|| word.to_string(), |word| format!("`{word}`"))
    };
    if let Some(constant) = schema.get("const") {
        return word(constant);
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(word).collect::<Vec<_>>().join(", ");
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    };
    match types.into_iter().find(|name| *name != "null") {
        Some("string") => "text".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => "a whole number".to_owned(),
        Some("array") => format!("list of {}", value(&schema["items"])),
        Some("object") => match &schema["additionalProperties"] {
            values @ Value::Object(_) => format!("mapping to {}", value(values)),
            _ => "mapping".to_owned(),
        },
        _ => "anything".to_owned(),
    }
}

/// Writes the names of types as links to their tables, and those of enums as their words.
fn linked(table: &str, suite: &Value, names: &BTreeSet<String>) -> String {
    let mut text = table.to_owned();
    for (name, schema) in suite["definitions"].as_object().into_iter().flatten() {
        let shown = match schema["properties"].as_object() {
            None if name == "Text" => "text, or `{contains: …}`".to_owned(),
            None => value(schema),
            Some(_) if names.contains(name) => format!("mapping ({name})"),
            Some(keys) => format!("mapping ({})", keys_of(keys)),
        };
        text = text.replace(&format!("{{{name}}}"), &shown);
    }
    text
}

fn keys_of(keys: &Map<String, Value>) -> String {
    let keys: Vec<_> = keys.keys().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}

fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[test]
fn the_tables_of_the_page_are_made_from_the_types() {
    let suite = schema("suite");
    let page = page();
    let (made, names) = written(&page, &suite);
    let made = linked(&made, &suite, &names);
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(root().join(PAGE), &made).expect("it can be written");
        return;
    }
    assert!(
        made == page,
        "{PAGE} is not current; run `make docs` and look at the difference"
    );
}

/// Parts of a ServicePolicy are explained elsewhere.
#[test]
fn every_object_of_a_suite_is_explained() {
    let (suite, policy) = (schema("suite"), schema("service-policy"));
    let (_, names) = written(&page(), &suite);
    let definitions = suite["definitions"].as_object().expect("an object");
    let missing: Vec<_> = definitions
        .iter()
        .filter(|(name, _)| policy["definitions"].get(name.as_str()).is_none())
        .filter(|(name, schema)| schema["properties"].is_object() && !names.contains(*name))
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "{PAGE} lacks tables of {missing:?}");
}

#[test]
fn the_example_of_the_page_passes() {
    let page = page();
    let example = page
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    // Its paths begin in docs/.
    let policies = std::path::absolute(root().join("policies")).expect("a path");
    let example = example
        .expect("an example")
        .replace("../policies", policies.to_str().expect("UTF-8"));
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("suite.yaml");
    std::fs::write(&file, example).expect("it can be written");
    let file = file.to_str().expect("UTF-8");
    let output = sallyport(&["test", file, "--modules", "target/policies"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "4 passed, 0 failed\n");
}
