//! Reads a recorded review into the page's editors.
//!
//! The API server's own fields (managedFields, uid, allocated addresses) stay as they were
//! recorded, because policies judged them.

use crate::messages::{Person, Recorded};
use sallyport_core::yaml;
use serde_json::{Value, json};

/// Returns the editors' content for a line of a record, or for an AdmissionReview.
///
/// # Errors
///
/// When it is neither; the text says what was expected.
pub(crate) fn read(line: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(line.trim()).map_err(|error| {
        format!("expected one line of JSON, as `sallyport serve --record` writes it: {error}")
    })?;
    let review = value.get("review").unwrap_or(&value);
    let request = &review["request"];
    if !request.is_object() {
        return Err(
            "expected a recorded review or an AdmissionReview: there is no `request` in it"
                .to_owned(),
        );
    }
    let object = |key: &str| match &request[key] {
        Value::Null => String::new(),
        object => yaml::to_string(&identified(object, request)),
    };
    let user = &request["userInfo"];
    let groups = user["groups"].as_array().into_iter().flatten();
    let content = Recorded {
        objects: object("object"),
        old: object("oldObject"),
        user: Person {
            username: user["username"].as_str().unwrap_or_default().to_owned(),
            groups: groups
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        },
    };
    serde_json::to_string(&content).map_err(|error| error.to_string())
}

/// Adds what stands beside the object in a review: kind, name and namespace.
fn identified(object: &Value, request: &Value) -> Value {
    let mut object = object.clone();
    let Some(members) = object.as_object_mut() else {
        return object;
    };
    members
        .entry("apiVersion")
        .or_insert_with(|| request["kind"]["version"].clone());
    members
        .entry("kind")
        .or_insert_with(|| request["kind"]["kind"].clone());
    let meta = members.entry("metadata").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        for key in ["name", "namespace"] {
            if request[key].as_str().is_some_and(|text| !text.is_empty()) {
                meta.entry(key).or_insert_with(|| request[key].clone());
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_review_fills_the_editors() {
        let line = r#"{"time": "2026-01-01T00:00:00Z", "review": {"request": {
            "kind": {"version": "v1", "kind": "Service"}, "name": "web", "namespace": "shop",
            "object": {"spec": {"type": "NodePort"}}, "oldObject": null,
            "userInfo": {"username": "jane", "groups": ["dev"]}}}}"#;
        let content: Value = serde_json::from_str(&read(line).expect("a record")).expect("JSON");
        let objects = content["objects"].as_str().expect("a text");
        assert!(objects.contains("namespace: shop") && objects.contains("kind: Service"));
        assert_eq!(content["old"], "");
        assert_eq!(content["user"]["groups"][0], "dev");
    }

    #[test]
    fn something_else_is_refused_with_what_was_expected() {
        let refused = |line| read(line).expect_err("no record");
        assert!(refused("kind: Service").contains("one line of JSON"));
        assert!(refused("{}").contains("no `request`"));
    }
}
