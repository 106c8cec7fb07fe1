//! Names and patterns as a HostConfig writes them: texts that are checked when they are read, so
//! that each value of these types is usable.

use crate::excerpt::excerpt;
use crate::inventory::{LABEL_PATTERN, NAME_LABEL};
use crate::units;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use wildmatch::WildMatch;

/// The name of a user or a group, without patterns.
const EXACT_NAME: &str = "^[^*]+$";

/// A type that is written as a text and checked when it is read. Its JSON Schema has a regular
/// expression that allows at least what the check does.
macro_rules! checked_text {
    ($type:ident, $pattern:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern})
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

pub(super) use checked_text;

/// A checked text that is held as it was written.
macro_rules! text_type {
    ($visibility:vis $type:ident, $doc:literal, $pattern:expr) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        $visibility struct $type(String);

        impl $type {
            /// The text.
            $visibility fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        checked_text!($type, $pattern);
    };
}

/// A pattern for Services, `namespace/name`; anchored, with `*` in either part.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePattern {
    namespace: WildMatch,
    name: WildMatch,
}

impl ServicePattern {
    /// Returns true if the pattern matches this Service. No pattern matches a Service without a
    /// name yet (`generateName`).
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        !name.is_empty() && self.namespace.matches(namespace) && self.name.matches(name)
    }
}

impl ServicePattern {
    /// Returns true if the namespace may be any.
    pub fn is_of_any_namespace(&self) -> bool {
        is_any(&self.namespace)
    }

    /// Returns true if the pattern matches every Service.
    pub fn is_everything(&self) -> bool {
        is_any(&self.namespace) && is_any(&self.name)
    }
}

impl Wide for ServicePattern {
    fn parse_wide(text: &str) -> Result<Self, String> {
        let plain = |part: &str| {
            let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'*');
            !part.is_empty() && part.bytes().all(allowed)
        };
        match text.split_once('/') {
            Some((namespace, _)) if namespace.contains('.') => Err(format!(
                "{text:?} names no Services: no namespace has a dot in its name"
            )),
            Some((_, name)) if name.contains('.') => Err(format!(
                "{text:?} names no Services: no Service has a dot in its name"
            )),
            Some((namespace, name)) if plain(namespace) && plain(name) => {
                match [namespace, name]
                    .into_iter()
                    .find(|part| !is_possible(part))
                {
                    Some(part) => Err(format!(
                        "{text:?} names no Services: no name is like {part:?}; names have at most \
                         63 characters, and no '-' at an end"
                    )),
                    None => Ok(Self {
                        namespace: WildMatch::new(namespace),
                        name: WildMatch::new(name),
                    }),
                }
            }
            _ => Err(format!(
                "{text:?} names no Services; write namespace/name, with `*` for any characters"
            )),
        }
    }
}

/// Returns true if a pattern can match a label of RFC 1123.
fn is_possible(pattern: &str) -> bool {
    let plain = pattern.bytes().filter(|byte| *byte != b'*').count();
    plain <= 63 && !pattern.starts_with('-') && !pattern.ends_with('-')
}

/// Returns true for a pattern that consists of `*` alone.
fn is_any(pattern: &WildMatch) -> bool {
    pattern.to_string().bytes().all(|byte| byte == b'*')
}

impl FromStr for ServicePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = Self::parse_wide(text)?;
        if pattern.is_everything() {
            return Err(format!(
                "{text:?} exempts every Service; remove the policies instead"
            ));
        }
        Ok(pattern)
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

checked_text!(ServicePattern, "^[-a-z0-9*]+/[-a-z0-9.*]+$");

text_type!(pub Namespace, "A namespace's name.", LABEL_PATTERN);

impl Namespace {
    /// Those that Kubernetes itself owns.
    pub(super) fn of_kubernetes() -> Vec<Self> {
        ["kube-system", "kube-public", "kube-node-lease"]
            .map(|name| Self(name.to_owned()))
            .to_vec()
    }
}

impl FromStr for Namespace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if super::is_label(text) {
            return Ok(Self(text.to_owned()));
        }
        let hint = if text.contains('*') {
            "; only `services` knows patterns, such as \"gateway-*/*\""
        } else {
            ""
        };
        Err(format!("{text:?} is no namespace's name{hint}"))
    }
}

text_type!(
    pub(super) ExcludedNamespace,
    "The name of a namespace that a policy is not asked about.",
    LABEL_PATTERN
);

impl FromStr for ExcludedNamespace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if super::is_label(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{:?} is no namespace's name; write names one by one, without patterns",
            excerpt(text)
        ))
    }
}

text_type!(
    pub(super) LabelKey,
    "The key of a label: `team`, `example.com/team`.",
    LabelKey::PATTERN
);

impl LabelKey {
    /// All of them, as a regular expression.
    pub(super) const PATTERN: &str = "^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
}

impl FromStr for LabelKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prefix, name) = text.split_once('/').unwrap_or(("a", text));
        let of_dns = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        let has_prefix = !prefix.is_empty() && prefix.len() <= 253 && prefix.bytes().all(of_dns);
        if has_prefix && is_label_text(name) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{:?} can be no label's key; write it as {NAME_LABEL}",
            excerpt(text)
        ))
    }
}

text_type!(pub(super) LabelValue, "The value of a label; may be empty.", LabelValue::PATTERN);

impl LabelValue {
    /// All of them, as a regular expression.
    pub(super) const PATTERN: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
}

impl FromStr for LabelValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || is_label_text(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{:?} can be no label's value; write values without patterns",
            excerpt(text)
        ))
    }
}

/// Returns true if a text can be the key of a label.
pub fn is_label_key(text: &str) -> bool {
    text.parse::<LabelKey>().is_ok()
}

/// Returns true if a text can be the value of a label.
pub fn is_label_value(text: &str) -> bool {
    text.parse::<LabelValue>().is_ok()
}

/// Returns true if a text can be the key of an annotation. Unlike that of a label's, its prefix may
/// have upper case.
pub fn is_annotation_key(text: &str) -> bool {
    is_label_key(&text.to_ascii_lowercase())
}

/// Returns true if a text can be a label's value, or the name in its key.
fn is_label_text(text: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 63
        && text.bytes().all(inner)
        && end(text.as_bytes().first())
        && end(text.as_bytes().last())
}

/// Reads the name of a file in the directory of the modules.
pub(super) fn bare_file_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    let file = String::deserialize(deserializer)?;
    let is_bare = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\\', '\0']);
    if is_bare {
        return Ok(file);
    }
    Err(D::Error::custom(format!(
        "{file:?} is no bare file name; name a file in the directory of the policies, such as \
         policy.wasm"
    )))
}

text_type!(pub Subject, "A user's name.", EXACT_NAME);

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("a user's name must not be empty; remove it".to_owned()),
            _ if text.contains('*') => Err(format!(
                "{text:?}: users are named exactly, without patterns"
            )),
            _ if text.trim() != text => Err(format!(
                "{text:?}: no user has a name with blanks at an end; remove them"
            )),
            "system:anonymous" => Err(format!(
                "{text:?} stands for all requests without a known user; name a user"
            )),
            _ if is_group_of_kubernetes(text) => Err(format!(
                "{text:?} is a group, and no user has its name; write it among groups"
            )),
            _ if is_impossible_account(text) => Err(format!(
                "{text:?} is no service account; write it among serviceAccounts, as namespace/name"
            )),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// Returns true for the names of groups that only Kubernetes gives.
fn is_group_of_kubernetes(text: &str) -> bool {
    let is_everybody = Group(text.to_owned()).is_everybody();
    is_everybody || text == "system:masters" || text.starts_with(Group::OF_NAMESPACE)
}

/// Returns true for a user name that would be a service account's, and can't be.
fn is_impossible_account(text: &str) -> bool {
    let account = text.strip_prefix(ServiceAccount::PREFIX);
    account.is_some_and(|account| {
        let account = account.split_once(':');
        !account.is_some_and(|(namespace, name)| ServiceAccount::is_one(namespace, name))
    })
}

text_type!(pub Group, "A group's name.", EXACT_NAME);

impl Group {
    /// The beginning of the groups of a namespace's service accounts.
    const OF_NAMESPACE: &str = "system:serviceaccounts:";

    /// Returns true for the groups of everybody, or of all service accounts.
    pub fn is_everybody(&self) -> bool {
        matches!(
            self.as_str(),
            "system:authenticated" | "system:unauthenticated" | "system:serviceaccounts"
        )
    }
}

impl Wide for Group {
    fn parse_wide(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("a group's name must not be empty; remove it".to_owned()),
            _ if text.contains('*') => Err(format!(
                "{text:?}: groups are named exactly, without patterns"
            )),
            _ if text.trim() != text => Err(format!(
                "{text:?}: no group has a name with blanks at an end; remove them"
            )),
            _ if text.starts_with(ServiceAccount::PREFIX) => Err(format!(
                "{text:?} is a user, and no group has its name; write it among serviceAccounts, as \
                 namespace/name"
            )),
            _ if text
                .strip_prefix(Self::OF_NAMESPACE)
                .is_some_and(|namespace| !super::is_label(namespace)) =>
            {
                Err(format!(
                    "{text:?} names no namespace behind its last colon; correct it"
                ))
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let group = Self::parse_wide(text)?;
        if group.is_everybody() {
            return Err(format!(
                "{text:?} holds far more than those who can be meant; name a smaller group"
            ));
        }
        Ok(group)
    }
}

/// A text that a ServicePolicy may write more widely than a HostConfig.
pub(super) trait Wide: Sized {
    /// Parses a text that may stand for everybody or everything.
    fn parse_wide(text: &str) -> Result<Self, String>;
}

/// Reads a list whose texts may stand for everybody or everything.
pub(super) fn wide<'de, D: Deserializer<'de>, T: Wide>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Item<T>(T);

    impl<'de, T: Wide> Deserialize<'de> for Item<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            T::parse_wide(&text).map(Self).map_err(D::Error::custom)
        }
    }

    let items = Vec::<Item<T>>::deserialize(deserializer)?;
    Ok(items.into_iter().map(|Item(value)| value).collect())
}

/// A service account, `namespace/name`; held as the user name that the API server gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount(String);

impl ServiceAccount {
    const PREFIX: &'static str = "system:serviceaccount:";

    /// Returns true for the names of a namespace and of an object in it.
    fn is_one(namespace: &str, name: &str) -> bool {
        let is_name = name.len() <= 253 && name.split('.').all(super::is_label);
        super::is_label(namespace) && is_name
    }

    /// `system:serviceaccount:namespace:name`.
    pub fn user_name(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceAccount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if Self::is_one(namespace, name) => {
                Ok(Self(format!("{}{namespace}:{name}", Self::PREFIX)))
            }
            _ => Err(format!(
                "{text:?} names no service account; write namespace/name"
            )),
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self
            .0
            .trim_start_matches(Self::PREFIX)
            .split_once(':')
            .unwrap_or_default();
        write!(f, "{namespace}/{name}")
    }
}

checked_text!(ServiceAccount, "^[-a-z0-9]+/[-a-z0-9.]+$");

text_type!(
    pub AnnotationKey,
    "The key of an annotation.",
    "^[-A-Za-z0-9_.]*/[-A-Za-z0-9_.]{1,63}$"
);

impl Default for AnnotationKey {
    fn default() -> Self {
        Self("sallyport.dev/break-glass".to_owned())
    }
}

impl FromStr for AnnotationKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.rsplit('/').next().unwrap_or_default();
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        let prefix = text.split('/').next().unwrap_or_default();
        let qualified = !prefix.is_empty()
            && !name.is_empty()
            && name.len() <= 63
            && text.len() <= 253
            && text.bytes().all(allowed);
        if qualified && text.split('/').count() == 2 {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is no annotation with a domain of yours; write it as example.com/break-glass"
        ))
    }
}

/// A duration from 1 minute to 30 days: `90m`, `72h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours(Duration);

impl Hours {
    const MIN: Duration = Duration::from_mins(1);
    const MAX: Duration = Duration::from_hours(30 * 24);

    /// Converts into the standard library's type.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for Hours {
    /// Returns 72 hours, a long weekend.
    fn default() -> Self {
        Self(Duration::from_hours(72))
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        units::duration(text)
            .filter(|time| (Self::MIN..=Self::MAX).contains(time))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no duration from 1m to 720h, such as 90m or 72h"))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        units::display(self.0).fmt(f)
    }
}

checked_text!(Hours, "^([0-9]+(ms|[dhms]))+$");
