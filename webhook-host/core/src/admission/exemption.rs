//! Exemptions: the requests that no policy is asked about.
//!
//! Exemptions prevent a cluster from being locked out: whatever a policy decides, objects can be
//! deleted, finalizers can be removed, and the API server can write its own Service.

use super::request::{AdmissionRequest, Operation, UserInfo};
use crate::contract::review::{Operation as Reviewed, Resource};
use crate::contract::service::Service;
use crate::inventory::View;
use crate::manifest::{Exemptions, Group, ServiceAccount, ServicePattern, Subject};
use crate::policy::Policy;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// The reason why no policy is asked about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exemption {
    /// CONNECT; a DELETE that no policy asks about; or a DELETE in the mutating phase.
    Operation,
    /// A DELETE by a controller that ends what others deleted: namespaces, owners.
    Controller,
    /// Not a core/v1 Service, or a sub-resource other than `status`.
    Kind,
    /// `default/kubernetes`, written by the API server itself.
    ApiServer,
    /// An update of a Service in deletion that leaves spec, labels and annotations equal and adds
    /// no ingress point.
    Terminating,
    /// A DELETE in a namespace that is being deleted.
    TerminatingNamespace,
    /// A DELETE in a namespace that the host does not know, and that may be in deletion.
    UnknownNamespace,
    /// The namespace is exempt by configuration.
    Namespace,
    /// The Service is exempt, by its name.
    Service,
    /// The user is exempt.
    User,
    /// One of the user's groups is exempt.
    Group,
    /// The service account is exempt.
    ServiceAccount,
    /// The request is under break-glass, so that no policy patches away the change that it is for
    /// (the mutating phase only).
    BreakGlass,
}

impl Exemption {
    /// Returns a stable word for metrics and suites.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Controller => "controller",
            Self::Kind => "kind",
            Self::ApiServer => "api-server",
            Self::Terminating => "terminating",
            Self::TerminatingNamespace => "terminating-namespace",
            Self::UnknownNamespace => "unknown-namespace",
            Self::Namespace => "namespace",
            Self::Service => "service",
            Self::User => "user",
            Self::Group => "group",
            Self::ServiceAccount => "service-account",
            Self::BreakGlass => "break-glass",
        }
    }
}

/// The users of the controllers that delete Services because a namespace or an owner was deleted.
/// (kube-controller-manager uses one user for all of them, or a service account for each.)
pub const DELETING_CONTROLLERS: [&str; 3] = [
    "system:kube-controller-manager",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
];

/// Returns the operation of a DELETE, unless it only ends a deletion that began already.
fn deletion(request: &AdmissionRequest<'_>) -> Result<Reviewed, Exemption> {
    // An API server always sends the object that it deletes.
    let old = request.old_object.ok_or(Exemption::Operation)?;
    let is_in_deletion = Parts::of(old)
        .and_then(|old| old.metadata.deletion_timestamp)
        .is_some_and(|time| time.get() != "null");
    if is_in_deletion {
        return Err(Exemption::Terminating);
    }
    if DELETING_CONTROLLERS.contains(&request.user_info.username.as_str()) {
        return Err(Exemption::Controller);
    }
    Ok(Reviewed::Delete)
}

/// Returns why no policy is asked about a DELETE in a namespace: the namespace is being deleted, or
/// the host can't tell. The controllers that empty a namespace are exempt anyway; this exempts
/// people who delete what is left.
pub(super) fn of_namespace_of_deletion(view: &View<'_>, namespace: &str) -> Option<Exemption> {
    match view.is_terminating(namespace) {
        Some(false) => None,
        Some(true) => Some(Exemption::TerminatingNamespace),
        None => Some(Exemption::UnknownNamespace),
    }
}

/// Returns the operation and the resource, unless the request is exempt. `deletions` says that some
/// policy asks about DELETE.
pub(super) fn scope(
    request: &AdmissionRequest<'_>,
    exemptions: &Exemptions,
    deletions: bool,
) -> Result<(Reviewed, Resource), Exemption> {
    let operation = match request.operation {
        Operation::Create => Reviewed::Create,
        Operation::Update => Reviewed::Update,
        Operation::Delete if deletions => deletion(request)?,
        Operation::Delete | Operation::Connect => return Err(Exemption::Operation),
    };
    // Knative has a kind Service too; lists and other versions never come from an API server.
    let kind = &request.kind;
    let resource = match request.sub_resource.as_deref() {
        _ if !(kind.group.is_empty() && kind.version == "v1" && kind.kind == "Service") => {
            return Err(Exemption::Kind);
        }
        None | Some("") => Resource::Services,
        Some("status") => Resource::ServicesStatus,
        Some(_) => return Err(Exemption::Kind),
    };
    // The name alone is not enough: whoever may write to `default` could take it.
    let own = request.namespace() == "default" && request.name() == "kubernetes";
    if own && request.user_info.username == "system:apiserver" {
        return Err(Exemption::ApiServer);
    }
    configured(request, exemptions).map_or(Ok((operation, resource)), Err)
}

fn configured(request: &AdmissionRequest<'_>, exemptions: &Exemptions) -> Option<Exemption> {
    let namespace = request.namespace();
    if exemptions
        .namespaces
        .iter()
        .any(|exempt| exempt.as_str() == namespace)
    {
        return Some(Exemption::Namespace);
    }
    if is_listed(&exemptions.services, request) {
        return Some(Exemption::Service);
    }
    named(
        &request.user_info,
        &exemptions.users,
        &exemptions.groups,
        &exemptions.service_accounts,
    )
}

/// Returns why one policy is not asked about a request: its own `spec.exemptions`.
pub(super) fn of_policy(request: &AdmissionRequest<'_>, policy: &Policy) -> Option<Exemption> {
    let exemptions = &policy.manifest().spec.exemptions;
    if is_listed(&exemptions.services, request) {
        return Some(Exemption::Service);
    }
    named(
        &request.user_info,
        &exemptions.users,
        &exemptions.groups,
        &exemptions.service_accounts,
    )
}

fn is_listed(patterns: &[ServicePattern], request: &AdmissionRequest<'_>) -> bool {
    patterns
        .iter()
        .any(|pattern| pattern.matches(request.namespace(), request.name()))
}

/// Returns which of the lists names a user.
pub(super) fn named(
    user: &UserInfo,
    users: &[Subject],
    groups: &[Group],
    service_accounts: &[ServiceAccount],
) -> Option<Exemption> {
    if users.iter().any(|named| named.as_str() == user.username) {
        return Some(Exemption::User);
    }
    if service_accounts
        .iter()
        .any(|named| named.user_name() == user.username)
    {
        return Some(Exemption::ServiceAccount);
    }
    let is_member = groups
        .iter()
        .any(|named| user.groups.iter().any(|group| group == named.as_str()));
    is_member.then_some(Exemption::Group)
}

/// Returns true if the old object waits for its finalizers: it has a `deletionTimestamp`.
pub(super) fn is_in_deletion(old: Option<&Service>) -> bool {
    old.is_some_and(|old| old.metadata.deletion_timestamp.is_some())
}

/// Returns true for an update of a Service in deletion that does not change its exposure.
///
/// The old object's `deletionTimestamp` counts. The spec, the labels and the annotations must be
/// equal, and `status.loadBalancer` must be unchanged or have lost ingress points. Everything else
/// is reviewed, because a Service in deletion is still programmed, and losing source ranges, a
/// selector or an annotation can expose more. Finalizers are not looked at, so that they can always
/// be removed. The host's `webhooks::cel` says the same in CEL; one table of cases
/// (`tests/fixtures/host/deletion.yaml`) holds for both.
pub(super) fn ends_a_deletion(request: &AdmissionRequest<'_>) -> bool {
    let (Some(object), Some(old)) = (request.object, request.old_object) else {
        return false;
    };
    // Scanning for the key is cheap; few Services are in deletion.
    if request.operation != Operation::Update || !old.get().contains("\"deletionTimestamp\"") {
        return false;
    }
    let (Some(new), Some(old)) = (Parts::of(object), Parts::of(old)) else {
        return false;
    };
    old.metadata
        .deletion_timestamp
        .is_some_and(|time| time.get() != "null")
        && is_same(new.spec, old.spec)
        && is_same(new.metadata.labels, old.metadata.labels)
        && is_same(new.metadata.annotations, old.metadata.annotations)
        && is_subset(new.ingress(), old.ingress())
}

/// The parts of a Service that the exemption compares, as text.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow, default)]
    load_balancer: Option<LoadBalancer<'a>>,
}

#[derive(Deserialize)]
struct LoadBalancer<'a> {
    #[serde(borrow, default)]
    ingress: Option<&'a RawValue>,
}

impl<'a> Parts<'a> {
    /// Reads the parts of a Service that exemptions compare; returns `None` for text that is no
    /// Service.
    fn of(object: &'a RawValue) -> Option<Self> {
        serde_json::from_str(object.get()).ok()
    }

    fn ingress(&self) -> Option<&'a RawValue> {
        self.status.as_ref()?.load_balancer.as_ref()?.ingress
    }
}

/// Bytes of a part that is compared as a tree where the texts differ. An API server writes equal
/// parts alike, so that this is for callers that write JSON in another order. A tree takes many
/// times its text.
const MAX_COMPARED: usize = 1 << 20;

fn is_same(new: Option<&RawValue>, old: Option<&RawValue>) -> bool {
    let (new, old) = (text(new), text(old));
    new == old || tree(new).is_some_and(|new| tree(old) == Some(new))
}

/// Returns true if each entry of the new list is an entry of the old one.
fn is_subset(new: Option<&RawValue>, old: Option<&RawValue>) -> bool {
    let (new, old) = (text(new), text(old));
    let entries = |text: &str| match tree(text)? {
        Value::Array(entries) => Some(entries),
        Value::Null => Some(vec![]),
        _ => None,
    };
    new == old
        || entries(new).zip(entries(old)).is_some_and(|(new, old)| {
            let old: HashSet<_> = old.iter().collect();
            new.iter().all(|entry| old.contains(entry))
        })
}

/// Returns a part's text; an absent member is `null`.
fn text(part: Option<&RawValue>) -> &str {
    part.map_or("null", RawValue::get)
}

fn tree(text: &str) -> Option<Value> {
    (text.len() <= MAX_COMPARED)
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    fn same(new: &str, old: &str) -> bool {
        is_same(Some(&raw(new)), Some(&raw(old)))
    }

    fn subset(new: &str, old: &str) -> bool {
        is_subset(Some(&raw(new)), Some(&raw(old)))
    }

    #[test]
    fn parts_are_compared_by_what_they_say() {
        assert!(same(r#"{"a":1, "b":[2]}"#, r#"{"b":[2],"a":1}"#));
        assert!(
            !same(r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
            "an entry less is a change"
        );
        assert!(is_same(None, Some(&raw("null"))));
        let long = |space: &str| format!(r#"{{"a":{space}"{}"}}"#, "x".repeat(MAX_COMPARED));
        assert!(
            same(&long(""), &long("")),
            "equal text of any length is equal"
        );
        assert!(
            !same(&long(" "), &long("")),
            "other text is not read beyond a limit"
        );
        let deep = |text: &str| format!("{}{text}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(!same(&deep("1"), &deep("2")), "no recursion to the bottom");
    }

    #[test]
    fn an_ingress_list_may_lose_entries_and_gain_none() {
        let old = r#"[{"ip":"192.0.2.1","ipMode":"Proxy"},{"hostname":"a"}]"#;
        assert!(subset(r#"[{"hostname":"a"}]"#, old) && subset("[]", old) && subset("null", old));
        assert!(is_subset(None, Some(&raw(old))));
        assert!(!subset(r#"[{"ip":"192.0.2.1","ipMode":"VIP"}]"#, old));
        assert!(!subset(r#"[{"ip":"192.0.2.2"}]"#, old) && !subset(old, "null"));
        assert!(!subset(r#"{"ip":"192.0.2.1"}"#, old));
    }

    #[test]
    fn long_lists_are_compared_in_linear_time() {
        let list = |last: &str| {
            format!(
                r#"[{}{{"ip":"{last}"}}]"#,
                r#"{"ip":"192.0.2.1"},"#.repeat(50_000)
            )
        };
        let began = std::time::Instant::now();
        assert!(!subset(&list("192.0.2.2"), &list("192.0.2.3")));
        assert!(
            began.elapsed() < std::time::Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
    }
}
