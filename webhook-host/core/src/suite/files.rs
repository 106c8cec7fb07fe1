//! Reads a suite with the manifests that it names.
//!
//! The caller says where files are: on disk for the command line, in memory elsewhere. The
//! components themselves are loaded by the runner, once a setup.

use super::model::Suite;
use super::references::{Files, References, SuiteError};
use crate::decode::describe;
use crate::manifest::{API_VERSION, HostConfig, ServicePolicy};
use crate::yaml;
use serde_json::Value;
use std::path::Path;

/// Returns true if a file holds a suite. Other YAML may lie beside suites.
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
        let known = [Suite::KIND, ServicePolicy::KIND, HostConfig::KIND];
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

/// Returns the command of `spec.build`. Reads nothing else, so that it works before the component
/// is
/// built; [`parse`] finds what is wrong with the rest.
pub fn build_command(text: &str) -> Option<String> {
    let documents = yaml::documents(text).ok()?;
    let suite = documents.iter().find(|document| Suite::is(document))?;
    Some(suite.pointer("/spec/build")?.as_str()?.to_owned())
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
            format!("kind: expected {}, found {found}", Suite::KIND),
        ));
    }
    let references = References {
        directory: path.parent().unwrap_or(Path::new("")),
        files,
    };
    Suite::parse(path.to_owned(), text.to_owned(), document, &references)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::io;
    use std::path::PathBuf;

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
    fn the_build_command_is_read_before_the_component_is_there() {
        let suite = format!("{HEAD}  build: make\n  cases:\n{CASE}");
        let suite = suite.replace("p.yaml", "missing.yaml");
        assert_eq!(build_command(&suite).as_deref(), Some("make"));
        assert_eq!(build_command(HEAD), None);
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
    fn a_case_changes_single_settings() {
        let read = |head: &str, case: &str| {
            let case = CASE.replacen('\n', &format!("\n{case}"), 1);
            let set = Memory::new(&[("p.yaml", MANIFEST)]);
            let suite = format!("{head}  cases:\n{case}");
            parse(Path::new("suite.yaml"), &suite, &set).map_err(|error| error.problem)
        };
        let settings = |case: &str| {
            let head = format!("{HEAD}  settings: {{a: {{b: 1, c: 2}}, d: 3}}\n");
            let suite = read(&head, case).expect("valid");
            let policy = &suite.cases[0].setup.policies[0];
            Value::Object(policy.manifest.spec.settings.clone())
        };
        assert_eq!(
            settings("    settingsPatch: {a: {b: 5}, d: null}\n"),
            json!({"a": {"b": 5, "c": 2}})
        );
        assert_eq!(
            settings("    settings: {d: 4}\n    settingsPatch: {e: 5}\n"),
            json!({"d": 4, "e": 5})
        );
        let set = HEAD.replace("manifest: p.yaml", "set: p.yaml");
        let problem = read(&set, "    settingsPatch: {a: 1}\n").err();
        assert!(
            problem.is_some_and(|text| text.contains("cases[0].settingsPatch: the policies of a"))
        );
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
