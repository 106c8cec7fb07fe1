//! Projects of `sallyport new`, kept from one test run to the next, so that cargo compiles the SDK
//! that they carry only when it has changed.
//!
//! Invariant: a kept project has the files that `sallyport new` has just written, and no others.
//! Files of the SDK with the same content keep their modification time, by which cargo decides what
//! to compile. The project's own files always get a new one: to cargo, projects of one name in
//! several places are the same package, with the same output.

use crate::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a project that has the SDK.
const SDK: &str = "sdk";

/// The directory that all these projects are built into. The crates of all are compiled once.
///
/// # Panics
///
/// When this process has no working directory.
#[must_use]
pub fn target() -> PathBuf {
    std::path::absolute(root().join("target/new-policy")).expect("a path")
}

/// Makes the kept project of a test equal to a new one, and gives it the workspace's `Cargo.lock`,
/// so that nothing is downloaded. Returns its directory. No two tests may share a name.
///
/// # Panics
///
/// When a file can't be read or written.
#[must_use]
pub fn keep(new: &Path, name: &str) -> PathBuf {
    // Not below `target()`: of files there, cargo looks at those that the output was made of,
    // whichever project they belong to.
    let kept = root().join("target/new-policy-projects").join(name);
    fs::create_dir_all(&kept).expect("created");
    for own in names(&kept) {
        if own != Path::new(SDK) {
            remove(&kept.join(own));
        }
    }
    update(new, &kept);
    fs::copy(root().join("Cargo.lock"), kept.join("Cargo.lock")).expect("copied");
    kept
}

fn update(new: &Path, kept: &Path) {
    fs::create_dir_all(kept).expect("created");
    let names = names(new);
    for name in self::names(kept).difference(&names) {
        remove(&kept.join(name));
    }
    for name in &names {
        let (new, kept) = (new.join(name), kept.join(name));
        if new.is_dir() {
            update(&new, &kept);
        } else if fs::read(&kept).ok() != fs::read(&new).ok() {
            fs::copy(&new, &kept).expect("copied");
        }
    }
}

fn remove(path: &Path) {
    match path.is_dir() {
        true => fs::remove_dir_all(path).expect("removed"),
        false => fs::remove_file(path).expect("removed"),
    }
}

fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).expect("it can be read");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into();
    entries.map(name).collect()
}
