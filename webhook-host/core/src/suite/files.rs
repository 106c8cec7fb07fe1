//! Reads a suite with the manifests that it names.
//!
//! The caller says where files are: on disk for the command line, in memory elsewhere. The
//! components themselves are loaded by the runner, once a setup.

use super::model::{PolicySource, Suite};
use crate::decode::{DecodeError, describe};
use crate::manifest::{API_VERSION, HostConfig, ServicePolicy};
use crate::yaml;
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

/// Why a suite can't be run: a failure of the test run, not of a case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct SuiteError {
    /// The suite's file, or the path that was to hold suites.
    pub path: PathBuf,
    /// What is wrong and what to do.
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

/// Whether a file holds a suite. Other YAML may lie beside suites.
///
/// # Errors
///
/// When it can't be read, and when it has our `apiVersion` and no kind that is known, since that is
/// a suite with a typo.
pub fn holds_suite(path: &Path, text: &str) -> Result<bool, SuiteError> {
    let documents =
        yaml::documents(text).map_err(|error| SuiteError::new(path, error.to_string()))?;
    for document in &documents {
        let kind = document.get("kind").unwrap_or(&Value::Null);
        let known = ["Suite", ServicePolicy::KIND, HostConfig::KIND];
        if document["apiVersion"] == API_VERSION
            && !kind.as_str().is_some_and(|kind| known.contains(&kind))
        {
            let found = describe(kind);
            return Err(SuiteError::new(
                path,
                format!("kind: found {found}; use one of {}", known.join(", ")),
            ));
        }
    }
    Ok(documents.iter().any(Suite::is))
}

/// Reads one suite with all that it names.
///
/// # Errors
///
/// The first thing that keeps the suite from being run.
pub fn parse(path: &Path, text: &str, files: &dyn Files) -> Result<Suite, SuiteError> {
    let documents =
        yaml::documents(text).map_err(|error| SuiteError::new(path, error.to_string()))?;
    let [document] = documents.as_slice() else {
        let count = documents.len();
        return Err(SuiteError::new(
            path,
            format!("expected one document, found {count}; give each suite its own file"),
        ));
    };
    if !Suite::is(document) {
        let found = describe(document.get("kind").unwrap_or(&Value::Null));
        return Err(SuiteError::new(
            path,
            format!("kind: expected Suite, found {found}"),
        ));
    }
    let references = References {
        directory: path.parent().unwrap_or(Path::new("")),
        files,
    };
    Suite::parse(path.to_owned(), text.to_owned(), document, &references)
}

/// What a suite refers to, by paths relative to it.
pub(super) struct References<'a> {
    directory: &'a Path,
    files: &'a dyn Files,
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
    ) -> Result<Vec<(Value, PathBuf)>, DecodeError> {
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
    pub(super) fn policy(&self, source: &PolicySource) -> Result<(Value, PathBuf), DecodeError> {
        let (manifest, beside, key) = match (&source.manifest, &source.module) {
            (Some(file), None) => {
                let path = self.directory.join(file);
                let beside = path.parent().unwrap_or(Path::new("")).to_owned();
                (self.document("manifest", file)?, beside, "manifest")
            }
            (None, Some(module)) => {
                let file = module
                    .get("file")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let bare = file.rsplit('/').next().unwrap_or_default();
                let name = bare.trim_end_matches(".wasm").replace('_', "-");
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
    ) -> Result<(Value, PathBuf), DecodeError> {
        let policy = ServicePolicy::from_value(&manifest)
            .map_err(|error| DecodeError::new(key, error.to_string()))?;
        let component = self.files.component(&policy.spec.module.file, beside);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MANIFEST: &str = "apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicy\nmetadata: \
        {name: p}\nspec: {module: {file: p.wasm}}\n";
    const HEAD: &str = "apiVersion: sallyport.dev/v1alpha1\nkind: Suite\nmetadata: {name: \
        s}\nspec:\n  policy: {manifest: p.yaml}\n";
    const CASE: &str = "  - name: a\n    object: {}\n    expect: {allowed: true}\n";

    /// Files in memory.
    struct Memory(BTreeMap<PathBuf, String>);

    impl Memory {
        fn new(files: &[(&str, &str)]) -> Self {
            let file = |(path, text): &(&str, &str)| (path.into(), (*text).to_owned());
            Self(files.iter().map(file).collect())
        }
    }

    impl Files for Memory {
        fn text(&self, path: &Path) -> io::Result<String> {
            let text = self.0.get(path).cloned();
            text.ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn set(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
            let files = self.0.keys().filter(|file| file.starts_with(path));
            match files.cloned().collect::<Vec<_>>() {
                files if files.is_empty() => Err(io::ErrorKind::NotFound.into()),
                files => Ok(files),
            }
        }

        fn component(&self, file: &str, beside: &Path) -> Result<PathBuf, String> {
            Ok(beside.join(file))
        }
    }

    fn read_suite(suite: &str) -> Result<Suite, String> {
        let files = Memory::new(&[("p.yaml", MANIFEST)]);
        parse(Path::new("suite.yaml"), suite, &files).map_err(|error| error.problem)
    }

    #[test]
    fn a_typo_in_kind_is_no_other_file() {
        let path = Path::new("suite.yaml");
        let suite = format!("{HEAD}  cases:\n{CASE}");
        assert_eq!(holds_suite(path, &suite), Ok(true));
        assert_eq!(holds_suite(path, "kind: Service"), Ok(false));
        let error = holds_suite(path, &suite.replace("Suite", "Suit")).expect_err("a typo");
        assert!(
            error
                .problem
                .starts_with("kind: found string \"Suit\"; use one of Suite"),
            "{error}"
        );
    }

    #[test]
    fn what_would_prove_nothing_is_an_error_with_its_place() {
        for (cases, expected) in [
            ("  cases: []\n".to_owned(), "spec.cases: empty"),
            (
                format!("  cases:\n{CASE}{CASE}"),
                "spec.cases[1].name: \"a\" stands twice",
            ),
            (
                format!("  cases:\n{CASE}    expected: {{}}\n"),
                "spec.cases[0]: unknown key \"expected\" (did you mean \"expect\"?)",
            ),
            (
                "  cases:\n  - name: a\n    expect: {allowed: true}\n".to_owned(),
                "line 7: spec.cases[0].object: required, but missing",
            ),
            (
                format!("  cases:\n{CASE}    policy: {{mode: enforce}}\n"),
                "line 7: spec.cases[0].policy.spec.mode: ",
            ),
        ] {
            let problem = read_suite(&format!("{HEAD}{cases}")).expect_err(expected);
            assert!(problem.starts_with(expected), "{problem}\n{expected}");
        }
    }

    #[test]
    fn a_set_is_a_file_or_a_directory_and_has_its_own_settings() {
        let both = format!("{MANIFEST}---\n{}", MANIFEST.replace("name: p", "name: q"));
        let files = Memory::new(&[("p.yaml", MANIFEST), ("set/both.yaml", &both)]);
        let read = |spec: &str| {
            let head = HEAD.replace("  policy: {manifest: p.yaml}\n", spec);
            let suite = parse(
                Path::new("suite.yaml"),
                &format!("{head}  cases:\n{CASE}"),
                &files,
            )
            .map_err(|error| error.problem)?;
            Ok::<_, String>(suite.cases[0].setup.policies.len())
        };
        assert_eq!(read("  policy: {set: set}\n"), Ok(2));
        assert_eq!(read("  policy: {set: set/both.yaml}\n"), Ok(2));
        for (spec, expected) in [
            (
                "  policy: {set: set, manifest: p.yaml}\n",
                "spec.policy.set: excludes manifest and module",
            ),
            ("  policy: {set: nowhere}\n", "spec.policy.set: "),
            (
                "  policy: {set: set}\n  settings: {a: 1}\n",
                "line 8: spec.cases[0].settings: the policies of a set",
            ),
        ] {
            let problem = read(spec).expect_err(expected);
            assert!(problem.starts_with(expected), "{problem}\n{expected}");
        }
    }

    #[test]
    fn an_object_is_named_by_its_file_and_its_name() {
        let objects = "metadata: {name: a, namespace: one}\n---\nmetadata: {name: a, namespace: \
            two}\n---\nmetadata: {name: b}\n";
        let files = References {
            directory: Path::new(""),
            files: &Memory::new(&[("objects.yaml", objects)]),
        };
        let problem = |reference| files.object(reference).expect_err("not one").problem;
        assert_eq!(
            files.object("objects.yaml#b").expect("one")["metadata"]["name"],
            "b"
        );
        assert_eq!(
            files.object("objects.yaml#two/a").expect("one")["metadata"]["namespace"],
            "two"
        );
        assert_eq!(
            problem("objects.yaml#a"),
            "objects.yaml: several objects are called \"a\""
        );
        assert_eq!(
            problem("objects.yaml#c"),
            "objects.yaml: no object is called \"c\""
        );
        assert!(problem("objects.yaml").ends_with("expected one document, found 3"));
    }

    #[test]
    fn an_expectation_that_holds_whatever_happens_fails_its_case() {
        for (expect, silent) in [
            ("{allowed: true}", false),
            ("{}", true),
            ("{violations: []}", true),
            ("{allowed: false}", true),
            ("{allowed: false, violations: [{}]}", true),
            ("{allowed: true, patch: []}", true),
            ("{exempt: whatever}", true),
            ("{exempt: operation}", false),
            ("{settingsError: x, allowed: true}", true),
        ] {
            let suite = read_suite(&format!(
                "{HEAD}  cases:\n  - name: a\n    object: {{}}\n    expect: {expect}\n"
            ));
            assert_eq!(
                suite.expect("valid").cases[0].silence.is_some(),
                silent,
                "{expect}"
            );
        }
    }

    #[test]
    fn raw_text_reaches_the_body_untouched() {
        let case = "  cases:\n  - name: a\n    rawObject: '{\"a\":1,\"a\":2}'\n    expect: \
            {allowed: true}\n";
        let body = read_suite(&format!("{HEAD}{case}")).expect("valid").cases[0].review_body();
        let body = String::from_utf8(body).expect("text");
        assert!(
            body.ends_with(r#""object":{"a":1,"a":2},"oldObject":null}}"#),
            "{body}"
        );
    }
}
