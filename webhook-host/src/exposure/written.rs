//! The writers of a Service's fields, by its managedFields.
//!
//! An entry names a manager, the fields that it owns and the time of its last write to any of them.
//! So the newest entry that owns a field is the last one that may have written it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The last writer of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// The field manager, such as `kubectl-client-side-apply`.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The time of the manager's last write to the Service, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// The managers of one Service.
#[derive(Debug, Default)]
pub(super) struct Managers(Vec<Entry>);

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Entry {
    manager: String,
    operation: String,
    time: Option<String>,
    #[serde(rename = "fieldsV1")]
    fields: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    managed_fields: Option<Vec<Entry>>,
}

impl Managers {
    /// Reads the managers of a Service's JSON text; none where it has no managedFields.
    pub(super) fn of(object: &RawValue) -> Self {
        let object: Object = serde_json::from_str(object.get()).unwrap_or_default();
        Self(object.metadata.managed_fields.unwrap_or_default())
    }

    /// Returns true if the Service tells nothing about its writers.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the last writer of a field, given by its path in managedFields.
    pub(super) fn last(&self, path: &[&str]) -> Option<Written> {
        let owns = |entry: &&Entry| {
            let mut fields = Some(&entry.fields);
            for part in path {
                fields = fields.and_then(|fields| fields.get(part));
            }
            fields.is_some()
        };
        // RFC 3339 in UTC, as API servers write it, sorts as text.
        let last = self.0.iter().filter(owns).max_by_key(|entry| &entry.time)?;
        Some(Written {
            manager: last.manager.clone(),
            operation: last.operation.clone(),
            time: last.time.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn managers(value: &Value) -> Managers {
        Managers::of(&RawValue::from_string(value.to_string()).expect("JSON"))
    }

    fn entry(manager: &str, time: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": "Update", "time": time,
            "fieldsV1": fields})
    }

    #[test]
    fn the_newest_owner_of_a_field_is_its_last_writer() {
        let found = managers(&json!({"metadata": {"managedFields": [
            entry("helm", "2026-01-01T00:00:00Z", json!({"f:spec": {"f:type": {}}})),
            entry("kubectl-edit", "2026-02-01T00:00:00Z", json!({"f:spec": {"f:type": {}}})),
            entry("argocd", "2026-03-01T00:00:00Z", json!({"f:spec": {"f:ports": {}}})),
        ]}}));
        let writer = |path: &[&str]| found.last(path).map(|written| written.manager);
        assert_eq!(
            writer(&["f:spec", "f:type"]).as_deref(),
            Some("kubectl-edit")
        );
        assert_eq!(writer(&["f:spec", "f:ports"]).as_deref(), Some("argocd"));
        assert_eq!(writer(&["f:spec", "f:externalIPs"]), None);
    }

    #[test]
    fn without_managed_fields_nobody_is_named() {
        for value in [
            json!({}),
            json!({"metadata": {}}),
            json!({"metadata": {"managedFields": null}}),
        ] {
            assert!(managers(&value).is_empty());
        }
    }
}
