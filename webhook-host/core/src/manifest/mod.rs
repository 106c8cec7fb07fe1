//! The manifests that users write: `ServicePolicy` and `HostConfig`, of `apiVersion:
//! sallyport.dev/v1alpha1`.
//!
//! Role: parsed YAML becomes typed configuration, with errors that name path, value and fix.
//! Invariants: a manifest that was read holds only usable values; whatever a key allows is in its
//! type; unknown keys are errors. [`ServicePolicy::crd`] makes a custom resource of the same types,
//! and `schema` a JSON Schema for editors.

mod candidate;
mod crd;
mod exemptions;
mod host_config;
mod module;
mod names;
mod public_key;
mod reference;
mod registries;
mod selector;
mod service_policy;
mod status;

pub use candidate::Candidate;
pub use exemptions::{BreakGlass, Exemptions, PolicyExemptions};
pub use host_config::{HostConfig, HostConfigSpec};
pub use module::Module;
pub use names::{
    AnnotationKey, Group, Hours, Namespace, ServiceAccount, ServicePattern, Subject,
    is_annotation_key, is_label_key, is_label_value,
};
pub use public_key::{KeyKind, PublicKey};
pub use reference::{Digest, Host, Reference, Repository, Tag};
pub use registries::{
    Mirror, Registries, RepositoryPattern, RepositoryPrefix, Verification, VerificationMode,
};
pub use service_policy::{
    FailurePolicy, Limits, Match, Mode, Reason, ServicePolicy, ServicePolicySpec, Updates,
};
pub use status::{
    ComponentStatus, Condition, ConditionStatus, ConditionType, Evaluations, ServicePolicyStatus,
};

pub use crate::inventory::is_label;

use crate::decode::{self, DecodeError, describe};
use crate::inventory::{LABEL_PATTERN, MAX_LABEL};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The group and version of every manifest.
pub const API_VERSION: &str = "sallyport.dev/v1alpha1";

/// A manifest's name and nothing else that Kubernetes' metadata could hold, since nothing else has
/// a meaning here. Labels and annotations are accepted, for the tools that set them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// An RFC 1123 label: it stands in messages and metrics.
    #[schemars(length(max = MAX_LABEL), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Not interpreted.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(with = "Map<String, Value>")]
    pub labels: Value,
    /// Not interpreted.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(with = "Map<String, Value>")]
    pub annotations: Value,
}

/// Reads one manifest of a kind.
fn read<T: DeserializeOwned>(value: &Value, kind: &str) -> Result<T, DecodeError> {
    expect_text(value, "apiVersion", API_VERSION)?;
    expect_text(value, "kind", kind)?;
    decode::from_value(value)
}

fn expect_text(value: &Value, key: &str, expected: &str) -> Result<(), DecodeError> {
    match value.get(key) {
        Some(Value::String(found)) if found == expected => Ok(()),
        Some(found) => Err(DecodeError::new(
            key,
            format!("expected {expected}, found {}", describe(found)),
        )),
        None => Err(DecodeError::new(
            key,
            format!("required, but missing; use {expected}"),
        )),
    }
}
