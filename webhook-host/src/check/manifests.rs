//! The Services in files, directories and standard input, as `kubectl apply` would find them.
//!
//! What holds something else is counted and left alone. What looks like a Service and is none for
//! `kubectl` is an error: it would pass unjudged otherwise.

use super::likeness;
use crate::report::check::{Finding, Subject};
use crate::report::counted;
use crate::yaml::Located;
use crate::yaml::{Objects, Refused};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use wildmatch::WildMatch;

/// Larger files are no manifests.
const MAX_FILE_SIZE: u64 = 64 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// Services, each with its file.
    pub(crate) services: Vec<(String, Located)>,
    /// Files that can't be read, and what looks like a Service and is none.
    pub(crate) unread: Vec<Subject>,
    /// Namespaces, each with its file: policies may go by their labels.
    pub(crate) namespaces: Vec<(String, Located)>,
    /// Objects of other kinds.
    pub(crate) ignored: usize,
    /// Paths that are passed over.
    excluded: Vec<WildMatch>,
}

impl Manifests {
    /// Reads everything under the paths; `-` is standard input.
    pub(crate) fn read(paths: &[PathBuf]) -> Self {
        Self::read_except(paths, &[])
    }

    /// As [`Manifests::read`], without the paths that match a glob, in which `*` stands for any
    /// characters.
    pub(crate) fn read_except(paths: &[PathBuf], globs: &[String]) -> Self {
        let excluded = globs
            .iter()
            .map(|glob| WildMatch::new(glob.trim_end_matches('/')))
            .collect();
        let mut manifests = Self {
            excluded,
            ..Self::default()
        };
        for path in paths {
            if path.as_os_str() == "-" {
                manifests.bytes("<stdin>", bytes(io::stdin()));
            } else if path.is_dir() && !manifests.excludes(path) {
                manifests.directory(path);
            } else if !manifests.excludes(path) {
                manifests.file(path);
            }
        }
        manifests
    }

    /// Objects of other kinds in words: `1 other object`.
    pub(crate) fn others(&self) -> String {
        counted(self.ignored + self.namespaces.len(), "other object")
    }

    /// By the path as it was named and found, or by its last part.
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
                return self.unread.push(Subject::unread(
                    &path.display().to_string(),
                    error.to_string(),
                ));
            }
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
            } else if path
                .extension()
                .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e))
            {
                self.file(&path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        self.bytes(
            &path.display().to_string(),
            fs::File::open(path).and_then(bytes),
        );
    }

    fn bytes(&mut self, source: &str, bytes: io::Result<Vec<u8>>) {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return self.unread.push(Subject::unread(source, error.to_string())),
        };
        match String::from_utf8(bytes) {
            Ok(text) => self.text(source, &text),
            Err(error) => {
                let read = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + read.iter().filter(|byte| **byte == b'\n').count();
                self.fail(source, line, "not UTF-8; save the file as UTF-8".to_owned());
            }
        }
    }

    fn text(&mut self, source: &str, text: &str) {
        for object in Objects::new(text) {
            match object {
                Ok(object) => self.object(source, object),
                Err(refused) => self.refused(source, &refused),
            }
        }
    }

    fn object(&mut self, source: &str, object: Located) {
        if !object.is_object() {
            let found = crate::decode::describe(&object.value());
            self.fail(
                source,
                object.line(),
                format!("expected objects of Kubernetes, found {found}"),
            );
        } else if likeness::is_service(&object) {
            self.services.push((source.to_owned(), object));
        } else if let Some(problem) = likeness::misnamed(&object) {
            self.fail(source, object.line(), problem);
        } else if likeness::is_namespace(&object) {
            self.namespaces.push((source.to_owned(), object));
        } else {
            self.ignored += 1;
        }
    }

    fn refused(&mut self, source: &str, refused: &Refused) {
        match &refused.node {
            Some(node) if likeness::may_hold_service(node) => {
                let problem = format!("looks like a Service, but {}", refused.error.problem());
                self.fail(source, refused.error.line(), problem);
            }
            Some(node) if node.is_object() => self.ignored += 1,
            Some(_) => self.fail(
                source,
                refused.error.line(),
                format!("this {}", refused.error.problem()),
            ),
            None => self.fail(
                source,
                refused.error.line(),
                refused.error.problem().to_owned(),
            ),
        }
    }

    fn fail(&mut self, source: &str, line: usize, problem: String) {
        let findings = vec![Finding::unjudged(
            "",
            format!("line {line}: {problem}"),
            line,
        )];
        self.unread.push(Subject {
            line,
            findings,
            ..Subject::unread(source, String::new())
        });
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
