//! From an AdmissionRequest to an AdmissionResponse: the one evaluation path of webhook, harness
//! and check.
//!
//! Reads no environment, no file and no network; the caller says when the request arrived and when
//! it must be answered. `Verdict` is a policy's opinion, `AdmissionResponse` the cluster's answer,
//! and only this module knows both.

mod about;
mod break_glass;
mod digest;
mod exemption;
mod fold;
mod mutation;
mod opinion;
mod outcome;
mod request;
mod shadow;
mod subject;
mod text;
mod unmatched;

pub use break_glass::Grant;
pub use exemption::{DELETING_CONTROLLERS, Exemption};
pub use opinion::{Divergence, Failure, Found, Opinion, RecordedViolation};
pub use outcome::{AdmissionResponse, Cause, Denial, Evaluation, Outcome};
pub use request::{AdmissionRequest, GroupVersionKind, Operation, ReviewError, UserInfo};
pub use shadow::Shadowed;

use crate::contract::description::Context;
use crate::contract::review::{Operation as Reviewed, Phase, Resource};
use crate::contract::verdict::Violation;
use crate::inventory::{Inventory, Need, View};
use crate::manifest::{Exemptions, Mode, Updates};
use crate::policy::{Deadline, Entry, Policy};
use crate::service::Malformed;
use break_glass::Effect;
use mutation::Patched;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;
use subject::Subject;

/// The function that policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `mutate`, in the mutating phase: patches, never denies.
    Mutate,
    /// `validate`. The API server asks it in the validating phase; a suite may ask it of an object
    /// of the mutating phase.
    Validate(Phase),
}

impl Function {
    /// Returns the phase that policies see.
    pub fn phase(self) -> Phase {
        match self {
            Self::Mutate => Phase::Mutating,
            Self::Validate(phase) => phase,
        }
    }

    /// Returns the phase by which a policy's description asks for this function.
    fn wanted(self) -> Phase {
        match self {
            Self::Mutate => Phase::Mutating,
            Self::Validate(_) => Phase::Validating,
        }
    }
}

/// The time at which a request arrived, and the time by which it must be answered.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Policies see it in seconds.
    pub now: SystemTime,
    /// Policies that have not answered by then count as evaluation errors.
    pub deadline: Deadline,
}

/// Everything that decides: policies, inventory, exemptions.
#[derive(Debug)]
pub struct Admission {
    policies: Vec<Arc<Policy>>,
    /// Next versions of some of them, which decide nothing.
    candidates: Vec<Arc<Policy>>,
    inventory: Inventory,
    exemptions: Exemptions,
    thorough: bool,
    keeps_log: bool,
}

impl Admission {
    /// Makes an admission whose policies are asked in the order of their names.
    pub fn new(
        policies: Vec<impl Into<Arc<Policy>>>,
        inventory: Inventory,
        exemptions: Exemptions,
    ) -> Self {
        let mut policies: Vec<_> = policies.into_iter().map(Into::into).collect();
        policies.sort_by(|a, b| a.name().cmp(b.name()));
        Self {
            policies,
            candidates: vec![],
            inventory,
            exemptions,
            thorough: false,
            keeps_log: false,
        }
    }

    /// Also asks policies about Services outside their `about`; an opinion on such a Service is an
    /// evaluation error. The test harness uses this to find policies whose `about` is too narrow.
    /// Keeps log lines, too.
    #[must_use]
    pub fn thorough(self) -> Self {
        Self {
            thorough: true,
            ..self.keeping_log()
        }
    }

    /// Keeps the lines that policies log in [`Evaluation::log`], instead of logging them.
    #[must_use]
    pub fn keeping_log(self) -> Self {
        Self {
            keeps_log: true,
            ..self
        }
    }

    /// Adds next versions of some policies, by the same names.
    #[must_use]
    pub fn with_candidates(self, candidates: Vec<Arc<Policy>>) -> Self {
        Self { candidates, ..self }
    }

    /// Returns all policies, in the order in which they are asked.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// Returns the next versions that some policies have.
    pub fn candidates(&self) -> &[Arc<Policy>] {
        &self.candidates
    }

    /// Returns the next version of a policy.
    pub fn candidate(&self, policy: &str) -> Option<&Arc<Policy>> {
        self.candidates
            .iter()
            .find(|candidate| candidate.manifest().metadata.name == policy)
    }

    /// Returns the requests about which no policy is asked.
    pub fn exemptions(&self) -> &Exemptions {
        &self.exemptions
    }

    /// Returns the facts that policies may know.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Returns the objects that policies need: in their context, or for the selector of their
    /// manifest.
    pub fn asks(&self) -> BTreeSet<Need> {
        let all = || self.policies.iter().chain(&self.candidates);
        let needed = |context| all().any(|policy| policy.needs(context));
        let selected = all().any(|policy| policy.manifest().spec.r#match.goes_by_labels());
        let annotations = needed(Context::NamespaceAnnotations);
        let needs = [
            (
                Need::Namespaces,
                selected || annotations || needed(Context::Namespace) || self.asks_of_deletions(),
            ),
            (Need::NamespaceAnnotations, annotations),
            (Need::Nodes, needed(Context::Cluster)),
            (Need::Pods, needed(Context::Pods)),
        ];
        needs
            .into_iter()
            .filter_map(|(need, asked)| asked.then_some(need))
            .collect()
    }

    /// Returns true if some policy or candidate asks about DELETE.
    pub fn asks_of_deletions(&self) -> bool {
        let mut all = self.policies.iter().chain(&self.candidates);
        all.any(|policy| policy.asks_of_deletions())
    }

    /// Returns true if the request's namespace is unknown and some policy needs its labels or
    /// annotations, or is to be asked about a deletion in it.
    pub fn lacks_namespace(&self, function: Function, request: &AdmissionRequest<'_>) -> bool {
        let (view, namespace) = (self.inventory.view(), request.namespace());
        if view.namespace_labels(namespace).is_some() {
            return false;
        }
        let Ok((operation, resource)) = self.scope(function, request) else {
            return false;
        };
        let policies = self.matching(function, &view, namespace, operation, resource);
        policies.iter().any(|policy| {
            operation == Reviewed::Delete
                || policy.needs_namespace()
                || policy.manifest().spec.r#match.goes_by_labels()
        })
    }

    /// Reviews one request.
    pub fn review(
        &self,
        function: Function,
        request: &AdmissionRequest<'_>,
        clock: Clock,
    ) -> Outcome {
        self.review_with(&self.inventory, function, request, clock)
    }

    /// Reviews one request with an inventory that the caller chose, such as
    /// [`Inventory::as_of_now`], when the caller must know afterwards what was known.
    pub fn review_with(
        &self,
        inventory: &Inventory,
        function: Function,
        request: &AdmissionRequest<'_>,
        clock: Clock,
    ) -> Outcome {
        let (operation, resource) = match self.scope(function, request) {
            Ok(scope) => scope,
            Err(exemption) => return Outcome::exempt(request, exemption),
        };
        // Comes before the object is even parsed, so that finalizers can always be removed.
        if exemption::ends_a_deletion(request) {
            return Outcome::exempt(request, Exemption::Terminating);
        }
        // Taken once, so that the whole answer is of one moment.
        let view = inventory.view();
        if operation == Reviewed::Delete
            && let Some(exemption) = exemption::of_namespace_of_deletion(&view, request.namespace())
        {
            return Outcome::exempt(request, exemption);
        }
        let mut policies = self.matching(function, &view, request.namespace(), operation, resource);
        let mut exempted = vec![];
        policies.retain(|policy| {
            let exemption = exemption::of_policy(request, policy);
            exempted.extend(exemption.map(|exemption| (*policy, exemption)));
            exemption.is_none()
        });
        // Most deletions are of no concern to the policies that ask about some.
        if operation == Reviewed::Delete && policies.is_empty() && exempted.is_empty() {
            return Outcome::allow(request);
        }
        let raw_objects = policies
            .iter()
            .any(|policy| policy.needs(Context::RawObjects));
        let scope = (operation, resource);
        let mut subject = match Subject::new(function, request, scope, clock.now, view, raw_objects)
        {
            Ok(subject) => subject,
            // A deletion must work, whatever is wrong with the Service.
            Err(malformed) if operation == Reviewed::Delete => {
                return Outcome {
                    malformed: Some(malformed),
                    ..Outcome::allow(request)
                };
            }
            Err(malformed) => {
                return fold::malformed(function, request, &policies, malformed)
                    .with_exempted(&exempted);
            }
        };
        if self.keeps_log {
            subject.keep_log();
        }
        exempted.retain(|(policy, _)| self.would_ask(policy, &subject));
        let config = self.exemptions.break_glass.as_ref();
        let break_glass = Effect::of(config, &request.user_info, &subject, clock.now);
        let outcome = match function {
            Function::Mutate if break_glass.forbids_patches() => {
                return Outcome::exempt(request, Exemption::BreakGlass);
            }
            Function::Mutate => self.mutate(request, &policies, &mut subject, clock.deadline),
            Function::Validate(_) => self.validate(
                function,
                request,
                &policies,
                &mut subject,
                break_glass,
                clock.deadline,
            ),
        };
        Outcome {
            matched: !policies.is_empty(),
            ..outcome.with_exempted(&exempted)
        }
    }

    /// Returns the operation and the resource, unless the request is exempt.
    fn scope(
        &self,
        function: Function,
        request: &AdmissionRequest<'_>,
    ) -> Result<(Reviewed, Resource), Exemption> {
        let deletions = function != Function::Mutate
            && request.operation == Operation::Delete
            && self.asks_of_deletions();
        exemption::scope(request, &self.exemptions, deletions)
    }

    /// Returns the policies that match a request.
    fn matching(
        &self,
        function: Function,
        view: &View<'_>,
        namespace: &str,
        operation: Reviewed,
        resource: Resource,
    ) -> Vec<&Policy> {
        let policies = self.policies.iter().map(AsRef::as_ref);
        policies
            .filter(|policy| {
                self.has_a_say(policy, function, view, namespace, (operation, resource))
            })
            .collect()
    }

    /// Returns true if a policy matches by namespace, phase, operation and resource. In the
    /// mutating phase its mode must be Enforce, because no other mode patches. A broken policy,
    /// whose description is not known, never matches a DELETE.
    fn has_a_say(
        &self,
        policy: &Policy,
        function: Function,
        view: &View<'_>,
        namespace: &str,
        (operation, resource): (Reviewed, Resource),
    ) -> bool {
        let spec = &policy.manifest().spec;
        spec.r#match
            .matches(namespace, view.namespace_labels(namespace))
            && policy.wants(function.wanted(), operation, resource)
            && (function != Function::Mutate || spec.mode == Mode::Enforce)
            && (operation != Reviewed::Delete || policy.asks_of_deletions())
    }

    /// Returns the mode of the host's own findings in a namespace: Enforce where some policy may
    /// deny, whatever resource it is asked about; Warn otherwise.
    fn strictest(&self, view: &View<'_>, namespace: &str) -> Mode {
        let labels = view.namespace_labels(namespace);
        let mut specs = self.policies.iter().map(|policy| &policy.manifest().spec);
        let enforced =
            specs.any(|spec| spec.mode == Mode::Enforce && spec.r#match.matches(namespace, labels));
        if enforced { Mode::Enforce } else { Mode::Warn }
    }

    fn validate(
        &self,
        function: Function,
        request: &AdmissionRequest<'_>,
        policies: &[&Policy],
        subject: &mut Subject<'_>,
        break_glass: Effect,
        deadline: Deadline,
    ) -> Outcome {
        let carried = break_glass == Effect::Carried;
        let policies: Vec<_> = policies
            .iter()
            .copied()
            .filter(|policy| self.would_ask(policy, subject))
            .collect();
        let judge = |policy: &&Policy| self.judge(function, policy, subject, carried, deadline);
        let evaluations = policies.iter().map(judge).collect();
        let strictest = self.strictest(subject.view(), request.namespace());
        fold::validated(request, &policies, evaluations, break_glass, strictest)
    }

    /// Asks one policy's `validate`. Under a carried break-glass annotation, old violations are
    /// kept even if `updates` is Always.
    fn judge(
        &self,
        function: Function,
        policy: &Policy,
        subject: &mut Subject<'_>,
        carried: bool,
        deadline: Deadline,
    ) -> Evaluation {
        let mut evaluation = Evaluation::of(policy, function);
        let answer = evaluation.take(subject.ask(policy, Entry::Validate, deadline));
        match answer.and_then(|verdict| subject.check_about(policy, verdict)) {
            Err(error) => evaluation.error = Some(error),
            Ok(verdict) => {
                evaluation.warnings = verdict.warnings;
                evaluation.audit_annotations = verdict.audit_annotations;
                // Old violations must not block a deletion, so it ratchets whatever `updates` says.
                let in_deletion = exemption::is_in_deletion(subject.old_service());
                let keeps =
                    carried || in_deletion || policy.manifest().spec.updates == Updates::Ratchet;
                self.ratchet(
                    &mut evaluation,
                    policy,
                    subject,
                    verdict.violations,
                    keeps.then_some(deadline),
                );
                blame_default(&mut evaluation, policy, subject, deadline);
            }
        }
        evaluation
    }

    /// Splits the violations into new ones and, where allowed, ones that the old object already
    /// had. If the policy fails on the old object, all violations are new. `keeps` is the deadline
    /// for that question; `None` allows no old violations.
    fn ratchet(
        &self,
        evaluation: &mut Evaluation,
        policy: &Policy,
        subject: &mut Subject<'_>,
        violations: Vec<Violation>,
        keeps: Option<Deadline>,
    ) {
        let old = keeps
            .filter(|_| !violations.is_empty())
            .and_then(|deadline| {
                let answer = subject.ask_of_old(policy, deadline)?;
                evaluation.take(answer).ok()
            });
        let known: HashSet<_> = old
            .iter()
            .flat_map(|old| &old.violations)
            .map(|old| (&old.rule, &old.key))
            .collect();
        let stood = |violation: &Violation| {
            !violation.key.is_empty() && known.contains(&(&violation.rule, &violation.key))
        };
        (evaluation.kept, evaluation.violations) = violations.into_iter().partition(stood);
    }

    /// Returns true if a matching policy is to be asked: its `about` covers the Service, or the
    /// harness is checking what its `about` claims.
    fn would_ask(&self, policy: &Policy, subject: &Subject<'_>) -> bool {
        self.thorough || subject.concerns(policy)
    }

    fn mutate<'a>(
        &self,
        request: &AdmissionRequest<'_>,
        policies: &[&'a Policy],
        subject: &mut Subject<'_>,
        deadline: Deadline,
    ) -> Outcome {
        let mut patched = Patched::new(request);
        let improve = |&policy: &&'a Policy| {
            // Checked for each policy in turn, because earlier patches may bring it into `about`.
            if !self.would_ask(policy, subject) {
                return None;
            }
            let mut evaluation = Evaluation::of(policy, Function::Mutate);
            let answer = evaluation.take(subject.ask(policy, Entry::Mutate, deadline));
            let answer = answer.and_then(|mutation| subject.check_about(policy, mutation));
            match answer.and_then(|mutation| {
                patched
                    .apply(subject, mutation.patch.clone())
                    .map(|()| mutation)
            }) {
                Err(error) => evaluation.error = Some(error),
                Ok(mutation) => {
                    evaluation.patch = mutation.patch;
                    evaluation.warnings = mutation.warnings;
                    evaluation.audit_annotations = mutation.audit_annotations;
                }
            }
            Some((policy, evaluation))
        };
        let (policies, evaluations): (Vec<_>, _) = policies.iter().filter_map(improve).unzip();
        fold::mutated(request, &policies, evaluations, patched.into_text())
    }
}

/// Adds a hint to violations that occur only because the host assumed an environment. Asks the
/// policy once more, without that environment, to find them.
fn blame_default(
    evaluation: &mut Evaluation,
    policy: &Policy,
    subject: &mut Subject<'_>,
    deadline: Deadline,
) {
    let Some(environment) = subject
        .view()
        .assumed_environment()
        .filter(|_| policy.needs(Context::Cluster))
    else {
        return;
    };
    if evaluation.violations.is_empty() {
        return;
    }
    let without = subject.ask_without_environment(policy, deadline);
    let Ok(without) = evaluation.take(without) else {
        return;
    };
    for violation in evaluation
        .violations
        .iter_mut()
        .filter(|violation| !without.violations.contains(violation))
    {
        let and = if violation.fix.is_empty() { "" } else { "; " };
        violation.fix += &format!(
            "{and}{environment} is the built-in default without --config: name a HostConfig that \
             says what the cluster is"
        );
    }
}

impl Outcome {
    /// Adds the policies that were not asked because of their own exemptions, which the audit log
    /// names.
    fn with_exempted(mut self, exempted: &[(&Policy, Exemption)]) -> Self {
        for (policy, exemption) in exempted {
            let audit = &mut self.response.audit_annotations;
            fold::annotate(audit, policy.name(), "exempt", exemption.name());
            self.exempted.push((Arc::clone(policy.name()), *exemption));
        }
        self
    }

    fn exempt(request: &AdmissionRequest<'_>, exemption: Exemption) -> Self {
        Self {
            exemption: Some(exemption),
            ..Self::allow(request)
        }
    }

    fn allow(request: &AdmissionRequest<'_>) -> Self {
        Self {
            response: AdmissionResponse::allow(&request.uid),
            exemption: None,
            exempted: vec![],
            malformed: None::<Malformed>,
            break_glass: None,
            matched: false,
            evaluations: vec![],
        }
    }
}
