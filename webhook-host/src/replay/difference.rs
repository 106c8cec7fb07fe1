//! The differences between two verdicts on one review, rule by rule.
//!
//! Violations are compared by rule, key and field, and by whether they deny; messages are not
//! compared. A changed violation is "newly denied" or "newly allowed" if the answer as a whole
//! changed in the same way, and else one of "other rules".

use crate::record::{Answer, PolicyAnswer};
use sallyport_core::admission::{Found, Opinion, RecordedViolation};
use sallyport_core::manifest::Mode;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// An answer, and the policies' parts in it.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The answer to the API server.
    pub answer: Answer,
    /// The policies' parts, in the order in which they were asked.
    pub policies: Vec<PolicyAnswer>,
    /// The policies without a verdict, because they compare a hashed text.
    pub unrepeatable: Vec<Unrepeatable>,
}

/// A policy that compares a text which was hashed when the review was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrepeatable {
    /// Its name; `sallyport` is the host itself.
    pub policy: String,
    /// The place of the text: a JSON Pointer into the record's review.
    pub place: String,
}

/// The kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// The request was allowed, and is denied now.
    NewlyDenied,
    /// The request was denied, and is allowed now.
    NewlyAllowed,
    /// The answer is the same, for other reasons; or a violation that doesn't deny appeared or
    /// disappeared.
    OtherRules,
    /// The patch changed.
    OtherPatch,
    /// The warnings changed, including those about violations that an update keeps.
    OtherWarnings,
    /// A policy has an evaluation error now, or another one than before, or none any more.
    EvaluationErrors,
    /// Unknown: a policy compares a hashed text.
    CannotBeRepeated,
}

impl Change {
    /// All kinds, in the order of a report.
    pub const ALL: [Self; 7] = [
        Self::NewlyDenied,
        Self::NewlyAllowed,
        Self::OtherRules,
        Self::OtherPatch,
        Self::OtherWarnings,
        Self::EvaluationErrors,
        Self::CannotBeRepeated,
    ];

    /// Returns the words for it in a report.
    pub fn words(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly denied",
            Self::NewlyAllowed => "newly allowed",
            Self::OtherRules => "other rules",
            Self::OtherPatch => "other patch",
            Self::OtherWarnings => "other warnings",
            Self::EvaluationErrors => "evaluation errors",
            Self::CannotBeRepeated => "cannot be repeated",
        }
    }
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its kind.
    pub change: Change,
    /// The policy that causes it; `sallyport` is the host itself.
    pub policy: String,
    /// The rule, such as `S02`; empty if it concerns none.
    pub rule: String,
    /// An explanation for people.
    pub message: String,
}

/// The name of the host, for differences that no policy causes.
pub(super) const HOST: &str = "sallyport";

impl Verdict {
    /// Returns the differences of another verdict on the same review.
    pub fn differences(&self, next: &Self) -> Vec<Difference> {
        let answer_change = AnswerChange::of(&self.answer, &next.answer);
        let unrepeatable: Vec<_> = self.unrepeatable.iter().chain(&next.unrepeatable).collect();
        let is_repeatable = |name: &&str| unrepeatable.iter().all(|of| of.policy != *name);
        let policies = self.policies.iter().chain(&next.policies);
        let names: BTreeSet<&str> = policies.map(|policy| policy.policy.as_str()).collect();
        let of = |name: &str| self.part(name).differences(&next.part(name), answer_change);
        let mut differences: Vec<_> = names
            .into_iter()
            .filter(is_repeatable)
            .flat_map(of)
            .collect();
        if !unrepeatable.is_empty() {
            differences.extend(unrepeatable.into_iter().map(Unrepeatable::difference));
            return differences;
        }
        // The answer changed, and no policy explains that: exemptions, malformed input,
        // break-glass, failurePolicy.
        if answer_change != AnswerChange::Unchanged
            && !differences
                .iter()
                .any(|difference| answer_change.explains(difference.change))
        {
            differences.push(answer_change.difference_by_host(&self.answer, &next.answer));
        }
        differences
    }

    /// Returns a policy's part; an empty one if the policy was not asked.
    fn part(&self, name: &str) -> PolicyAnswer {
        let part = self
            .policies
            .iter()
            .find(|policy| policy.policy == name)
            .cloned();
        part.unwrap_or_else(|| PolicyAnswer {
            policy: name.to_owned(),
            digest: None,
            mode: Mode::default(),
            opinion: Opinion::default(),
        })
    }
}

impl Unrepeatable {
    fn difference(&self) -> Difference {
        let (policy, place) = (self.policy.clone(), &self.place);
        let who = if policy == HOST {
            "an exemption".to_owned()
        } else {
            format!("policy {policy}")
        };
        Difference {
            change: Change::CannotBeRepeated,
            policy,
            rule: String::new(),
            message: format!(
                "{who} compares a hashed field: {place}; record again with these policies and \
                 exemptions"
            ),
        }
    }
}

/// The change of an answer as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerChange {
    ToDenied,
    ToAllowed,
    Unchanged,
}

impl AnswerChange {
    fn of(was: &Answer, is: &Answer) -> Self {
        match (was.allowed, is.allowed) {
            (true, false) => Self::ToDenied,
            (false, true) => Self::ToAllowed,
            _ => Self::Unchanged,
        }
    }

    /// Returns the kind of a violation that appeared.
    fn appeared(self, denies: bool) -> Change {
        if self == Self::ToDenied && denies {
            Change::NewlyDenied
        } else {
            Change::OtherRules
        }
    }

    /// Returns the kind of a violation that disappeared.
    fn disappeared(self, denied: bool) -> Change {
        if self == Self::ToAllowed && denied {
            Change::NewlyAllowed
        } else {
            Change::OtherRules
        }
    }

    fn explains(self, change: Change) -> bool {
        match self {
            Self::ToDenied => matches!(change, Change::NewlyDenied | Change::EvaluationErrors),
            Self::ToAllowed => matches!(change, Change::NewlyAllowed | Change::EvaluationErrors),
            Self::Unchanged => true,
        }
    }

    fn difference_by_host(self, was: &Answer, is: &Answer) -> Difference {
        let (change, answer, word) = match self {
            Self::ToDenied => (Change::NewlyDenied, is, ""),
            _ => (Change::NewlyAllowed, was, "no longer: "),
        };
        let cause = answer.causes.first();
        let exempt = is
            .exemption
            .as_ref()
            .map(|exemption| format!("exempt ({exemption})"));
        let said = cause
            .map(|cause| format!("{word}{}", cause.message))
            .unwrap_or_default();
        Difference {
            change,
            policy: HOST.to_owned(),
            rule: cause.map(|cause| cause.reason.clone()).unwrap_or_default(),
            message: exempt.unwrap_or(said),
        }
    }
}

impl PolicyAnswer {
    fn differences(&self, next: &Self, answer_change: AnswerChange) -> Vec<Difference> {
        if let Some((kind, message)) = fails_otherwise(&self.opinion, &next.opinion) {
            return vec![self.difference(Change::EvaluationErrors, &kind, message)];
        }
        let (was, is) = (&self.opinion, &next.opinion);
        let mut all = self.violations_differ(next, answer_change);
        if was.patch != is.patch {
            let message = format!("{}, was {}", operations(&is.patch), operations(&was.patch));
            all.push(self.difference(Change::OtherPatch, "", message));
        }
        if let Some(message) = warnings(was, is) {
            all.push(self.difference(Change::OtherWarnings, "", message));
        }
        all
    }

    fn violations_differ(&self, next: &Self, answer_change: AnswerChange) -> Vec<Difference> {
        let (old, new) = (self.violations(), next.violations());
        let mut all = vec![];
        for (found, (denies, violation)) in &new {
            if old.get(found).is_none_or(|(denied, _)| !denied && *denies) {
                all.push(self.difference(
                    answer_change.appeared(*denies),
                    &violation.rule,
                    sentence("", violation),
                ));
            }
        }
        for (found, (denied, violation)) in &old {
            if new.get(found).is_none_or(|(denies, _)| *denied && !denies) {
                all.push(self.difference(
                    answer_change.disappeared(*denied),
                    &violation.rule,
                    sentence("no longer: ", violation),
                ));
            }
        }
        all
    }

    fn difference(&self, change: Change, rule: &str, message: String) -> Difference {
        Difference {
            change,
            policy: self.policy.clone(),
            rule: rule.to_owned(),
            message,
        }
    }

    /// Returns the violations by what is compared, with whether they deny.
    fn violations(&self) -> BTreeMap<Found<'_>, (bool, &RecordedViolation)> {
        let denies = self.mode == Mode::Enforce;
        self.opinion
            .violations
            .iter()
            .map(|violation| (violation.found(), (denies, violation)))
            .collect()
    }
}

/// Returns the kind and the sentence of an evaluation error that appeared, changed or disappeared.
fn fails_otherwise(was: &Opinion, is: &Opinion) -> Option<(String, String)> {
    match (&was.error, &is.error) {
        (was, Some(is)) if was.as_ref().is_none_or(|was| was.kind != is.kind) => {
            Some((is.kind.clone(), format!("no verdict: {}", is.message)))
        }
        (Some(was), None) => Some((
            was.kind.clone(),
            format!("a verdict again; it was none: {}", was.message),
        )),
        _ => None,
    }
}

fn sentence(word: &str, violation: &RecordedViolation) -> String {
    let place = if violation.field.is_empty() {
        String::new()
    } else {
        format!("{}: ", violation.field)
    };
    format!("{word}{place}{}", violation.message)
}

fn operations(patch: &[Value]) -> String {
    if patch.is_empty() {
        "no patch".to_owned()
    } else {
        Value::from(patch).to_string()
    }
}

/// Returns the first warning that only one of them has.
fn warnings(was: &Opinion, is: &Opinion) -> Option<String> {
    let lines = |opinion: &Opinion| -> BTreeSet<String> {
        let kept = opinion
            .kept
            .iter()
            .map(|violation| format!("{} {} is kept", violation.rule, violation.field));
        kept.chain(opinion.warnings.iter().cloned()).collect()
    };
    let (old, new) = (lines(was), lines(is));
    let came = new.difference(&old).next().cloned();
    came.or_else(|| {
        old.difference(&new)
            .next()
            .map(|gone| format!("no longer: {gone}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict(allowed: bool, policies: &Value) -> Verdict {
        let policies = serde_json::from_value(policies.clone()).expect("policies");
        Verdict {
            answer: Answer {
                allowed,
                ..Answer::default()
            },
            policies,
            unrepeatable: vec![],
        }
    }

    fn finds(rule: &str, mode: &str) -> Value {
        json!([{"policy": "p", "mode": mode,
            "violations": [{"rule": rule, "field": "spec", "message": "m"}]}])
    }

    fn changes(was: &Verdict, is: &Verdict) -> Vec<(Change, String)> {
        was.differences(is)
            .into_iter()
            .map(|found| (found.change, found.rule))
            .collect()
    }

    #[test]
    fn a_changed_violation_is_named_by_its_effect_on_the_answer() {
        let (clean, a) = (
            verdict(true, &json!([])),
            verdict(false, &finds("A", "Enforce")),
        );
        assert_eq!(changes(&clean, &a), [(Change::NewlyDenied, "A".to_owned())]);
        assert_eq!(
            changes(&a, &clean),
            [(Change::NewlyAllowed, "A".to_owned())]
        );
        assert_eq!(changes(&a, &a), []);
        let b = verdict(false, &finds("B", "Enforce"));
        assert_eq!(
            changes(&a, &b),
            [
                (Change::OtherRules, "B".to_owned()),
                (Change::OtherRules, "A".to_owned())
            ]
        );
    }

    #[test]
    fn a_violation_that_only_warns_now_is_newly_allowed() {
        let (denied, warned) = (
            verdict(false, &finds("A", "Enforce")),
            verdict(true, &finds("A", "Warn")),
        );
        assert_eq!(
            changes(&denied, &warned),
            [(Change::NewlyAllowed, "A".to_owned())]
        );
        assert_eq!(
            changes(&warned, &denied),
            [(Change::NewlyDenied, "A".to_owned())]
        );
    }

    #[test]
    fn patches_warnings_and_errors_are_differences_of_their_own() {
        let says = |part: Value| {
            let mut policy = json!({"policy": "p"});
            policy
                .as_object_mut()
                .expect("an object")
                .extend(part.as_object().expect("an object").clone());
            verdict(true, &json!([policy]))
        };
        let plain = says(json!({}));
        assert_eq!(
            changes(&plain, &says(json!({"warnings": ["w"]}))),
            [(Change::OtherWarnings, String::new())]
        );
        assert_eq!(
            changes(&plain, &says(json!({"patch": [{}]}))),
            [(Change::OtherPatch, String::new())]
        );
        let error = says(json!({"error": {"kind": "trap", "message": "it trapped"}}));
        assert_eq!(
            changes(&plain, &error),
            [(Change::EvaluationErrors, "trap".to_owned())]
        );
        assert_eq!(
            changes(&error, &plain),
            [(Change::EvaluationErrors, "trap".to_owned())]
        );
    }

    #[test]
    fn an_answer_that_no_policy_explains_is_the_hosts() {
        let (was, is) = (verdict(true, &json!([])), verdict(false, &json!([])));
        let found = was.differences(&is);
        assert_eq!(
            (found.len(), found[0].policy.as_str(), found[0].change),
            (1, "sallyport", Change::NewlyDenied)
        );
    }

    #[test]
    fn a_policy_that_compares_a_hashed_text_gets_no_verdict_and_the_others_do() {
        let both = json!([
            {"policy": "p", "mode": "Enforce",
                "violations": [{"rule": "A", "field": "spec", "message": "m"}]},
            {"policy": "q", "mode": "Enforce",
                "violations": [{"rule": "B", "field": "spec", "message": "m"}]},
        ]);
        let place = "/request/object/metadata/annotations/a~1b".to_owned();
        let unrepeatable = vec![Unrepeatable {
            policy: "p".into(),
            place,
        }];
        let is = Verdict {
            unrepeatable,
            ..verdict(false, &both)
        };
        let expected = [
            (Change::NewlyDenied, "B".to_owned()),
            (Change::CannotBeRepeated, String::new()),
        ];
        assert_eq!(changes(&verdict(true, &json!([])), &is), expected);
    }
}
