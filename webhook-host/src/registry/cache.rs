//! Pulled content on disk, by digest: manifests, components and the signatures that were found with
//! them.
//!
//! Invariants: content is checked against its digest each time it is read, so the directory need
//! not be trusted and may be shared; signatures are verified anew each time; a damaged file is
//! removed and costs a pull. All files together stay within a size, and the least recently used
//! ones go first.

use crate::signature::Material;
use sallyport_core::manifest::{Digest, Repository};
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The largest file of signatures.
const MAX_SIGNATURES: usize = 4 << 20;

/// The names of content and of signatures. Other files in the directory are never touched.
const PREFIX: &str = "sha256-";
const SIGNATURES: &str = ".signatures";

/// A directory of pulled content.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    directory: PathBuf,
    limit: u64,
}

impl Cache {
    /// The default limit in bytes: thousands of policies in Rust.
    pub(crate) const SIZE: u64 = 256 << 20;

    /// Creates a cache in a directory, which is created with its first file.
    pub(crate) fn new(directory: PathBuf, limit: u64) -> Self {
        Self { directory, limit }
    }

    /// Returns content by its digest, when it is there and whole.
    pub(super) fn content(&self, digest: &Digest, limit: usize) -> Option<Vec<u8>> {
        let path = self.directory.join(format!("{PREFIX}{}", digest.hex()));
        let content = read(&path, limit)?;
        if Digest::of(&content) == *digest {
            return Some(content);
        }
        tracing::warn!("pulling again: {} is damaged", path.display());
        // It is gone already, or the next pull says this again.
        let _ = std::fs::remove_file(&path);
        None
    }

    pub(super) fn keep_content(&self, digest: &Digest, content: &[u8]) {
        self.keep(&format!("{PREFIX}{}", digest.hex()), content);
    }

    /// Returns the signatures that were found with an artefact.
    pub(super) fn signatures(&self, repository: &Repository, digest: &Digest) -> Vec<Material> {
        let path = self.directory.join(signatures_name(repository, digest));
        let found = read(&path, MAX_SIGNATURES);
        let found = found.and_then(|text| serde_json::from_slice(&text).ok());
        found.unwrap_or_default()
    }

    pub(super) fn keep_signatures(
        &self,
        repository: &Repository,
        digest: &Digest,
        found: &[Material],
    ) {
        let text = serde_json::to_vec(found).expect("texts are JSON");
        self.keep(&signatures_name(repository, digest), &text);
    }

    /// Writes a file. A failure is only logged, because the next start then pulls again.
    fn keep(&self, name: &str, content: &[u8]) {
        if let Err(error) = self.write(name, content) {
            let directory = self.directory.display();
            tracing::warn!("can't keep what was pulled in {directory}: {error}");
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        if content.len() as u64 > self.limit {
            return Ok(());
        }
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.directory)?;
        self.make_room(content.len() as u64)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(content)?;
        file.persist(self.directory.join(name))?;
        Ok(())
    }

    /// Removes the least recently used files until `bytes` more fit.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut entries = vec![];
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let is_ours = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX));
            // Skips what another process removed meanwhile.
            if let Ok(found) = entry.metadata()
                && is_ours
                && found.is_file()
            {
                let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push((used, found.len(), entry.path()));
            }
        }
        entries.sort();
        let mut total = bytes + entries.iter().map(|(_, size, _)| size).sum::<u64>();
        for (_, size, path) in entries {
            if total <= self.limit {
                break;
            }
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total -= size,
            }
        }
        Ok(())
    }
}

fn signatures_name(repository: &Repository, digest: &Digest) -> String {
    let name = Digest::of(format!("{repository}@{digest}").as_bytes());
    format!("{PREFIX}{}{SIGNATURES}", name.hex())
}

/// Reads a file of at most `limit` bytes, and notes that it was used.
fn read(path: &Path, limit: usize) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let mut content = vec![];
    (&file)
        .take(limit as u64 + 1)
        .read_to_end(&mut content)
        .ok()?;
    // If that fails, the file goes earlier.
    let _ = file.set_modified(SystemTime::now());
    (content.len() <= limit).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn cache(limit: u64) -> (tempfile::TempDir, Cache) {
        let parent = tempfile::tempdir().expect("a place to write");
        let directory = parent.path().join("a/b");
        std::fs::create_dir_all(&directory).expect("made");
        (parent, Cache::new(directory, limit))
    }

    #[test]
    fn content_is_found_by_its_digest_and_a_damaged_file_is_removed() {
        let (_parent, cache) = cache(1000);
        let digest = Digest::of(b"content");
        assert_eq!(cache.content(&digest, 100), None);
        cache.keep_content(&digest, b"content");
        assert_eq!(
            cache.content(&digest, 100).as_deref(),
            Some(&b"content"[..])
        );
        assert_eq!(cache.content(&digest, 6), None, "larger than it may be");
        cache.keep_content(&digest, b"damaged");
        assert_eq!(cache.content(&digest, 100), None);
        let left = std::fs::read_dir(&cache.directory)
            .expect("readable")
            .count();
        assert_eq!(left, 0);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_strangers_stay() {
        let (_parent, cache) = cache(25);
        let kept: Vec<_> = (0..3u8)
            .map(|byte| ([byte; 10], Digest::of(&[byte; 10])))
            .collect();
        std::fs::write(cache.directory.join("notes.txt"), [0; 100]).expect("written");
        for (age, (content, digest)) in kept[..2].iter().enumerate() {
            cache.keep_content(digest, content);
            let path = cache.directory.join(format!("{PREFIX}{}", digest.hex()));
            let time = SystemTime::now() - Duration::from_hours(1 + age as u64);
            let file = File::open(path).expect("kept");
            file.set_modified(time).expect("aged");
        }
        let (content, digest) = &kept[2];
        cache.keep_content(digest, content);
        let left = kept
            .iter()
            .map(|(_, digest)| cache.content(digest, 100).is_some());
        assert_eq!(left.collect::<Vec<_>>(), [true, false, true]);
        assert!(cache.directory.join("notes.txt").exists());
    }

    #[test]
    fn signatures_are_kept_for_each_repository() {
        let (_parent, cache) = cache(1000);
        let digest = Digest::of(b"content");
        let repository = |text: &str| text.parse::<Repository>().expect("a repository");
        let found = [Material::Bundle("{}".to_owned())];
        cache.keep_signatures(&repository("ghcr.io/acme/p"), &digest, &found);
        assert_eq!(
            cache.signatures(&repository("ghcr.io/acme/p"), &digest),
            found
        );
        assert_eq!(cache.signatures(&repository("ghcr.io/acme/q"), &digest), []);
    }
}
