//! Finds and reads suites with the manifests that they name. The components themselves are read by
//! the runner, once a setup.

use super::model::{PolicySource, Suite};
use crate::decode::{DecodeError, describe};
use crate::manifest::{API_VERSION, HostConfig, ServicePolicy};
use crate::yaml;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files larger than this are no suites; a typo should not read a disk image.
const MAX_SUITE: u64 = 16 << 20;

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
    pub(super) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Where components are looked for: in the given directory alone; without one, beside the manifest
/// that names the file, where cargo puts it for a crate there, and in `target/policies`.
#[derive(Debug, Clone, Default)]
pub struct ModuleSearch {
    /// `--policies`.
    pub directory: Option<PathBuf>,
}

impl ModuleSearch {
    /// The component of a manifest in `beside`.
    ///
    /// # Errors
    ///
    /// A sentence that names the places where it is not.
    pub fn find(&self, file: &str, beside: &Path) -> Result<PathBuf, String> {
        let places = match &self.directory {
            Some(directory) => vec![directory.clone()],
            None => vec![
                beside.to_owned(),
                beside.join("target/wasm32-unknown-unknown/release"),
                PathBuf::from("target/policies"),
            ],
        };
        let found = places
            .iter()
            .map(|place| place.join(file))
            .find(|path| path.is_file());
        found.ok_or_else(|| {
            let places: Vec<_> = places.iter().map(|place| shown(place)).collect();
            format!(
                "{file} is not in {}; build the policy, or name its directory with --policies",
                places.join(" or ")
            )
        })
    }
}

fn shown(place: &Path) -> String {
    if place.as_os_str().is_empty() {
        ".".to_owned()
    } else {
        place.display().to_string()
    }
}

/// The files that hold suites: a file as given, a directory with all below it.
///
/// The second list has each path that can't be read or holds no suite, and each file that looks
/// like a suite but is none.
pub fn find(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<SuiteError>) {
    let (mut files, mut errors) = (vec![], vec![]);
    for path in paths {
        if path.is_file() {
            files.push(path.clone());
            continue;
        }
        let before = files.len() + errors.len();
        if let Err(error) = walk(path, &mut files, &mut errors) {
            errors.push(SuiteError::new(path, error.to_string()));
        }
        if files.len() + errors.len() == before {
            errors.push(SuiteError::new(
                path,
                "no suites here; a suite is a .yaml file with `kind: Suite`",
            ));
        }
    }
    files.sort();
    files.dedup();
    (files, errors)
}

fn walk(
    directory: &Path,
    files: &mut Vec<PathBuf>,
    errors: &mut Vec<SuiteError>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Symbolic links to directories are not followed: they make cycles.
        if entry.file_type()?.is_dir() {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if !hidden && entry.file_name() != "target" {
                walk(&path, files, errors)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            match holds_suite(&path) {
                Ok(true) => files.push(path),
                Ok(false) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    Ok(())
}

/// Other YAML may lie beside suites; but what is ours and no known kind is a suite with a typo.
fn holds_suite(path: &Path) -> Result<bool, SuiteError> {
    let documents =
        yaml::documents(&text(path)?).map_err(|error| SuiteError::new(path, error.to_string()))?;
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
pub fn read(path: &Path, search: &ModuleSearch) -> Result<Suite, SuiteError> {
    let text = text(path)?;
    let documents =
        yaml::documents(&text).map_err(|error| SuiteError::new(path, error.to_string()))?;
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
    let resolve = Files {
        directory: path.parent().unwrap_or(Path::new("")),
        search,
    };
    Suite::parse(path.to_owned(), text.clone(), document, &resolve)
}

fn text(path: &Path) -> Result<String, SuiteError> {
    let fail = |error: io::Error| SuiteError::new(path, error.to_string());
    let size = fs::metadata(path).map_err(fail)?.len();
    if size > MAX_SUITE {
        return Err(SuiteError::new(
            path,
            format!("{size} bytes; a suite has at most {MAX_SUITE}"),
        ));
    }
    fs::read_to_string(path).map_err(fail)
}

/// What a suite refers to, by paths relative to it.
pub(super) struct Files<'a> {
    directory: &'a Path,
    search: &'a ModuleSearch,
}

impl Files<'_> {
    fn documents(&self, key: &str, file: &Path) -> Result<Vec<Value>, DecodeError> {
        let fail =
            |problem: String| DecodeError::new(key, format!("{}: {problem}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| fail(error.to_string()))?;
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
        for file in
            manifest_files(&path).map_err(|error| fail(format!("{}: {error}", path.display())))?
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
        let component = self.search.find(&policy.spec.module.file, beside);
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

/// The manifests of a set: a file as given, or those of a directory. A kustomization beside them is
/// kustomize's.
fn manifest_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = vec![];
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_manifest = file
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml");
        if is_manifest && file.file_stem().is_none_or(|stem| stem != "kustomization") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicy\nmetadata: \
        {name: p}\nspec: {module: {file: p.wasm}}\n";
    const HEAD: &str = "apiVersion: sallyport.dev/v1alpha1\nkind: Suite\nmetadata: {name: \
        s}\nspec:\n  policy: {manifest: p.yaml}\n";
    const CASE: &str = "  - name: a\n    object: {}\n    expect: {allowed: true}\n";

    fn directory(suite: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a place to write");
        for (name, text) in [("p.yaml", MANIFEST), ("p.wasm", ""), ("suite.yaml", suite)] {
            fs::write(directory.path().join(name), text).expect("writable");
        }
        directory
    }

    fn read_suite(suite: &str) -> Result<Suite, String> {
        let directory = directory(suite);
        read(
            &directory.path().join("suite.yaml"),
            &ModuleSearch::default(),
        )
        .map_err(|error| error.problem)
    }

    #[test]
    fn a_directory_holds_its_suites_and_a_typo_in_kind_is_no_other_file() {
        let (files, errors) = find(&[directory(&format!("{HEAD}  cases:\n{CASE}"))
            .path()
            .to_owned()]);
        assert_eq!((files.len(), errors), (1, vec![]));
        let (files, errors) = find(&[directory(&HEAD.replace("Suite", "Suit")).path().to_owned()]);
        assert!(files.is_empty());
        assert!(
            errors[0]
                .problem
                .starts_with("kind: found string \"Suit\"; use one of Suite"),
            "{errors:?}"
        );
    }

    #[test]
    fn a_path_without_suites_is_an_error() {
        let directory = tempfile::tempdir().expect("a place to write");
        let (files, errors) = find(&[directory.path().to_owned()]);
        assert!(files.is_empty());
        assert!(
            errors[0].problem.starts_with("no suites here"),
            "{errors:?}"
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
        let directory = directory("");
        let other = MANIFEST.replace("name: p", "name: q");
        fs::create_dir(directory.path().join("set")).expect("made");
        fs::write(
            directory.path().join("set/both.yaml"),
            format!("{MANIFEST}---\n{other}"),
        )
        .expect("written");
        fs::write(
            directory.path().join("set/kustomization.yaml"),
            "resources: [both.yaml]",
        )
        .expect("written");
        let search = ModuleSearch {
            directory: Some(directory.path().to_owned()),
        };
        let read = |spec: &str| {
            let suite = HEAD.replace("  policy: {manifest: p.yaml}\n", spec);
            fs::write(
                directory.path().join("suite.yaml"),
                format!("{suite}  cases:\n{CASE}"),
            )
            .expect("written");
            let suite = super::read(&directory.path().join("suite.yaml"), &search)
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
        let directory = directory("");
        let objects = "metadata: {name: a, namespace: one}\n---\nmetadata: {name: a, namespace: \
            two}\n---\nmetadata: {name: b}\n";
        fs::write(directory.path().join("objects.yaml"), objects).expect("written");
        let search = ModuleSearch::default();
        let files = Files {
            directory: directory.path(),
            search: &search,
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
