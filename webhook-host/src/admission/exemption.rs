//! Requests that no policy is asked about.
//!
//! These are what keeps a cluster from being locked out: whatever a policy thinks, objects can be deleted, finalizers
//! removed, and the API server can write its own Service.

use super::request::{AdmissionRequest, Operation, UserInfo};
use crate::contract::review::{Operation as Reviewed, Resource};
use crate::contract::service::Service;
use crate::manifest::{Exemptions, Group, ServiceAccount, Subject};
use serde_json::Value;

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
    let value = |raw: &serde_json::value::RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
    let (object, old) = (value(object), value(old));
    ["/spec", "/metadata/labels", "/metadata/annotations", "/status/loadBalancer"]
        .into_iter()
        .all(|part| gains_nothing(object.pointer(part), old.pointer(part)))
}

/// Whether a part is unchanged or only lost entries.
fn gains_nothing(new: Option<&Value>, old: Option<&Value>) -> bool {
    match (new, old) {
        (None | Some(Value::Null), _) => true,
        (Some(Value::Object(new)), Some(Value::Object(old))) => {
            new.iter().all(|(key, value)| gains_nothing(Some(value), old.get(key)))
        }
        (Some(Value::Array(new)), Some(Value::Array(old))) => {
            let mut rest = old.iter();
            new.iter().all(|item| rest.any(|old| old == item))
        }
        (new, old) => new == old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn losing_entries_is_no_gain_and_everything_else_is_one() {
        let old = json!({"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 81}], "m": {"a": "1", "b": "2"}});
        let gains = |new: Value| !gains_nothing(Some(&new), Some(&old));
        assert!(!gains(old.clone()));
        assert!(!gains(json!({"type": "LoadBalancer", "ports": [{"port": 81}], "m": {"b": "2"}})));
        assert!(!gains(Value::Null));
        assert!(gains(json!({"type": "NodePort"})));
        assert!(gains(json!({"ports": [{"port": 82}]})));
        assert!(gains(json!({"ports": [{"port": 81}, {"port": 80}]})));
        assert!(gains(json!({"m": {"c": "3"}})));
    }
}
