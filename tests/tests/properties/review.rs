//! Requests in the form of an API server's, and the parts of their outcomes that are compared.

use crate::worlds;
use proptest::prelude::*;
use proptest::sample::select;
use sallyport_core::admission::{Function, Outcome};
use sallyport_core::contract::review::Phase;
use sallyport_core::contract::verdict::Violation;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;

pub(crate) const VALIDATE: Function = Function::Validate(Phase::Validating);

/// All functions that can be called.
pub(crate) const FUNCTIONS: [Function; 3] = [
    Function::Mutate,
    Function::Validate(Phase::Mutating),
    Function::Validate(Phase::Validating),
];

/// JSON that prints as JSON in a failure.
#[derive(Clone, PartialEq)]
pub(crate) struct Json(pub(crate) Value);

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The variable part of a review. Prints as the body that is sent.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    pub(crate) status: bool,
    pub(crate) dry_run: bool,
    pub(crate) user: &'static str,
    pub(crate) object: Value,
    pub(crate) old_object: Value,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json())
    }
}

impl Request {
    pub(crate) fn create(object: &Value) -> Self {
        let (object, old_object) = (object.clone(), Value::Null);
        Self {
            operation: "CREATE",
            status: false,
            dry_run: false,
            user: "alice",
            object,
            old_object,
        }
    }

    pub(crate) fn update(old_object: &Value, object: &Value) -> Self {
        Self {
            operation: "UPDATE",
            old_object: old_object.clone(),
            ..Self::create(object)
        }
    }

    pub(crate) fn by(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    pub(crate) fn of(&self, object: Value) -> Self {
        Self {
            object,
            ..self.clone()
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.json().to_string().into_bytes()
    }

    fn json(&self) -> Value {
        let metadata = [&self.object, &self.old_object].map(|object| object.pointer("/metadata"));
        let metadata = metadata
            .into_iter()
            .flatten()
            .next()
            .cloned()
            .unwrap_or_default();
        let text = |key: &str| metadata.get(key).and_then(Value::as_str);
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "5a11b0a7-0000-4000-8000-00000000000b",
                "kind": {"group": "", "version": "v1", "kind": "Service"},
                "resource": {"group": "", "version": "v1", "resource": "services"},
                "subResource": if self.status { "status" } else { "" },
                "name": text("name").unwrap_or_default(),
                "namespace": text("namespace").unwrap_or(worlds::TEAM),
                "operation": self.operation,
                "userInfo": {"username": self.user, "groups": ["system:authenticated"]},
                "object": self.object,
                "oldObject": self.old_object,
                "dryRun": self.dry_run,
            },
        })
    }
}

/// A violation without its index, which moves with its neighbours: policy, rule, field, message.
pub(crate) type ViolationRow = (String, String, String, String);

/// Returns true if the request was allowed, and its sorted violations.
pub(crate) fn verdict(outcome: &Outcome) -> (bool, Vec<ViolationRow>) {
    let violations = outcome.evaluations.iter().flat_map(|evaluation| {
        let violation = |violation: &Violation| {
            let texts = (
                violation.rule.clone(),
                unindexed(&violation.field),
                violation.message.clone(),
            );
            (evaluation.policy.to_string(), texts.0, texts.1, texts.2)
        };
        evaluation.violations.iter().map(violation)
    });
    let mut violations: Vec<_> = violations.collect();
    violations.sort();
    (outcome.response.allowed, violations)
}

/// Removes indexes, as in `spec.ports[].nodePort`; annotations and labels keep their keys.
fn unindexed(field: &str) -> String {
    let mut parts = field.split('[');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        text.push('[');
        text.push_str(if rest.starts_with(']') { rest } else { part });
    }
    text
}

/// Returns the keys that Ratchet compares.
pub(crate) fn keys(outcome: &Outcome) -> BTreeSet<(String, String)> {
    let violations = outcome
        .evaluations
        .iter()
        .flat_map(|evaluation| &evaluation.violations);
    violations
        .map(|violation| (violation.rule.clone(), violation.key.clone()))
        .collect()
}

/// Returns the first evaluation without a verdict.
pub(crate) fn broken(outcome: &Outcome) -> Option<String> {
    outcome.evaluations.iter().find_map(|evaluation| {
        let error = evaluation.error.as_ref()?;
        Some(format!("{}: {error}", evaluation.policy))
    })
}

/// Generates a request of any kind from a pair of objects.
pub(crate) fn requests(objects: BoxedStrategy<(Value, Value)>) -> BoxedStrategy<Request> {
    let operation = select(vec!["CREATE", "UPDATE", "DELETE"]);
    let user = select(vec!["alice", worlds::GRANTER, worlds::WRITER]);
    let old = select(vec!["none", "other", "same"]);
    (objects, operation, any::<bool>(), any::<bool>(), user, old)
        .prop_map(|((object, other), operation, status, dry_run, user, old)| {
            let old_object = match old {
                "none" => Value::Null,
                "other" => other,
                _ => object.clone(),
            };
            Request {
                operation,
                status,
                dry_run,
                user,
                object,
                old_object,
            }
        })
        .boxed()
}
