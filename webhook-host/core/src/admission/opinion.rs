//! The opinion of one policy on one review, as it is recorded and compared.
//!
//! Two opinions are equal if they have the same violations (rule, key, field), the same warnings
//! and the same patch. Messages are not compared, because they may be reworded between versions.
//! Violations are compared before mode is applied, because both sides have the same mode.

use super::mutation;
use super::outcome::Evaluation;
use crate::contract::verdict::Violation;
use crate::excerpt::excerpt;
use crate::policy::EvaluationError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// A policy's part in a review.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Opinion {
    /// Violations that were not ratcheted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<RecordedViolation>,
    /// Violations that the old object has too and that the update may keep (ratchet).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<RecordedViolation>,
    /// The policy's own warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Operations of RFC 6902.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patch: Vec<Value>,
    /// Why there is no opinion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// One violation, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedViolation {
    /// Such as `S02`.
    pub rule: String,
    /// Names the violation by content and not by index.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// JSON path from the Service's root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// For people.
    pub message: String,
}

/// An evaluation error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word, such as `deadline`.
    pub kind: String,
    /// For people.
    pub message: String,
}

/// The difference between the opinions of a next version and of the live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Divergence {
    /// Both say the same.
    Same,
    /// It finds violations where the live one finds none.
    Stricter,
    /// It finds none where the live one does.
    Looser,
    /// Both find some, or both none; but other ones, other warnings, another patch; or the live one
    /// has no opinion.
    Different,
    /// It has no opinion.
    Error,
}

impl Divergence {
    /// Returns a stable word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Stricter => "stricter",
            Self::Looser => "looser",
            Self::Different => "different",
            Self::Error => "error",
        }
    }
}

impl Opinion {
    /// Compares this opinion with that of a next version.
    pub fn diverges(&self, next: &Self) -> Divergence {
        if next.error.is_some() {
            return Divergence::Error;
        }
        match (self.violations.is_empty(), next.violations.is_empty()) {
            _ if self.error.is_some() => Divergence::Different,
            (true, false) => Divergence::Stricter,
            (false, true) => Divergence::Looser,
            _ if self.says() == next.says() => Divergence::Same,
            _ => Divergence::Different,
        }
    }

    /// Summarizes the opinion for a log line: `denies S02 spec.ports[0].nodePort`.
    pub fn summary(&self) -> String {
        if let Some(error) = &self.error {
            return format!("no verdict ({})", error.kind);
        }
        let mut parts = vec![];
        for (word, recorded) in [("denies", &self.violations), ("keeps", &self.kept)] {
            if let Some(first) = recorded.first() {
                let more = if recorded.len() > 1 {
                    format!(" and {} more", recorded.len() - 1)
                } else {
                    String::new()
                };
                let (rule, field) = (excerpt(&first.rule), excerpt(&first.field));
                parts.push(format!("{word} {rule} {field}{more}"));
            }
        }
        parts.extend(
            (!self.warnings.is_empty()).then(|| format!("warns {} times", self.warnings.len())),
        );
        parts.extend(
            (!self.patch.is_empty()).then(|| format!("patches {} times", self.patch.len())),
        );
        if parts.is_empty() {
            "allows".to_owned()
        } else {
            parts.join(", ")
        }
    }

    fn says(
        &self,
    ) -> (
        BTreeSet<Found<'_>>,
        BTreeSet<Found<'_>>,
        &[String],
        &[Value],
    ) {
        (
            RecordedViolation::all(&self.violations),
            RecordedViolation::all(&self.kept),
            &self.warnings,
            &self.patch,
        )
    }
}

/// The part of a violation that is compared: rule, key, field.
pub type Found<'a> = (&'a str, &'a str, &'a str);

impl RecordedViolation {
    fn all(recorded: &[Self]) -> BTreeSet<Found<'_>> {
        recorded.iter().map(Self::found).collect()
    }

    /// Returns the part that is compared.
    pub fn found(&self) -> Found<'_> {
        (&self.rule, &self.key, &self.field)
    }
}

impl From<&Evaluation> for Opinion {
    fn from(evaluation: &Evaluation) -> Self {
        let recorded =
            |violations: &[Violation]| violations.iter().map(RecordedViolation::from).collect();
        // A patch that was applied has a JSON form.
        let operations = evaluation
            .patch
            .iter()
            .filter_map(|operation| mutation::to_json(operation.clone()).ok());
        Self {
            violations: recorded(&evaluation.violations),
            kept: recorded(&evaluation.kept),
            warnings: evaluation.warnings.clone(),
            patch: operations.collect(),
            error: evaluation.error.as_ref().map(Failure::from),
        }
    }
}

impl From<&Violation> for RecordedViolation {
    fn from(violation: &Violation) -> Self {
        let Violation {
            rule,
            key,
            field,
            message,
            ..
        } = violation.clone();
        Self {
            rule,
            key,
            field,
            message,
        }
    }
}

impl From<&EvaluationError> for Failure {
    fn from(error: &EvaluationError) -> Self {
        Self {
            kind: error.kind().to_owned(),
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(rules: &[&str]) -> Opinion {
        let violation = |rule: &&str| RecordedViolation {
            rule: (*rule).to_owned(),
            key: String::new(),
            field: "spec".to_owned(),
            message: "m".to_owned(),
        };
        Opinion {
            violations: rules.iter().map(violation).collect(),
            ..Opinion::default()
        }
    }

    fn fails() -> Opinion {
        let error = Failure {
            kind: "trap".to_owned(),
            message: "it trapped".to_owned(),
        };
        Opinion {
            error: Some(error),
            ..Opinion::default()
        }
    }

    #[test]
    fn opinions_differ_by_what_they_find_and_not_by_order_or_wording() {
        let mut reworded = finds(&["B", "A"]);
        reworded.violations[0].message = "other words".to_owned();
        assert_eq!(finds(&["A", "B"]).diverges(&reworded), Divergence::Same);
        assert_eq!(finds(&[]).diverges(&finds(&["A"])), Divergence::Stricter);
        assert_eq!(finds(&["A"]).diverges(&finds(&[])), Divergence::Looser);
        assert_eq!(
            finds(&["A"]).diverges(&finds(&["A", "B"])),
            Divergence::Different
        );
    }

    #[test]
    fn warnings_and_patches_are_part_of_what_is_said() {
        let warns = Opinion {
            warnings: vec!["w".to_owned()],
            ..Opinion::default()
        };
        let patches = Opinion {
            patch: vec![Value::Null],
            ..Opinion::default()
        };
        assert_eq!(finds(&[]).diverges(&warns), Divergence::Different);
        assert_eq!(finds(&[]).diverges(&patches), Divergence::Different);
    }

    #[test]
    fn a_next_version_without_an_opinion_is_an_error_whatever_the_live_one_says() {
        for live in [finds(&[]), finds(&["A"]), fails()] {
            assert_eq!(live.diverges(&fails()), Divergence::Error);
        }
        assert_eq!(fails().diverges(&finds(&[])), Divergence::Different);
    }
}
