//! Finds every error of a manifest, although decoding stops at the first one.
//!
//! The bad value is repaired in a copy (removed, or replaced by the template's), and the copy is
//! decoded again.

use sallyport_core::decode::DecodeError;
use serde_json::Value;

/// The most errors of one manifest that are listed.
const MAX_ERRORS: usize = 50;

/// The parts removed from a copy. Items that stood behind a removed one have another index there.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// The JSON Pointer of each array that lost an item, and its index, as they were then.
    items: Vec<(String, usize)>,
    /// The JSON Pointers of everything that was removed, as the manifest has it.
    places: Vec<String>,
}

impl Removed {
    /// Returns the path in the manifest of a path in the copy.
    pub(super) fn written(&self, path: &str) -> String {
        let (mut written, mut from) = (String::new(), 0);
        for (start, _) in path.match_indices('[') {
            let Some(length) = path[start..].find(']') else {
                break;
            };
            let end = start + length;
            let place = self.place(&pointer(&path[..=end]));
            let index = place.rsplit('/').next().unwrap_or_default();
            let is_index = |text: &str| text.parse::<usize>().is_ok();
            if is_index(&path[start + 1..end]) && is_index(index) {
                written += &path[from..=start];
                written += index;
                from = end;
            }
        }
        written + &path[from..]
    }

    /// Returns the JSON Pointer in the manifest of one in the copy.
    fn place(&self, pointer: &str) -> String {
        let mut place = pointer.to_owned();
        for (array, removed) in self.items.iter().rev() {
            let below = place.strip_prefix(array.as_str());
            let Some(below) = below.and_then(|below| below.strip_prefix('/')) else {
                continue;
            };
            let (index, rest) = below.split_at(below.find('/').unwrap_or(below.len()));
            if let Some(index) = index.parse().ok().filter(|index: &usize| index >= removed) {
                place = format!("{array}/{}{rest}", index + 1);
            }
        }
        place
    }

    /// Returns true if an error may be the effect of a removal: it is about something that misses
    /// what was removed.
    fn causes(&self, error: &DecodeError) -> bool {
        let place = pointer(&error.path);
        let lies_in = |removed: &String| {
            let rest = removed.strip_prefix(&place);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        error.unknown_key.is_none() && self.places.iter().any(lies_in)
    }

    fn add(&mut self, parent: &str, step: &str, is_item: bool) {
        self.places.push(self.place(&format!("{parent}/{step}")));
        if let Some(index) = step.parse().ok().filter(|_| is_item) {
            self.items.push((parent.to_owned(), index));
        }
    }
}

/// All that is wrong with a manifest.
pub(super) struct Decoded<T> {
    /// The errors, with paths in the manifest.
    pub(super) errors: Vec<DecodeError>,
    /// The manifest without its bad values, if anything is left.
    pub(super) manifest: Option<T>,
    /// The parts that it lacks.
    pub(super) removed: Removed,
}

/// Decodes a manifest, and returns all errors. One that may be the effect of a removal is left out.
pub(super) fn all<T>(
    written: &Value,
    template: &Value,
    decode: impl Fn(&Value) -> Result<T, DecodeError>,
) -> Decoded<T> {
    let (mut value, mut errors) = (written.clone(), Vec::<DecodeError>::new());
    let mut removed = Removed::default();
    for _ in 0..MAX_ERRORS {
        let mut error = match decode(&value) {
            Ok(manifest) => {
                return Decoded {
                    errors,
                    manifest: Some(manifest),
                    removed,
                };
            }
            Err(error) => error,
        };
        let in_copy = error.clone();
        error.path = removed.written(&error.path);
        if !removed.causes(&error) {
            errors.push(error);
        }
        if !repair(&mut value, template, &in_copy, &mut removed) {
            break;
        }
    }
    Decoded {
        errors,
        manifest: None,
        removed,
    }
}

/// Changes the value at an error's path. Returns false when that is impossible.
fn repair(value: &mut Value, template: &Value, error: &DecodeError, removed: &mut Removed) -> bool {
    let mut pointer = pointer(&error.path);
    if let Some(key) = &error.unknown_key {
        return remove(value, &pointer, key, removed);
    }
    loop {
        if let Some(better) = template.pointer(&pointer) {
            return put(value, &pointer, better.clone());
        }
        let Some((parent, last)) = pointer.rsplit_once('/') else {
            return false;
        };
        if remove(value, parent, &unescaped(last), removed) {
            return true;
        }
        // A field is missing, so the object that lacks it is removed.
        pointer = parent.to_owned();
    }
}

/// Removes a field or an item. Returns false when there is none.
fn remove(value: &mut Value, parent: &str, step: &str, removed: &mut Removed) -> bool {
    let (is_removed, is_item) = match value.pointer_mut(parent) {
        Some(Value::Object(object)) => (object.remove(step).is_some(), false),
        Some(Value::Array(items)) => {
            let index = step
                .parse()
                .ok()
                .filter(|index: &usize| *index < items.len());
            index.map(|index| items.remove(index));
            (index.is_some(), true)
        }
        _ => (false, false),
    };
    if is_removed {
        removed.add(parent, &escaped(step), is_item);
    }
    is_removed
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
        .map(|step| format!("/{}", escaped(&step)))
        .collect()
}

fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::manifest::{HostConfig, ServicePolicy};
    use serde_json::json;

    fn paths(written: &Value) -> (Vec<String>, bool) {
        let template = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": "x"},
            "spec": {"module": {"file": "x.wasm"}},
        });
        let decoded = all(written, &template, ServicePolicy::from_value);
        let paths = decoded.errors.into_iter().map(|error| error.path);
        (paths.collect(), decoded.manifest.is_some())
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
            "spec.match.excludeNamespaces[2]",
            "spec.mode",
            "spec.module.file",
        ];
        assert_eq!(found, expected);
        assert!(is_left);
    }

    #[test]
    fn a_path_behind_removed_items_is_the_manifests() {
        let written = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": "x"},
            "spec": {"module": {"file": "x.wasm"},
                "exemptions": {"users": [1, 2, "a", 3, "b"], "groups": ["system:authenticated"]},
                "match": {"namespaceSelector": {"matchExpressions": [
                    {"key": "a"}, {"key": "a", "operator": "In", "values": ["b", "c d", "e f"]}]}}},
        });
        let decoded = all(&written, &json!({}), ServicePolicy::from_value);
        let paths: Vec<_> = decoded
            .errors
            .iter()
            .map(|error| error.path.as_str())
            .collect();
        let selector = "spec.match.namespaceSelector.matchExpressions";
        let expected = [
            "spec.exemptions.users[0]".to_owned(),
            "spec.exemptions.users[1]".to_owned(),
            "spec.exemptions.users[3]".to_owned(),
            format!("{selector}[0].operator"),
            format!("{selector}[1].values[1]"),
            format!("{selector}[1].values[2]"),
        ];
        assert_eq!(paths, expected);
        let written = |path| decoded.removed.written(path);
        assert_eq!(
            written("spec.exemptions.users[0]"),
            "spec.exemptions.users[2]"
        );
        assert_eq!(
            written("spec.exemptions.users[1]"),
            "spec.exemptions.users[4]"
        );
        assert_eq!(
            written("spec.exemptions.groups[0]"),
            "spec.exemptions.groups[0]"
        );
        assert_eq!(
            written("spec.match.namespaceSelector.matchExpressions[0].values[0]"),
            format!("{selector}[1].values[0]")
        );
        assert_eq!(
            written("spec.settings[\"users[0]\"]"),
            "spec.settings[\"users[0]\"]"
        );
    }

    #[test]
    fn what_misses_a_removed_value_is_no_error_of_its_own() {
        let config = |break_glass: Value| {
            let written = json!({
                "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig",
                "spec": {"exemptions": {"breakGlass": break_glass}},
            });
            let decoded = all(&written, &json!({}), HostConfig::from_value);
            let errors = decoded.errors.into_iter();
            errors.map(|error| error.path).collect::<Vec<_>>()
        };
        let path = "spec.exemptions.breakGlass";
        let wide = json!({"groups": ["system:authenticated"], "users": ["a "]});
        let mut found = config(wide);
        found.sort_unstable();
        assert_eq!(
            found,
            [format!("{path}.groups[0]"), format!("{path}.users[0]")]
        );
        assert_eq!(config(json!({"user": ["a"]})), [path]);
        assert_eq!(config(json!({})), [path], "no user may grant it indeed");
    }

    #[test]
    fn what_can_not_be_mended_ends_the_search() {
        assert!(!paths(&json!("text")).1);
        assert!(paths(&json!({})).1);
        assert!(paths(&json!({"spec": []})).1);
    }
}
