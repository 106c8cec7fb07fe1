//! The tutorial's project, built with the crates that this workspace is tested with.

use crate::root;
use crate::walkthrough::{Reader, Step};
use std::path::Path;
use std::process::Command;

/// Runs commands of the tutorial in turn. Nothing is downloaded: the project gets the workspace's
/// `Cargo.lock`. It is built into the directory of the test of `sallyport new`, so that the crates
/// of both are compiled once.
///
/// # Panics
///
/// When a command prints something else than the page shows.
pub fn run(reader: &mut Reader, steps: &[Step]) {
    let target = std::path::absolute(root().join("target/new-policy")).expect("a path");
    reader.set("CARGO_TARGET_DIR", &target);
    reader.add_programs(&linker());
    for step in steps {
        reader.run(step);
        if step.command.starts_with("cd ") {
            let lock = reader.directory().join("Cargo.lock");
            std::fs::copy(root().join("Cargo.lock"), lock).expect("copied");
        }
    }
}

/// Returns the directory of wasm-component-ld.
fn linker() -> std::path::PathBuf {
    let output = Command::new(root().join("scripts/component-linker.sh"))
        .output()
        .expect("bash is there");
    let linker = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let directory = Path::new(&linker).parent().expect("a file in a directory");
    directory.to_owned()
}
