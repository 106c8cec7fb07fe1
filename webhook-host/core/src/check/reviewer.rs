//! Asks the policies as the webhook does, without its hurry: a busy machine must not change a
//! verdict. Shared by `judge`, for manifests, and `stored`, for Services of a cluster.

use super::findings::{self, LineOf};
use crate::admission::{Admission, AdmissionRequest, Clock, Evaluation, Function, Outcome};
use crate::policy::{Deadline, Policy};
use crate::report::check::{Finding, Level};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Retries of a review in which a policy missed its deadline.
const RETRIES: usize = 3;

/// Long, because no request waits; the policies' own limits still hold.
const MAX_EVALUATION: Duration = Duration::from_secs(30);

/// Reviews requests of one moment.
pub(super) struct Reviewer<'a> {
    pub(super) admission: &'a Admission,
    now: SystemTime,
    /// True if the policies serve requests meanwhile.
    is_aside: bool,
    /// True if some policy misses its deadline whenever it is asked.
    is_slow: Cell<bool>,
}

impl<'a> Reviewer<'a> {
    pub(super) fn new(admission: &'a Admission, now: SystemTime) -> Self {
        Self {
            admission,
            now,
            is_aside: false,
            is_slow: Cell::new(false),
        }
    }

    /// Asks policies that serve requests meanwhile, and leaves their circuit breakers alone.
    pub(super) fn aside(admission: &'a Admission, now: SystemTime) -> Self {
        Self {
            is_aside: true,
            ..Self::new(admission, now)
        }
    }

    pub(super) fn policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.admission
            .policies()
            .iter()
            .find(|policy| &**policy.name() == name)
    }

    pub(super) fn review(&self, function: Function, request: &AdmissionRequest<'_>) -> Outcome {
        let review = || {
            let clock = Clock {
                now: self.now,
                deadline: match self.is_aside {
                    true => Deadline::Aside(MAX_EVALUATION),
                    false => Deadline::Each(MAX_EVALUATION),
                },
            };
            self.admission.review(function, request, clock)
        };
        let mut outcome = review();
        for _ in 0..RETRIES {
            if self.is_slow.get() || !outcome.evaluations.iter().any(missed_its_deadline) {
                return outcome;
            }
            if !self.is_aside {
                let policies = self.admission.policies().iter();
                policies.for_each(|policy| policy.forget_misses());
            }
            outcome = review();
        }
        self.is_slow
            .set(outcome.evaluations.iter().any(missed_its_deadline));
        outcome
    }

    /// Returns what policies and host said, as the cluster would act on it: a denial that
    /// break-glass excused is a warning.
    pub(super) fn findings(&self, outcome: &Outcome, line: LineOf<'_>) -> Vec<Finding> {
        let mut found: Vec<_> = outcome
            .evaluations
            .iter()
            .flat_map(|evaluation| self.of_evaluation(evaluation, line))
            .collect();
        if outcome.response.allowed {
            for finding in found
                .iter_mut()
                .filter(|finding| finding.level == Level::Error)
            {
                finding.level = Level::Warning;
            }
        }
        found.extend(findings::of_host(outcome, line));
        found
    }

    pub(super) fn of_evaluation(&self, evaluation: &Evaluation, line: LineOf<'_>) -> Vec<Finding> {
        let policy = self.policy(&evaluation.policy);
        let mode = policy.map(|policy| policy.manifest().spec.mode);
        findings::of_evaluation(evaluation, mode.unwrap_or_default(), line)
    }
}

fn missed_its_deadline(evaluation: &Evaluation) -> bool {
    evaluation
        .error
        .as_ref()
        .is_some_and(|error| error.kind() == "deadline")
}
