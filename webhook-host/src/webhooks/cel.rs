//! CEL (Common Expression Language): exemptions as match conditions, and values as literals.
//!
//! Invariants: a condition exempts no more than `admission` does. `request` lacks members that are
//! empty, so each access is guarded by `has`; an error in a condition counts as a failed webhook.

use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use sallyport_core::admission::DELETING_CONTROLLERS;
use sallyport_core::manifest::{
    Exemptions, Group, PolicyExemptions, ServiceAccount, ServicePattern, Subject,
};
use serde_json::Value;

/// A condition that a request must meet to be reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// A qualified name, such as `not-an-exempt-user`.
    pub name: &'static str,
    /// CEL, true for requests that are reviewed.
    pub expression: String,
}

impl Condition {
    pub(super) fn into_match_condition(self) -> MatchCondition {
        MatchCondition {
            name: self.name.to_owned(),
            expression: self.expression,
        }
    }

    pub(super) fn unless(name: &'static str, exempt: &str) -> Self {
        Self {
            name,
            expression: format!("!({exempt})"),
        }
    }
}

/// Matches the API server's own Service. Its name alone would match anybody's.
const API_SERVER: &str = "request.userInfo.username == 'system:apiserver' && request.namespace == \
    'default' && has(request.name) && request.name == 'kubernetes'";

/// Returns one condition for each exemption from CREATE and UPDATE.
pub(super) fn conditions(exemptions: &Exemptions) -> Vec<Condition> {
    let mut conditions = vec![
        Condition::unless("not-the-api-servers-own", API_SERVER),
        Condition::unless("not-the-end-of-a-deletion", &end_of_a_deletion()),
    ];
    conditions.extend(configured(exemptions));
    conditions
}

/// Returns one condition for each exemption from DELETE. The deletion of a collection has no
/// `request.name`, so that an exempt Service in it is sent and exempted by the host.
pub(super) fn conditions_of_deletions(exemptions: &Exemptions) -> Vec<Condition> {
    let controllers = DELETING_CONTROLLERS.map(text).join(", ");
    let controllers = format!("request.userInfo.username in [{controllers}]");
    let mut conditions = vec![
        Condition::unless("not-the-api-servers-own", API_SERVER),
        Condition::unless("not-a-deleting-controller", &controllers),
        Condition::unless(
            "not-in-deletion",
            "oldObject != null && has(oldObject.metadata.deletionTimestamp)",
        ),
    ];
    conditions.extend(configured(exemptions));
    conditions
}

fn configured(exemptions: &Exemptions) -> impl Iterator<Item = Condition> {
    let who = named(
        &exemptions.users,
        &exemptions.groups,
        &exemptions.service_accounts,
    );
    let services = listed(&exemptions.services);
    [
        who.map(|who| Condition::unless("not-an-exempt-user", &who)),
        services.map(|which| Condition::unless("not-an-exempt-service", &which)),
    ]
    .into_iter()
    .flatten()
}

/// Returns the conditions for the exemptions of one policy.
pub(super) fn conditions_of_policy(exemptions: &PolicyExemptions) -> Vec<Condition> {
    let who = named(
        &exemptions.users,
        &exemptions.groups,
        &exemptions.service_accounts,
    );
    let services = listed(&exemptions.services);
    [
        who.map(|who| Condition::unless("not-a-user-exempt-from-this-policy", &who)),
        services.map(|which| Condition::unless("not-a-service-exempt-from-this-policy", &which)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Matches the Services that the patterns name; `None` when there are none.
fn listed(patterns: &[ServicePattern]) -> Option<String> {
    let matches: Vec<String> = patterns.iter().map(pattern).collect();
    (!matches.is_empty()).then(|| {
        format!(
            "has(request.name) && request.name != '' && ({})",
            matches.join(" || ")
        )
    })
}

/// The most ingress points that a condition compares, since CEL has a cost limit. With more of
/// them, the request is sent to the host.
const MAX_INGRESS: usize = 100;

/// Matches updates of a Service in deletion that leave its exposure unchanged, as
/// `admission::exemption` does.
fn end_of_a_deletion() -> String {
    let same = ["metadata.labels", "metadata.annotations", "spec"].map(|part| {
        format!(
            "(has(object.{part}) ? has(oldObject.{part}) && object.{part} == oldObject.{part} : \
             !has(oldObject.{part}))"
        )
    });
    let has = |object: &str| {
        format!(
            "has({object}.status) && has({object}.status.loadBalancer) && \
             has({object}.status.loadBalancer.ingress)"
        )
    };
    let (new, old) = (has("object"), has("oldObject"));
    let list = "object.status.loadBalancer.ingress";
    format!(
        "{IN_DELETION} && {} && (!({new}) || {old} && size({list}) <= {MAX_INGRESS} && \
         size(oldObject.status.loadBalancer.ingress) <= {MAX_INGRESS} && {list}.all(i, i in \
         oldObject.status.loadBalancer.ingress))",
        same.join(" && "),
    )
}

/// Matches an update of a Service in deletion. The old object's `deletionTimestamp` counts.
pub(super) const IN_DELETION: &str = "request.operation == 'UPDATE' && oldObject != null && \
    has(oldObject.metadata.deletionTimestamp)";

/// Matches the listed users, groups and service accounts; `None` when there are none.
pub(super) fn named(
    users: &[Subject],
    groups: &[Group],
    service_accounts: &[ServiceAccount],
) -> Option<String> {
    let names = users
        .iter()
        .map(Subject::as_str)
        .chain(service_accounts.iter().map(ServiceAccount::user_name));
    let names: Vec<String> = names.map(text).collect();
    let groups: Vec<String> = groups.iter().map(|group| text(group.as_str())).collect();
    let by_name =
        (!names.is_empty()).then(|| format!("request.userInfo.username in [{}]", names.join(", ")));
    let by_group = (!groups.is_empty()).then(|| {
        let list = groups.join(", ");
        format!(
            "(has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in [{list}]))"
        )
    });
    let both: Vec<String> = by_name.into_iter().chain(by_group).collect();
    (!both.is_empty()).then(|| both.join(" || "))
}

fn pattern(pattern: &ServicePattern) -> String {
    let written = pattern.to_string();
    let (namespace, name) = written.split_once('/').unwrap_or_default();
    format!(
        "({} && {})",
        matches("request.namespace", namespace),
        matches("request.name", name)
    )
}

/// Matches a part of a pattern, which consists of letters, digits, `-`, `.` and `*` alone.
fn matches(field: &str, part: &str) -> String {
    if !part.contains('*') {
        return format!("{field} == {}", text(part));
    }
    format!(
        "{field}.matches({})",
        text(&format!(
            "^{}$",
            part.replace('.', "[.]").replace('*', ".*")
        ))
    )
}

/// Returns a text as a CEL literal.
pub(super) fn text(text: &str) -> String {
    let plain = |c: char| !c.is_control() && c != '\'' && c != '\\';
    // JSON's escapes are valid in CEL.
    if text.chars().all(plain) {
        format!("'{text}'")
    } else {
        Value::from(text).to_string()
    }
}

/// Returns a JSON value as a CEL literal.
///
/// API servers reject literals with members of different types, so members are wrapped in `dyn`
/// unless all of them are scalars of one type.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        // Whole numbers beyond `int` are `uint`.
        Value::Number(number) if number.is_u64() && number.as_i64().is_none() => {
            format!("{number}u")
        }
        Value::Number(number) => number.to_string(),
        Value::String(value) => text(value),
        Value::Array(items) => {
            let is_uniform = is_uniform(items.iter());
            let members = items.iter().map(|item| member(item, is_uniform));
            format!("[{}]", members.collect::<Vec<_>>().join(", "))
        }
        Value::Object(pairs) => {
            let is_uniform = is_uniform(pairs.values());
            let members = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", text(key), member(value, is_uniform)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

fn member(value: &Value, is_uniform: bool) -> String {
    let literal = literal(value);
    if is_uniform {
        literal
    } else {
        format!("dyn({literal})")
    }
}

/// Returns true when all members are strings, all are ints, or all are bools.
fn is_uniform<'a>(mut members: impl Iterator<Item = &'a Value> + Clone) -> bool {
    members.clone().all(Value::is_string)
        || members.clone().all(Value::is_i64)
        || members.all(Value::is_boolean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn literals_have_members_of_one_type() {
        for (value, expected) in [
            (json!(["a", "it's"]), r#"['a', "it's"]"#),
            (json!(["a\nb\u{1}\\"]), r#"["a\nb\u0001\\"]"#),
            (
                json!([{"from": 1, "to": -2}]),
                "[dyn({'from': 1, 'to': -2})]",
            ),
            (
                json!({"a": [], "b": null}),
                "{'a': dyn([]), 'b': dyn(null)}",
            ),
            (json!([true, false]), "[true, false]"),
            (
                json!([i64::MIN, i64::MAX]),
                "[-9223372036854775808, 9223372036854775807]",
            ),
            (json!([u64::MAX]), "[dyn(18446744073709551615u)]"),
            (json!([1.0, 1e300]), "[dyn(1.0), dyn(1e+300)]"),
            (json!({"it's": "x"}), r#"{"it's": 'x'}"#),
        ] {
            assert_eq!(literal(&value), expected);
        }
    }
}
