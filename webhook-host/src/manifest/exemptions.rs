//! `spec.exemptions` of a HostConfig: requests that no policy is asked about, and who may break the glass.
//!
//! An exemption is a permission, so that everything but a Service's name is compared exactly. None goes by a label or an
//! annotation of the Service alone: whoever writes the Service writes these.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use wildmatch::WildMatch;

/// Requests that no policy is asked about, beside the built-in ones.
#[derive(Debug, Clone, Deserialize, Serialize)]
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
    pub break_glass: Option<BreakGlass>,
}

impl Default for Exemptions {
    /// The namespaces that Kubernetes itself owns: a policy must not be able to break the cluster's own services.
    fn default() -> Self {
        Self {
            namespaces: ["kube-system", "kube-public", "kube-node-lease"]
                .map(|name| Namespace(name.to_owned()))
                .to_vec(),
            services: vec![],
            users: vec![],
            groups: vec![],
            service_accounts: vec![],
            break_glass: None,
        }
    }
}

/// Who may excuse a request, by which annotation, and for how long.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", try_from = "BreakGlassFile")]
pub struct BreakGlass {
    /// The annotation; its value is `2026-01-01T12:00:00Z; the reason`.
    pub annotation: AnnotationKey,
    /// How far ahead the expiry may be.
    pub max_duration: Hours,
    /// Users by name, exactly.
    pub users: Vec<Subject>,
    /// Members of these groups.
    pub groups: Vec<Group>,
    /// Service accounts by `namespace/name`, exactly.
    pub service_accounts: Vec<ServiceAccount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BreakGlassFile {
    #[serde(default)]
    annotation: AnnotationKey,
    #[serde(default)]
    max_duration: Hours,
    #[serde(default)]
    users: Vec<Subject>,
    #[serde(default)]
    groups: Vec<Group>,
    #[serde(default)]
    service_accounts: Vec<ServiceAccount>,
}

impl TryFrom<BreakGlassFile> for BreakGlass {
    type Error = &'static str;

    fn try_from(file: BreakGlassFile) -> Result<Self, &'static str> {
        let BreakGlassFile { annotation, max_duration, users, groups, service_accounts } = file;
        if users.is_empty() && groups.is_empty() && service_accounts.is_empty() {
            return Err("nobody may grant it; name users, groups or serviceAccounts, or remove breakGlass");
        }
        Ok(Self { annotation, max_duration, users, groups, service_accounts })
    }
}

/// A type that is written as a text and checked when it is read.
macro_rules! checked_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

/// Services by `namespace/name`; anchored, `*` in either part.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePattern {
    namespace: WildMatch,
    name: WildMatch,
}

impl ServicePattern {
    /// Whether it names this Service. A Service without a name yet (`generateName`) is named by no pattern.
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        !name.is_empty() && self.namespace.matches(namespace) && self.name.matches(name)
    }
}

impl FromStr for ServicePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |part: &str| {
            let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'*');
            !part.is_empty() && part.bytes().all(allowed)
        };
        let all = |part: &str| part.bytes().all(|byte| byte == b'*');
        match text.split_once('/') {
            Some((namespace, name)) if plain(namespace) && plain(name) => {
                if all(namespace) && all(name) {
                    return Err(format!("{text:?} exempts every Service; remove the policies instead"));
                }
                Ok(Self { namespace: WildMatch::new(namespace), name: WildMatch::new(name) })
            }
            _ => Err(format!("{text:?} names no Services; write namespace/name, with `*` for any characters")),
        }
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

checked_text!(ServicePattern);

/// A namespace's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if super::is_label(text) {
            return Ok(Self(text.to_owned()));
        }
        let hint = if text.contains('*') { "; only `services` knows patterns, such as \"gateway-*/*\"" } else { "" };
        Err(format!("{text:?} is no namespace's name{hint}"))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked_text!(Namespace);

/// A user's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("a user's name must not be empty; remove it".to_owned()),
            _ if text.contains('*') => Err(format!("{text:?}: users are named exactly, without patterns")),
            "system:anonymous" => Err(format!("{text:?} is whoever did not say who they are; name a user")),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked_text!(Subject);

/// A group's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(String);

impl Group {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("a group's name must not be empty; remove it".to_owned()),
            _ if text.contains('*') => Err(format!("{text:?}: groups are named exactly, without patterns")),
            "system:authenticated" | "system:unauthenticated" | "system:serviceaccounts" => {
                Err(format!("{text:?} holds far more than those who can be meant; name a smaller group"))
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked_text!(Group);

/// A service account, `namespace/name`; held as the user name that the API server gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount(String);

impl ServiceAccount {
    const PREFIX: &'static str = "system:serviceaccount:";

    /// `system:serviceaccount:namespace:name`.
    pub fn user_name(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceAccount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |part: &str| {
            let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
            !part.is_empty() && part.bytes().all(allowed)
        };
        match text.split_once('/') {
            Some((namespace, name)) if plain(namespace) && plain(name) => {
                Ok(Self(format!("{}{namespace}:{name}", Self::PREFIX)))
            }
            _ => Err(format!("{text:?} names no service account; write namespace/name")),
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.0.trim_start_matches(Self::PREFIX).split_once(':').unwrap_or_default();
        write!(f, "{namespace}/{name}")
    }
}

checked_text!(ServiceAccount);

/// The key of an annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationKey(String);

impl AnnotationKey {
    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AnnotationKey {
    fn default() -> Self {
        Self("sallyport.dev/break-glass".to_owned())
    }
}

impl FromStr for AnnotationKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.rsplit('/').next().unwrap_or_default();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        let qualified = !name.is_empty() && name.len() <= 63 && text.len() <= 253 && text.bytes().all(allowed);
        if qualified && text.split('/').count() == 2 {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no annotation with a domain of yours; write it as example.com/break-glass"))
    }
}

impl fmt::Display for AnnotationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked_text!(AnnotationKey);

/// From 1 minute to 30 days: `90m`, `72h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    minutes: u32,
}

impl Hours {
    const MAX: u32 = 30 * 24 * 60;

    /// The same as the standard library's type.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.minutes) * 60)
    }
}

impl Default for Hours {
    /// A long weekend.
    fn default() -> Self {
        Self { minutes: 72 * 60 }
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let minutes = match (digits.parse::<u32>(), &text[digits.len()..]) {
            (Ok(number), "h") => number.checked_mul(60),
            (Ok(number), "m") => Some(number),
            _ => None,
        };
        let minutes = minutes.filter(|minutes| (1..=Self::MAX).contains(minutes));
        minutes
            .map(|minutes| Self { minutes })
            .ok_or_else(|| format!("{text:?} is no duration from 1m to 720h, such as 90m or 72h"))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.minutes.is_multiple_of(60) {
            write!(f, "{}h", self.minutes / 60)
        } else {
            write!(f, "{}m", self.minutes)
        }
    }
}

checked_text!(Hours);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use serde_json::{Value, json};

    fn problem(value: &Value) -> String {
        decode::from_value::<Exemptions>(value).expect_err("refused").to_string()
    }

    #[test]
    fn patterns_are_anchored_and_stay_within_their_part() {
        let matches = |pattern: &str, namespace: &str, name: &str| {
            pattern.parse::<ServicePattern>().expect("a pattern").matches(namespace, name)
        };
        assert!(matches("ingress-*/controller", "ingress-nginx", "controller"));
        assert!(matches("ingress-*/*", "ingress-", "x"));
        assert!(!matches("ingress-*/*", "ingress", "x"));
        assert!(!matches("ingress-*/*", "my-ingress-x", "x"));
        assert!(!matches("edge/web", "edge", "web2"));
        assert!(!matches("edge/*", "edge", ""));
    }

    #[test]
    fn what_exempts_too_much_or_nothing_is_refused_with_its_path() {
        for (value, expected) in [
            (json!({"services": ["web"]}), r#"services[0]: "web" names no Services"#),
            (json!({"services": ["a/b", "*/*"]}), r#"services[1]: "*/*" exempts every Service"#),
            (json!({"services": ["a/b/c"]}), "services[0]"),
            (json!({"groups": ["system:authenticated"]}), "groups[0]"),
            (json!({"namespaces": ["gw-*"]}), r#"namespaces[0]: "gw-*" is no namespace's name; only `services`"#),
            (json!({"users": ["system:*"]}), r#"users[0]: "system:*": users are named exactly"#),
            (json!({"users": [""]}), "users[0]: a user's name must not be empty"),
            (json!({"serviceAccounts": ["system:serviceaccount:a:b"]}), "serviceAccounts[0]"),
            (json!({"breakGlass": {}}), "breakGlass: nobody may grant it"),
            (json!({"breakGlass": {"users": ["a"], "maxDuration": "10y"}}), "breakGlass.maxDuration"),
            (json!({"breakGlass": {"users": ["a"], "annotation": "glass"}}), "breakGlass.annotation"),
            (json!({"breakGlass": {"user": ["a"]}}), r#"breakGlass: unknown key "user" (did you mean "users"?)"#),
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
                "annotation": "example.com/glass", "maxDuration": "90m", "users": [], "groups": ["oncall"],
                "serviceAccounts": []
            },
        });
        let exemptions: Exemptions = decode::from_value(&value).expect("valid");
        assert_eq!(serde_json::to_value(&exemptions).expect("JSON"), value);
        assert_eq!(exemptions.service_accounts[0].user_name(), "system:serviceaccount:strimzi:op");
    }
}
