//! The exemptions (`spec.exemptions`) of a HostConfig and of a ServicePolicy. A HostConfig lists
//! the requests that no policy is asked about, and the users who may use break-glass. A
//! ServicePolicy lists the requests that this policy alone is not asked about.
//!
//! An exemption is a permission, so everything but a Service's name is compared exactly. No
//! exemption depends on a label or an annotation of the Service alone, because anybody who writes
//! the Service can set those.

use super::names::{
    AnnotationKey, Group, Hours, Namespace, ServiceAccount, ServicePattern, Subject, wide,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests that no policy is asked about, beside the built-in ones.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Exemptions {
    /// By name, exactly.
    pub namespaces: Vec<Namespace>,
    /// Services by `namespace/name`, where `*` stands for any characters of one of the two.
    pub services: Vec<ServicePattern>,
    /// Users by name, exactly.
    pub users: Vec<Subject>,
    /// Members of these groups.
    pub groups: Vec<Group>,
    /// Service accounts by `namespace/name`, exactly.
    pub service_accounts: Vec<ServiceAccount>,
    /// An exemption that ends by itself, for emergencies. None: nobody has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BreakGlassFile>")]
    pub break_glass: Option<BreakGlass>,
}

impl Default for Exemptions {
    /// Returns the default: the namespaces that Kubernetes itself owns, because a policy must not
    /// be able to break the cluster's own services.
    fn default() -> Self {
        Self {
            namespaces: Namespace::of_kubernetes(),
            services: vec![],
            users: vec![],
            groups: vec![],
            service_accounts: vec![],
            break_glass: None,
        }
    }
}

/// Requests that one policy is not asked about. Namespaces are left out by `spec.match`.
///
/// Lists that hold everybody or every Service are allowed: the policy may be meant for people
/// alone,
/// for example. Lint warns about them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct PolicyExemptions {
    /// Services by `namespace/name`, where `*` stands for any characters of one of the two.
    #[serde(deserialize_with = "wide", skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        with = "Vec<String>",
        length(max = 256),
        inner(length(max = 317), regex(pattern = "^[-a-z0-9*]+/[-a-z0-9.*]+$"))
    )]
    pub services: Vec<ServicePattern>,
    /// Users by name, exactly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        with = "Vec<String>",
        length(max = 256),
        inner(
            length(min = 1, max = 1024),
            regex(pattern = r"^[^*\s]([^*]*[^*\s])?$")
        )
    )]
    pub users: Vec<Subject>,
    /// Members of these groups.
    #[serde(deserialize_with = "wide", skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        with = "Vec<String>",
        length(max = 256),
        inner(
            length(min = 1, max = 1024),
            regex(pattern = r"^[^*\s]([^*]*[^*\s])?$")
        )
    )]
    pub groups: Vec<Group>,
    /// Service accounts by `namespace/name`, exactly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        with = "Vec<String>",
        length(max = 256),
        inner(length(max = 317), regex(pattern = "^[-a-z0-9]+/[-a-z0-9.]+$"))
    )]
    pub service_accounts: Vec<ServiceAccount>,
}

impl PolicyExemptions {
    /// Returns true if nothing is exempt.
    pub fn is_empty(&self) -> bool {
        let Self {
            services,
            users,
            groups,
            service_accounts,
        } = self;
        services.is_empty() && users.is_empty() && groups.is_empty() && service_accounts.is_empty()
    }
}

/// Permission to excuse a request by an annotation: whose, which annotation, and for how long.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    try_from = "BreakGlassFile"
)]
pub struct BreakGlass {
    /// The annotation; its value is `2026-01-01T12:00:00Z; the reason`.
    pub annotation: AnnotationKey,
    /// The longest time until the expiry.
    pub max_duration: Hours,
    /// Users by name, exactly.
    pub users: Vec<Subject>,
    /// Members of these groups.
    pub groups: Vec<Group>,
    /// Service accounts by `namespace/name`, exactly.
    pub service_accounts: Vec<ServiceAccount>,
}

/// Permission to excuse a request by an annotation: whose, which annotation, and for how long.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "BreakGlass")]
struct BreakGlassFile {
    /// The annotation; its value is `2026-01-01T12:00:00Z; the reason`.
    #[serde(default)]
    annotation: AnnotationKey,
    /// The longest time until the expiry.
    #[serde(default)]
    max_duration: Hours,
    /// Users by name, exactly.
    #[serde(default)]
    users: Vec<Subject>,
    /// Members of these groups.
    #[serde(default)]
    groups: Vec<Group>,
    /// Service accounts by `namespace/name`, exactly.
    #[serde(default)]
    service_accounts: Vec<ServiceAccount>,
}

impl TryFrom<BreakGlassFile> for BreakGlass {
    type Error = &'static str;

    fn try_from(file: BreakGlassFile) -> Result<Self, &'static str> {
        let BreakGlassFile {
            annotation,
            max_duration,
            users,
            groups,
            service_accounts,
        } = file;
        if users.is_empty() && groups.is_empty() && service_accounts.is_empty() {
            return Err(
                "no user may grant it; name users, groups or serviceAccounts, or remove breakGlass",
            );
        }
        Ok(Self {
            annotation,
            max_duration,
            users,
            groups,
            service_accounts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use serde_json::{Value, json};

    fn problem(value: &Value) -> String {
        decode::from_value::<Exemptions>(value)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn patterns_are_anchored_and_stay_within_their_part() {
        let matches = |pattern: &str, namespace: &str, name: &str| {
            pattern
                .parse::<ServicePattern>()
                .expect("a pattern")
                .matches(namespace, name)
        };
        assert!(matches(
            "ingress-*/controller",
            "ingress-nginx",
            "controller"
        ));
        assert!(matches("ingress-*/*", "ingress-", "x"));
        assert!(!matches("ingress-*/*", "ingress", "x"));
        assert!(!matches("ingress-*/*", "my-ingress-x", "x"));
        assert!(!matches("edge/web", "edge", "web2"));
        assert!(!matches("edge/*", "edge", ""));
    }

    #[test]
    fn what_exempts_too_much_or_nothing_is_refused_with_its_path() {
        for (value, expected) in [
            (
                json!({"services": ["web"]}),
                r#"services[0]: "web" names no Services"#,
            ),
            (
                json!({"services": ["a/b", "*/*"]}),
                r#"services[1]: "*/*" exempts every Service"#,
            ),
            (json!({"services": ["a/b/c"]}), "services[0]"),
            (
                json!({"services": ["team.a/*"]}),
                r#"services[0]: "team.a/*" names no Services: no namespace has a dot"#,
            ),
            (json!({"serviceAccounts": ["Team/a"]}), "serviceAccounts[0]"),
            (
                json!({"users": ["ccm "]}),
                r#"users[0]: "ccm ": no user has a name with blanks at an end"#,
            ),
            (
                json!({"groups": [" ops"]}),
                r#"groups[0]: " ops": no group has a name with blanks at an end"#,
            ),
            (json!({"groups": ["system:authenticated"]}), "groups[0]"),
            (
                json!({"namespaces": ["gw-*"]}),
                r#"namespaces[0]: "gw-*" is no namespace's name; only `services`"#,
            ),
            (
                json!({"users": ["system:*"]}),
                r#"users[0]: "system:*": users are named exactly"#,
            ),
            (
                json!({"users": [""]}),
                "users[0]: a user's name must not be empty",
            ),
            (
                json!({"serviceAccounts": ["system:serviceaccount:a:b"]}),
                "serviceAccounts[0]",
            ),
            (
                json!({"breakGlass": {}}),
                "breakGlass: no user may grant it",
            ),
            (
                json!({"breakGlass": {"users": ["a"], "maxDuration": "10y"}}),
                "breakGlass.maxDuration",
            ),
            (
                json!({"breakGlass": {"users": ["a"], "annotation": "glass"}}),
                "breakGlass.annotation",
            ),
            (
                json!({"breakGlass": {"user": ["a"]}}),
                r#"breakGlass: unknown key "user" (did you mean "users"?)"#,
            ),
        ] {
            let text = problem(&value);
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn what_was_read_is_written_alike() {
        let value = json!({
            "namespaces": ["a"], "services": ["ingress-*/web"], "users": ["u"], "groups": ["g"],
            "serviceAccounts": ["strimzi/op"],
            "breakGlass": {
                "annotation": "example.com/glass", "maxDuration": "90m", "users": [],
                "groups": ["oncall"],
                "serviceAccounts": []
            },
        });
        let exemptions: Exemptions = decode::from_value(&value).expect("valid");
        assert_eq!(serde_json::to_value(&exemptions).expect("JSON"), value);
        assert_eq!(
            exemptions.service_accounts[0].user_name(),
            "system:serviceaccount:strimzi:op"
        );
    }
}
