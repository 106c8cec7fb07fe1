//! A denied review, or one on which a candidate diverges, as the live console shows it.
//!
//! It is taken from a record's redacted review and answer, so it shows no text that a record would
//! hash. Its size is bounded, whatever the review.

use super::compared::Subjects;
use super::redaction::Redaction;
use super::{Answer, HashKey, compared, rfc_3339, scrubbed};
use sallyport_core::admission::{Admission, Cause, Outcome, Shadowed};
use sallyport_core::excerpt::{cut, excerpt};
use serde::Serialize;
use serde_json::Value;
use std::time::SystemTime;

/// The causes of a denial that are shown; the others are counted.
const MAX_CAUSES: usize = 10;

/// Bytes of a message that are shown.
const MAX_SHOWN_MESSAGE: usize = 1024;

/// An answered review, and what decided it.
pub(crate) struct ReviewParts<'a> {
    pub(crate) body: &'a [u8],
    /// The time of its arrival.
    pub(crate) time: SystemTime,
    pub(crate) admission: &'a Admission,
    /// The generation of the Set that answered.
    pub(crate) generation: u64,
    pub(crate) outcome: &'a Outcome,
}

/// The request of a denied review.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wish {
    #[serde(with = "rfc_3339")]
    time: SystemTime,
    operation: String,
    namespace: String,
    name: String,
    user: String,
    dry_run: bool,
    generation: u64,
}

/// A denied review.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Denial {
    #[serde(flatten)]
    wish: Wish,
    causes: Vec<Cause>,
    /// The number of causes that are left out.
    more_causes: usize,
}

/// A review to which a policy's candidate would have said something else.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DivergentReview {
    #[serde(flatten)]
    wish: Wish,
    policy: String,
    /// The word by which it is counted, such as `stricter`.
    result: &'static str,
    /// The live policy's opinion.
    live: String,
    /// The candidate's.
    candidate: String,
}

impl ReviewParts<'_> {
    /// Redacts the review, and uses that redaction to redact an answer.
    fn redact<T>(
        &self,
        key: &HashKey,
        answer: impl FnOnce(&Redaction<'_>) -> serde_json::Result<T>,
    ) -> serde_json::Result<(Wish, T)> {
        let mut review: Value = serde_json::from_slice(self.body)?;
        let subjects = Subjects::of(self.admission.exemptions(), self.admission.policies());
        let compared = compared(self.admission, self.outcome);
        let redaction = Redaction::of(&mut review, key, &compared, &subjects);
        let answer = answer(&redaction)?;
        Ok((self.wish(&review), answer))
    }

    fn wish(&self, review: &Value) -> Wish {
        let text = |paths: &[&str]| {
            let mut texts = paths
                .iter()
                .filter_map(|path| review.pointer(path)?.as_str());
            let found = texts.find(|text| !text.is_empty()).unwrap_or_default();
            excerpt(found).into_owned()
        };
        Wish {
            time: self.time,
            operation: text(&["/request/operation"]),
            namespace: text(&["/request/namespace"]),
            name: text(&[
                "/request/name",
                "/request/object/metadata/name",
                "/request/oldObject/metadata/name",
                "/request/object/metadata/generateName",
            ]),
            user: text(&["/request/userInfo/username"]),
            dry_run: review.pointer("/request/dryRun") == Some(&Value::Bool(true)),
            generation: self.generation,
        }
    }
}

impl Denial {
    /// Makes the denial of a review.
    ///
    /// # Errors
    ///
    /// Fails when the body nests too deeply for a JSON value.
    pub(crate) fn of(review: &ReviewParts<'_>, key: &HashKey) -> serde_json::Result<Self> {
        let answer = |redaction: &Redaction<'_>| scrubbed(redaction, Answer::from(review.outcome));
        let (wish, Answer { mut causes, .. }) = review.redact(key, answer)?;
        let more_causes = causes.len().saturating_sub(MAX_CAUSES);
        causes.truncate(MAX_CAUSES);
        for cause in &mut causes {
            cause.message = cut(&cause.message, MAX_SHOWN_MESSAGE).into_owned();
            cause.field = excerpt(&cause.field).into_owned();
        }
        Ok(Self {
            wish,
            causes,
            more_causes,
        })
    }
}

impl DivergentReview {
    /// Makes the entry of a review from the opinions of live policy and candidate.
    ///
    /// # Errors
    ///
    /// Fails when the body nests too deeply for a JSON value.
    pub(crate) fn of(
        review: &ReviewParts<'_>,
        shadowed: &Shadowed,
        key: &HashKey,
    ) -> serde_json::Result<Self> {
        let opinions = [shadowed.live.summary(), shadowed.candidate.summary()];
        let (wish, opinions) = review.redact(key, |redaction| scrubbed(redaction, opinions))?;
        let [live, candidate] = opinions.map(|text| cut(&text, MAX_SHOWN_MESSAGE).into_owned());
        Ok(Self {
            wish,
            policy: shadowed.policy.to_string(),
            result: shadowed.live.diverges(&shadowed.candidate).name(),
            live,
            candidate,
        })
    }
}
