//! Artefacts with their signatures in a directory, for networks that can't reach the registry: an
//! OCI image layout, which other tools read too.
//!
//! `save` writes it, and `load` copies it into another registry or into a cache. Invariants: both
//! check content against its digest; the index, which lists the content, is written last.

use super::artefact::{Descriptor, Index, MANIFEST, Manifest, check, to_json};
use super::client::{Access, Client};
use super::error::{Reason, RegistryError};
use super::signatures::simple_tag;
use super::{Cache, MAX_COMPONENT, MAX_MANIFEST, Session};
use crate::signature::{Material, media};
use sallyport_core::manifest::{Digest, Mode, Reference, Repository, RepositoryPrefix};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The annotation with the name of a manifest: `repository:tag` or `repository@digest`.
const NAME: &str = "org.opencontainers.image.ref.name";

/// A directory with an image layout.
pub(crate) struct Layout {
    directory: PathBuf,
    index: Index,
}

/// An entry of a layout's index: an artefact, or something about it.
struct Entry {
    descriptor: Descriptor,
    manifest: Vec<u8>,
    name: Reference,
}

impl Layout {
    /// Creates a layout in a new or empty directory, or opens an existing one to add to it.
    pub(crate) fn create(directory: &Path) -> Result<Self, RegistryError> {
        let layout = Self {
            directory: directory.to_owned(),
            index: Index::new(vec![]),
        };
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).map_err(|error| layout.local(&error))?;
        if directory.join("index.json").exists() {
            return Self::open(directory);
        }
        layout.write("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
        Ok(layout)
    }

    /// Opens a layout.
    pub(crate) fn open(directory: &Path) -> Result<Self, RegistryError> {
        let mut layout = Self {
            directory: directory.to_owned(),
            index: Index::new(vec![]),
        };
        let index = layout.read("index.json", MAX_MANIFEST)?;
        layout.index = serde_json::from_slice(&index).map_err(|error| {
            let shown = directory.display();
            RegistryError::malformed(format!("{shown}/index.json is no index: {error}"))
        })?;
        Ok(layout)
    }

    fn local(&self, error: &std::io::Error) -> RegistryError {
        let message = format!("{}: {error}", self.directory.display());
        RegistryError::new(Reason::Local, message)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), RegistryError> {
        use std::io::Write as _;
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(content)?;
            file.persist(self.directory.join(name))?;
            Ok(())
        };
        write().map_err(|error| self.local(&error))
    }

    fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let mut content = vec![];
        let file = std::fs::File::open(self.directory.join(name));
        let read = file.and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut content));
        let shown = self.directory.join(name);
        let shown = shown.display();
        read.map_err(|error| RegistryError::new(Reason::Local, format!("{shown}: {error}")))?;
        if content.len() > limit {
            let message = format!("{shown} has more than {limit} bytes");
            return Err(RegistryError::new(Reason::TooLarge, message));
        }
        Ok(content)
    }

    fn blob(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let name = format!("blobs/sha256/{}", digest.hex());
        let content = self.read(&name, limit)?;
        check(&content, digest, "a file").map_err(|_| {
            let shown = self.directory.join(name);
            let message = format!("{} is damaged: its digest is another one", shown.display());
            RegistryError::new(Reason::Digest, message)
        })?;
        Ok(content)
    }

    fn keep(&self, content: &[u8]) -> Result<(), RegistryError> {
        let digest = Digest::of(content);
        self.write(&format!("blobs/sha256/{}", digest.hex()), content)
    }

    fn list(&mut self, mut descriptor: Descriptor, name: &str) {
        descriptor
            .annotations
            .insert(NAME.to_owned(), name.to_owned());
        let is_same = |other: &Descriptor| {
            other.digest == descriptor.digest && other.annotations == descriptor.annotations
        };
        self.index.manifests.retain(|other| !is_same(other));
        self.index.manifests.push(descriptor);
    }

    /// Writes the index.
    pub(crate) fn finish(self) -> Result<(), RegistryError> {
        self.write("index.json", &to_json(&self.index))
    }

    fn entries(&self) -> Result<Vec<Entry>, RegistryError> {
        let entry = |descriptor: &Descriptor| {
            let name = descriptor
                .annotations
                .get(NAME)
                .and_then(|name| name.parse().ok());
            let name = name.ok_or_else(|| {
                RegistryError::malformed(format!(
                    "{}/index.json: {} has no usable annotation {NAME}; expected a directory that \
                     sallyport save has written",
                    self.directory.display(),
                    descriptor.digest
                ))
            })?;
            Ok(Entry {
                manifest: self.blob(&descriptor.digest, MAX_MANIFEST)?,
                descriptor: descriptor.clone(),
                name,
            })
        };
        self.index.manifests.iter().map(entry).collect()
    }

    /// Returns the signatures about an artefact that the layout holds.
    fn signatures(&self, of: &Entry, all: &[Entry]) -> Result<Vec<Material>, RegistryError> {
        const MAX_PAYLOAD: usize = 256 << 10;
        let text = |descriptor: &Descriptor| {
            let bytes = self.blob(&descriptor.digest, MAX_PAYLOAD)?;
            String::from_utf8(bytes)
                .map_err(|_| RegistryError::malformed("a signature is no text in UTF-8"))
        };
        let tag = simple_tag(&of.descriptor.digest);
        let mut found = vec![];
        let related = all
            .iter()
            .filter(|entry| entry.name.repository == of.name.repository);
        for entry in related {
            let manifest = Manifest::read(&entry.manifest)?;
            let subject = manifest.subject.as_ref().map(|subject| &subject.digest);
            let is_simple = entry
                .name
                .tag
                .as_ref()
                .is_some_and(|name| name.as_str() == tag);
            let is_bundle = subject == Some(&of.descriptor.digest);
            for layer in &manifest.layers {
                if let Some(signature) = layer.annotations.get(media::SIGNATURE)
                    && is_simple
                {
                    let (payload, signature) = (text(layer)?, signature.clone());
                    found.push(Material::Simple { payload, signature });
                } else if is_bundle && layer.media_type == media::BUNDLE {
                    found.push(Material::Bundle(text(layer)?));
                }
            }
        }
        Ok(found)
    }

    /// Copies all artefacts into a cache. Returns their references.
    pub(crate) fn load_into(&self, cache: &Cache) -> Result<Vec<Reference>, RegistryError> {
        let entries = self.entries()?;
        let mut loaded = vec![];
        for entry in &entries {
            let manifest = Manifest::read(&entry.manifest)?;
            let Ok(layer) = manifest.component() else {
                continue;
            };
            let component = self.blob(&layer.digest, MAX_COMPONENT)?;
            let (repository, digest) = (&entry.name.repository, &entry.descriptor.digest);
            let signatures = self.signatures(entry, &entries)?;
            cache.keep_content(digest, &entry.manifest);
            cache.keep_content(&layer.digest, &component);
            cache.keep_signatures(repository, digest, &signatures);
            loaded.push(Reference {
                digest: Some(digest.clone()),
                ..entry.name.clone()
            });
        }
        Ok(loaded)
    }
}

impl Session {
    /// Saves an artefact with its signatures into a layout. Returns its reference with the digest.
    pub(crate) fn save(
        &self,
        reference: &Reference,
        layout: &mut Layout,
    ) -> Result<Reference, RegistryError> {
        // Pulled as for use, so that its signatures are verified and it is known to be a policy's
        // artefact.
        let pulled = self.pull(reference, Mode::Audit)?;
        let (repository, digest) = (&reference.repository, &pulled.digest);
        let save = async {
            let places = self.places(repository);
            let copy = async |client: &Client<'_>| copied(client, repository, digest).await;
            self.first(&places, copy).await
        };
        let saved = self.run(save).map_err(|error| error.about(reference))?;
        for (descriptor, name, blobs) in saved {
            for blob in blobs {
                layout.keep(&blob)?;
            }
            let is_itself = descriptor.digest == *digest;
            let tagged = reference.tag.as_ref().filter(|_| is_itself);
            let tagged = tagged.map(|tag| format!("{repository}:{}", tag.as_str()));
            layout.list(descriptor, &tagged.unwrap_or(name));
        }
        Ok(Reference {
            digest: Some(pulled.digest),
            ..reference.clone()
        })
    }

    /// Pushes all artefacts of a layout to another registry or path. Returns their references
    /// there.
    pub(crate) fn load(
        &self,
        layout: &Layout,
        to: &RepositoryPrefix,
    ) -> Result<Vec<Reference>, RegistryError> {
        let mut loaded = vec![];
        for entry in layout.entries()? {
            let repository = to.join(entry.name.repository.path()).map_err(|problem| {
                RegistryError::malformed(format!("{to}/{} {problem}", entry.name.repository.path()))
            })?;
            let digest = entry.descriptor.digest.clone();
            let manifest = Manifest::read(&entry.manifest)?;
            let push = async {
                let client = self.client(&repository, Access::Push).await?;
                for blob in [&manifest.config].into_iter().chain(&manifest.layers) {
                    let content = layout.blob(&blob.digest, MAX_COMPONENT)?;
                    client.put_blob(&blob.digest, content.into()).await?;
                }
                if manifest.subject.is_some() {
                    return client.put_referrer(&entry.manifest).await;
                }
                let tag = entry.name.tag.as_ref();
                let name = tag.map_or(digest.as_str(), |tag| tag.as_str());
                let put = client.put_manifest(name, MANIFEST, entry.manifest.clone());
                put.await.map(drop)
            };
            let pushed = self.run(push);
            pushed.map_err(|error| error.about(&repository))?;
            if manifest.component().is_ok() {
                loaded.push(Reference {
                    repository,
                    tag: entry.name.tag,
                    digest: Some(digest),
                });
            }
        }
        Ok(loaded)
    }
}

/// A manifest's descriptor and name, with all content that the manifest refers to, itself included.
type Copied = (Descriptor, String, Vec<Vec<u8>>);

/// Reads an artefact and all its signatures without verifying them.
async fn copied(
    client: &Client<'_>,
    repository: &Repository,
    digest: &Digest,
) -> Result<Vec<Copied>, RegistryError> {
    let missing = || RegistryError::new(Reason::NotFound, "the registry has no such artefact");
    let own = client
        .manifest(digest.as_str())
        .await?
        .ok_or_else(missing)?;
    check(&own, digest, "a manifest")?;
    let mut all = vec![whole(client, own, format!("{repository}@{digest}"), None).await?];
    let tag = simple_tag(digest);
    if let Some(manifest) = client.manifest(&tag).await? {
        all.push(whole(client, manifest, format!("{repository}:{tag}"), None).await?);
    }
    for listed in client.bundles(digest).await? {
        let manifest = client
            .manifest(listed.digest.as_str())
            .await?
            .ok_or_else(missing)?;
        check(&manifest, &listed.digest, "a signature's manifest")?;
        let name = format!("{repository}@{}", listed.digest);
        all.push(whole(client, manifest, name, listed.artifact_type).await?);
    }
    Ok(all)
}

async fn whole(
    client: &Client<'_>,
    manifest: Vec<u8>,
    name: String,
    artifact_type: Option<String>,
) -> Result<Copied, RegistryError> {
    let read = Manifest::read(&manifest)?;
    let mut blobs = vec![];
    for blob in [&read.config].into_iter().chain(&read.layers) {
        let content = client.blob(&blob.digest, MAX_COMPONENT).await?;
        check(&content, &blob.digest, "a blob")?;
        blobs.push(content);
    }
    let descriptor = Descriptor {
        artifact_type,
        ..Descriptor::of(MANIFEST, &manifest)
    };
    blobs.push(manifest);
    Ok((descriptor, name, blobs))
}
