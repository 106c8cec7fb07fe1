//! The CustomResourceDefinition of ServicePolicy: its schema is derived from the very types that
//! read the file format.
//!
//! A structural schema can't refuse unknown keys: an API server prunes them, and `kubectl` refuses
//! them before. The schema refuses everything else that [`ServicePolicy::from_value`] refuses,
//! except for the settings, whose type only the component knows.

use super::service_policy::PURPOSE;
use super::{ServicePolicy, ServicePolicySpec, ServicePolicyStatus};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Map, Value, json};

impl ServicePolicy {
    /// As API paths and RBAC rules name them.
    pub const PLURAL: &'static str = "servicepolicies";
    /// `servicepolicies.sallyport.dev`.
    pub const CRD_NAME: &'static str = "servicepolicies.sallyport.dev";

    /// Returns the definition that makes an API server serve ServicePolicies.
    ///
    /// # Panics
    ///
    /// Never: the definition does not depend on any input.
    pub fn crd() -> CustomResourceDefinition {
        serde_json::from_value(definition()).expect("a definition that was written as one")
    }
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": ServicePolicy::CRD_NAME},
        "spec": {
            "group": "sallyport.dev",
            "scope": "Cluster",
            "names": {
                "kind": ServicePolicy::KIND,
                "listKind": "ServicePolicyList",
                "plural": ServicePolicy::PLURAL,
                "singular": "servicepolicy",
                "shortNames": ["spol"],
                "categories": ["sallyport", "policies"],
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": root()},
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(),
            }],
        },
    })
}

fn columns() -> Value {
    let column = |name: &str, path: &str, priority: u8| {
        json!({
            "name": name, "type": "string", "jsonPath": path, "priority": priority,
        })
    };
    json!([
        column("Mode", ".spec.mode", 0),
        column("Module", ".spec.module.file", 0),
        column("OCI", ".spec.module.oci", 1),
        column("Ready", r#".status.conditions[?(@.type=="Ready")].status"#, 0),
        column("Version", ".status.component.version", 0),
        column("Digest", ".status.component.digest", 1),
        column("Message", r#".status.conditions[?(@.type=="Ready")].message"#, 1),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ])
}

fn root() -> Value {
    json!({
        "type": "object",
        "description": PURPOSE,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural::<ServicePolicySpec>(),
            "status": structural::<ServicePolicyStatus>(),
        },
        "x-kubernetes-validations": [{
            "rule": "size(self.metadata.name) <= 63 && \
             self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "message": "metadata.name stands in messages and metrics: use lower-case letters, \
             digits and '-', at most 63 characters",
        }],
    })
}

/// Returns a type's schema as an API server wants it.
fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings
        .with_transform(AddNullable::default())
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    make_structural(&mut schema);
    schema
}

/// Rewrites what a structural schema may not say, and removes the names of our types, which mean
/// nothing to a cluster's user.
fn make_structural(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(make_structural);
            merge_alternatives(object);
            if let Some(Value::String(description)) = object.get_mut("description") {
                *description = description.replace('\n', " ");
            }
            if let Some(Value::Array(required)) = object.get_mut("required") {
                required.sort_by_key(Value::to_string);
            }
            if object.get("additionalProperties") == Some(&Value::Bool(false)) {
                object.remove("additionalProperties");
            }
            if object.get("title").is_some_and(Value::is_string) && object.contains_key("type") {
                object.remove("title");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_structural),
        _ => {}
    }
}

/// Writes the words of an enum, which schemars describes one by one (`oneOf`), as `enum`, and a
/// type that may be null (`anyOf`) as `nullable`.
fn merge_alternatives(schema: &mut Map<String, Value>) {
    let words = schema.get("oneOf").and_then(Value::as_array).map(|cases| {
        let word = |case: &Value| match case.get("enum")?.as_array()?.as_slice() {
            [word] => Some(word.clone()),
            _ => None,
        };
        cases.iter().map(word).collect::<Option<Vec<_>>>()
    });
    if let Some(Some(words)) = words {
        schema.remove("oneOf");
        schema.insert("type".to_owned(), "string".into());
        schema.insert("enum".to_owned(), words.into());
    }
    let Some(Value::Array(any)) = schema.get("anyOf") else {
        return;
    };
    let null = json!({"enum": [null], "nullable": true});
    if let [Value::Object(ty), other] = any.as_slice()
        && *other == null
    {
        let mut ty = ty.clone();
        schema.remove("anyOf");
        schema.append(&mut ty);
        schema.insert("nullable".to_owned(), true.into());
    }
}
