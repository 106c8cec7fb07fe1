//! The tutorial's project, built with the crates that this workspace is tested with.

use crate::walkthrough::{Reader, Step};
use crate::{project, root};
use std::path::Path;
use std::process::Command;

/// Runs commands of the tutorial in turn. Nothing is downloaded. From the `cd` on, the reader is in
/// the project of this `name` that [`project::keep`] keeps.
///
/// # Panics
///
/// When a command prints something else than the page shows.
pub fn run(reader: &mut Reader, name: &str, steps: &[Step]) {
    reader.set("CARGO_TARGET_DIR", &project::target());
    reader.add_programs(&linker());
    for step in steps {
        reader.run(step);
        if step.command.starts_with("cd ") {
            let kept = project::keep(reader.directory(), name);
            reader.go_to(kept);
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
