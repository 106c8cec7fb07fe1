//! The Services in manifests, as `kubectl apply` would find them.
//!
//! Objects of other kinds are counted and left alone. An object that looks like a Service and is
//! none for `kubectl` is an error: otherwise it would pass without a review. An object without a
//! kind is an error in a file that the user named; a directory may hold any files.

use super::likeness;
use crate::report::check::{Finding, Subject};
use crate::report::counted;
use crate::yaml::Located;
use crate::yaml::{Objects, Refused};
use std::io;

/// The reason for which a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The user named it, so that each of its objects is meant to be one of Kubernetes.
    Named,
    /// It was found in a directory.
    Found,
}

/// The Services and Namespaces of manifests.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Services, each with its file.
    pub services: Vec<(String, Located)>,
    /// Findings for files that can't be read, and for objects that look like Services and are none.
    pub unread: Vec<Subject>,
    /// Namespaces, each with its file: policies may select by their labels.
    pub namespaces: Vec<(String, Located)>,
    /// Objects of other kinds.
    pub ignored: usize,
}

impl Manifests {
    /// Counts the objects of other kinds in words: `1 other object`.
    pub fn others(&self) -> String {
        counted(self.ignored + self.namespaces.len(), "other object")
    }

    /// Adds the content of a file, or the reason why it could not be read.
    pub fn add(&mut self, source: &str, origin: Origin, bytes: io::Result<Vec<u8>>) {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return self.unread.push(Subject::unread(source, error.to_string())),
        };
        match String::from_utf8(bytes) {
            Ok(text) => self.text(source, origin, &text),
            Err(error) => {
                let read = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + read.iter().filter(|byte| **byte == b'\n').count();
                self.fail(source, line, "not UTF-8; save the file as UTF-8".to_owned());
            }
        }
    }

    fn text(&mut self, source: &str, origin: Origin, text: &str) {
        for object in Objects::new(text) {
            match object {
                Ok(object) => self.object(source, object),
                Err(refused) => self.refused(source, origin, &refused),
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

    fn refused(&mut self, source: &str, origin: Origin, refused: &Refused) {
        match &refused.node {
            Some(node) if likeness::may_hold_service(node) => {
                let problem = format!("looks like a Service, but {}", refused.error.problem());
                self.fail(source, refused.error.line(), problem);
            }
            Some(node) if node.is_object() && origin == Origin::Found => self.ignored += 1,
            Some(node) if node.is_object() => {
                let problem = refused.error.problem();
                let fix = "mend it, or leave the file out";
                self.fail(
                    source,
                    refused.error.line(),
                    format!("this object {problem}; {fix}"),
                );
            }
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
