//! Compiled code on disk, so that a start doesn't compile or configure what an earlier one did.
//!
//! An entry is what an evaluation instantiates: the snapshot with the settings baked in, or the
//! component itself if there is no snapshot. Its key covers everything that decides the code; see
//! [`Key`]. Invariants: an entry is written completely or not at all (a temporary file, then
//! renamed); executed code was verified in memory first; a damaged entry is counted, logged and
//! removed, and costs a compilation, never more; all entries together stay within a size, and the
//! least recently used ones are removed first.
//!
//! **The directory is trusted.** The digest detects what a disk or a full file system did, but not
//! the work of somebody who may write there, and who can thus make this process run any code.
//! [`Directory`] makes sure that only the user of the process can. Where it can't (on Windows),
//! there is no cache.
//!
//! Opened by `cli`; used by `load`, never during a review. The parent process writes what a
//! child process compiled.

#[cfg(unix)]
mod directory;
#[cfg(not(unix))]
#[path = "cache/no_directory.rs"]
mod directory;

use directory::Directory;
use sallyport_core::units::Bytes;
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::component::Component;

/// The version of entries and of the pre-initialisation that makes them. Raise it when either
/// changes: entries of other versions are not found any more.
const FORMAT_VERSION: u32 = 2;

/// The names of entries and of temporary files. Other files in the directory are never touched.
const PREFIX: &str = "sallyport-";
const SUFFIX: &str = ".cwasm";

/// The bytes of a SHA-256.
const DIGEST_BYTES: usize = 32;

/// A directory of compiled code. Clones share it.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Used in log lines only.
    path: PathBuf,
    directory: Arc<Directory>,
    limit: u64,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    corrupt: AtomicU64,
}

/// The look-ups of a cache by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheCounts {
    /// Loads that compiled nothing.
    pub hits: u64,
    /// Loads that found no entry.
    pub misses: u64,
    /// Loads that found a damaged one.
    pub corrupt: u64,
}

/// An error: a directory can't be a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory can't be created, read or written.
    #[error("can't keep compiled policies in {}: {error}", directory.display())]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// The operating system's error.
        #[source]
        error: io::Error,
    },
    /// The path is a link, or not a directory.
    #[error(
        "can't keep compiled policies in {}: it is a symbolic link or no directory; name the \
         directory itself",
        .0.display()
    )]
    Link(
        /// The path.
        PathBuf,
    ),
    /// Other users may enter it.
    #[error(
        "can't keep compiled policies in {0}: it is open to other users (mode {mode:o}), who could \
         make this process run their code; run `chmod 700 {0}`",
        directory.display()
    )]
    Shared {
        /// The directory.
        directory: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The directory belongs to another user.
    #[error(
        "can't keep compiled policies in {}: it belongs to user {owner} and this process runs as \
         {user}; name a directory of your own",
        directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// The user ID of its owner.
        owner: u32,
        /// The user ID of this process.
        user: u32,
    },
}

/// Compiled code, as wasmtime serialises it.
pub(super) struct Compiled {
    pub(super) code: Vec<u8>,
    /// The reason for which a component with settings has no snapshot.
    pub(super) no_snapshot: Option<String>,
}

/// Makes a component of compiled code.
#[expect(
    unsafe_code,
    reason = "wasmtime trusts compiled code; this is the only place that passes it some"
)]
pub(super) fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` wants bytes that `Component::serialize` gave, for a compatible engine,
    // unmodified. They come from two places. A child process of this same executable, with the same
    // engine configuration, serialised them and passed them over a pipe that nobody else holds. Or
    // an entry of the cache holds what such a child gave: only `write` makes files whose digest
    // matches, in a directory where nobody but this user can write, and the key is part of the
    // digest and holds the engine's compatibility hash. The bytes are in memory of our own since
    // before they were verified, so nothing changes them afterwards. (The compiler, and who can
    // write here, are trusted; see above.)
    unsafe { Component::deserialize(engine, code) }
}

impl Cache {
    /// The default size of a cache: a thousand policies in Rust, or seven that carry a JavaScript
    /// engine.
    pub const SIZE: Bytes = Bytes::new(256 << 20);

    /// Opens a directory, and creates it if it is missing. All its entries together stay within
    /// `limit` bytes.
    ///
    /// # Errors
    ///
    /// Fails when it can't be used, or when another user could write there.
    pub fn open(path: &Path, limit: u64) -> Result<Self, CacheError> {
        let cache = Self {
            path: path.to_owned(),
            directory: Arc::new(Directory::open(path)?),
            limit,
            counters: Arc::default(),
        };
        // Shows early if files can't be created, or would belong to somebody else.
        let created = cache.temporary().map(|(_, file)| file);
        let created = created.map_err(|error| CacheError::Unusable {
            directory: path.to_owned(),
            error,
        })?;
        cache.directory.check_owner(path, &created)?;
        Ok(cache)
    }

    /// Returns the look-ups since it was opened.
    pub fn counts(&self) -> CacheCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters {
            hits,
            misses,
            corrupt,
        } = &*self.counters;
        CacheCounts {
            hits: read(hits),
            misses: read(misses),
            corrupt: read(corrupt),
        }
    }

    /// Returns the verified entry of a key: the component, and the reason for which it has no
    /// snapshot.
    pub(super) fn find(
        &self,
        engine: &wasmtime::Engine,
        key: &Key,
    ) -> Option<(Component, Option<String>)> {
        let name = key.file_name();
        let found = match self.directory.open_entry(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
            Ok(file) => self.read(engine, key, &file).map(Some),
        };
        let counter = match &found {
            Ok(Some(_)) => &self.counters.hits,
            Ok(None) => &self.counters.misses,
            Err(why) => {
                let path = self.path.join(&name);
                tracing::warn!(
                    "compiling again: the cache entry {} can't be used: {why}",
                    path.display()
                );
                // It is gone already, or the next start logs this again.
                let _ = self.directory.remove(&name);
                &self.counters.corrupt
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found.ok().flatten()
    }

    /// Writes an entry. A failure is only logged, because the next start then compiles again.
    pub(super) fn keep(&self, key: &Key, compiled: &Compiled) {
        if let Err(error) = self.write(key, compiled) {
            tracing::warn!(
                "can't keep a compiled policy in {}: {error}",
                self.path.display()
            );
        }
    }

    fn write(&self, key: &Key, compiled: &Compiled) -> io::Result<()> {
        let content = content(
            compiled.no_snapshot.as_deref().unwrap_or_default(),
            &compiled.code,
        );
        let size = (DIGEST_BYTES + content.len()) as u64;
        if size > self.limit {
            return Err(io::Error::other(format!(
                "it has {size} bytes, and the cache may have {}",
                self.limit
            )));
        }
        self.make_room(size)?;
        let (temporary, mut file) = self.temporary()?;
        file.write_all(&key.digest(&content))?;
        file.write_all(&content)?;
        // No fsync: an entry that a power cut damaged is detected by its digest.
        temporary.rename(&key.file_name())
    }

    /// Removes the least recently used entries until `bytes` more fit.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut entries = vec![];
        for name in self.directory.names()? {
            if !(name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
                continue;
            }
            // Skips what another process removed meanwhile, and what is not a file.
            if let Ok(found) = self
                .directory
                .open_file(&name)
                .and_then(|file| file.metadata())
                && found.is_file()
            {
                entries.push((last_use(&found), found.len(), name));
            }
        }
        entries.sort();
        let mut total = bytes + entries.iter().map(|(_, size, _)| size).sum::<u64>();
        for (_, size, name) in entries {
            if total <= self.limit {
                break;
            }
            self.directory.remove(&name)?;
            total -= size;
        }
        Ok(())
    }

    /// Creates a file that only its owner can read, and that is removed unless it becomes an entry.
    fn temporary(&self) -> io::Result<(Temporary<'_>, File)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}new-{}-{count}{SUFFIX}", std::process::id());
            match self.directory.create(&name) {
                Ok(file) => return Ok((Temporary { cache: self, name }, file)),
                // Left behind by an earlier process with the same ID.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads and verifies an entry. The file is read completely instead of mapped, because a mapped
    /// file may change after it was verified. That takes a few tenths of a millisecond for a policy
    /// in Rust.
    fn read(
        &self,
        engine: &wasmtime::Engine,
        key: &Key,
        file: &File,
    ) -> Result<(Component, Option<String>), String> {
        let mut bytes = vec![];
        // Larger entries are never written.
        file.take(self.limit)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        let (digest, content) = bytes
            .split_first_chunk::<DIGEST_BYTES>()
            .ok_or("it is cut off")?;
        if *digest != key.digest(content) {
            return Err("it is damaged: its SHA-256 is another one".to_owned());
        }
        let (sentence, code) = parse(content).ok_or("it has another form")?;
        let component = deserialize(engine, code).map_err(|error| format!("{error:#}"))?;
        // The modification time is the time of the last use. If it can't be set, the entry is
        // removed earlier.
        let _ = file.set_modified(SystemTime::now());
        Ok((
            component,
            (!sentence.is_empty()).then(|| sentence.to_owned()),
        ))
    }
}

/// A temporary file, removed when dropped unless it was renamed to an entry.
struct Temporary<'a> {
    cache: &'a Cache,
    name: String,
}

impl Temporary<'_> {
    fn rename(self, name: &str) -> io::Result<()> {
        self.cache.directory.rename(&self.name, name)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // Fails when the file was renamed.
        let _ = self.cache.directory.remove(&self.name);
    }
}

/// Returns the time of an entry's last use, since a hit sets its modification time.
fn last_use(found: &Metadata) -> SystemTime {
    found.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Returns the content of an entry: the length of the reason for having no snapshot, that reason,
/// the code. In the file, the digest of key and content comes first.
fn content(no_snapshot: &str, code: &[u8]) -> Vec<u8> {
    let length = u32::try_from(no_snapshot.len())
        .expect("a sentence is short")
        .to_le_bytes();
    [&length, no_snapshot.as_bytes(), code].concat()
}

fn parse(content: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = content.split_first_chunk()?;
    let (sentence, code) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((str::from_utf8(sentence).ok()?, code))
}

/// The key of an entry. It covers the versions of this host, of wasmtime and of entries; the
/// processor, compiler settings and WebAssembly features
/// ([`wasmtime::Engine::precompile_compatibility_hash`]); the component; and the manifest's
/// settings and limits, under which `configure` ran.
#[derive(PartialEq, Eq)]
pub(super) struct Key([u8; DIGEST_BYTES]);

impl Key {
    /// Creates a distinct key for each byte.
    #[cfg(test)]
    pub(super) fn of(byte: u8) -> Self {
        Self([byte; DIGEST_BYTES])
    }

    pub(super) fn new(
        engine: &wasmtime::Engine,
        component: &[u8],
        settings: &str,
        memory: usize,
    ) -> Self {
        let mut key = KeyHasher(Sha256::new());
        (
            FORMAT_VERSION,
            env!("CARGO_PKG_VERSION"),
            sallyport_core::contract::VERSION,
        )
            .hash(&mut key);
        engine.precompile_compatibility_hash().hash(&mut key);
        (Sha256::digest(component).as_slice(), settings, memory).hash(&mut key);
        Self(key.0.finalize().into())
    }

    /// Returns the file name of its entry.
    fn file_name(&self) -> String {
        let hex = self
            .0
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        format!("{PREFIX}{hex}{SUFFIX}")
    }

    fn digest(&self, content: &[u8]) -> [u8; DIGEST_BYTES] {
        Sha256::new()
            .chain_update(self.0)
            .chain_update(content)
            .finalize()
            .into()
    }
}

/// A hasher by SHA-256, for types that implement `Hash`: 64-bit hashes of different keys could be
/// equal.
struct KeyHasher(Sha256);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::time::Duration;

    fn key(byte: u8) -> Key {
        Key::of(byte)
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        assert_eq!(
            parse(&content("several modules", b"code")),
            Some(("several modules", b"code".as_slice()))
        );
        assert_eq!(parse(&content("", b"")), Some(("", b"".as_slice())));
        assert_eq!(parse(&[9, 0, 0, 0, b'x']), None);
    }

    #[test]
    fn an_entry_under_another_key_has_another_digest() {
        assert_ne!(key(1).digest(b"same"), key(2).digest(b"same"));
    }

    #[test]
    fn a_directory_that_is_made_is_private() {
        let parent = tempfile::tempdir().expect("a place to write");
        let directory = parent.path().join("a/b");
        Cache::open(&directory, 1).expect("it is made");
        assert_eq!(
            fs::metadata(&directory).expect("made").mode() & 0o777,
            0o700
        );
        assert_eq!(
            fs::read_dir(&directory).expect("readable").count(),
            0,
            "what was tried out is removed"
        );
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused_with_the_fix() {
        let directory = tempfile::tempdir().expect("a place to write");
        for mode in [0o755, 0o770, 0o701] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode))
                .expect("it is ours");
            let error = Cache::open(directory.path(), 1)
                .expect_err("open to others")
                .to_string();
            assert!(error.contains(&format!("mode {mode:o}")), "{error}");
            assert!(
                error.ends_with(&format!("run `chmod 700 {}`", directory.path().display())),
                "{error}"
            );
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_strangers_stay() {
        let parent = tempfile::tempdir().expect("a place to write");
        let directory = parent.path().join("cache");
        let cache = Cache::open(&directory, 250).expect("it is ours");
        let hours = |age: u64| SystemTime::now() - Duration::from_secs(age * 3600);
        let stranger = directory.join("notes.txt");
        let path = |byte| directory.join(key(byte).file_name());
        let names = [(path(1), 1), (path(2), 3), (path(3), 2), (stranger, 9)];
        for (path, age) in &names {
            fs::write(path, [0; 100]).expect("written");
            File::open(path)
                .and_then(|file| file.set_modified(hours(*age)))
                .expect("aged");
        }
        cache.make_room(100).expect("room is made");
        let left = names.map(|(path, _)| path.exists());
        assert_eq!(left, [true, false, false, true]);
    }
}
