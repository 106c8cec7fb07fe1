//! Embeds what `sallyport new` writes, so that it works offline: the templates of each language,
//! the contract's WIT, and the SDK for Rust with a workspace manifest of its own. Together it has
//! 0.5 MB, 2 % of the program.
//!
//! Also embeds the playground as `make console` compressed it, 1.2 MB, where that was done. `make
//! dist` does it first; a build without Node has no playground, and the console says so.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The parts of the folder policy-wasm that a policy is built with.
const SDK_PARTS: [&str; 5] = ["Cargo.toml", "facts", "macros", "src", "wit"];

fn main() {
    let package = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = package.parent().expect("the workspace's folder");
    let sdk = workspace.join("policy-wasm");
    let mut generated = String::new();
    let texts = |name, folder: &Path, parts: &[&str]| {
        let files = files(folder, parts);
        constant(name, ("str", "include_str"), folder, &files)
    };
    generated += &texts("TEMPLATES", &package.join("src/cli/new"), &[""]);
    generated += &texts("WIT", &sdk.join("wit"), &[""]);
    generated += &texts("SDK", &sdk, &SDK_PARTS);
    let manifest = sdk_manifest(workspace, &sdk);
    writeln!(
        generated,
        "/// Cargo.toml of the SDK's workspace.\n\
         pub(super) const SDK_MANIFEST: &str = {manifest:?};"
    )
    .expect("a String takes all");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("new.rs"), generated).expect("OUT_DIR is writable");
    let folder = package.join("console/embedded");
    let mut compressed = files(&folder, &[""]);
    compressed.retain(|file| file.extension().is_some_and(|extension| extension == "br"));
    let playground = constant("FILES", ("[u8]", "include_bytes"), &folder, &compressed);
    fs::write(out.join("playground.rs"), playground).expect("OUT_DIR is writable");
}

/// Lists the files in some parts of a folder, sorted, and watches these parts.
fn files(folder: &Path, parts: &[&str]) -> Vec<PathBuf> {
    let mut files = vec![];
    for part in parts {
        let part = folder.join(part);
        println!("cargo::rerun-if-changed={}", part.display());
        walk(&part, &mut files);
    }
    files.sort();
    files
}

/// Returns the text of a constant with path and content of each file, by a type and the macro that
/// reads it.
fn constant(name: &str, (ty, read): (&str, &str), folder: &Path, files: &[PathBuf]) -> String {
    let mut constant = format!(
        "/// Path and content of each file.\npub(super) const {name}: &[(&str, &{ty})] = &[\n"
    );
    for file in files {
        let path = file.strip_prefix(folder).expect("it was found there");
        writeln!(constant, "    ({path:?}, {read}!({file:?})),").expect("a String takes all");
    }
    constant.push_str("];\n");
    constant
}

/// Lists a file, or the files of a folder and of its sub-folders, links followed.
fn walk(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
        return;
    }
    for entry in fs::read_dir(path).expect("a folder of the repository") {
        walk(&entry.expect("it can be read").path(), files);
    }
}

/// Returns the part of the workspace's manifest that the SDK's crates inherit from.
fn sdk_manifest(workspace: &Path, sdk: &Path) -> String {
    let file = workspace.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", file.display());
    let crates = [sdk.to_owned(), sdk.join("facts"), sdk.join("macros")];
    let inherited: String = crates
        .iter()
        .map(|folder| fs::read_to_string(folder.join("Cargo.toml")).expect("a crate"))
        .collect();
    let mut manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"policy-wasm\", \
                        \"policy-wasm/facts\", \"policy-wasm/macros\"]\n"
        .to_owned();
    let mut section = String::new();
    for line in fs::read_to_string(file).expect("the workspace").lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        let kept = match section.as_str() {
            "[workspace.dependencies]" => {
                let name = line.split(' ').next().unwrap_or_default();
                line.starts_with('[') || inherited.contains(&format!("{name}.workspace = true"))
            }
            "[workspace.package]" | "[workspace.lints.rust]" | "[workspace.lints.clippy]" => true,
            _ => false,
        };
        if kept {
            manifest.push_str(line);
            manifest.push('\n');
        }
    }
    manifest
}
