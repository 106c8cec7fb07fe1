//! Reads manifests from files, directories and standard input, for `check`, `explain` and `doctor`.

use sallyport_core::check::{Manifests, Origin};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use wildmatch::WildMatch;

/// In bytes. Larger files are no manifests.
const MAX_FILE_SIZE: u64 = 64 << 20;

/// Reads all manifests under the paths; `-` is standard input. Skips paths that match an `excluded`
/// glob, in which `*` stands for any characters.
pub fn read(paths: &[PathBuf], excluded: &[String]) -> Manifests {
    let excluded = excluded
        .iter()
        .map(|glob| WildMatch::new(glob.trim_end_matches('/')))
        .collect();
    let mut reader = Reader {
        excluded,
        manifests: Manifests::default(),
    };
    for path in paths {
        if path.as_os_str() == "-" {
            let bytes = bytes(io::stdin());
            reader.manifests.add("<stdin>", Origin::Named, bytes);
        } else if path.is_dir() && !reader.excludes(path) {
            reader.directory(path);
        } else if !reader.excludes(path) {
            reader.file(path, Origin::Named);
        }
    }
    reader.manifests
}

struct Reader {
    /// The globs of skipped paths.
    excluded: Vec<WildMatch>,
    manifests: Manifests,
}

impl Reader {
    /// Returns true if a path is excluded as it was named and found, or by its last part.
    fn excludes(&self, path: &Path) -> bool {
        let whole = path.strip_prefix(".").unwrap_or(path).to_string_lossy();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.excluded
            .iter()
            .any(|glob| glob.matches(&whole) || glob.matches(&name))
    }

    fn directory(&mut self, path: &Path) {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                let path = path.display().to_string();
                return self.manifests.add(&path, Origin::Named, Err(error));
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if self.excludes(&path) {
                continue;
            }
            // Symbolic links to directories are not followed, because they make cycles.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.directory(&path);
            } else if path
                .extension()
                .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e))
            {
                self.file(&path, Origin::Found);
            }
        }
    }

    fn file(&mut self, path: &Path, origin: Origin) {
        let bytes = fs::File::open(path).and_then(bytes);
        self.manifests
            .add(&path.display().to_string(), origin, bytes);
    }
}

fn bytes(source: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    source.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(io::Error::other(format!(
            "larger than {} MiB; split it",
            MAX_FILE_SIZE >> 20
        )));
    }
    Ok(bytes)
}
