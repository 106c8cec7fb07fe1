//! Projects of `sallyport new`, kept from one test run to the next, so that cargo compiles the SDK
//! that they carry only when it has changed.
//!
//! Invariant: a kept project has the files that `sallyport new` has just written, and no others. A
//! file with the same content keeps its modification time, by which cargo decides what to compile.

use crate::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
    let kept = target().join("projects").join(name);
    update(new, &kept);
    fs::copy(root().join("Cargo.lock"), kept.join("Cargo.lock")).expect("copied");
    kept
}

fn update(new: &Path, kept: &Path) {
    fs::create_dir_all(kept).expect("created");
    let names = names(new);
    for name in self::names(kept).difference(&names) {
        let old = kept.join(name);
        match old.is_dir() {
            true => fs::remove_dir_all(&old).expect("removed"),
            false => fs::remove_file(&old).expect("removed"),
        }
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

fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).expect("it can be read");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into();
    entries.map(name).collect()
}
