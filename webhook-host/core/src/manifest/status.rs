//! `status` of a ServicePolicy in a cluster: what a host made of it. Written by the host alone,
//! through the status subresource.

use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a ServicePolicy in a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePolicyStatus {
    /// `metadata.generation` of what the rest is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` and `Degraded`, one of each at most.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]),
        length(max = 8))]
    pub conditions: Vec<Condition>,
    /// The component that serves; absent while none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentStatus>,
    /// The counts of each replica, some minutes old; a hint, where metrics are the record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["replica"]), length(max = 128))]
    pub evaluations: Vec<Evaluations>,
}

/// A condition as Kubernetes has them (`metav1.Condition`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which condition.
    pub r#type: ConditionType,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// One word for programs, such as `Loaded` or `BadSettings`.
    #[schemars(
        regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
        length(min = 1, max = 1024)
    )]
    pub reason: String,
    /// For people: what is wrong, and what to do.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// `metadata.generation` of what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When `status` changed last.
    #[schemars(schema_with = "time")]
    pub last_transition_time: Timestamp,
}

/// Which condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ConditionType {
    /// The policy as it is written now is loaded and judges requests.
    Ready,
    /// It judges worse than written: an older state of it serves, or its evaluations fail.
    Degraded,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// That is not known yet.
    Unknown,
}

/// The component that serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ComponentStatus {
    /// `sha256:…` of its file.
    pub digest: String,
    /// As it calls itself.
    pub name: String,
    /// Its own version.
    pub version: String,
}

/// Counts since the start of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Evaluations {
    /// The replica: a Pod's name.
    #[schemars(length(min = 1, max = 253))]
    pub replica: String,
    /// Reviews that it was asked about.
    #[schemars(range(min = 0))]
    pub total: i64,
    /// Reviews in which it found violations.
    #[schemars(range(min = 0))]
    pub violating: i64,
    /// Reviews on which it had no verdict.
    #[schemars(range(min = 0))]
    pub failed: i64,
    /// When it was counted.
    #[schemars(schema_with = "time")]
    pub at: Timestamp,
}

/// Returns the schema of a time: RFC 3339, as in `metav1.Time`.
fn time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "format": "date-time"})
}
