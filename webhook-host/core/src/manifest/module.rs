//! `spec.module` of a ServicePolicy: where the component is.
//!
//! Invariant: a module names one place, a file beside the policies or an artefact of a registry.

use super::names::bare_file_name;
use super::reference::Reference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where the component is. Displays as the user wrote it: the file's name, or the reference.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
pub enum Module {
    /// A bare file name inside the directory of the policies.
    File(String),
    /// An artefact of an OCI registry.
    Oci(Reference),
}

impl Module {
    /// Returns the path of what was written, from the manifest's root.
    pub fn field(&self) -> &'static str {
        match self {
            Self::File(_) => "spec.module.file",
            Self::Oci(_) => "spec.module.oci",
        }
    }

    /// Returns the file's name, when the component is a file.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::File(file) => Some(file),
            Self::Oci(_) => None,
        }
    }

    /// Returns the reference, when the component is in a registry.
    pub fn oci(&self) -> Option<&Reference> {
        match self {
            Self::File(_) => None,
            Self::Oci(reference) => Some(reference),
        }
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Oci(reference) => reference.fmt(f),
        }
    }
}

/// Where the component is: a file beside the policies, or an artefact of a registry.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Module", extend("x-kubernetes-validations" = [{
    "rule": "has(self.file) != has(self.oci)",
    "message": "name one place: file, in the directory of the policies, or oci, in a registry",
}]))]
pub(super) struct Written {
    /// A bare file name inside the directory of the policies.
    #[serde(
        default,
        deserialize_with = "file_name",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "String", length(max = 255), extend("x-kubernetes-validations" = [{
        "rule": "self != '' && !self.startsWith('.') && !self.contains('/') && \
         !self.contains('\\\\')",
        "message": "this is no bare file name; name a file in the directory of the policies, such \
         as policy.wasm",
    }]))]
    file: Option<String>,
    /// An artefact of an OCI registry: registry/repository:tag@sha256:…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "String",
        length(max = Reference::MAX_LENGTH),
        regex(pattern = Reference::PATTERN)
    )]
    oci: Option<Reference>,
}

fn file_name<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    bare_file_name(deserializer).map(Some)
}

impl TryFrom<Written> for Module {
    type Error = &'static str;

    fn try_from(Written { file, oci }: Written) -> Result<Self, &'static str> {
        match (file, oci) {
            (Some(file), None) => Ok(Self::File(file)),
            (None, Some(reference)) => Ok(Self::Oci(reference)),
            (Some(_), Some(_)) => Err("it names two places; keep file or oci"),
            (None, None) => Err(
                "it names no component; state file, such as policy.wasm, or oci, such as \
                 registry.example.com/policies/policy:1.0@sha256:…",
            ),
        }
    }
}

impl From<Module> for Written {
    fn from(module: Module) -> Self {
        let (file, oci) = match module {
            Module::File(file) => (Some(file), None),
            Module::Oci(reference) => (None, Some(reference)),
        };
        Self { file, oci }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use serde_json::{Value, json};

    fn read(value: &Value) -> Result<Module, String> {
        decode::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_module_names_one_place_and_is_written_as_it_was_read() {
        for value in [
            json!({"file": "p.wasm"}),
            json!({"oci": "ghcr.io/acme/p:1.0"}),
        ] {
            let module = read(&value).expect("valid");
            assert_eq!(serde_json::to_value(&module).expect("JSON"), value);
        }
        let error = read(&json!({"file": "p.wasm", "oci": "ghcr.io/acme/p:1"}));
        assert_eq!(
            error.expect_err("two"),
            "it names two places; keep file or oci"
        );
        let error = read(&json!({})).expect_err("none");
        assert!(
            error.starts_with("it names no component; state file"),
            "{error}"
        );
        let error = read(&json!({"oic": "ghcr.io/acme/p:1"})).expect_err("a typo");
        assert!(error.contains("did you mean \"oci\"?"), "{error}");
    }

    #[test]
    fn an_error_has_the_path_of_its_field() {
        let error = read(&json!({"file": "a/b"})).expect_err("a path");
        assert!(error.starts_with("file: "), "{error}");
        let error = read(&json!({"oci": "acme/p:1"})).expect_err("no registry");
        assert!(error.starts_with("oci: \"acme/p:1\" "), "{error}");
    }
}
