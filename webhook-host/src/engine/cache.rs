//! Compiled code on disk, so that a start compiles nothing that an earlier one has compiled, and runs no `configure`.
//!
//! An entry is what an evaluation instantiates: the snapshot with the settings baked in, or the component itself where there
//! is none. Its key holds all that decides what the code is; see [`Key`]. Invariants: an entry is written whole or not at all
//! (a file of its own, then renamed); what is executed was verified in memory first; a damaged entry is counted, told and
//! removed, and costs a compilation, never more; all entries together stay within a size, the ones not used for longest
//! going first.
//!
//! **The directory is trusted.** The digest finds what a disk or a full file system did, not what somebody did who may write
//! there: such a person can make this process run any code. So the directory must belong to the user of the process, and
//! nobody else may enter it.
//!
//! Opened by `cli`; asked by `preinit`, at load, never during a review.

use crate::units::Bytes;
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File, Metadata};
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::component::Component;

/// The form of entries and of the pre-initialisation that makes them. To be raised when either changes: entries of other
/// versions are not found any more.
const VERSION: u32 = 1;

/// What entries and files that are about to become one are called. Nothing else in the directory is ever touched.
const PREFIX: &str = "sallyport-";
const SUFFIX: &str = ".cwasm";

/// Bytes of a SHA-256.
const DIGEST: usize = 32;

/// A directory of compiled code. Clones are one cache.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    limit: u64,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    corrupt: AtomicU64,
}

/// How often a cache had what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheCounts {
    /// Loads that compiled nothing.
    pub hits: u64,
    /// Loads that found no entry.
    pub misses: u64,
    /// Loads that found a damaged one.
    pub corrupt: u64,
}

/// Why a directory can't be a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It can't be made, read or written.
    #[error("can't keep compiled policies in {}: {error}", directory.display())]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// The operating system's word.
        #[source]
        error: io::Error,
    },
    /// Others may enter it.
    #[error(
        "can't keep compiled policies in {0}: it is open to other users (mode {mode:o}), who could make this process run their code; run `chmod 700 {0}`",
        directory.display()
    )]
    Shared {
        /// The directory.
        directory: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is another user's.
    #[error(
        "can't keep compiled policies in {}: it belongs to user {owner} and this process runs as {user}; name a directory of your own",
        directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// Whose it is, by number.
        owner: u32,
        /// Who this is, by number.
        user: u32,
    },
}

/// What an entry holds.
pub(super) struct Cached {
    pub(super) component: Component,
    /// Why the component is no snapshot, if it should have been one.
    pub(super) no_snapshot: Option<String>,
}

impl Cache {
    /// The size that a cache has by default: a thousand policies in Rust, or seven that carry a JavaScript engine.
    pub const SIZE: Bytes = Bytes::new(256 << 20);

    /// Opens a directory, making it where it is missing. All its entries together stay within `limit` bytes.
    ///
    /// # Errors
    ///
    /// When it can't be used, or when anybody but the process' own user could write there.
    pub fn open(directory: &Path, limit: u64) -> Result<Self, CacheError> {
        let unusable = |error| CacheError::Unusable { directory: directory.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
        let found = fs::metadata(directory).map_err(unusable)?;
        let mode = found.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CacheError::Shared { directory: directory.to_owned(), mode });
        }
        // Who we are is told by a file that we make; it also shows early that files can be made.
        let user = temporary(directory).and_then(|file| file.as_file().metadata()).map_err(unusable)?.uid();
        if found.uid() != user {
            return Err(CacheError::Foreign { directory: directory.to_owned(), owner: found.uid(), user });
        }
        Ok(Self { directory: directory.to_owned(), limit, counters: Arc::default() })
    }

    /// How often it had what it was asked for, since it was opened.
    pub fn counts(&self) -> CacheCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { hits, misses, corrupt } = &*self.counters;
        CacheCounts { hits: read(hits), misses: read(misses), corrupt: read(corrupt) }
    }

    /// The verified entry of a key.
    pub(super) fn find(&self, engine: &wasmtime::Engine, key: &Key) -> Option<Cached> {
        let path = self.path(key);
        let found = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
            Ok(file) => read(engine, key, &file).map(Some),
        };
        let counter = match &found {
            Ok(Some(_)) => &self.counters.hits,
            Ok(None) => &self.counters.misses,
            Err(why) => {
                tracing::warn!("compiling anew: the cache's entry {} can't be used: {why}", path.display());
                // Gone already, or the next start says so again.
                let _ = fs::remove_file(&path);
                &self.counters.corrupt
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found.ok().flatten()
    }

    /// Keeps a component. Where that fails, the next start compiles again, so it is only told.
    pub(super) fn keep(&self, key: &Key, component: &Component, no_snapshot: Option<&str>) {
        if let Err(error) = self.write(key, component, no_snapshot.unwrap_or_default()) {
            tracing::warn!("a compiled policy can't be kept in {}: {error}", self.directory.display());
        }
    }

    fn write(&self, key: &Key, component: &Component, no_snapshot: &str) -> io::Result<()> {
        let code = component.serialize().map_err(|error| io::Error::other(format!("{error:#}")))?;
        let content = content(no_snapshot, &code);
        let size = (DIGEST + content.len()) as u64;
        if size > self.limit {
            return Err(io::Error::other(format!("it has {size} bytes, and the cache may have {}", self.limit)));
        }
        self.make_room(size)?;
        let mut file = temporary(&self.directory)?;
        file.write_all(&key.digest(&content))?;
        file.write_all(&content)?;
        // Without fsync: what a power cut leaves behind is found by its digest.
        file.persist(self.path(key))?;
        Ok(())
    }

    /// Removes entries until so many bytes fit, those first that were not used for longest.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut entries = vec![];
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
            // What another process removes meanwhile needs no room.
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_file() && path.file_name().and_then(|name| name.to_str()).is_some_and(ours) => {
                    entries.push((used(&found), found.len(), path));
                }
                _ => {}
            }
        }
        entries.sort();
        let mut total = bytes + entries.iter().map(|(_, size, _)| size).sum::<u64>();
        for (_, size, path) in entries {
            if total <= self.limit {
                break;
            }
            fs::remove_file(&path)?;
            total -= size;
        }
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let hex = key.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.directory.join(format!("{PREFIX}{hex}{SUFFIX}"))
    }
}

/// A file that removes itself unless it becomes an entry, readable by its owner alone.
fn temporary(directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(&format!("{PREFIX}new-")).suffix(SUFFIX).tempfile_in(directory)
}

/// When an entry was last used: a hit touches it.
fn used(found: &Metadata) -> SystemTime {
    found.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A file is the digest of key and content, and the content: the length of a sentence, the sentence, the code.
fn content(no_snapshot: &str, code: &[u8]) -> Vec<u8> {
    let length = u32::try_from(no_snapshot.len()).expect("a sentence is short").to_le_bytes();
    [&length, no_snapshot.as_bytes(), code].concat()
}

fn parse(content: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = content.split_first_chunk()?;
    let (sentence, code) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((str::from_utf8(sentence).ok()?, code))
}

/// Reads the whole file instead of mapping it: what is verified must be what is executed, and a mapped file may change
/// afterwards. That is a few tenths of a millisecond for a policy in Rust.
#[expect(unsafe_code, reason = "wasmtime trusts compiled code; this is the one place that hands it some")]
fn read(engine: &wasmtime::Engine, key: &Key, mut file: &File) -> Result<Cached, String> {
    let mut bytes = vec![];
    file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let (digest, content) = bytes.split_first_chunk::<DIGEST>().ok_or("it is cut off")?;
    if *digest != key.digest(content) {
        return Err("it is damaged: its SHA-256 is another one".to_owned());
    }
    let (sentence, code) = parse(content).ok_or("it has another form")?;
    // SAFETY: `deserialize` wants bytes that `Component::serialize` gave, for a compatible engine, unmodified. Only `write`
    // makes files whose digest matches, in a directory where nobody but this user can write, and gives them such bytes
    // whole. The key is part of the digest and holds the engine's compatibility hash. The bytes are in memory of our own
    // since before they were verified, so nothing changes them afterwards. (Who can write here is trusted; see above.)
    let component = unsafe { Component::deserialize(engine, code) }.map_err(|error| format!("{error:#}"))?;
    // It says when the entry was used last; if it can't, the entry goes earlier.
    let _ = file.set_modified(SystemTime::now());
    Ok(Cached { component, no_snapshot: (!sentence.is_empty()).then(|| sentence.to_owned()) })
}

/// What decides which code comes out: versions of this host, of wasmtime and of entries; processor, compiler settings and
/// WebAssembly features ([`wasmtime::Engine::precompile_compatibility_hash`]); the component; and the manifest's settings and
/// limits, under which `configure` ran.
pub(super) struct Key([u8; DIGEST]);

impl Key {
    pub(super) fn new(engine: &wasmtime::Engine, component: &[u8], settings: &str, memory: usize) -> Self {
        let mut key = KeyHasher(Sha256::new());
        (VERSION, env!("CARGO_PKG_VERSION"), crate::contract::VERSION).hash(&mut key);
        engine.precompile_compatibility_hash().hash(&mut key);
        (Sha256::digest(component).as_slice(), settings, memory).hash(&mut key);
        Self(key.0.finalize().into())
    }

    fn digest(&self, content: &[u8]) -> [u8; DIGEST] {
        Sha256::new().chain_update(self.0).chain_update(content).finalize().into()
    }
}

/// What hashes itself, through SHA-256: a 64-bit hash could meet another one's.
struct KeyHasher(Sha256);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn key(byte: u8) -> Key {
        Key([byte; DIGEST])
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        assert_eq!(parse(&content("several modules", b"code")), Some(("several modules", b"code".as_slice())));
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
        assert_eq!(fs::metadata(&directory).expect("made").mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&directory).expect("readable").count(), 0, "what was tried out is removed");
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused_with_the_fix() {
        let directory = tempfile::tempdir().expect("a place to write");
        for mode in [0o755, 0o770, 0o701] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
            let error = Cache::open(directory.path(), 1).expect_err("open to others").to_string();
            assert!(error.contains(&format!("mode {mode:o}")), "{error}");
            assert!(error.ends_with(&format!("run `chmod 700 {}`", directory.path().display())), "{error}");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_strangers_stay() {
        let parent = tempfile::tempdir().expect("a place to write");
        let directory = parent.path().join("cache");
        let cache = Cache::open(&directory, 250).expect("it is ours");
        let hours = |age: u64| SystemTime::now() - Duration::from_secs(age * 3600);
        let stranger = directory.join("notes.txt");
        let names = [(cache.path(&key(1)), 1), (cache.path(&key(2)), 3), (cache.path(&key(3)), 2), (stranger, 9)];
        for (path, age) in &names {
            fs::write(path, [0; 100]).expect("written");
            File::open(path).and_then(|file| file.set_modified(hours(*age))).expect("aged");
        }
        cache.make_room(100).expect("room is made");
        let left = names.map(|(path, _)| path.exists());
        assert_eq!(left, [true, false, false, true]);
    }
}
