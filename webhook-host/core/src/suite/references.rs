//! The files that a suite refers to: manifests, components and objects, by paths relative to it.

use crate::decode::DecodeError;
use crate::manifest::{
    API_VERSION, FailurePolicy, Limits, Match, Mode, Module, PolicyExemptions, Reference,
    ServicePolicy, Updates,
};
use crate::yaml;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};

/// The files that suites refer to.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    ///
    /// When there is none, or it is no text.
    fn text(&self, path: &Path) -> io::Result<String>;

    /// The files of a set of manifests: the file itself, or those of a directory.
    ///
    /// # Errors
    ///
    /// When there is nothing at the path.
    fn set(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// The component of a manifest in the directory `beside`.
    ///
    /// # Errors
    ///
    /// A sentence that says where it is not.
    fn component(&self, file: &str, beside: &Path) -> Result<PathBuf, String>;
}

/// The reason why a suite can't be run: a failure of the test run, not of a case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct SuiteError {
    /// The suite's file, or the path that was to hold suites.
    pub path: PathBuf,
    /// The problem, and the fix.
    pub problem: String,
}

impl SuiteError {
    /// An error with its file.
    pub fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// The policy under test: a manifest, a module alone, or a set of manifests; and the differences
/// from the manifest.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct PolicySource {
    /// A file with the policy's ServicePolicy, relative to the suite.
    pub(super) manifest: Option<String>,
    /// The component alone, as `spec.module` of a ServicePolicy names it; the rest of the manifest
    /// has its defaults.
    #[schemars(with = "Option<Module>")]
    pub(super) module: Option<Value>,
    /// A file of several manifests, or a directory of such: the policies are tested together.
    pub(super) set: Option<String>,
    /// Replaces `spec.mode` of the manifest.
    #[schemars(with = "Option<Mode>")]
    mode: Option<Value>,
    /// Replaces `spec.failurePolicy` of the manifest.
    #[schemars(with = "Option<FailurePolicy>")]
    failure_policy: Option<Value>,
    /// Replaces `spec.updates` of the manifest.
    #[schemars(with = "Option<Updates>")]
    updates: Option<Value>,
    /// Replaces `spec.match` of the manifest.
    #[schemars(with = "Option<Match>")]
    r#match: Option<Value>,
    /// Replaces `spec.limits` of the manifest.
    #[schemars(with = "Option<Limits>")]
    limits: Option<Value>,
    /// Replaces `spec.exemptions` of the manifest.
    #[schemars(with = "Option<PolicyExemptions>")]
    exemptions: Option<Value>,
}

impl PolicySource {
    /// Keys that are given replace those of the manifest.
    pub(super) fn lay_over(&self, spec: &mut Value) {
        let keys = [
            ("mode", &self.mode),
            ("failurePolicy", &self.failure_policy),
            ("updates", &self.updates),
            ("match", &self.r#match),
            ("exemptions", &self.exemptions),
            ("limits", &self.limits),
        ];
        for (key, value) in keys {
            if let Some(value) = value {
                spec[key] = value.clone();
            }
        }
    }
}

/// The files that a suite refers to, by paths relative to it.
pub(super) struct References<'a> {
    pub(super) directory: &'a Path,
    pub(super) files: &'a dyn Files,
}

impl References<'_> {
    fn documents(&self, key: &str, file: &Path) -> Result<Vec<Value>, DecodeError> {
        let fail =
            |problem: String| DecodeError::new(key, format!("{}: {problem}", file.display()));
        let text = self
            .files
            .text(file)
            .map_err(|error| fail(error.to_string()))?;
        yaml::documents(&text).map_err(|error| fail(error.to_string()))
    }

    fn document(&self, key: &str, file: &str) -> Result<Value, DecodeError> {
        let path = self.directory.join(file);
        let mut documents = self.documents(key, &path)?;
        match documents.len() {
            1 => Ok(documents.remove(0)),
            count => Err(DecodeError::new(
                key,
                format!("{}: expected one document, found {count}", path.display()),
            )),
        }
    }

    /// The manifests and the components that a policy source names; at least one.
    pub(super) fn policies(
        &self,
        source: &PolicySource,
    ) -> Result<Vec<(Value, Option<PathBuf>)>, DecodeError> {
        let Some(set) = &source.set else {
            return Ok(vec![self.policy(source)?]);
        };
        if source.manifest.is_some() || source.module.is_some() {
            return Err(DecodeError::new(
                "set",
                "excludes manifest and module; keep one of the three",
            ));
        }
        let fail = |problem: String| DecodeError::new("set", problem);
        let path = self.directory.join(set);
        let mut policies = vec![];
        for file in self
            .files
            .set(&path)
            .map_err(|error| fail(format!("{}: {error}", path.display())))?
        {
            for manifest in self.documents("set", &file)? {
                policies.push(self.with_component(
                    manifest,
                    file.parent().unwrap_or(Path::new("")),
                    "set",
                )?);
            }
        }
        if policies.is_empty() {
            return Err(fail(format!("{}: no ServicePolicy here", path.display())));
        }
        Ok(policies)
    }

    /// The manifest and the component that a policy source names.
    pub(super) fn policy(
        &self,
        source: &PolicySource,
    ) -> Result<(Value, Option<PathBuf>), DecodeError> {
        let (manifest, beside, key) = match (&source.manifest, &source.module) {
            (Some(file), None) => {
                let path = self.directory.join(file);
                let beside = path.parent().unwrap_or(Path::new("")).to_owned();
                (self.document("manifest", file)?, beside, "manifest")
            }
            (None, Some(module)) => {
                let name = policy_name(module);
                let manifest = json!({
                    "apiVersion": API_VERSION, "kind": ServicePolicy::KIND,
                    "metadata": {"name": name},
                    "spec": {"module": module},
                });
                (manifest, self.directory.to_owned(), "module")
            }
            _ => {
                let problem = "name the policy: `manifest: policy.yaml` or `module: {file: \
                    policy.wasm}`, not both";
                return Err(DecodeError::new("", problem));
            }
        };
        self.with_component(manifest, &beside, key)
    }

    fn with_component(
        &self,
        manifest: Value,
        beside: &Path,
        key: &str,
    ) -> Result<(Value, Option<PathBuf>), DecodeError> {
        let policy = ServicePolicy::from_value(&manifest)
            .map_err(|error| DecodeError::new(key, error.to_string()))?;
        let file = policy.spec.module.file();
        let component = file.map(|file| self.files.component(file, beside));
        let component = component.transpose();
        Ok((
            manifest,
            component.map_err(|problem| DecodeError::new(key, problem))?,
        ))
    }

    /// The one object in a file; or, of `file#name` and `file#namespace/name`, the one of that
    /// name.
    pub(super) fn object(&self, reference: &str) -> Result<Value, DecodeError> {
        let Some((file, name)) = reference.split_once('#') else {
            return self.document("", reference);
        };
        let documents = self.documents("", &self.directory.join(file))?;
        let is_named = |object: &Value| match name.split_once('/') {
            Some((namespace, name)) => {
                object["metadata"]["namespace"] == namespace && object["metadata"]["name"] == name
            }
            None => object["metadata"]["name"] == name,
        };
        let mut named = documents.into_iter().filter(is_named);
        match (named.next(), named.next()) {
            (Some(object), None) => Ok(object),
            (found, _) => {
                let problem = if found.is_some() {
                    "several objects are"
                } else {
                    "no object is"
                };
                Err(DecodeError::new(
                    "",
                    format!("{file}: {problem} called {name:?}"),
                ))
            }
        }
    }
}

/// Returns the name of a policy whose suite names a module and no manifest: that of the file or of
/// the repository.
fn policy_name(module: &Value) -> String {
    let text = |key: &str| module.get(key).and_then(Value::as_str);
    let file = text("file").unwrap_or_default();
    let name = file.rsplit('/').next().unwrap_or_default();
    let reference = text("oci").and_then(|text| text.parse::<Reference>().ok());
    let repository = reference
        .as_ref()
        .and_then(|reference| reference.repository.path().rsplit('/').next());
    let name = repository.unwrap_or(name.trim_end_matches(".wasm"));
    name.replace('_', "-")
}
