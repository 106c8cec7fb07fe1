//! Checks the source tree against `docs/architecture.md`: dependencies go one way, no two files use
//! each other, packages use the crates that they name and test their examples, no line is longer
//! than 100 columns, and links between pages lead somewhere.

mod dependencies;
mod links;
mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use uses::Crate;

const MAX_COLUMNS: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the repository")
}

/// Finds every Rust file below a directory.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    files(directory, &mut |file| {
        if file.extension().is_some_and(|extension| extension == "rs") {
            found.push(file.to_owned());
        }
    });
    found
}

/// Calls `found` with every file below a directory, except in build directories.
fn files(directory: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_file() {
            found(&path);
        } else if path.is_dir() && !is_built(&path) {
            files(&path, found);
        }
    }
}

/// Returns true for directories of what is built or downloaded.
fn is_built(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str());
    matches!(name, Some("target" | "node_modules" | ".git"))
}

/// Returns the folders of a crate by layer, lowest first, as the page's line with this `label`
/// declares them.
fn layers(label: &str) -> BTreeMap<String, usize> {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("the page is there");
    let mut lines = page.lines().skip_while(|line| !line.starts_with(label));
    let first = lines.next().unwrap_or_else(|| panic!("no line {label}"));
    // An arrow continues the line above it.
    let more = lines.take_while(|line| line.trim_start().starts_with('→'));
    let declared: String = [&first[label.len()..]].into_iter().chain(more).collect();
    let layers: Vec<_> = declared.split('→').collect();
    let names = |(layer, folders): (usize, &&str)| {
        let folders = folders.replace(['{', '}'], "");
        let folders: Vec<_> = folders
            .split([',', ' '])
            .filter(|folder| !folder.is_empty())
            .map(|folder| (folder.to_owned(), layer))
            .collect();
        folders
    };
    layers.iter().rev().enumerate().flat_map(names).collect()
}

fn check_layers(label: &str, source: &str) {
    let layers = layers(label);
    let sources = Crate::read(&root().join(source));
    let mut wrong = BTreeSet::new();
    for (file, used) in &sources.uses {
        for (from, to) in used.iter().map(|to| (folder(file), folder(to))) {
            match (layers.get(from), layers.get(to)) {
                (None, _) => drop(wrong.insert(format!("{from} is not in the line {label}"))),
                (_, None) => drop(wrong.insert(format!("{to} is not in the line {label}"))),
                (Some(above), Some(below)) if from != to && above <= below => {
                    wrong.insert(format!("{from} may not use {to} ({file} uses {to})"));
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "docs/architecture.md: {wrong:#?}");
}

fn folder(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

#[test]
fn folders_of_the_host_use_only_those_below() {
    check_layers("host:", "webhook-host/src");
}

#[test]
fn folders_of_the_core_use_only_those_below() {
    check_layers("core:", "webhook-host/core/src");
}

#[test]
fn no_two_files_use_each_other() {
    for source in [
        "webhook-host/src",
        "webhook-host/core/src",
        "policy-wasm/src",
        "policy-wasm/facts/src",
    ] {
        let read = Crate::read(&root().join(source));
        let circles = read.circles();
        assert!(circles.is_empty(), "{source}: {circles:#?}");
    }
}

#[test]
fn no_line_is_longer_than_100_columns() {
    let mut long = vec![];
    for file in rust_files(root()) {
        let text = fs::read_to_string(&file).expect("it can be read");
        for (number, line) in text.lines().enumerate() {
            // An address can't be wrapped.
            if line.chars().count() > MAX_COLUMNS && !line.contains("https://") {
                long.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn packages_use_every_dependency_that_they_name() {
    let unused = dependencies::unused(root());
    assert!(unused.is_empty(), "{unused:#?}");
}

/// Or else every build of a policy compiles two of them.
#[test]
fn the_macro_parses_with_the_parser_of_wit_bindgen() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("it is there");
    let parser = |package: &str| {
        let found =
            dependencies::locked(&lock, package).find(|name| name.starts_with("wit-parser"));
        found.unwrap_or_else(|| panic!("{package} has no wit-parser"))
    };
    assert_eq!(
        parser("sallyport-policy-macros"),
        parser("wit-bindgen-core")
    );
}

#[test]
fn examples_are_in_packages_that_test_them() {
    let untested = dependencies::untested_examples(root());
    assert!(
        untested.is_empty(),
        "`doctest = false` hides examples: {untested:#?}"
    );
}

#[test]
fn links_between_pages_lead_to_files_and_headings() {
    let broken = links::broken(root());
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_site_has_every_page_of_docs() {
    let unlisted = links::unlisted(root());
    assert!(
        unlisted.is_empty(),
        "not in docs/site/SUMMARY.md: {unlisted:#?}"
    );
}
