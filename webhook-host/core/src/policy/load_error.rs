//! The reasons why a policy can't be used, for people and for programs: each problem with the part
//! of the manifest that it is about.
//!
//! Invariant: texts that a component chose are shortened before they get here, and the number of
//! problems is limited.

use crate::component::ComponentError;
use crate::contract::verdict::SettingsError;
use crate::decode::{DecodeError, join};
use crate::excerpt::{MAX_MESSAGE, cut, excerpt};
use crate::manifest::{Candidate, Module};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Problems of one policy's settings that are reported one by one.
const MAX_PROBLEMS: usize = 20;

/// Bytes of one problem of a component: its names and its own words may be a mebibyte.
const MAX_PROBLEM: usize = 2 << 10;

/// The reasons why a policy can't be used: one problem or more. Displays with the place of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    problems: Vec<Problem>,
    manifest: Option<String>,
    module: Option<ModulePlace>,
    candidate: Option<Stated>,
}

/// Where the component is, by the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModulePlace {
    /// The field of the manifest.
    field: &'static str,
    /// The file with its directory, or the reference.
    shown: String,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The part of the policy that is at fault.
    pub subject: Subject,
    /// The value found, the values allowed, and the fix.
    pub message: String,
}

/// A part of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The component.
    Component,
    /// The settings: a path from their root, empty for the settings as a whole.
    Settings(String),
    /// Another field of the manifest: a path from its root.
    Field(String),
}

/// The fields that a candidate states itself; the others are the live policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stated {
    module: bool,
    settings: bool,
}

impl LoadError {
    /// Creates the error of a problem in the component.
    pub fn component(message: impl Into<String>) -> Self {
        Self::new(Subject::Component, shortened(message.into()))
    }

    /// Creates the error of a problem in a field of the manifest, such as `spec.limits.memory`.
    pub fn field(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Subject::Field(path.into()), message)
    }

    /// Creates the error of a problem in the settings as a whole.
    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(Subject::Settings(String::new()), message)
    }

    fn new(subject: Subject, message: impl Into<String>) -> Self {
        Self::from(vec![Problem {
            subject,
            message: message.into(),
        }])
    }

    /// Says where the component is: the field of the manifest, and what it led to.
    #[must_use]
    pub fn in_module(self, module: &Module, shown: impl Into<String>) -> Self {
        let place = ModulePlace {
            field: module.field(),
            shown: shown.into(),
        };
        Self {
            module: Some(place),
            ..self
        }
    }

    /// Says that the policy is a candidate. The fields that the candidate states itself are named
    /// below `spec.candidate`.
    #[must_use]
    pub fn in_candidate(self, stated: &Candidate) -> Self {
        let stated = Stated {
            module: stated.module.is_some(),
            settings: stated.settings.is_some(),
        };
        Self {
            candidate: Some(stated),
            ..self
        }
    }

    /// Says which file or object the manifest is.
    #[must_use]
    pub fn in_manifest(self, manifest: impl Into<String>) -> Self {
        Self {
            manifest: Some(manifest.into()),
            ..self
        }
    }

    /// Its problems; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the problems alone, without file or candidate.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Its problems as a user finds them: path in the manifest, empty where none is known, and
    /// message.
    pub fn places(&self) -> impl Iterator<Item = (String, String)> {
        self.problems.iter().map(|problem| self.place(problem))
    }

    /// Its problems with paths from the settings' root, when it is the settings that are at fault.
    pub fn of_settings(&self) -> Option<String> {
        let texts = self.problems.iter().map(|problem| match &problem.subject {
            Subject::Settings(path) if path.is_empty() => {
                Some(format!("{SETTINGS}: {}", problem.message))
            }
            Subject::Settings(path) => Some(format!("{path}: {}", problem.message)),
            _ => None,
        });
        Some(texts.collect::<Option<Vec<_>>>()?.join("; "))
    }

    fn place(&self, problem: &Problem) -> (String, String) {
        let (path, message) = match (&problem.subject, &self.module) {
            (Subject::Component, Some(ModulePlace { field, shown })) => {
                ((*field).to_owned(), format!("{shown} {}", problem.message))
            }
            (Subject::Component, None) => (String::new(), problem.message.clone()),
            (Subject::Settings(path), _) => (join(SETTINGS, path), problem.message.clone()),
            (Subject::Field(path), _) => (path.clone(), problem.message.clone()),
        };
        let Some(stated) = self.candidate else {
            return (path, message);
        };
        let is_own = match &problem.subject {
            Subject::Component => stated.module && self.module.is_some(),
            Subject::Settings(_) => stated.settings,
            Subject::Field(path) => stated.module && path.starts_with(MODULE),
        };
        match path.strip_prefix("spec.") {
            Some(rest) if is_own => (join(CANDIDATE, rest), message),
            _ => (CANDIDATE.to_owned(), placed(&path, &message)),
        }
    }
}

const MODULE: &str = "spec.module";
const SETTINGS: &str = "spec.settings";
const CANDIDATE: &str = "spec.candidate";

fn placed(path: &str, message: &str) -> String {
    if path.is_empty() {
        return message.to_owned();
    }
    format!("{path}: {message}")
}

/// Cuts a text that is too long to be logged or shown.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_PROBLEM {
        text.truncate(text.floor_char_boundary(MAX_PROBLEM));
        text.push('…');
    }
    text
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (path, message)) in self.places().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            if let Some(manifest) = &self.manifest {
                write!(f, "{manifest}: ")?;
            }
            f.write_str(&placed(&path, &message))?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

impl From<Vec<Problem>> for LoadError {
    /// Makes an error of problems, with neither file nor candidate named yet.
    fn from(problems: Vec<Problem>) -> Self {
        Self {
            problems,
            manifest: None,
            module: None,
            candidate: None,
        }
    }
}

impl From<ComponentError> for LoadError {
    fn from(error: ComponentError) -> Self {
        Self::component(error.to_string())
    }
}

impl From<DecodeError> for LoadError {
    /// Makes an error for a manifest that can't be read.
    fn from(error: DecodeError) -> Self {
        Self::field(error.path, error.problem)
    }
}

impl From<Vec<DecodeError>> for LoadError {
    /// Makes an error for settings that don't fit their type.
    fn from(errors: Vec<DecodeError>) -> Self {
        Self::several(errors, |error| (error.path, error.problem))
    }
}

impl From<Vec<SettingsError>> for LoadError {
    /// Makes an error for settings that the policy's own `configure` refused.
    fn from(errors: Vec<SettingsError>) -> Self {
        Self::several(errors, |SettingsError { path, message }| {
            let message = cut(&message, MAX_MESSAGE).into_owned();
            (excerpt(&path).into_owned(), message)
        })
    }
}

impl LoadError {
    /// Makes an error of problems of the settings; those beyond [`MAX_PROBLEMS`] are only counted.
    fn several<E>(errors: Vec<E>, part: impl Fn(E) -> (String, String)) -> Self {
        let more = errors.len().saturating_sub(MAX_PROBLEMS);
        let problem = |(path, message)| Problem {
            subject: Subject::Settings(path),
            message,
        };
        let mut problems: Vec<_> = errors
            .into_iter()
            .take(MAX_PROBLEMS)
            .map(|error| problem(part(error)))
            .collect();
        problems.extend((more > 0).then(|| problem((String::new(), format!("and {more} more")))));
        Self::from(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn candidate(value: serde_json::Value) -> Candidate {
        serde_json::from_value(value).expect("a candidate")
    }

    #[test]
    fn a_problem_is_shown_with_its_place() {
        let component = LoadError::component("is empty");
        assert_eq!(component.to_string(), "is empty");
        let file = Module::File("p.wasm".to_owned());
        let component = component.in_module(&file, "p.wasm");
        assert_eq!(component.to_string(), "spec.module.file: p.wasm is empty");
        let reference = Module::Oci("ghcr.io/a/p:1".parse().expect("a reference"));
        let artefact = LoadError::component("is empty").in_module(&reference, "ghcr.io/a/p:1");
        assert_eq!(
            artefact.to_string(),
            "spec.module.oci: ghcr.io/a/p:1 is empty"
        );
        assert_eq!(
            component.in_manifest("p.yaml").to_string(),
            "p.yaml: spec.module.file: p.wasm is empty"
        );
    }

    #[test]
    fn a_candidate_has_its_own_fields_and_the_live_policys() {
        let settings = LoadError::from(vec![DecodeError::new("ranges[0]", "is empty")]);
        assert_eq!(
            settings
                .clone()
                .in_candidate(&candidate(json!({"settings": Map::new()})))
                .to_string(),
            "spec.candidate.settings.ranges[0]: is empty"
        );
        assert_eq!(
            settings
                .in_candidate(&candidate(json!({"module": {"file": "p.wasm"}})))
                .to_string(),
            "spec.candidate: spec.settings.ranges[0]: is empty"
        );
    }

    #[test]
    fn no_more_problems_are_shown_than_anybody_reads() {
        let errors = (0..30).map(|index| DecodeError::new(format!("[{index}]"), "is bad"));
        let error = LoadError::from(errors.collect::<Vec<_>>());
        assert_eq!(error.problems().len(), MAX_PROBLEMS + 1);
        assert!(error.to_string().ends_with("; spec.settings: and 10 more"));
    }

    #[test]
    fn only_problems_of_the_settings_are_the_settings_problems() {
        assert_eq!(LoadError::component("is empty").of_settings(), None);
        assert_eq!(
            LoadError::from(vec![DecodeError::new("a", "is bad")]).of_settings(),
            Some("a: is bad".to_owned())
        );
    }
}
