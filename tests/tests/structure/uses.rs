//! Reads the dependencies between the files of a crate from their `crate::`, `super::` and `self::`
//! paths. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules of a crate by path, such as `server::peer`, each with the modules that it uses.
pub(crate) struct Crate {
    pub(crate) uses: BTreeMap<String, BTreeSet<String>>,
}

impl Crate {
    /// Reads a crate's `src`.
    pub(crate) fn read(source: &Path) -> Self {
        let texts: BTreeMap<String, String> = super::rust_files(source)
            .iter()
            .map(|file| {
                let text = fs::read_to_string(file).expect("it can be read");
                (module(source, file), code(&text))
            })
            .collect();
        let uses = texts.iter().map(|(module, text)| {
            let used = paths(text)
                .into_iter()
                .filter_map(|path| resolve(module, &path, &texts))
                .filter(|used| used != module)
                .collect();
            (module.clone(), used)
        });
        // The root only declares the others.
        Self {
            uses: uses.filter(|(module, _)| !module.is_empty()).collect(),
        }
    }

    /// Returns groups of modules that use each other, directly or through others.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<&str>> {
        let mut circles: Vec<BTreeSet<&str>> = vec![];
        for module in self.uses.keys() {
            let below = self.reachable(module);
            let circle: BTreeSet<_> = below
                .iter()
                .copied()
                .filter(|other| self.reachable(other).contains(module.as_str()))
                .collect();
            if circle.contains(module.as_str()) && !circles.contains(&circle) {
                circles.push(circle);
            }
        }
        circles
    }

    fn reachable<'a>(&'a self, from: &str) -> BTreeSet<&'a str> {
        let (mut found, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for used in self.uses.get(module).into_iter().flatten() {
                if found.insert(used.as_str()) {
                    next.push(used);
                }
            }
        }
        found
    }
}

/// Returns the module path of a file: `server::peer` for `src/server/peer.rs`, nothing for the
/// root.
fn module(source: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(source).expect("it lies in the source");
    let relative = relative.with_extension("");
    let parts = relative.iter().filter_map(|part| part.to_str());
    let parts: Vec<_> = parts
        .filter(|part| !matches!(*part, "mod" | "lib" | "main"))
        .collect();
    parts.join("::")
}

/// Returns the text without comments and without the tests at its end.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {");
    let text = &text[..end.unwrap_or(text.len())];
    let lines = text
        .lines()
        .map(|line| line.find("//").map_or(line, |comment| &line[..comment]));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns every path that starts at the root, at the parent or at the module; paths in braces are
/// expanded.
fn paths(text: &str) -> Vec<String> {
    let mut found = vec![];
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            let is_within =
                before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$'));
            if !is_within {
                expand("", &text[at..], &mut found);
            }
        }
    }
    found
}

/// Adds the paths at the start of a text, each below `prefix`.
fn expand(prefix: &str, text: &str, found: &mut Vec<String>) {
    let text = text.trim_start();
    let name_ends = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(name_ends);
    if !name.is_empty() {
        let path = [prefix, name].join(if prefix.is_empty() { "" } else { "::" });
        match rest.strip_prefix("::") {
            Some(rest) => expand(&path, rest, found),
            None => found.push(path),
        }
    } else if let Some(list) = text.strip_prefix('{') {
        for item in items(list) {
            expand(prefix, item, found);
        }
    }
}

/// Splits a list in braces whose opening brace is gone.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, vec![]);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

/// Returns the module that a path of `module` leads into; `None` for the root.
fn resolve(module: &str, path: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    for part in path.split("::") {
        match part {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            name => base.push(name),
        }
    }
    while !base.is_empty() && !modules.contains_key(&base.join("::")) {
        base.pop();
    }
    (!base.is_empty()).then(|| base.join("::"))
}

#[test]
fn paths_in_braces_are_read_one_by_one() {
    let text = "use crate::a::{self, b::{C, d}, E};\nlet x = super::f();\n$crate::no";
    assert_eq!(
        paths(text),
        [
            "crate::a::self",
            "crate::a::b::C",
            "crate::a::b::d",
            "crate::a::E",
            "super::f"
        ]
    );
}
