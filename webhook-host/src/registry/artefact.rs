//! Wasm artefacts in registries, by the conventions of the CNCF's Wasm working group: a manifest, a
//! config of `application/vnd.wasm.config.v0+json`, one layer with the component.
//!
//! Invariant: the same component with the same annotations has the same digest, whenever and
//! wherever it was made.

use super::error::{Reason, RegistryError};
use sallyport_core::excerpt::excerpt;
use sallyport_core::manifest::Digest;
use sallyport_core::policy::Inspection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";

/// The creation time of every artefact: fixed, so that it does not change the digest.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// A pointer to content, with its size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn of(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(content),
            size: content.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// A manifest, with the fields that this program reads or writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u8,
    #[serde(default)]
    pub(super) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// An index: a list of manifests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u8,
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) manifests: Vec<Descriptor>,
}

impl Index {
    pub(super) fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: INDEX.to_owned(),
            manifests,
        }
    }
}

/// Encodes a manifest, index or config as JSON.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are JSON")
}

/// An artefact that is to be pushed.
pub(crate) struct Packed {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) component: Vec<u8>,
}

impl Packed {
    /// Packs a component. The annotations are added to those that the component itself has.
    pub(crate) fn new(
        component: Vec<u8>,
        inspection: &Inspection,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        let layer = Descriptor::of(LAYER, &component);
        let config = json!({
            "created": CREATED,
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [layer.digest.as_str()],
            "component": {
                "exports": inspection.exports,
                "imports": inspection.imports,
                "target": null,
            },
        });
        let config = to_json(&config);
        let mut all = BTreeMap::from([
            (
                "org.opencontainers.image.title".to_owned(),
                inspection.name.clone(),
            ),
            (
                "org.opencontainers.image.version".to_owned(),
                inspection.version.clone(),
            ),
            (
                "dev.sallyport.contract".to_owned(),
                inspection.contract.clone(),
            ),
        ]);
        all.extend(annotations);
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: None,
            config: Descriptor::of(CONFIG, &config),
            layers: vec![layer],
            subject: None,
            annotations: all,
        };
        Self {
            manifest: to_json(&manifest),
            config,
            component,
        }
    }

    /// Returns the digest of the manifest.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

impl Manifest {
    /// Reads a manifest of any kind.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, RegistryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            #[serde(default)]
            media_type: String,
            #[serde(default)]
            manifests: Option<serde::de::IgnoredAny>,
        }
        let fail = |problem: String| RegistryError::malformed(problem);
        let head = serde_json::from_slice::<Head>(bytes)
            .map_err(|error| fail(format!("its manifest is no JSON object: {error}")))?;
        if head.manifests.is_some() || head.media_type == INDEX {
            return Err(fail(
                "it is an index of several artefacts; name one of them by its digest".to_owned(),
            ));
        }
        serde_json::from_slice(bytes)
            .map_err(|error| fail(format!("its manifest can't be read: {error}")))
    }

    /// Returns the layer with the component.
    pub(super) fn component(&self) -> Result<&Descriptor, RegistryError> {
        if self.config.media_type != CONFIG {
            return Err(RegistryError::malformed(format!(
                "it is no Wasm artefact: its config is {:?}, not {CONFIG}",
                excerpt(&self.config.media_type)
            )));
        }
        match self.layers.as_slice() {
            [layer] if layer.media_type == LAYER => Ok(layer),
            [layer] => Err(RegistryError::malformed(format!(
                "its layer is {:?}, not {LAYER}",
                excerpt(&layer.media_type)
            ))),
            layers => Err(RegistryError::malformed(format!(
                "it has {} layers; a policy has one, {LAYER}",
                layers.len()
            ))),
        }
    }
}

/// Checks that content has the digest by which it was requested.
pub(super) fn check(content: &[u8], digest: &Digest, what: &str) -> Result<(), RegistryError> {
    let found = Digest::of(content);
    if found == *digest {
        return Ok(());
    }
    let message = format!("the registry sends {what} with the digest {found} in place of {digest}");
    Err(RegistryError::new(Reason::Digest, message))
}
