//! `kind: HostConfig`: settings that all policies of one host share.

use super::{Exemptions, Metadata, Registries, Verification, is_label, read};
use crate::decode::DecodeError;
use crate::inventory::InventoryData;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A host's configuration file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HostConfig {
    /// `sallyport.dev/v1alpha1`.
    pub api_version: String,
    /// `HostConfig`.
    pub kind: String,
    /// For people.
    #[serde(default)]
    pub metadata: Metadata,
    /// The settings.
    #[serde(default)]
    pub spec: HostConfigSpec,
}

/// The `spec` of a `HostConfig`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
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
        let config: Self = read(value, Self::KIND)?;
        config.spec.inventory.namespaces.keys().try_for_each(|name| {
            let place = || format!("spec.inventory.namespaces[{name:?}]");
            let problem =
                "no namespace can have this name; use lower-case letters, digits and '-', at most \
                 63 characters";
            if is_label(name) { Ok(()) } else { Err(DecodeError::new(place(), problem)) }
        })?;
        Ok(config)
    }
}
