//! JSON Schemas of the files that users write, for editors.
//!
//! A schema is derived from the types that read the file, so it has the same keys. It allows more
//! than they do: `sallyport lint` and `sallyport test` check what depends on a component or another
//! file (settings, names, times). The schemas are of draft 7, which the YAML language server of
//! most editors supports.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

/// Returns the schema of a file whose type is `T`.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema
}

/// Returns the schema of `spec.settings`: any object, since its type is the component's own.
pub(crate) fn settings(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Removes what only an API server reads, and line breaks within a paragraph.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|key, _| !key.starts_with("x-kubernetes-"));
            object.values_mut().for_each(tidy);
            if let Some(Value::String(description)) = object.get_mut("description") {
                let paragraphs: Vec<_> = description
                    .split("\n\n")
                    .map(|paragraph| paragraph.replace('\n', " "))
                    .collect();
                *description = paragraphs.join("\n\n");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_paragraph_is_one_line_and_kubernetes_own_keys_are_gone() {
        let mut schema = json!({"properties": {"a": {
            "description": "One\nline.\n\nAnother.", "x-kubernetes-validations": [],
        }}});
        tidy(&mut schema);
        let expected = json!({"properties": {"a": {"description": "One line.\n\nAnother."}}});
        assert_eq!(schema, expected);
    }
}
