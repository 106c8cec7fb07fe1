//! Finds every error of a manifest, although decoding stops at the first one.
//!
//! The bad value is repaired in a copy (removed, or replaced by the template's), and the copy is
//! decoded again.

use sallyport_core::decode::DecodeError;
use serde_json::Value;

/// The most errors of one manifest that are listed.
const MAX_ERRORS: usize = 50;

/// Returns all errors, and the manifest without its bad values, if anything is left.
pub(super) fn all<T>(
    written: &Value,
    template: &Value,
    decode: impl Fn(&Value) -> Result<T, DecodeError>,
) -> (Vec<DecodeError>, Option<T>) {
    let (mut value, mut errors) = (written.clone(), Vec::<DecodeError>::new());
    while errors.len() < MAX_ERRORS {
        let error = match decode(&value) {
            Ok(decoded) => return (errors, Some(decoded)),
            Err(error) => error,
        };
        let is_mended = repair(&mut value, template, &error);
        errors.push(error);
        if !is_mended {
            break;
        }
    }
    (errors, None)
}

/// Changes the value at an error's path. Returns false when that is impossible.
fn repair(value: &mut Value, template: &Value, error: &DecodeError) -> bool {
    let mut pointer = pointer(&error.path);
    if let Some(key) = &error.unknown_key {
        let object = value.pointer_mut(&pointer).and_then(Value::as_object_mut);
        return object.is_some_and(|object| object.remove(key).is_some());
    }
    loop {
        if let Some(better) = template.pointer(&pointer) {
            return put(value, &pointer, better.clone());
        }
        let Some((parent, last)) = pointer.rsplit_once('/') else {
            return false;
        };
        let last = unescaped(last);
        if remove(value.pointer_mut(parent), &last) {
            return true;
        }
        // A field is missing, so the object that lacks it is removed.
        pointer = parent.to_owned();
    }
}

fn remove(parent: Option<&mut Value>, step: &str) -> bool {
    match parent {
        Some(Value::Object(object)) => object.remove(step).is_some(),
        Some(Value::Array(items)) => match step.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Replaces or adds a value. Returns false when nothing changed.
fn put(value: &mut Value, pointer: &str, better: Value) -> bool {
    if let Some(there) = value.pointer_mut(pointer) {
        let is_changed = *there != better;
        *there = better;
        return is_changed;
    }
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return false;
    };
    let object = value.pointer_mut(parent).and_then(Value::as_object_mut);
    object.is_some_and(|object| object.insert(unescaped(last), better).is_none())
}

/// Converts a path such as `spec.ports[0]["a.b/c"]` to a JSON Pointer (RFC 6901).
fn pointer(path: &str) -> String {
    let steps = sallyport_core::yaml::steps(path);
    steps
        .into_iter()
        .map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1")))
        .collect()
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::manifest::ServicePolicy;
    use serde_json::json;

    fn paths(written: &Value) -> (Vec<String>, bool) {
        let template = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": "x"},
            "spec": {"module": {"file": "x.wasm"}},
        });
        let (errors, manifest) = all(written, &template, ServicePolicy::from_value);
        (
            errors.into_iter().map(|error| error.path).collect(),
            manifest.is_some(),
        )
    }

    #[test]
    fn all_errors_are_found_one_behind_the_other() {
        let written = json!({
            "apiVersion": "v2", "kind": "ServicePolicy", "metadata": {"name": "Not A Name"},
            "spec": {
                "module": {"file": "a/b"}, "mode": "Enforc",
                "limits": {"deadlin": "1s", "memory": 7},
                "match": {"excludeNamespaces": [1, "a", 2]},
            },
        });
        let (found, is_left) = paths(&written);
        let mut found: Vec<_> = found.iter().map(String::as_str).collect();
        found.sort_unstable();
        let expected = [
            "apiVersion",
            "metadata.name",
            "spec.limits",
            "spec.limits.memory",
            "spec.match.excludeNamespaces[0]",
            "spec.match.excludeNamespaces[1]",
            "spec.mode",
            "spec.module.file",
        ];
        assert_eq!(found, expected);
        assert!(is_left);
    }

    #[test]
    fn what_can_not_be_mended_ends_the_search() {
        assert!(!paths(&json!("text")).1);
        assert!(paths(&json!({})).1);
        assert!(paths(&json!({"spec": []})).1);
    }
}
