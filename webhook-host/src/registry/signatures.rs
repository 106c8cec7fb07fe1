//! The signatures of an artefact in its repository: simple signing under the tag `sha256-….sig`,
//! and bundles among the artefact's referrers, which the registry's API or the tag `sha256-…`
//! lists.

use super::artefact::{Descriptor, Index, Manifest, check};
use super::client::Client;
use super::error::RegistryError;
use crate::signature::{Material, PREDICATE_TYPE, media};
use sallyport_core::manifest::Digest;

/// The most signatures that are read of each form. A registry may list any number.
const MAX_SIGNATURES: usize = 32;

/// The largest payload, and the largest bundle.
const MAX_PAYLOAD: usize = 256 << 10;

/// Returns the tag of an artefact's simple signatures.
pub(super) fn simple_tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// Returns the tag that lists referrers where the registry's API does not.
pub(super) fn referrers_tag(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

impl Client<'_> {
    /// Returns all signatures of an artefact, unverified.
    pub(super) async fn signatures(&self, digest: &Digest) -> Result<Vec<Material>, RegistryError> {
        let mut found = self.simple(digest).await?;
        for descriptor in self.bundles(digest).await? {
            found.extend(self.bundle(&descriptor).await?);
        }
        Ok(found)
    }

    async fn simple(&self, digest: &Digest) -> Result<Vec<Material>, RegistryError> {
        let Some(manifest) = self.manifest(&simple_tag(digest)).await? else {
            return Ok(vec![]);
        };
        let mut found = vec![];
        let layers = Manifest::read(&manifest)?.layers.into_iter();
        for layer in layers
            .filter(|layer| layer.media_type == media::SIMPLE)
            .take(MAX_SIGNATURES)
        {
            let Some(signature) = layer.annotations.get(media::SIGNATURE) else {
                continue;
            };
            let payload = self.text(&layer).await?;
            let signature = signature.clone();
            found.push(Material::Simple { payload, signature });
        }
        Ok(found)
    }

    /// Lists the referrers that are bundles with a signature.
    pub(super) async fn bundles(&self, digest: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        let index = match self.referrers(digest).await? {
            Some(index) => Some(index),
            None => self.manifest(&referrers_tag(digest)).await?,
        };
        let Some(index) = index else {
            return Ok(vec![]);
        };
        let index: Index = serde_json::from_slice(&index).map_err(|error| {
            RegistryError::malformed(format!("the list of its referrers can't be read: {error}"))
        })?;
        let is_bundle = |descriptor: &Descriptor| {
            let kind = descriptor.artifact_type.as_deref();
            let predicate = descriptor.annotations.get(media::PREDICATE);
            kind == Some(media::BUNDLE) && predicate.is_none_or(|kind| kind == PREDICATE_TYPE)
        };
        Ok(index
            .manifests
            .into_iter()
            .filter(is_bundle)
            .take(MAX_SIGNATURES)
            .collect())
    }

    async fn bundle(&self, descriptor: &Descriptor) -> Result<Option<Material>, RegistryError> {
        let Some(manifest) = self.manifest(descriptor.digest.as_str()).await? else {
            return Ok(None);
        };
        check(&manifest, &descriptor.digest, "a signature's manifest")?;
        let manifest = Manifest::read(&manifest)?;
        let Some(layer) = manifest
            .layers
            .first()
            .filter(|layer| layer.media_type == media::BUNDLE)
        else {
            return Ok(None);
        };
        Ok(Some(Material::Bundle(self.text(layer).await?)))
    }

    async fn text(&self, layer: &Descriptor) -> Result<String, RegistryError> {
        let bytes = self.blob(&layer.digest, MAX_PAYLOAD).await?;
        check(&bytes, &layer.digest, "a signature")?;
        String::from_utf8(bytes)
            .map_err(|_| RegistryError::malformed("a signature is no text in UTF-8"))
    }
}
