//! The Service under review with its context, as each policy asked for it.

use super::request::{AdmissionRequest, UserInfo};
use super::{Function, about};
use crate::contract::description::{About, Context};
use crate::contract::review::{Cluster, Namespace, Operation, Pod, Resource, Review, User};
use crate::contract::service::Service;
use crate::contract::verdict::Verdict;
use crate::inventory::{self, Inventory, View};
use crate::policy::{Answer, Deadline, Entry, EvaluationError, LogTo, Policy};
use crate::service::{self, Malformed};
use serde_json::value::RawValue;
use std::time::{SystemTime, UNIX_EPOCH};

/// One review, which all policies are asked about in turn. Each part of the context is looked up
/// once, swapped into the review for a policy that asks for it, then swapped out.
pub(super) struct Subject<'a> {
    view: View<'a>,
    review: Review,
    about: About,
    context: Parts,
    log: LogTo,
    /// The review of an update from old to old; made when the first policy ratchets.
    old: Option<Box<Old>>,
}

struct Old {
    review: Review,
    context: Parts,
}

/// Parts of the context that were looked up already.
#[derive(Default)]
struct Parts {
    namespace: Option<Namespace>,
    cluster: Option<Cluster>,
    pods: Option<Option<Vec<Pod>>>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(
        function: Function,
        request: &AdmissionRequest<'_>,
        (operation, resource): (Operation, Resource),
        now: SystemTime,
        view: View<'a>,
    ) -> Result<Self, Malformed> {
        check_user(&request.user_info)?;
        let namespace = request.namespace();
        let service = parse(request.object, namespace)?.ok_or_else(|| Malformed {
            field: String::new(),
            problem: "the object is missing".to_owned(),
        })?;
        let old_service = match operation {
            Operation::Create => None,
            // An old object that is missing or doesn't decode excuses nothing.
            Operation::Update => parse(request.old_object, namespace).unwrap_or_default(),
        };
        let review = Review {
            phase: function.phase(),
            operation,
            resource,
            dry_run: request.dry_run.unwrap_or_default(),
            user: User {
                name: request.user_info.username.clone(),
                groups: request.user_info.groups.clone(),
            },
            service,
            old_service,
            namespace: Inventory::unknown_namespace(namespace),
            cluster: inventory::no_cluster(),
            selected_pods: None,
            time: now
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        let about = about::about(&review.service, review.old_service.as_ref());
        Ok(Self {
            view,
            review,
            about,
            context: Parts::default(),
            log: LogTo::Process,
            old: None,
        })
    }

    /// Has the lines that policies log come back in their answers.
    pub(super) fn keep_log(&mut self) {
        self.log = LogTo::Answer;
    }

    pub(super) fn view(&self) -> &View<'a> {
        &self.view
    }

    pub(super) fn service(&self) -> &Service {
        &self.review.service
    }

    pub(super) fn old_service(&self) -> Option<&Service> {
        self.review.old_service.as_ref()
    }

    /// Returns true if the policy's `about` covers the object, as patched so far.
    pub(super) fn concerns(&self, policy: &Policy) -> bool {
        policy.is_about(
            self.about,
            &self.review.service,
            self.review.old_service.as_ref(),
        )
    }

    /// Rejects an opinion on a Service outside `about`: the webhook would never have asked for it.
    pub(super) fn check_about(
        &self,
        policy: &Policy,
        verdict: Verdict,
    ) -> Result<Verdict, EvaluationError> {
        let silent = Verdict {
            violations: vec![],
            warnings: vec![],
            audit_annotations: vec![],
            patch: vec![],
        };
        if self.concerns(policy) || verdict == silent {
            return Ok(verdict);
        }
        const PROBLEM: &str = "it has an opinion on a Service that it is not about, by what \
            `describe` says; add to `about`";
        Err(EvaluationError::Answer(PROBLEM.to_owned()))
    }

    /// Replaces the object by a patched one.
    pub(super) fn replace(&mut self, mut service: Service) {
        adopt(&mut service, &self.review.namespace.name);
        self.about = about::about(&service, self.review.old_service.as_ref());
        self.review.service = service;
        self.context.pods = None;
    }

    pub(super) fn ask(&mut self, policy: &Policy, entry: Entry, deadline: Deadline) -> Answer {
        let (review, parts) = (&mut self.review, &mut self.context);
        parts.look_up(review, policy, &self.view);
        parts.ask(review, policy, (entry, deadline, self.log))
    }

    /// Asks `validate` once more, with the kind of cluster unknown.
    pub(super) fn ask_without_environment(
        &mut self,
        policy: &Policy,
        deadline: Deadline,
    ) -> Answer {
        let environment = self
            .context
            .cluster
            .as_mut()
            .and_then(|cluster| cluster.environment.take());
        let answer = self.ask(policy, Entry::Validate, deadline);
        if let Some(cluster) = &mut self.context.cluster {
            cluster.environment = environment;
        }
        answer
    }

    /// Asks `validate` about the old object, as an update from old to old; `None` when there is no
    /// old object.
    pub(super) fn ask_of_old(&mut self, policy: &Policy, deadline: Deadline) -> Option<Answer> {
        let review = &self.review;
        let old_service = review.old_service.as_ref()?;
        let Old { review, context } = &mut **self.old.get_or_insert_with(|| {
            let review = Review {
                service: old_service.clone(),
                ..review.clone()
            };
            Box::new(Old {
                review,
                context: Parts::default(),
            })
        });
        context.look_up(review, policy, &self.view);
        Some(context.ask(review, policy, (Entry::Validate, deadline, self.log)))
    }
}

impl Parts {
    /// Asks a policy about the review, with those parts of the context that it asked for.
    fn ask(
        &mut self,
        review: &mut Review,
        policy: &Policy,
        (entry, deadline, log): (Entry, Deadline, LogTo),
    ) -> Answer {
        self.swap(review, policy);
        let answer = match entry {
            Entry::Validate => policy.validate(review, deadline, log),
            Entry::Mutate => policy.mutate(review, deadline, log),
        };
        self.swap(review, policy);
        answer
    }

    fn look_up(&mut self, review: &Review, policy: &Policy, view: &View<'_>) {
        let namespace = review.namespace.name.as_str();
        if policy.needs(Context::Namespace) {
            self.namespace
                .get_or_insert_with(|| view.namespace(namespace));
        }
        if policy.needs(Context::Cluster) {
            self.cluster.get_or_insert_with(|| view.cluster());
        }
        if policy.needs(Context::Pods) {
            self.pods.get_or_insert_with(|| {
                view.selected_pods(namespace, &review.service.spec.selector)
            });
        }
    }

    /// Swaps the parts that the policy asked for with those in the review. A second call undoes it.
    fn swap(&mut self, review: &mut Review, policy: &Policy) {
        if let (true, Some(namespace)) = (policy.needs(Context::Namespace), &mut self.namespace) {
            std::mem::swap(namespace, &mut review.namespace);
        }
        if let (true, Some(cluster)) = (policy.needs(Context::Cluster), &mut self.cluster) {
            std::mem::swap(cluster, &mut review.cluster);
        }
        if let (true, Some(pods)) = (policy.needs(Context::Pods), &mut self.pods) {
            std::mem::swap(pods, &mut review.selected_pods);
        }
    }
}

/// Bytes of a user's name and groups. Policies see them, and no directory has users with more.
const MAX_USER: usize = 256 << 10;

fn check_user(user: &UserInfo) -> Result<(), Malformed> {
    let bytes = user.username.len() + user.groups.iter().map(String::len).sum::<usize>();
    if bytes <= MAX_USER {
        return Ok(());
    }
    let problem = format!(
        "the name and the groups of the user who sends the request have {bytes} bytes, and \
         {MAX_USER} are the most; put the user into fewer groups"
    );
    Err(Malformed {
        field: String::new(),
        problem,
    })
}

fn parse(object: Option<&RawValue>, namespace: &str) -> Result<Option<Service>, Malformed> {
    let Some(object) = object else {
        return Ok(None);
    };
    let mut service = service::parse(object.get())?;
    adopt(&mut service, namespace);
    Ok(Some(service))
}

/// Fills in the request's namespace, which a raw manifest may lack.
fn adopt(service: &mut Service, namespace: &str) {
    if service.metadata.namespace.is_empty() {
        namespace.clone_into(&mut service.metadata.namespace);
    }
}
