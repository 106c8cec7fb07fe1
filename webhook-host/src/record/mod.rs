//! Recorded reviews as lines of JSON: the request, the answer, the policies' parts in it and the
//! inventory, so that each can be replayed.
//!
//! Lines of the decision log (`decision`) are smaller: they have no object. The live console shows
//! an excerpt of a review (`denial`), redacted as a record is.
//!
//! Written by `observers` while the host serves; records are read by `sallyport replay`. Free-form
//! texts are hashed before a line is made (`redaction`). Fields are added, never renamed; readers
//! ignore unknown ones.

mod compared;
mod credential;
mod decision;
mod denial;
mod file;
mod hash_key;
mod kept;
mod place;
mod quotes;
mod redaction;
mod summary;

pub(crate) use compared::{Compared, Subjects};
pub(crate) use decision::{Decided, Decisions};
pub(crate) use denial::{Denial, DivergentReview, ReviewParts};
pub use file::{LogFile, Rotation};
pub use hash_key::{HASHED, HashKey};
pub(crate) use summary::Summary;

use jiff::Timestamp;
use redaction::Redaction;
use sallyport_core::admission::{
    Admission, AdmissionRequest, Cause, Evaluation, Function, Opinion, Outcome,
};
use sallyport_core::contract::review::Phase;
use sallyport_core::contract::service::Pair;
use sallyport_core::inventory::{Excerpt, FreeTexts, Inventory};
use sallyport_core::manifest::Mode;
use sallyport_core::policy::Policy;
use sallyport_core::service;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::SystemTime;

/// A recorded review.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The time of its arrival, as policies saw it.
    #[serde(with = "rfc_3339")]
    pub time: SystemTime,
    /// The function that was called.
    pub function: RecordedFunction,
    /// The generation of the set that answered: 1 for the one that the host had started with.
    pub generation: u64,
    /// The AdmissionReview after redaction.
    pub review: Value,
    /// The hashed texts: JSON Pointers into the review, and keys of labels and annotations below
    /// `/inventory`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// The answer to the API server.
    pub answer: Answer,
    /// The parts of the policies that were asked, in this order.
    #[serde(default)]
    pub policies: Vec<PolicyAnswer>,
    /// The part of the inventory that policies could see.
    pub inventory: Excerpt,
    /// A digest of the users and groups that the exemptions named.
    #[serde(default)]
    pub subjects: String,
}

/// The function that a review calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordedFunction {
    /// `/validate`.
    Validate,
    /// `/mutate`.
    Mutate,
}

/// The answer to the API server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// True if the request was allowed.
    pub allowed: bool,
    /// The exemption for which no policy was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<String>,
    /// The causes of a denial: rule, field, and a message that names the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// The warnings for the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The JSON Patch; null without one.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub patch: Value,
}

/// One policy's part in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAnswer {
    /// Its name.
    pub policy: String,
    /// `sha256:…` of its component; absent when it was broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The effect of its violations.
    #[serde(default)]
    pub mode: Mode,
    /// Its verdict or error.
    #[serde(flatten)]
    pub opinion: Opinion,
}

impl Record {
    /// Makes the record of an answered review: the policies and their generation, the inventory
    /// that they saw, and the outcome. `key` is the file's.
    ///
    /// # Errors
    ///
    /// Fails when the body nests too deeply for a JSON value.
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
        let subjects = Subjects::of(admission.exemptions(), admission.policies());
        let compared = compared(admission, outcome);
        let mut redaction = Redaction::of(&mut review, key, &compared, &subjects);
        hash_texts(&mut inventory, &mut redaction);
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

/// Returns the texts that are kept: those that the loaded policies compare. User and groups are
/// kept only if a policy that was asked compares them.
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

fn hash_texts(inventory: &mut Excerpt, redaction: &mut Redaction<'_>) {
    let FreeTexts {
        labels,
        annotations,
        pods,
    } = inventory.free_texts();
    if let Some(labels) = labels {
        redaction.texts("/inventory/labels", labels, Compared::namespace_label);
    }
    if let Some(annotations) = annotations {
        redaction.texts("/inventory/annotations", annotations, |compared, key| {
            compared.namespace_annotation(key) && !credential::is_named_like_one(key)
        });
    }
    for labels in pods {
        redaction.texts("/inventory/pods", labels, Compared::label);
    }
}

/// Returns the part of the inventory that a review could see.
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

/// Returns an answer in which quotes of hashed texts are replaced.
fn scrubbed<T: Serialize + for<'de> Deserialize<'de>>(
    redaction: &Redaction<'_>,
    answer: T,
) -> serde_json::Result<T> {
    if redaction.pointers.is_empty() {
        return Ok(answer);
    }
    let mut value = serde_json::to_value(answer)?;
    redaction.scrub(&mut value);
    serde_json::from_value(value)
}

impl PolicyAnswer {
    /// Returns the parts of all policies that were asked.
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

impl From<Function> for RecordedFunction {
    fn from(function: Function) -> Self {
        match function {
            Function::Mutate => Self::Mutate,
            Function::Validate(_) => Self::Validate,
        }
    }
}

impl From<RecordedFunction> for Function {
    /// Returns the function. `/validate` is called in the validating phase.
    fn from(function: RecordedFunction) -> Self {
        match function {
            RecordedFunction::Mutate => Self::Mutate,
            RecordedFunction::Validate => Self::Validate(Phase::Validating),
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
