//! Reviews as lines of JSON: what was asked, what was answered and by whom, and what was known, so
//! that each can be replayed.
//!
//! Written by `server` while it serves, read by `sallyport replay`. Free-form texts are hashed
//! before a line is made (`redaction`). Fields are added, never renamed; readers ignore what they
//! don't know.

mod compared;
mod credential;
mod file;
mod redaction;

pub(crate) use compared::{Compared, Subjects};
pub use file::{LogFile, Rotation};
pub use redaction::{HASHED, HashKey};

use jiff::Timestamp;
use redaction::Redaction;
use sallyport_core::admission::{
    Admission, AdmissionRequest, Cause, Evaluation, Function, Opinion, Outcome,
};
use sallyport_core::contract::review::Phase;
use sallyport_core::contract::service::Pair;
use sallyport_core::inventory::{Excerpt, Inventory};
use sallyport_core::manifest::Mode;
use sallyport_core::policy::Policy;
use sallyport_core::service;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::SystemTime;

/// One review.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When it arrived, as policies saw it.
    #[serde(with = "rfc_3339")]
    pub time: SystemTime,
    /// What was asked.
    pub function: Asked,
    /// Which set of policies answered: 1 for the one that the host had started with.
    pub generation: u64,
    /// The AdmissionReview, without what was redacted.
    pub review: Value,
    /// JSON Pointers into the review, and below `/inventory` labels by key: what was hashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// What the API server was told.
    pub answer: Answer,
    /// The policies that were asked, in this order.
    #[serde(default)]
    pub policies: Vec<PolicyAnswer>,
    /// What policies could know.
    pub inventory: Excerpt,
    /// Tells which users and groups the exemptions named.
    #[serde(default)]
    pub subjects: String,
}

/// Which of the two was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// `/validate`.
    Validate,
    /// `/mutate`.
    Mutate,
}

/// What the API server was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Why no policy was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<String>,
    /// Why not: rule, field, and a message that names the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// What the client was shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// JSON Patch.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub patch: Value,
}

/// One policy's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAnswer {
    /// Its name.
    pub policy: String,
    /// `sha256:…` of its component; absent when it was broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What its violations mean.
    #[serde(default)]
    pub mode: Mode,
    /// What it made of the review.
    #[serde(flatten)]
    pub opinion: Opinion,
}

impl Record {
    /// Records a review that was answered, by policies of a generation that saw this inventory. The
    /// key is the file's.
    ///
    /// # Errors
    ///
    /// When the body can't be a value in memory: it nests too deep.
    pub fn of(
        function: Function,
        body: &[u8],
        now: SystemTime,
        (admission, generation): (&Admission, u64),
        inventory: &Inventory,
        outcome: &Outcome,
        key: &HashKey,
    ) -> serde_json::Result<Self> {
        let mut review: Value = serde_json::from_slice(body)?;
        let mut inventory = excerpt(inventory, body);
        let subjects = Subjects::of(admission.exemptions());
        let compared = compared(admission, outcome);
        let mut redaction = Redaction::of(&mut review, key, &compared, &subjects);
        hash_labels(&mut inventory, &mut redaction);
        Ok(Self {
            time: now,
            function: function.into(),
            generation,
            review,
            answer: scrubbed(&redaction, Answer::from(outcome))?,
            policies: scrubbed(&redaction, PolicyAnswer::all(admission, outcome))?,
            redacted: redaction.pointers,
            inventory,
            subjects: subjects.digest(),
        })
    }
}

/// The texts that decide about a review: those that the loaded policies compare. Who writes is kept
/// only where a policy that was asked compares it.
fn compared(admission: &Admission, outcome: &Outcome) -> Compared {
    let was_asked = |policy: &Policy| {
        outcome
            .evaluations
            .iter()
            .any(|evaluation| evaluation.policy == *policy.name())
    };
    let policies = admission
        .policies()
        .iter()
        .map(|policy| match was_asked(policy) {
            true => Compared::by(policy),
            false => Compared::by(policy).without_user(),
        });
    policies.fold(Compared::default(), Compared::and)
}

fn hash_labels(inventory: &mut Excerpt, redaction: &mut Redaction<'_>) {
    let (namespace, pods) = inventory.labels_mut();
    if let Some(labels) = namespace {
        redaction.labels("/inventory/labels", labels, Compared::namespace_label);
    }
    for labels in pods {
        redaction.labels("/inventory/pods", labels, Compared::label);
    }
}

/// What this review could see of the inventory.
fn excerpt(inventory: &Inventory, body: &[u8]) -> Excerpt {
    let Ok(request) = AdmissionRequest::parse(body) else {
        return Excerpt::default();
    };
    let selector =
        |object: Option<&RawValue>| Some(service::parse(object?.get()).ok()?.spec.selector);
    let selectors: Vec<Vec<Pair>> = [request.object, request.old_object]
        .into_iter()
        .filter_map(selector)
        .collect();
    let selectors: Vec<_> = selectors.iter().map(Vec::as_slice).collect();
    Excerpt::of(inventory, request.namespace(), &selectors)
}

/// An answer without what quotes a hashed text.
fn scrubbed<T: Serialize + for<'de> Deserialize<'de>>(
    redaction: &Redaction<'_>,
    told: T,
) -> serde_json::Result<T> {
    if redaction.pointers.is_empty() {
        return Ok(told);
    }
    let mut value = serde_json::to_value(told)?;
    redaction.scrub(&mut value);
    serde_json::from_value(value)
}

impl PolicyAnswer {
    /// All policies' parts in a review.
    pub fn all(admission: &Admission, outcome: &Outcome) -> Vec<Self> {
        let answer = |evaluation: &Evaluation| {
            let policy = admission
                .policies()
                .iter()
                .find(|policy| *policy.name() == evaluation.policy);
            Self {
                policy: evaluation.policy.to_string(),
                digest: policy.and_then(|policy| policy.digest()).map(str::to_owned),
                mode: policy
                    .map(|policy| policy.manifest().spec.mode)
                    .unwrap_or_default(),
                opinion: Opinion::from(evaluation),
            }
        };
        outcome.evaluations.iter().map(answer).collect()
    }
}

impl From<&Outcome> for Answer {
    fn from(outcome: &Outcome) -> Self {
        let response = &outcome.response;
        let patch = response
            .patch
            .as_ref()
            .and_then(|patch| serde_json::from_str(patch).ok());
        Self {
            allowed: response.allowed,
            exemption: outcome
                .exemption
                .map(|exemption| exemption.name().to_owned()),
            causes: response
                .denial
                .as_ref()
                .map(|denial| denial.causes.clone())
                .unwrap_or_default(),
            warnings: response.warnings.clone(),
            patch: patch.unwrap_or_default(),
        }
    }
}

impl From<Function> for Asked {
    fn from(function: Function) -> Self {
        match function {
            Function::Mutate => Self::Mutate,
            Function::Validate(_) => Self::Validate,
        }
    }
}

impl From<Asked> for Function {
    /// A webhook is asked to validate in the validating phase.
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Mutate => Self::Mutate,
            Asked::Validate => Self::Validate(Phase::Validating),
        }
    }
}

mod rfc_3339 {
    use super::{SystemTime, Timestamp};
    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

    pub(super) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Timestamp::try_from(*time).map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: Timestamp = text
            .parse()
            .map_err(|error| de::Error::custom(format!("{text:?}: {error}")))?;
        Ok(time.into())
    }
}
