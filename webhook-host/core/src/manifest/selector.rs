//! `spec.match.namespaceSelector` of a ServicePolicy: metav1.LabelSelector, checked as an API
//! server checks one (k8s.io/apimachinery `pkg/apis/meta/v1/validation`).
//!
//! Invariant: a selector that was read has only keys and values that a namespace can have. Any
//! other selector would silently match no namespace, or more than its author meant.

use super::is_label;
use super::names::{LabelKey, LabelValue};
use crate::inventory::NAME_LABEL;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;

/// metav1.LabelSelector of namespaces, with unknown keys refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NamespaceSelector {
    #[serde(
        default,
        deserialize_with = "match_labels",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    #[schemars(with = "BTreeMap<String, String>", extend("additionalProperties" = {
        "type": "string", "maxLength": 63, "pattern": LabelValue::PATTERN}))]
    match_labels: BTreeMap<LabelKey, LabelValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<WrittenRequirement>")]
    match_expressions: Vec<Requirement>,
}

/// metav1.LabelSelectorRequirement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "WrittenRequirement")]
struct Requirement {
    key: LabelKey,
    operator: Operator,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<LabelValue>,
}

/// A requirement on a label of the namespace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Requirement")]
struct WrittenRequirement {
    #[schemars(
        with = "String",
        length(max = 317),
        regex(pattern = LabelKey::PATTERN)
    )]
    key: LabelKey,
    #[schemars(with = "String", extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    operator: Operator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        with = "Vec<String>",
        inner(length(max = 63), regex(pattern = LabelValue::PATTERN))
    )]
    values: Vec<LabelValue>,
}

/// The comparison that a requirement makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Operator {
    fn name(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }
}

impl NamespaceSelector {
    /// Returns true if a namespace matches by its name and its labels. Requirements on labels other
    /// than the name's match where the labels are not known.
    pub(super) fn matches(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let holds = |key: &LabelKey, holds: &dyn Fn(Option<&str>) -> bool| {
            if key.as_str() == NAME_LABEL {
                return holds(Some(name));
            }
            labels.is_none_or(|labels| holds(labels.get(key.as_str()).map(String::as_str)))
        };
        let by_label = self
            .match_labels
            .iter()
            .all(|(key, value)| holds(key, &|found| found == Some(value.as_str())));
        by_label
            && self
                .match_expressions
                .iter()
                .all(|requirement| holds(&requirement.key, &|found| requirement.holds(found)))
    }

    /// Returns true if labels have a say, other than the one that bears the namespace's name.
    pub(super) fn goes_by_labels(&self) -> bool {
        self.keys().any(|key| key != NAME_LABEL)
    }

    /// Returns the keys of the labels that decide what it selects.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let expressions = self
            .match_expressions
            .iter()
            .map(|requirement| &requirement.key);
        self.match_labels
            .keys()
            .chain(expressions)
            .map(LabelKey::as_str)
    }

    /// Returns the selector as Kubernetes' own type.
    pub(super) fn to_kubernetes(&self) -> LabelSelector {
        let labels = self
            .match_labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        let requirement = |requirement: &Requirement| LabelSelectorRequirement {
            key: requirement.key.to_string(),
            operator: requirement.operator.name().to_owned(),
            values: Some(requirement.values.iter().map(ToString::to_string).collect()),
        };
        LabelSelector {
            match_expressions: Some(self.match_expressions.iter().map(requirement).collect()),
            match_labels: Some(labels.collect()),
        }
    }
}

impl Requirement {
    /// Returns true if a label's value is as required; `None`: there is no such label.
    fn holds(&self, found: Option<&str>) -> bool {
        let is_listed = |found: &str| self.values.iter().any(|value| value.as_str() == found);
        match self.operator {
            Operator::In => found.is_some_and(is_listed),
            Operator::NotIn => !found.is_some_and(is_listed),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
        }
    }
}

impl TryFrom<WrittenRequirement> for Requirement {
    type Error = String;

    fn try_from(written: WrittenRequirement) -> Result<Self, String> {
        let WrittenRequirement {
            key,
            operator,
            values,
        } = written;
        if matches!(operator, Operator::In | Operator::NotIn) && values.is_empty() {
            return Err("In and NotIn need values; name at least one value".to_owned());
        }
        values
            .iter()
            .try_for_each(|value| check_name(&key, value))?;
        Ok(Self {
            key,
            operator,
            values,
        })
    }
}

fn match_labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<LabelKey, LabelValue>, D::Error> {
    let labels = BTreeMap::deserialize(deserializer)?;
    labels
        .iter()
        .try_for_each(|(key, value)| check_name(key, value))
        .map_err(de::Error::custom)?;
    Ok(labels)
}

/// Refuses a value of the label that bears the namespace's name, when no namespace has such a name.
fn check_name(key: &LabelKey, value: &LabelValue) -> Result<(), String> {
    let value = value.as_str();
    if key.as_str() != NAME_LABEL || is_label(value) {
        return Ok(());
    }
    Err(format!(
        "{value:?} is no namespace's name; use lower-case letters, digits and '-'"
    ))
}
