//! CEL (Common Expression Language): the exemptions as match conditions, exactly what `admission`
//! exempts or less, and values as literals.
//!
//! `request` has no member for what is empty, so that each is asked for by `has` first; an error in
//! a condition counts as a failed webhook.

use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use sallyport_core::manifest::{Exemptions, Group, ServiceAccount, ServicePattern, Subject};
use serde_json::Value;

/// What must hold for a request to be reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// A qualified name, such as `not-an-exempt-user`.
    pub name: &'static str,
    /// CEL, true for what is reviewed.
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

/// The API server's own Service. The name alone would let anybody's pass.
const API_SERVER: &str = "request.userInfo.username == 'system:apiserver' && request.namespace == \
    'default' && has(request.name) && request.name == 'kubernetes'";

/// The condition of each exemption.
pub(super) fn conditions(exemptions: &Exemptions) -> Vec<Condition> {
    let mut conditions = vec![
        Condition::unless("not-the-api-servers-own", API_SERVER),
        Condition::unless("not-the-end-of-a-deletion", &end_of_a_deletion()),
    ];
    let who = named(
        &exemptions.users,
        &exemptions.groups,
        &exemptions.service_accounts,
    );
    conditions.extend(who.map(|who| Condition::unless("not-an-exempt-user", &who)));
    if !exemptions.services.is_empty() {
        let patterns: Vec<String> = exemptions.services.iter().map(pattern).collect();
        let exempt = format!(
            "has(request.name) && request.name != '' && ({})",
            patterns.join(" || ")
        );
        conditions.push(Condition::unless("not-an-exempt-service", &exempt));
    }
    conditions
}

/// Ingress points that are compared with each other in a condition, which has a budget; the host is
/// asked about more.
const MAX_INGRESS: usize = 100;

/// An update of a Service in deletion that leaves alone what bears on its exposure, as
/// `admission::exemption` has it.
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

/// An update of a Service in deletion: the old object counts.
pub(super) const IN_DELETION: &str = "request.operation == 'UPDATE' && oldObject != null && \
    has(oldObject.metadata.deletionTimestamp)";

/// Who is meant by users, groups and service accounts; `None` when nobody is.
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

/// A part of a pattern is made of letters, digits, `-`, `.` and `*` alone.
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

/// A text as CEL writes it.
pub(super) fn text(text: &str) -> String {
    let plain = |c: char| !c.is_control() && c != '\'' && c != '\\';
    // JSON's escapes are CEL's, too.
    if text.chars().all(plain) {
        format!("'{text}'")
    } else {
        Value::from(text).to_string()
    }
}

/// A JSON value as CEL writes it.
///
/// API servers refuse literals whose members have different types, so that the members of all but
/// lists and mappings of one kind of scalar are wrapped in `dyn`.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        // Whole numbers beyond int's are uint's.
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

/// Whether all members are texts, or all of them ints, or all of them bools.
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
