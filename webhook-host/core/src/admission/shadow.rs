//! Candidates' opinions on a review that the live policies have answered already.
//!
//! A candidate sees what its live policy saw: the same request, set, inventory and time, and in the
//! mutating phase the object as the live policies before it patched it. Its opinion never reaches
//! the answer. Called by the host's `observers`, which get the review before its answer is written.

use super::break_glass::Effect;
use super::mutation::Patched;
use super::opinion::Opinion;
use super::outcome::{Evaluation, Outcome};
use super::request::AdmissionRequest;
use super::subject::Subject;
use super::{Admission, Function, exemption};
use crate::contract::description::Context;
use crate::inventory::Inventory;
use crate::policy::{Deadline, Entry, Policy};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The opinions of a live policy and of its candidate on one review.
#[derive(Debug, Clone)]
pub struct Shadowed {
    /// The name of both.
    pub policy: Arc<str>,
    /// The live policy's, of which the answer was made.
    pub live: Opinion,
    /// The candidate's.
    pub candidate: Opinion,
}

/// A review under which a candidate is asked again.
struct Again<'a> {
    admission: &'a Admission,
    function: Function,
    subject: Subject<'a>,
    patched: Patched<'a>,
    carried: bool,
    /// The time for each candidate, in addition to its own limits.
    patience: Duration,
}

impl Admission {
    /// Asks each candidate that matches. Uses the time when the request arrived and the inventory
    /// that the live policies saw. Also returns candidates that don't match, if their live policies
    /// do.
    pub fn shadow(
        &self,
        inventory: &Inventory,
        function: Function,
        request: &AdmissionRequest<'_>,
        now: SystemTime,
        patience: Duration,
        live: &Outcome,
    ) -> Vec<Shadowed> {
        // No live policy was asked, so there is nothing to compare.
        if self.candidates.is_empty() || live.exemption.is_some() || live.malformed.is_some() {
            return vec![];
        }
        let Ok(scope) = self.scope(function, request) else {
            return vec![];
        };
        let mut candidates = self.candidates.iter();
        let raw_objects = candidates.any(|candidate| candidate.needs(Context::RawObjects));
        let view = inventory.view();
        let Ok(subject) = Subject::new(function, request, scope, now, view, raw_objects) else {
            return vec![];
        };
        let config = self.exemptions.break_glass.as_ref();
        let break_glass = Effect::of(config, &request.user_info, &subject, now);
        let carried = break_glass == Effect::Carried;
        let mut again = Again {
            admission: self,
            function,
            subject,
            patched: Patched::new(request),
            carried,
            patience,
        };
        let mut shadowed = vec![];
        for policy in &self.policies {
            let evaluation = live
                .evaluations
                .iter()
                .find(|evaluation| evaluation.policy == *policy.name());
            let candidate = self.candidate(policy.name()).map(AsRef::as_ref);
            let has_a_say = |candidate: &&Policy| {
                self.has_a_say(
                    candidate,
                    function,
                    again.subject.view(),
                    request.namespace(),
                    scope,
                ) && exemption::of_policy(request, candidate).is_none()
            };
            let candidate_asked = candidate
                .filter(has_a_say)
                .filter(|candidate| self.would_ask(candidate, &again.subject));
            let asked = candidate_asked.map(|candidate| again.ask(candidate));
            if candidate.is_some() && (evaluation.is_some() || asked.is_some()) {
                shadowed.push(Shadowed {
                    policy: Arc::clone(policy.name()),
                    live: evaluation.map(Opinion::from).unwrap_or_default(),
                    candidate: asked.as_ref().map(Opinion::from).unwrap_or_default(),
                });
            }
            again.follow(evaluation);
        }
        shadowed
    }
}

impl Again<'_> {
    fn ask(&mut self, candidate: &Policy) -> Evaluation {
        let deadline = Deadline::Each(self.patience);
        match self.function {
            Function::Validate(_) => self.admission.judge(
                self.function,
                candidate,
                &mut self.subject,
                self.carried,
                deadline,
            ),
            Function::Mutate => self.improve(candidate, deadline),
        }
    }

    /// Asks the candidate's `mutate` and tries its patch without applying it.
    fn improve(&mut self, candidate: &Policy, deadline: Deadline) -> Evaluation {
        let mut evaluation = Evaluation::of(candidate, self.function);
        let answer = evaluation.take(self.subject.ask(candidate, Entry::Mutate, deadline));
        match answer.and_then(|mutation| {
            self.patched
                .attempt(mutation.patch.clone())
                .map(|_| mutation)
        }) {
            Err(error) => evaluation.error = Some(error),
            Ok(mutation) => {
                (evaluation.patch, evaluation.warnings) = (mutation.patch, mutation.warnings)
            }
        }
        evaluation
    }

    /// Applies the live policy's patch, so that later candidates see it.
    fn follow(&mut self, live: Option<&Evaluation>) {
        if let Some(live) = live.filter(|live| !live.patch.is_empty()) {
            // It fitted when it was applied first.
            let _ = self.patched.apply(&mut self.subject, live.patch.clone());
        }
    }
}
