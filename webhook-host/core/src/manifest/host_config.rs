//! `kind: HostConfig`: settings that all policies of one host share.
//!
//! Invariant: a HostConfig that was read holds only usable values.

use super::{API_VERSION, Exemptions, Metadata, Registries, Verification, read};
use crate::decode::DecodeError;
use crate::inventory::InventoryData;
use crate::schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A host's configuration file. Read by [`HostConfig::from_value`].
#[derive(Debug, Clone, Serialize)]
#[serde(into = "Written")]
pub struct HostConfig {
    /// For people.
    pub metadata: Metadata,
    /// The settings.
    pub spec: HostConfigSpec,
}

/// The settings that all policies of one host share: what they may know about the cluster, and
/// which requests are exempt.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "HostConfig")]
struct Written {
    /// The version of the format.
    #[schemars(extend("const" = API_VERSION))]
    api_version: String,
    /// The kind of the manifest.
    #[schemars(extend("const" = HostConfig::KIND))]
    kind: String,
    /// For people.
    #[serde(default)]
    metadata: Metadata,
    /// The settings.
    #[serde(default)]
    spec: HostConfigSpec,
}

impl From<HostConfig> for Written {
    fn from(HostConfig { metadata, spec }: HostConfig) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: HostConfig::KIND.to_owned(),
            metadata,
            spec,
        }
    }
}

/// The `spec` of a `HostConfig`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HostConfigSpec {
    /// The facts about the cluster that policies may know.
    #[serde(default)]
    pub inventory: InventoryData,
    /// Requests that no policy is asked about.
    #[serde(default)]
    pub exemptions: Exemptions,
    /// The registries that components may come from.
    #[serde(default)]
    pub registries: Registries,
    /// The signatures that components from registries need. All entries that are about a repository
    /// count.
    #[serde(default)]
    pub verification: Vec<Verification>,
}

impl HostConfig {
    /// The kind.
    pub const KIND: &'static str = "HostConfig";

    /// Reads one manifest.
    ///
    /// # Errors
    ///
    /// The first value that the format does not allow, with its path.
    pub fn from_value(value: &Value) -> Result<Self, DecodeError> {
        let Written { metadata, spec, .. } = read(value, Self::KIND)?;
        Ok(Self { metadata, spec })
    }

    /// Returns the JSON Schema of the format.
    pub fn schema() -> Value {
        schema::of::<Written>()
    }
}
