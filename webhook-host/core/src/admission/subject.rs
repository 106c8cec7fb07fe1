//! The Service under review with its context, as each policy asked for it.

use super::request::{AdmissionRequest, UserInfo};
use super::{Function, about};
use crate::contract::description::{About, Context};
use crate::contract::review::{Cluster, Namespace, Operation, Pod, Resource, Review, User};
use crate::contract::service::{Json, Pair, Service};
use crate::contract::verdict::Verdict;
use crate::inventory::{self, Inventory, View};
use crate::policy::{Answer, Deadline, Entry, EvaluationError, LogTo, Policy};
use crate::service::{self, Malformed};
use serde_json::Value;
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
    annotations: Option<Option<Vec<Pair>>>,
    cluster: Option<Cluster>,
    pods: Option<Option<Vec<Pod>>>,
    /// `None` where no matching policy asks for them.
    raw: Option<RawObjects>,
}

/// The texts of the object and of the old one.
#[derive(Clone)]
struct RawObjects {
    object: Option<Json>,
    old_object: Option<Json>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(
        function: Function,
        request: &AdmissionRequest<'_>,
        (operation, resource): (Operation, Resource),
        now: SystemTime,
        view: View<'a>,
        raw_objects: bool,
    ) -> Result<Self, Malformed> {
        check_user(&request.user_info)?;
        let namespace = request.namespace();
        let object = match operation {
            Operation::Delete => request.old_object,
            Operation::Create | Operation::Update => request.object,
        };
        let service = parse(object, namespace)?.ok_or_else(|| Malformed {
            field: String::new(),
            problem: "the object is missing".to_owned(),
        })?;
        let old_service = match operation {
            Operation::Create | Operation::Delete => None,
            // An old object that is missing or doesn't decode excuses nothing.
            Operation::Update => parse(request.old_object, namespace).unwrap_or_default(),
        };
        let raw = raw_objects
            .then(|| RawObjects::of(request, operation))
            .transpose()?;
        let review = Review {
            phase: function.phase(),
            operation,
            resource,
            dry_run: request.dry_run.unwrap_or_default(),
            user: user(&request.user_info),
            service,
            old_service,
            object: None,
            old_object: None,
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
            context: Parts {
                raw,
                ..Parts::default()
            },
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

    /// Returns true if the Service is being deleted.
    pub(super) fn is_deleted(&self) -> bool {
        self.review.operation == Operation::Delete
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
    pub(super) fn replace(&mut self, mut service: Service, object: &Value) {
        adopt(&mut service, &self.review.namespace.name);
        self.about = about::about(&service, self.review.old_service.as_ref());
        self.review.service = service;
        self.context.pods = None;
        if let Some(raw) = &mut self.context.raw {
            raw.object = Some(object.to_string());
        }
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
            let raw = self.context.raw.as_ref().map(|raw| RawObjects {
                object: raw.old_object.clone(),
                ..raw.clone()
            });
            let context = Parts {
                raw,
                ..Parts::default()
            };
            Box::new(Old { review, context })
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
        if policy.needs_namespace() {
            self.namespace
                .get_or_insert_with(|| view.namespace(namespace));
        }
        if policy.needs(Context::NamespaceAnnotations) {
            self.annotations
                .get_or_insert_with(|| view.namespace_annotations(namespace));
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
        if let (true, Some(namespace)) = (policy.needs_namespace(), &mut self.namespace) {
            std::mem::swap(&mut namespace.labels, &mut review.namespace.labels);
            std::mem::swap(&mut namespace.known, &mut review.namespace.known);
        }
        if let (true, Some(annotations)) = (
            policy.needs(Context::NamespaceAnnotations),
            &mut self.annotations,
        ) {
            std::mem::swap(annotations, &mut review.namespace.annotations);
        }
        if let (true, Some(cluster)) = (policy.needs(Context::Cluster), &mut self.cluster) {
            std::mem::swap(cluster, &mut review.cluster);
        }
        if let (true, Some(pods)) = (policy.needs(Context::Pods), &mut self.pods) {
            std::mem::swap(pods, &mut review.selected_pods);
        }
        if let (true, Some(raw)) = (policy.needs(Context::RawObjects), &mut self.raw) {
            std::mem::swap(&mut raw.object, &mut review.object);
            std::mem::swap(&mut raw.old_object, &mut review.old_object);
        }
    }
}

/// Bytes of an object's JSON. Policies that ask for it parse it, in a memory of 16 MiB by default.
/// etcd takes 1.5 MiB by default, of a shorter form.
const MAX_RAW: usize = 3 << 19;

impl RawObjects {
    /// On a DELETE, the object is the one that is deleted.
    fn of(request: &AdmissionRequest<'_>, operation: Operation) -> Result<Self, Malformed> {
        let (object, old_object) = match operation {
            Operation::Delete => (request.old_object, None),
            Operation::Create | Operation::Update => (request.object, request.old_object),
        };
        Ok(Self {
            object: raw_text(object)?,
            old_object: raw_text(old_object)?,
        })
    }
}

fn raw_text(object: Option<&RawValue>) -> Result<Option<Json>, Malformed> {
    let text = object.map(RawValue::get).filter(|text| *text != "null");
    match text {
        Some(text) if text.len() > MAX_RAW => Err(Malformed {
            field: String::new(),
            problem: format!(
                "its JSON has {} bytes, and policies that ask for raw objects take {MAX_RAW} at \
                 most; shorten it",
                text.len()
            ),
        }),
        text => Ok(text.map(str::to_owned)),
    }
}

/// Bytes of all that is known of a user: name, groups, uid and extra. Policies see it, and no
/// directory has users with more.
const MAX_USER: usize = 256 << 10;

fn check_user(user: &UserInfo) -> Result<(), Malformed> {
    let lengths = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    let extra = user.extra.iter();
    let bytes = user.username.len()
        + user.uid.len()
        + lengths(&user.groups)
        + extra
            .map(|(key, values)| key.len() + lengths(values))
            .sum::<usize>();
    if bytes <= MAX_USER {
        return Ok(());
    }
    let problem = format!(
        "the name, the groups and the extra values of the user who sends the request have {bytes} \
         bytes, and {MAX_USER} are the most; put the user into fewer groups"
    );
    Err(Malformed {
        field: String::new(),
        problem,
    })
}

fn user(user: &UserInfo) -> User {
    let extra = user.extra.iter();
    User {
        name: user.username.clone(),
        groups: user.groups.clone(),
        uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
        extra: extra
            .map(|(key, values)| (key.clone(), values.clone()))
            .collect(),
    }
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
