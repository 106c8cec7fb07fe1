//! Recorded reviews, asked again: of other policies, or of the same ones with other settings.
//!
//! Each is reviewed as it was: with its time, and with what the inventory knew. A difference is
//! thus one of policies, settings or exemptions, and nothing else. Free-form texts were hashed when
//! the review was recorded, unless a policy of that time compared them: a policy that compares one
//! that was hashed gets no verdict. Called by `cli::replay`; reads no file but through the reader
//! that it is given.

mod difference;
mod log;

pub use difference::{Change, Difference, Unrepeatable, Verdict};
pub use log::{Line, Lines};

use crate::record::{Answer, Compared, PolicyAnswer, Record, Subjects};
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Outcome, ReviewError};
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::{Deadline, EvaluationError, Policy};
use std::sync::Arc;
use std::time::Duration;

/// Nobody waits for a replay; the policies' own limits still hold.
const MAX_EVALUATION: Duration = Duration::from_secs(30);

/// How often a review is asked on which a policy missed its deadline: a machine that is busy
/// elsewhere must not invent differences, and a policy that loops does so each time.
const ATTEMPTS: usize = 3;

/// What decides on recorded reviews; what is known comes with each of them.
#[derive(Debug)]
pub struct Replayer {
    policies: Vec<Arc<Policy>>,
    exemptions: Exemptions,
}

impl Replayer {
    /// Policies and exemptions that are to be tried.
    pub fn new(policies: Vec<Arc<Policy>>, exemptions: Exemptions) -> Self {
        Self {
            policies,
            exemptions,
        }
    }

    /// What these policies say of a recorded review.
    ///
    /// # Errors
    ///
    /// When the record holds no AdmissionReview.
    pub fn verdict(&self, record: &Record) -> Result<Verdict, ReviewError> {
        let body = record.review.to_string().into_bytes();
        let request = AdmissionRequest::parse(&body)?;
        let inventory = Inventory::from(record.inventory.clone().data(request.namespace()));
        let admission = Admission::new(self.policies.clone(), inventory, self.exemptions.clone());
        let mut outcome = self.ask(&admission, record, &request);
        for _ in 1..ATTEMPTS {
            if outcome
                .evaluations
                .iter()
                .any(|part| matches!(part.error, Some(EvaluationError::Deadline(_))))
            {
                outcome = self.ask(&admission, record, &request);
            }
        }
        Ok(Verdict {
            answer: Answer::from(&outcome),
            policies: PolicyAnswer::all(&admission, &outcome),
            unrepeatable: self.unrepeatable(record, &outcome),
        })
    }

    /// The policies whose verdict depends on a text that was hashed: those that were asked, and
    /// those that select namespaces by a label. The host's part depends on who writes, unless its
    /// exemptions are those of the host that recorded.
    fn unrepeatable(&self, record: &Record, outcome: &Outcome) -> Vec<Unrepeatable> {
        let hashed = &record.redacted;
        let was_asked = |policy: &Policy| {
            outcome
                .evaluations
                .iter()
                .any(|evaluation| evaluation.policy == *policy.name())
        };
        let mut unrepeatable = vec![];
        for policy in &self.policies {
            let compared = if was_asked(policy) {
                Compared::by(policy)
            } else {
                Compared::by_selector(policy)
            };
            if let Some(place) = compared.first(hashed) {
                unrepeatable.push(Unrepeatable {
                    policy: policy.name().to_string(),
                    place: place.to_owned(),
                });
            }
        }
        let subjects = Subjects::of(&self.exemptions);
        if subjects.digest() != record.subjects
            && let Some(place) = subjects.first(hashed)
        {
            unrepeatable.push(Unrepeatable {
                policy: difference::HOST.to_owned(),
                place: place.to_owned(),
            });
        }
        unrepeatable
    }

    fn ask(
        &self,
        admission: &Admission,
        record: &Record,
        request: &AdmissionRequest<'_>,
    ) -> Outcome {
        // One review must not depend on the one before.
        self.policies
            .iter()
            .for_each(|policy| policy.forget_misses());
        let clock = Clock {
            now: record.time,
            deadline: Deadline::Each(MAX_EVALUATION),
        };
        admission.review(record.function.into(), request, clock)
    }
}

impl Record {
    /// What was said when it was recorded.
    pub fn verdict(&self) -> Verdict {
        Verdict {
            answer: self.answer.clone(),
            policies: self.policies.clone(),
            unrepeatable: vec![],
        }
    }
}
