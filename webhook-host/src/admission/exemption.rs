//! Requests that no policy is asked about.
//!
//! These are what keeps a cluster from being locked out: whatever a policy thinks, objects can be deleted, finalizers
//! removed, and the API server can write its own Service.

use super::request::{AdmissionRequest, Operation, UserInfo};
use crate::contract::review::{Operation as Reviewed, Resource};
use crate::contract::service::Service;
use crate::manifest::{Exemptions, Group, ServiceAccount, Subject};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::LazyCell;
use std::collections::BTreeMap;

/// Why no policy is asked about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exemption {
    /// Neither CREATE nor UPDATE.
    Operation,
    /// Not a core/v1 Service, or a sub-resource other than `status`.
    Kind,
    /// `default/kubernetes`, written by the API server itself.
    ApiServer,
    /// A Service that waits for its finalizers and gains nothing.
    Terminating,
    /// The namespace is exempt by configuration.
    Namespace,
    /// The Service is, by its name.
    Service,
    /// The user is.
    User,
    /// One of the user's groups is.
    Group,
    /// The service account is.
    ServiceAccount,
    /// Somebody who may do so broke the glass: nothing is improved away (the mutating phase only).
    BreakGlass,
}

impl Exemption {
    /// A stable word for metrics and suites.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Kind => "kind",
            Self::ApiServer => "api-server",
            Self::Terminating => "terminating",
            Self::Namespace => "namespace",
            Self::Service => "service",
            Self::User => "user",
            Self::Group => "group",
            Self::ServiceAccount => "service-account",
            Self::BreakGlass => "break-glass",
        }
    }
}

/// What is reviewed, unless the request is exempt.
pub(super) fn scope(
    request: &AdmissionRequest<'_>,
    exemptions: &Exemptions,
) -> Result<(Reviewed, Resource), Exemption> {
    let operation = match request.operation {
        Operation::Create => Reviewed::Create,
        Operation::Update => Reviewed::Update,
        Operation::Delete | Operation::Connect => return Err(Exemption::Operation),
    };
    // Knative has a kind Service too; lists and other versions never come from an API server.
    let kind = &request.kind;
    let resource = match request.sub_resource.as_deref() {
        _ if !(kind.group.is_empty() && kind.version == "v1" && kind.kind == "Service") => return Err(Exemption::Kind),
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
    let (namespace, name) = (request.namespace(), request.name());
    if exemptions.namespaces.iter().any(|exempt| exempt.as_str() == namespace) {
        return Some(Exemption::Namespace);
    }
    if exemptions.services.iter().any(|pattern| pattern.matches(namespace, name)) {
        return Some(Exemption::Service);
    }
    named(&request.user_info, &exemptions.users, &exemptions.groups, &exemptions.service_accounts)
}

/// By what a user is named, if at all.
pub(super) fn named(
    user: &UserInfo,
    users: &[Subject],
    groups: &[Group],
    service_accounts: &[ServiceAccount],
) -> Option<Exemption> {
    if users.iter().any(|named| named.as_str() == user.username) {
        return Some(Exemption::User);
    }
    if service_accounts.iter().any(|named| named.user_name() == user.username) {
        return Some(Exemption::ServiceAccount);
    }
    let is_member = groups.iter().any(|named| user.groups.iter().any(|group| group == named.as_str()));
    is_member.then_some(Exemption::Group)
}

/// Whether an update removes finalizers, or anything else, from a Service that is being deleted. A terminating Service is
/// still programmed, so that any gain is reviewed.
pub(super) fn is_terminating(request: &AdmissionRequest<'_>, service: &Service) -> bool {
    let (Some(object), Some(old)) = (request.object, request.old_object) else { return false };
    if request.operation != Operation::Update || service.metadata.deletion_timestamp.is_none() {
        return false;
    }
    let (Some(new), Some(old)) = (Parts::of(object), Parts::of(old)) else { return false };
    new.each().into_iter().zip(old.each()).all(|(new, old)| gains_nothing(new, old, DEEPEST))
}

/// What may gain. Texts, since a Service can be so large that two trees of it would not fit into memory.
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
struct Metadata<'a> {
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, default, rename = "loadBalancer")]
    load_balancer: Option<&'a RawValue>,
}

impl<'a> Parts<'a> {
    /// `None` for what is no Service.
    fn of(object: &'a RawValue) -> Option<Self> {
        serde_json::from_str(object.get()).ok()
    }

    fn each(&self) -> [Option<&'a RawValue>; 4] {
        let load_balancer = self.status.as_ref().and_then(|status| status.load_balancer);
        [self.spec, self.metadata.labels, self.metadata.annotations, load_balancer]
    }
}

/// A Service has six levels; what is deeper counts as a gain.
const DEEPEST: u32 = 32;

/// Whether a part is unchanged or only lost entries.
fn gains_nothing(new: Option<&RawValue>, old: Option<&RawValue>, levels: u32) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    let Some(new) = new.map(RawValue::get).filter(|new| *new != "null") else { return true };
    let Some(old) = old.map(RawValue::get) else { return false };
    if new == old {
        return true;
    }
    if let (Some(new), Some(old)) = (members(new), members(old)) {
        return new.iter().all(|(key, value)| gains_nothing(Some(value), old.get(key).copied(), levels));
    }
    if let (Some(new), Some(old)) = (items(new), items(old)) {
        let mut rest = old.iter();
        return new.iter().all(|item| {
            // Once: a large one may stand against many.
            let tree = LazyCell::new(|| value(item.get()));
            rest.any(|old| {
                old.get() == item.get() || tree.as_ref().is_some_and(|new| value(old.get()).as_ref() == Some(new))
            })
        });
    }
    is_same(new, old)
}

fn members(text: &str) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
}

fn items(text: &str) -> Option<Vec<&RawValue>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// Whatever the order of members and the space between them.
fn is_same(new: &str, old: &str) -> bool {
    new == old || value(new).is_some_and(|new| value(old) == Some(new))
}

fn value(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn losing_entries_is_no_gain_and_everything_else_is_one() {
        let old = json!({"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 81}], "m": {"a": "1", "b": "2"}});
        let raw = |value: &Value| RawValue::from_string(value.to_string()).expect("JSON");
        let gains = |new: Value| !gains_nothing(Some(&raw(&new)), Some(&raw(&old)), DEEPEST);
        assert!(!gains(old.clone()));
        assert!(!gains(json!({"type": "LoadBalancer", "ports": [{"port": 81}], "m": {"b": "2"}})));
        assert!(!gains(Value::Null));
        assert!(gains(json!({"type": "NodePort"})));
        assert!(gains(json!({"ports": [{"port": 82}]})));
        assert!(gains(json!({"ports": [{"port": 81}, {"port": 80}]})));
        assert!(gains(json!({"m": {"c": "3"}})));
    }

    #[test]
    fn parts_are_compared_by_what_they_say_and_the_deepest_count_as_a_gain() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
        let gains = |new: &str, old: &str| !gains_nothing(Some(&raw(new)), Some(&raw(old)), DEEPEST);
        assert!(!gains(r#"{"p":[{"a":1, "b":2}]}"#, r#"{"p":[{"b":2,"a":1}], "q":1}"#));
        assert!(gains(r#"{"p":[{"a":1}]}"#, r#"{"p":[{"b":2,"a":1}]}"#), "an entry of a list is one thing");
        let nested = |text: &str| format!("{}{text}{}", r#"{"a":"#.repeat(40), "}".repeat(40));
        assert!(gains(&nested("1"), &nested("2")) && gains(&nested("null"), &nested("1")));
        assert!(!gains(&nested("1"), &nested("1")));
        let deep = |text: &str| format!("{}{text}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(gains(&deep("1"), &deep("2")), "without recursion to the bottom");
    }

    #[test]
    fn a_large_entry_is_read_once_however_many_it_stands_against() {
        let raw = |text: String| RawValue::from_string(text).expect("JSON");
        let old = raw(format!("[{}]", [r#"{"a": 1}"#; 100_000].join(",")));
        let new = raw(format!(r#"[{{"a":1,"b":"{}"}}]"#, "x".repeat(4 << 20)));
        let began = std::time::Instant::now();
        assert!(!gains_nothing(Some(&new), Some(&old), DEEPEST));
        // A minute, when it was read for each.
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
