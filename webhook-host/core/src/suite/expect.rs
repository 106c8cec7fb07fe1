//! The outcome that a case expects and, in the same form, its actual outcome.
//!
//! An answer is *seen through* an expectation: where the expectation leaves something open (a
//! violation's fix, a part of a message), the answer takes its words. What results equals the
//! expectation exactly when the case passes; it is also the other side of the diff, and what
//! `--bless` writes.

use crate::contract::verdict::Violation;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The `expect` of a case. What is not listed must not happen: no violations, no warnings, no
/// patch, no error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Expect {
    /// True if the request goes on. Required for `validate`; `mutate` never denies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<bool>,
    /// The reason for which the policy is not asked: an exemption; `unmatched`, by `match`, mode or
    /// the policy's own description (a case that fails says which); or `malformed`, since the
    /// mutating phase leaves a Service that doesn't decode to the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = EXEMPT))]
    pub exempt: Option<String>,
    /// The kind of evaluation error, such as `trap` for a panic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ERRORS))]
    pub error: Option<String>,
    /// The violations, all of them, in the policy's order. Of a `mutate` case: those of the patched
    /// object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violations: Option<Vec<ViolationPattern>>,
    /// The message that the client of a denied request reads: the violations as rendered, sorted by
    /// field, the first ten and "and N more". Where it is given, the violations need not be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<TextPattern>,
    /// Violations that the old object has too; only compared when listed, since they show as
    /// warnings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Vec<ViolationPattern>>,
    /// All warnings that the client gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<TextPattern>>,
    /// The exact JSON Patch; `[]`: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<Vec<Value>>,
    /// Instead of `patch`: the object that results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patched_object: Option<Value>,
    /// The settings are refused: `ranges[0].from: …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings_error: Option<TextPattern>,
    /// The body is no AdmissionReview: HTTP 400 with this sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<TextPattern>,
}

/// A text, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPattern {
    /// Exactly this.
    Exact(String),
    /// `{contains: "…"}`.
    Contains(String),
}

/// A violation; what is left out is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Violation")]
pub struct ViolationPattern {
    /// Such as `nodeport-range`; of use in a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<TextPattern>,
    /// Such as `S02`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<TextPattern>,
    /// Such as `NodePort:TCP:30022`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<TextPattern>,
    /// Such as `spec.ports[0].nodePort`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<TextPattern>,
    /// The value found and what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<TextPattern>,
    /// The fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<TextPattern>,
}

/// Exemptions and the two other reasons why a policy is not asked.
const EXEMPT: [&str; 15] = [
    "operation",
    "controller",
    "kind",
    "api-server",
    "terminating",
    "terminating-namespace",
    "unknown-namespace",
    "namespace",
    "service",
    "user",
    "group",
    "service-account",
    "break-glass",
    "unmatched",
    "malformed",
];

/// `EvaluationError::kind`.
const ERRORS: [&str; 8] = [
    "deadline",
    "request-deadline",
    "memory",
    "trap",
    "answer",
    "busy",
    "short-circuit",
    "load",
];

impl Expect {
    /// Writes the expectation as suites do, with keys in the order of this type.
    ///
    /// # Panics
    ///
    /// Never: an expectation has a YAML form.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("an expectation has a YAML form")
    }

    /// Returns the reason why the expectation is incomplete or contradicts itself, as `path:
    /// sentence`.
    pub(super) fn problem(&self, mutates: bool) -> Option<String> {
        known("exempt", self.exempt.as_deref(), &EXEMPT)
            .or_else(|| known("error", self.error.as_deref(), &ERRORS))
            .or_else(|| self.contradiction())
            .or_else(|| self.silence(mutates).map(str::to_owned))
    }

    fn contradiction(&self) -> Option<String> {
        let alone = [
            ("settingsError", self.settings_error.is_some()),
            ("refused", self.refused.is_some()),
        ];
        let (key, _) = alone.into_iter().find(|(_, given)| *given)?;
        let mut rest = self.clone();
        if key == "settingsError" {
            rest.settings_error = None
        } else {
            rest.refused = None
        }
        (rest != Self::default()).then(|| {
            format!("expect.{key} stands alone: no request is answered; remove the other keys")
        })
    }

    /// Returns the reason why the case would pass whatever the policy does.
    fn silence(&self, mutates: bool) -> Option<&'static str> {
        let unanswered =
            self.settings_error.is_some() || self.refused.is_some() || self.exempt.is_some();
        let patched = self.patch.is_some() || self.patched_object.is_some();
        if unanswered {
            return None;
        }
        if *self == Self::default() {
            return Some(
                "expect: says nothing; say `allowed`, or `patch` for a mutation (`[]`: none)",
            );
        }
        if mutates {
            return (!patched && self.error.is_none()).then_some(
                "expect.patch: required, but missing; give the operations (`[]`: none), or \
                 `patchedObject`",
            );
        }
        if patched {
            return Some(
                "expect.patch: only `function: mutate` patches; set the case's function, or remove \
                 the key",
            );
        }
        match self.allowed {
            None => Some(
                "expect.allowed: required, but missing; use true or false beside the violations",
            ),
            Some(false) if self.gives_no_reason() => Some(
                "expect.violations: a denial has a reason; list the violations (rule, field, \
                 message), its `message`, or the `error`",
            ),
            Some(_) => self.empty_pattern(),
        }
    }

    fn gives_no_reason(&self) -> bool {
        self.violations.as_ref().is_none_or(Vec::is_empty)
            && self.message.is_none()
            && self.error.is_none()
    }

    fn empty_pattern(&self) -> Option<&'static str> {
        let all = self.violations.iter().chain(&self.kept).flatten();
        let mut empty = all.filter(|pattern| **pattern == ViolationPattern::default());
        empty.next().map(
            |_| "expect.violations: an entry without keys matches anything; give at least `rule`",
        )
    }
}

fn known(key: &str, found: Option<&str>, allowed: &[&'static str]) -> Option<String> {
    let found = found.filter(|found| !allowed.contains(found))?;
    let hint = crate::decode::suggestion(found, allowed.iter().copied());
    Some(format!(
        "expect.{key}: {found:?} is not allowed here{hint}; use one of {}",
        allowed.join(", ")
    ))
}

impl TextPattern {
    /// Returns true if the text is as expected.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(expected) => expected == text,
            Self::Contains(part) => text.contains(part.as_str()),
        }
    }

    /// The expectation where it matches, else the text.
    pub(super) fn seen(text: &str, expected: Option<&Self>) -> Self {
        expected
            .filter(|expected| expected.matches(text))
            .cloned()
            .unwrap_or_else(|| Self::Exact(text.to_owned()))
    }
}

/// Returns texts as seen through the expected ones; `None` when there are none and none were
/// listed.
pub(super) fn seen_texts(
    texts: &[String],
    expected: Option<&Vec<TextPattern>>,
) -> Option<Vec<TextPattern>> {
    let at = |index| expected.and_then(|expected| expected.get(index));
    let seen = texts
        .iter()
        .enumerate()
        .map(|(index, text)| TextPattern::seen(text, at(index)));
    (expected.is_some() || !texts.is_empty()).then(|| seen.collect())
}

/// A violation with the name of its policy.
pub(super) type Told = (Arc<str>, Violation);

/// Returns violations as seen through the expected ones; `None` when there are none and none were
/// listed.
pub(super) fn seen_violations(
    violations: &[Told],
    expected: Option<&Vec<ViolationPattern>>,
) -> Option<Vec<ViolationPattern>> {
    let at = |index| expected.and_then(|expected| expected.get(index));
    let seen = violations
        .iter()
        .enumerate()
        .map(|(index, told)| ViolationPattern::seen(told, at(index)));
    (expected.is_some() || !violations.is_empty()).then(|| seen.collect())
}

impl ViolationPattern {
    /// With the keys that the expectation has; a new one gets rule, field and message.
    fn seen((policy, violation): &Told, expected: Option<&Self>) -> Self {
        let part = |text: &str, expected: Option<&TextPattern>| {
            expected.map(|e| TextPattern::seen(text, Some(e)))
        };
        match expected {
            Some(expected) => Self {
                policy: part(policy, expected.policy.as_ref()),
                rule: part(&violation.rule, expected.rule.as_ref()),
                key: part(&violation.key, expected.key.as_ref()),
                field: part(&violation.field, expected.field.as_ref()),
                message: part(&violation.message, expected.message.as_ref()),
                fix: part(&violation.fix, expected.fix.as_ref()),
            },
            None => Self {
                rule: Some(TextPattern::Exact(violation.rule.clone())),
                field: Some(TextPattern::Exact(violation.field.clone())),
                message: Some(TextPattern::Exact(violation.message.clone())),
                ..Self::default()
            },
        }
    }
}

impl JsonSchema for TextPattern {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let part = json_schema!({"type": "string", "minLength": 1});
        json_schema!({
            "description": "A text, exactly; or a part of it: `{contains: \"…\"}`.",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"contains": part},
                    "required": ["contains"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl<'de> Deserialize<'de> for TextPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = TextPattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or {contains: \"a part of it\"}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TextPattern, E> {
        Ok(TextPattern::Exact(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextPattern, A::Error> {
        let (Some((key, part)), None) = (
            map.next_entry::<String, String>()?,
            map.next_key::<String>()?,
        ) else {
            return Err(de::Error::custom("expected exactly one key, `contains`"));
        };
        match key.as_str() {
            "contains" if !part.is_empty() => Ok(TextPattern::Contains(part)),
            "contains" => Err(de::Error::custom(
                "an empty `contains` matches anything; name a part of the text",
            )),
            _ => Err(de::Error::unknown_field(&key, &["contains"])),
        }
    }
}

impl Serialize for TextPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Exact(text) => serializer.serialize_str(text),
            Self::Contains(part) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("contains", part)?;
                map.end()
            }
        }
    }
}
