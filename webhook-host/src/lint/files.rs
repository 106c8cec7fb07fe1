//! The files to check, each read once, with the line of every node.

use crate::sources::load;
use sallyport_core::report::check::{Finding, Level, Subject};
use sallyport_core::yaml::{self, Located};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Larger files are no manifests.
const MAX_FILE: u64 = 16 << 20;

/// One file with its parsed documents.
pub(super) struct File {
    pub(super) path: PathBuf,
    /// True if the user named the file, and false if it was found in a directory.
    pub(super) is_named: bool,
    pub(super) documents: Vec<Located>,
}

impl File {
    /// Returns true for a suite that `serve` runs as a self-test. Other tools have a `suite.yaml`
    /// too.
    pub(super) fn is_suite(&self) -> bool {
        let is = |document: &Located, key, expected: fn(&str) -> bool| {
            let value = document.get(key);
            value.is_some_and(|value| value.value().as_str().is_some_and(expected))
        };
        load::is_suite(&self.path)
            && self.documents.iter().any(|document| {
                is(document, "kind", |kind| kind == "Suite")
                    && is(document, "apiVersion", |version| {
                        version.starts_with("sallyport.dev/")
                    })
            })
    }
}

/// Reads every file under the paths once. Also returns findings about unreadable files.
pub(super) fn find(paths: &[PathBuf]) -> (Vec<File>, Vec<Subject>) {
    let (mut files, mut unread, mut seen) = (vec![], vec![], BTreeSet::new());
    for named in paths {
        visit(named, &mut |path| {
            // Paths may overlap, such as those that git passes to a hook.
            if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned())) {
                return;
            }
            match read(path, path == named) {
                Ok(file) => files.push(file),
                Err(problem) => unread.push(*problem),
            }
        });
    }
    (files, unread)
}

/// Visits the files below a path. Does not follow symbolic links to directories, which make cycles,
/// and skips kustomizations, which list manifests and are none.
fn visit(path: &Path, see: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(path) else {
        return see(path);
    };
    let mut below: Vec<_> = entries.flatten().collect();
    below.sort_by_key(fs::DirEntry::file_name);
    for entry in below {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_list = path.file_stem().is_some_and(|stem| stem == "kustomization");
        let manifest = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        match entry.file_type() {
            _ if hidden => {}
            Ok(kind) if kind.is_dir() => visit(&path, see),
            _ if manifest && !is_list && !path.is_dir() => see(&path),
            _ => {}
        }
    }
}

fn read(path: &Path, is_named: bool) -> Result<File, Box<Subject>> {
    let source = path.display().to_string();
    let text = fs::metadata(path).and_then(|data| match data.len() {
        size if size > MAX_FILE => Err(io::Error::other(format!(
            "{size} bytes; a manifest has at most {MAX_FILE}"
        ))),
        _ => fs::read_to_string(path),
    });
    let text = text
        .map_err(|error| Box::new(Subject::unread(&source, format!("can't be read: {error}"))))?;
    let documents = yaml::located_documents(&text).map_err(|error| {
        let findings = vec![Finding {
            message: error.problem().to_owned(),
            line: error.line(),
            ..Finding::empty(Level::Error)
        }];
        Box::new(Subject {
            line: error.line(),
            findings,
            ..Subject::unread(&source, String::new())
        })
    })?;
    Ok(File {
        path: path.to_owned(),
        is_named,
        documents,
    })
}
