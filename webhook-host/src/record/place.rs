//! The places of a review, and the decision about the text at each of them: kept or hashed.

use super::compared::{Compared, Subjects};
use super::credential;
use super::kept::{KEPT, OBJECT};
use std::fmt::Write as _;

/// A place in the review.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The path as in [`KEPT`]: `object/spec/ports/name`.
    path: String,
    /// The position in the path where its last member begins.
    name: usize,
    /// The JSON Pointer.
    pub(super) pointer: String,
}

impl Place {
    pub(super) fn parent(&self) -> &str {
        self.path[..self.name].trim_end_matches('/')
    }

    pub(super) fn name(&self) -> &str {
        &self.path[self.name..]
    }

    pub(super) fn element(&mut self, index: usize, then: impl FnOnce(&mut Self)) {
        let end = self.pointer.len();
        let _ = write!(self.pointer, "/{index}");
        then(self);
        self.pointer.truncate(end);
    }

    pub(super) fn member(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        let pointer = self.pointer.len();
        let _ = write!(self.pointer, "/{}", escaped(name));
        self.step(name, then);
        self.pointer.truncate(pointer);
    }

    /// Goes to a member and back, without its pointer.
    pub(super) fn step<T>(&mut self, name: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        let (begin, end) = (self.name, self.path.len());
        let done = if self.path == "request" && matches!(name, "object" | "oldObject") {
            let outer = std::mem::replace(&mut self.path, OBJECT.to_owned());
            self.name = 0;
            let done = then(self);
            self.path = outer;
            done
        } else {
            if end > 0 {
                self.path.push('/');
            }
            self.name = self.path.len();
            self.path.push_str(name);
            let done = then(self);
            self.path.truncate(end);
            done
        };
        self.name = begin;
        done
    }
}

/// Returns true if a record keeps the text at a place of the review.
pub(super) fn keeps(place: &Place, text: &str, compared: &Compared, subjects: &Subjects) -> bool {
    let (parent, name) = (place.parent(), place.name());
    let decides = match parent {
        "object/metadata/annotations" => {
            // The annotation with the manifest as it was applied repeats everything.
            (compared.annotation(name) || subjects.annotation(name))
                && !credential::is_named_like_one(name)
        }
        "object/metadata/labels" | "object/spec/selector" => compared.label(name),
        "object/spec" if name == "externalName" => compared.external_name(),
        "object/status/conditions" if name == "message" => compared.condition_messages(),
        "request/userInfo" if name == "uid" => compared.user_uid(),
        "request/userInfo/extra" => {
            compared.user_extra(name) && !credential::is_named_like_one(name)
        }
        "request/userInfo" if matches!(name, "username" | "groups") => {
            return keeps_user(text, compared.user(), subjects);
        }
        // Names may look like credentials, and records are found by them.
        "request" | "object/metadata" if matches!(name, "name" | "namespace" | "uid") => {
            return true;
        }
        _ => KEPT
            .iter()
            .any(|(path, members)| *path == parent && members.contains(&name)),
    };
    decides && !credential::looks_like_one(text)
}

/// Returns true if the name of a user or group stays as it is: it is Kubernetes' own, an exemption
/// names it, or a policy compares names (`is_compared`). One that looks like a credential never
/// stays.
pub(super) fn keeps_user(name: &str, is_compared: bool, subjects: &Subjects) -> bool {
    (is_compared || is_built_in(name) || subjects.name(name)) && !credential::looks_like_one(name)
}

/// Returns true for users and groups of Kubernetes' own, service accounts included.
fn is_built_in(name: &str) -> bool {
    name.starts_with("system:")
}

/// Escapes a key for a JSON Pointer.
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
