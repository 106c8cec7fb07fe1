//! The Services in files, directories and standard input.

use super::located::{self, Located};
use crate::report::check::Subject;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use wildmatch::WildMatch;

/// Larger files are no manifests.
const LARGEST: u64 = 64 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(in crate::cli) struct Manifests {
    /// Services, each with its file.
    pub(in crate::cli) services: Vec<(String, Located)>,
    /// Files that can't be read.
    pub(in crate::cli) unread: Vec<Subject>,
    /// Namespaces, each with its file: policies may go by their labels.
    pub(in crate::cli) namespaces: Vec<(String, Located)>,
    /// Objects of other kinds.
    pub(in crate::cli) ignored: usize,
    /// Paths that are passed over.
    excluded: Vec<WildMatch>,
}

impl Manifests {
    /// Reads everything under the paths; `-` is standard input.
    pub(in crate::cli) fn read(paths: &[PathBuf]) -> Self {
        Self::read_except(paths, &[])
    }

    /// As [`Manifests::read`], without the paths that match a glob, in which `*` stands for any characters.
    pub(in crate::cli) fn read_except(paths: &[PathBuf], globs: &[String]) -> Self {
        let excluded = globs.iter().map(|glob| WildMatch::new(glob.trim_end_matches('/'))).collect();
        let mut manifests = Self { excluded, ..Self::default() };
        for path in paths {
            if path.as_os_str() == "-" {
                manifests.stdin();
            } else if path.is_dir() && !manifests.excludes(path) {
                manifests.directory(path);
            } else if !manifests.excludes(path) {
                manifests.file(path);
            }
        }
        manifests
    }

    /// By the path as it was named and found, or by its last part.
    fn excludes(&self, path: &Path) -> bool {
        let whole = path.strip_prefix(".").unwrap_or(path).to_string_lossy();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.excluded.iter().any(|glob| glob.matches(&whole) || glob.matches(&name))
    }

    fn stdin(&mut self) {
        let mut text = String::new();
        match io::stdin().take(LARGEST).read_to_string(&mut text) {
            Ok(_) => self.text("<stdin>", &text),
            Err(error) => self.unread.push(Subject::unread("<stdin>", error.to_string())),
        }
    }

    fn directory(&mut self, path: &Path) {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unread.push(Subject::unread(&path.display().to_string(), error.to_string())),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if self.excludes(&path) {
                continue;
            }
            // Symbolic links to directories are not followed: they make cycles.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.directory(&path);
            } else if path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e))
            {
                self.file(&path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let source = path.display().to_string();
        let text = fs::metadata(path).and_then(|data| match data.len() {
            size if size > LARGEST => Err(io::Error::other(format!("{size} bytes; a manifest has at most {LARGEST}"))),
            _ => fs::read_to_string(path),
        });
        match text {
            Ok(text) => self.text(&source, &text),
            Err(error) => self.unread.push(Subject::unread(&source, error.to_string())),
        }
    }

    fn text(&mut self, source: &str, text: &str) {
        match located::documents(text) {
            Ok(documents) => documents.into_iter().for_each(|document| self.document(source, document)),
            Err(error) => self.unread.push(Subject::unread(source, error.to_string())),
        }
    }

    fn document(&mut self, source: &str, document: Located) {
        let text = |key: &str| document.get(key).and_then(|value| value.value().as_str().map(str::to_owned));
        match (text("apiVersion").as_deref(), text("kind").as_deref()) {
            (Some("v1"), Some("Service")) => self.services.push((source.to_owned(), document)),
            (Some("v1"), Some("List" | "ServiceList")) => {
                let items = document.into_member("items").map(Located::into_items).unwrap_or_default();
                items.into_iter().for_each(|item| self.document(source, item));
            }
            (Some("v1"), Some("Namespace")) => self.namespaces.push((source.to_owned(), document)),
            _ if document.value().is_object() => self.ignored += 1,
            _ => {
                let found = crate::decode::describe(&document.value());
                let problem = format!("expected objects of Kubernetes, found {found}");
                self.unread.push(Subject { line: document.line(), ..Subject::unread(source, problem) });
            }
        }
    }
}
