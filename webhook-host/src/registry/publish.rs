//! Writing to registries: artefacts are pushed under a tag, signatures are attached to a digest.
//!
//! Invariant: a manifest is written after everything that it refers to.

use super::artefact::{Descriptor, INDEX, Index, MANIFEST, Manifest, Packed, to_json};
use super::client::{Access, Client};
use super::error::{Reason, RegistryError};
use super::signatures::{referrers_tag, simple_tag};
use super::{Session, check};
use crate::signature::{KeyError, Material, PREDICATE_TYPE, Signed, SigningKey, media};
use sallyport_core::manifest::{Digest, Repository, Tag};
use serde_json::json;
use std::collections::BTreeMap;

/// The form of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureFormat {
    /// Simple signing, which every version of cosign and most admission controllers read.
    Simple,
    /// A bundle, which cosign writes since version 3.
    Bundle,
}

impl From<KeyError> for RegistryError {
    fn from(error: KeyError) -> Self {
        Self::new(Reason::Signature, error.to_string())
    }
}

impl Session {
    /// Pushes an artefact under a tag.
    pub(crate) fn push(
        &self,
        repository: &Repository,
        tag: &Tag,
        packed: &Packed,
    ) -> Result<(), RegistryError> {
        let push = async {
            let client = self.client(repository, Access::Push).await?;
            for blob in [&packed.config, &packed.component] {
                client
                    .put_blob(&Digest::of(blob), blob.clone().into())
                    .await?;
            }
            let manifest = packed.manifest.clone();
            client.put_manifest(tag.as_str(), MANIFEST, manifest).await
        };
        let pushed = self.run(push);
        pushed
            .map(drop)
            .map_err(|error| error.about(format!("{repository}:{}", tag.as_str())))
    }

    /// Signs an artefact and attaches the signature to it in its registry.
    pub(crate) fn sign(
        &self,
        repository: &Repository,
        digest: &Digest,
        key: &SigningKey,
        format: SignatureFormat,
    ) -> Result<(), RegistryError> {
        let sign = async {
            let client = self.client(repository, Access::Push).await?;
            let manifest = client.manifest(digest.as_str()).await?.ok_or_else(|| {
                RegistryError::new(Reason::NotFound, "the registry has no such artefact")
            })?;
            check(&manifest, digest, "a manifest")?;
            let signed = Signed {
                repository,
                digest,
                manifest: &manifest,
            };
            match format {
                SignatureFormat::Simple => {
                    client
                        .attach_simple(digest, Material::simple(key, signed)?)
                        .await
                }
                SignatureFormat::Bundle => {
                    let subject = Descriptor::of(MANIFEST, &manifest);
                    client
                        .attach_bundle(subject, Material::bundle(key, signed)?)
                        .await
                }
            }
        };
        let signed = self.run(sign);
        signed.map_err(|error| error.about(format!("{repository}@{digest}")))
    }
}

impl Client<'_> {
    /// Adds a layer to the manifest that holds an artefact's simple signatures.
    async fn attach_simple(
        &self,
        digest: &Digest,
        material: Material,
    ) -> Result<(), RegistryError> {
        let Material::Simple { payload, signature } = material else {
            unreachable!("it was made in this form");
        };
        let tag = simple_tag(digest);
        let before = match self.manifest(&tag).await? {
            Some(manifest) => Manifest::read(&manifest)?.layers,
            None => vec![],
        };
        let mut layer = Descriptor::of(media::SIMPLE, payload.as_bytes());
        self.put_blob(&layer.digest, payload.into()).await?;
        layer
            .annotations
            .insert(media::SIGNATURE.to_owned(), signature);
        let layers: Vec<_> = before.into_iter().chain([layer]).collect();
        let config = to_json(&image_config(&layers));
        self.put_blob(&Digest::of(&config), config.clone().into())
            .await?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: None,
            config: Descriptor::of("application/vnd.oci.image.config.v1+json", &config),
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        };
        self.put_manifest(&tag, MANIFEST, to_json(&manifest))
            .await?;
        Ok(())
    }

    async fn attach_bundle(
        &self,
        subject: Descriptor,
        material: Material,
    ) -> Result<(), RegistryError> {
        let Material::Bundle(bundle) = material else {
            unreachable!("it was made in this form");
        };
        let layer = Descriptor::of(media::BUNDLE, bundle.as_bytes());
        self.put_blob(&layer.digest, bundle.into()).await?;
        let empty = b"{}";
        let config = Descriptor::of("application/vnd.oci.empty.v1+json", empty);
        self.put_blob(&config.digest, empty.as_slice().into())
            .await?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: Some(media::BUNDLE.to_owned()),
            config,
            layers: vec![layer],
            subject: Some(subject),
            annotations: BTreeMap::from([
                (media::CONTENT.to_owned(), "dsse-envelope".to_owned()),
                (media::PREDICATE.to_owned(), PREDICATE_TYPE.to_owned()),
            ]),
        };
        self.put_referrer(&to_json(&manifest)).await
    }

    /// Writes a manifest that refers to another one. Where the registry keeps no list of referrers,
    /// adds it to the list under the tag.
    pub(super) async fn put_referrer(&self, manifest: &[u8]) -> Result<(), RegistryError> {
        let read = Manifest::read(manifest)?;
        let subject = read.subject.ok_or_else(|| {
            RegistryError::malformed("a manifest of a signature names no artefact")
        })?;
        let mut descriptor = Descriptor::of(MANIFEST, manifest);
        let name = descriptor.digest.to_string();
        let is_listed = self
            .put_manifest(&name, MANIFEST, manifest.to_vec())
            .await?;
        if is_listed {
            return Ok(());
        }
        descriptor.artifact_type = read.artifact_type;
        descriptor.annotations = read.annotations;
        let tag = referrers_tag(&subject.digest);
        let mut listed = match self.manifest(&tag).await? {
            Some(index) => serde_json::from_slice::<Index>(&index).map_err(|error| {
                RegistryError::malformed(format!("the tag {tag} is no list of referrers: {error}"))
            })?,
            None => Index::new(vec![]),
        };
        listed
            .manifests
            .retain(|other| other.digest != descriptor.digest);
        listed.manifests.push(descriptor);
        self.put_manifest(&tag, INDEX, to_json(&listed)).await?;
        Ok(())
    }
}

/// Returns the config of a manifest of signatures in the form that cosign writes: some registries
/// accept only the config of an image.
fn image_config(layers: &[Descriptor]) -> serde_json::Value {
    let never = "0001-01-01T00:00:00Z";
    let digests: Vec<_> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    json!({
        "architecture": "",
        "created": never,
        "history": vec![json!({"created": never}); layers.len()],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": digests},
        "config": {},
    })
}
