//! Recorded reviews, evaluated again: by other policies, or by the same ones with other settings.
//!
//! Each is reviewed with its own time and inventory, so a difference is due to policies, settings
//! or exemptions, and nothing else. Free-form texts were hashed when the review was recorded,
//! unless a policy of that time compared them: a policy that compares a hashed text gets no
//! verdict. Called by `cli::replay`; reads only through the reader that it is given.

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

/// The time of one evaluation, long because nobody waits for a replay; the policies' own limits
/// still hold.
const EVALUATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The attempts on a review in which a policy misses its deadline: a busy machine must not produce
/// differences, and a policy that loops misses it each time.
const ATTEMPTS: usize = 3;

/// Policies and exemptions that decide on recorded reviews. Each review brings its own inventory.
#[derive(Debug)]
pub struct Replayer {
    policies: Vec<Arc<Policy>>,
    exemptions: Exemptions,
}

impl Replayer {
    /// Creates a replayer for these policies and exemptions.
    pub fn new(policies: Vec<Arc<Policy>>, exemptions: Exemptions) -> Self {
        Self {
            policies,
            exemptions,
        }
    }

    /// Reviews a recorded review again.
    ///
    /// # Errors
    ///
    /// Fails when the record holds no AdmissionReview.
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

    /// Returns the policies whose verdict depends on a hashed text: those that were asked, and
    /// those that select namespaces by a hashed label. The host's own part depends on user and
    /// groups, unless its exemptions are those of the host that recorded.
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
        let subjects = Subjects::of(&self.exemptions, &self.policies);
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
        // A review must not depend on earlier ones.
        self.policies
            .iter()
            .for_each(|policy| policy.forget_misses());
        let clock = Clock {
            now: record.time,
            deadline: Deadline::Each(EVALUATION_TIMEOUT),
        };
        admission.review(record.function.into(), request, clock)
    }
}

impl Record {
    /// Returns the verdict that was recorded.
    pub fn verdict(&self) -> Verdict {
        Verdict {
            answer: self.answer.clone(),
            policies: self.policies.clone(),
            unrepeatable: vec![],
        }
    }
}
