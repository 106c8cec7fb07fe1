//! A request, and the bytes that an API server would send.
//!
//! Text is spliced, not parsed: a case may hold what no JSON value can (duplicate keys, nesting
//! without end).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Any uid will do; a fixed one makes answers comparable.
const UID: &str = "5a11b0a7-0000-4000-8000-000000000001";

/// The parts of a request around its object.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Group, version and kind of the object.
    pub kind: (String, String, String),
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'static str,
    /// Such as `status`; `None`: the object itself.
    pub sub_resource: Option<String>,
    /// The object's name; empty where the API server has yet to generate it.
    pub name: String,
    /// The object's namespace.
    pub namespace: String,
    /// The user who sends the request.
    pub user: User,
    /// True if nothing is stored.
    pub dry_run: bool,
    /// JSON text, or what a hostile client calls so.
    pub object: Option<String>,
    /// The object before an update.
    pub old_object: Option<Value>,
}

/// The user who sends a request; by default a person without special rights.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// The name.
    pub username: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The uid; empty for none.
    pub uid: String,
    /// The values that the authenticator adds, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            username: "jane".to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            uid: String::new(),
            extra: BTreeMap::new(),
        }
    }
}

impl Asked {
    /// The whole body, around the JSON text of the object.
    pub fn body(&self, object: &str) -> Vec<u8> {
        let mut request = self.envelope().to_string();
        // The members that stay raw go where the closing brace was.
        request.pop();
        let old_object = self
            .old_object
            .as_ref()
            .map_or_else(|| "null".to_owned(), Value::to_string);
        format!(
            "{{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\
             \"request\":{request},\"object\":{object},\"oldObject\":{old_object}}}}}"
        )
        .into_bytes()
    }

    fn envelope(&self) -> Value {
        let (group, version, kind) = &self.kind;
        let kind = json!({"group": group, "version": version, "kind": kind});
        let resource = json!({"group": group, "version": version, "resource": "services"});
        let mut request = json!({
            "uid": UID,
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": self.name,
            "namespace": self.namespace,
            "operation": self.operation,
            "userInfo": {"username": self.user.username, "groups": self.user.groups,
                "uid": self.user.uid, "extra": self.user.extra},
            "dryRun": self.dry_run,
            "options": null,
        });
        if let Some(sub_resource) = &self.sub_resource {
            request["subResource"] = sub_resource.as_str().into();
            request["requestSubResource"] = sub_resource.as_str().into();
        }
        request
    }
}
