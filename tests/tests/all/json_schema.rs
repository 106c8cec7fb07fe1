//! A validator of JSON Schema draft 7, for the keywords that the generated schemas use. It panics
//! at any other keyword, so that none is ignored. (The crates that implement all of JSON Schema
//! change the features of serde_json or syn, on which half of the build depends.)

use regex::Regex;
use serde_json::Value;

/// Returns the places where a value does not satisfy a schema, each as `path: problem`.
pub(crate) fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = vec![];
    Validator {
        root: schema,
        found: &mut found,
    }
    .check(schema, value, "");
    found
}

struct Validator<'a> {
    root: &'a Value,
    found: &'a mut Vec<String>,
}

impl Validator<'_> {
    fn check(&mut self, schema: &Value, value: &Value, path: &str) {
        let Some(keywords) = schema.as_object() else {
            assert_eq!(schema, &Value::Bool(true), "a schema is an object or true");
            return;
        };
        for (keyword, argument) in keywords {
            self.keyword((keyword, argument), schema, value, path);
        }
    }

    fn keyword(
        &mut self,
        (keyword, argument): (&str, &Value),
        schema: &Value,
        value: &Value,
        path: &str,
    ) {
        let holds = match keyword {
            "$schema" | "title" | "description" | "default" | "format" | "definitions"
            | "properties" => true,
            "$ref" => {
                let name = argument.as_str().and_then(|name| name.strip_prefix('#'));
                let schema = self.root.pointer(name.expect("a pointer"));
                self.check(schema.expect("it is defined"), value, path);
                true
            }
            "allOf" => {
                let all = argument.as_array().expect("a list");
                all.iter()
                    .for_each(|schema| self.check(schema, value, path));
                true
            }
            "anyOf" => self.count(argument, value) > 0,
            "oneOf" => self.count(argument, value) == 1,
            "const" => argument == value,
            "enum" => argument.as_array().expect("a list").contains(value),
            "type" => has_type(argument, value),
            "minimum" => value.as_f64() >= argument.as_f64(),
            "maximum" => value.as_f64() <= argument.as_f64(),
            "minLength" => {
                count(value.as_str().map(|text| text.chars().count())) >= limit(argument)
            }
            "maxLength" => {
                value.as_str().map_or(0, |text| text.chars().count() as u64) <= limit(argument)
            }
            "minItems" => count(value.as_array().map(Vec::len)) >= limit(argument),
            "maxItems" => value.as_array().map_or(0, |list| list.len() as u64) <= limit(argument),
            "pattern" => {
                let pattern = Regex::new(argument.as_str().expect("text")).expect("a pattern");
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "required" => {
                let all = argument.as_array().expect("a list").iter();
                value.as_object().is_none_or(|object| {
                    let mut all = all.filter_map(Value::as_str);
                    all.all(|key| object.contains_key(key))
                })
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.check(argument, item, &format!("{path}[{index}]"));
                }
                true
            }
            "propertyNames" => {
                for key in value
                    .as_object()
                    .into_iter()
                    .flat_map(|object| object.keys())
                {
                    self.check(argument, &key.as_str().into(), &format!("{path}.{key}"));
                }
                true
            }
            "additionalProperties" => {
                self.properties(argument, &schema["properties"], value, path);
                true
            }
            _ => panic!("{path}: the keyword {keyword} is not known; teach it to this validator"),
        };
        if !holds {
            self.found
                .push(format!("{path}: {keyword} {argument} fails for {value}"));
        }
    }

    /// Checks the properties of an object, those that the schema names and the others.
    fn properties(&mut self, others: &Value, known: &Value, value: &Value, path: &str) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            match (known.get(key), others) {
                (Some(schema), _) => self.check(schema, value, &path),
                (None, Value::Bool(false)) => self.found.push(format!("{path}: unknown key")),
                (None, schema) => self.check(schema, value, &path),
            }
        }
    }

    /// Counts the schemas that a value satisfies.
    fn count(&self, schemas: &Value, value: &Value) -> usize {
        let satisfied = |schema: &&Value| {
            let mut found = vec![];
            Validator {
                root: self.root,
                found: &mut found,
            }
            .check(schema, value, "");
            found.is_empty()
        };
        schemas
            .as_array()
            .expect("a list")
            .iter()
            .filter(satisfied)
            .count()
    }
}

fn has_type(argument: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("a name") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        name => panic!("the type {name} is not known; teach it to this validator"),
    };
    match argument {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

fn limit(argument: &Value) -> u64 {
    argument.as_u64().expect("a whole number")
}

/// Returns a length, or the largest number for a value that has none, so that no limit is violated.
fn count(length: Option<usize>) -> u64 {
    length.map_or(u64::MAX, |length| length as u64)
}

#[test]
fn the_validator_finds_each_kind_of_violation() {
    use serde_json::json;
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {
            "a": {"type": "integer", "minimum": 1, "maximum": 3},
            "b": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/word"}},
            "c": {"oneOf": [{"const": "x"}, {"enum": ["x", "y"]}]},
            "d": {"propertyNames": {"pattern": "^k"}, "additionalProperties": {"type": "null"}},
        },
        "definitions": {"word": {"type": "string", "minLength": 2, "maxLength": 3}},
    });
    assert_eq!(
        violations(&schema, &json!({"a": 2, "b": ["ab"], "c": "y"})),
        [""; 0]
    );
    for (value, path) in [
        (json!([]), ""),
        (json!({}), ""),
        (json!({"a": 0}), ".a"),
        (json!({"a": 4}), ".a"),
        (json!({"a": 1, "b": []}), ".b"),
        (json!({"a": 1, "b": ["ab", "a"]}), ".b[1]"),
        (json!({"a": 1, "b": ["abcd"]}), ".b[0]"),
        (json!({"a": 1, "c": "x"}), ".c"),
        (json!({"a": 1, "d": {"x": null}}), ".d.x"),
        (json!({"a": 1, "d": {"k": 1}}), ".d.k"),
        (json!({"a": 1, "e": 1}), ".e"),
    ] {
        let found = violations(&schema, &value);
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("{path}: ")),
            "{value}: {found:?}"
        );
    }
}
