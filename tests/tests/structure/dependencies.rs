//! The statements of a Cargo.toml about its package: the crates that it uses, and whether its
//! examples are tested.

use std::fs;
use std::path::{Path, PathBuf};

/// Named for their features alone.
const FOR_FEATURES: [&str; 1] = ["libmimalloc-sys"];

/// Returns a line for each dependency of the packages below a directory whose name occurs in none
/// of the package's own Rust files.
pub(crate) fn unused(root: &Path) -> Vec<String> {
    let mut unused = vec![];
    for manifest in manifests(root) {
        let text = fs::read_to_string(&manifest).expect("it can be read");
        let package = manifest.parent().expect("it lies in a folder");
        let mut sources = String::new();
        read_sources(package, &mut sources);
        let words: Vec<_> = sources
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        let is_used = |name: &str| words.contains(&name.replace('-', "_").as_str());
        let names = dependencies(&text).filter(|name| !FOR_FEATURES.contains(name));
        let file = manifest
            .strip_prefix(root)
            .expect("it lies below")
            .display();
        unused.extend(
            names
                .filter(|name| !is_used(name))
                .map(|name| format!("{file}: {name}")),
        );
    }
    unused
}

/// Returns the Cargo.toml of each package below a directory whose examples are not tested although
/// its comments have some.
pub(crate) fn untested_examples(root: &Path) -> Vec<String> {
    let untested = |manifest: &PathBuf| {
        let text = fs::read_to_string(manifest).expect("it can be read");
        let mut sources = String::new();
        read_sources(manifest.parent().expect("a folder"), &mut sources);
        text.contains("\ndoctest = false\n") && has_examples(&sources)
    };
    let found = manifests(root).into_iter().filter(untested);
    found.map(|path| path.display().to_string()).collect()
}

/// Returns true when doc comments have a block of code without a language, which is Rust.
fn has_examples(sources: &str) -> bool {
    let mut is_open = false;
    sources.lines().any(|line| {
        let comment = line.trim_start();
        let comment = comment
            .strip_prefix("/// ```")
            .or_else(|| comment.strip_prefix("//! ```"));
        let Some(language) = comment else {
            return false;
        };
        is_open = !is_open;
        is_open && (language.is_empty() || language.starts_with("rust"))
    })
}

/// Returns the names in the tables of dependencies of a Cargo.toml, but those that a whole
/// workspace shares.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut in_table = false;
    manifest.lines().filter_map(move |line| {
        if let Some(table) = line.strip_prefix('[') {
            in_table = table.ends_with("dependencies]") && !table.starts_with("workspace");
            return None;
        }
        let name = line.split(['.', ' ', '=']).next()?;
        (in_table && !name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}

/// Returns the dependencies of a package in a Cargo.lock, with their versions where there are
/// several.
pub(crate) fn locked<'a>(lock: &'a str, package: &str) -> impl Iterator<Item = &'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(move |line| *line != name);
    lines.next();
    lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
}

fn manifests(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    crate::files(root, &mut |path| {
        if path.file_name().is_some_and(|name| name == "Cargo.toml") {
            found.push(path.to_owned());
        }
    });
    found
}

/// Appends the Rust files of a package, without those of packages below it.
fn read_sources(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() && !path.join("Cargo.toml").exists() && !crate::is_built(&path) {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *sources += &fs::read_to_string(&path).expect("it can be read");
        }
    }
}
