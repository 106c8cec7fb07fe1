//! `kind: ServicePolicy`: which component runs, with which settings, on what, and what its opinion
//! is worth.

use super::candidate::Candidate;
use super::{Metadata, is_label, read};
use crate::decode::DecodeError;
use crate::excerpt::excerpt;
use crate::units::{Bytes, Millis};
use crate::webhooks::registration::NAME_LABEL;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::{ParseExpressionError, Selector, SelectorExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One policy as its user configured it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServicePolicy {
    /// `sallyport.dev/v1alpha1`.
    pub api_version: String,
    /// `ServicePolicy`.
    pub kind: String,
    /// The name stands in messages: `[nodeport-range] …`.
    pub metadata: Metadata,
    /// Everything else.
    pub spec: ServicePolicySpec,
}

/// The `spec` of a `ServicePolicy`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServicePolicySpec {
    /// The component.
    pub module: Module,
    /// What a violation means.
    #[serde(default)]
    pub mode: Mode,
    /// What an evaluation error means, in mode Enforce.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// Which namespaces the policy is asked about.
    #[serde(default)]
    pub r#match: Match,
    /// What an update may keep.
    #[serde(default)]
    pub updates: Updates,
    /// The policy's own settings, laid over its defaults.
    #[serde(default)]
    #[schemars(schema_with = "super::crd::settings", default)]
    pub settings: Map<String, Value>,
    /// What one evaluation may use.
    #[serde(default)]
    pub limits: Limits,
    /// A next version, which a serving host evaluates beside the live one, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
}

/// Where the component is.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// A bare file name inside the directory of the policies.
    #[schemars(length(max = 255), extend("x-kubernetes-validations" = [{
        "rule": "self != '' && !self.startsWith('.') && !self.contains('/') && \
         !self.contains('\\\\')",
        "message": "this is no bare file name; name a file in the directory of the policies, such \
         as policy.wasm",
    }]))]
    pub file: String,
}

/// What a violation means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Mode {
    /// The request is denied; patches are applied.
    #[default]
    Enforce,
    /// The client is warned.
    Warn,
    /// The API server's audit log is told.
    Audit,
}

/// What an evaluation error means in mode Enforce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum FailurePolicy {
    /// The request is denied.
    #[default]
    Fail,
    /// The client is warned.
    Ignore,
}

/// What an update may keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Updates {
    /// What the old object already violates is a warning.
    #[default]
    Ratchet,
    /// An update is judged like a create.
    Always,
}

/// Which namespaces a policy is asked about. There is no selector for Services: who writes a
/// Service writes its labels.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Match {
    /// By the namespace's labels; absent or empty: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<NamespaceSelector>,
    /// By name, exactly.
    #[serde(default)]
    #[schemars(
        length(max = 1024),
        inner(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    exclude_namespaces: Vec<String>,
}

impl Match {
    /// As it was written: the selector, and the names of namespaces that it leaves out.
    pub fn written(&self) -> (Option<LabelSelector>, &[String]) {
        let selector = self
            .namespace_selector
            .as_ref()
            .map(|selector| selector.written.to_kubernetes());
        (selector, &self.exclude_namespaces)
    }

    /// Whether labels of a namespace have a say, other than its name.
    pub fn goes_by_labels(&self) -> bool {
        self.namespace_selector
            .as_ref()
            .is_some_and(|selector| !selector.by_others.selects_all())
    }

    /// The keys of the labels that have a say.
    pub fn compared_labels(&self) -> impl Iterator<Item = &str> {
        self.namespace_selector.iter().flat_map(|selector| {
            let StrictSelector {
                match_labels,
                match_expressions,
            } = &selector.written;
            let expressions = match_expressions
                .iter()
                .map(|requirement| requirement.key.as_str());
            match_labels.keys().map(String::as_str).chain(expressions)
        })
    }

    /// Whether a namespace matches by its name and its labels. The label
    /// `kubernetes.io/metadata.name` is always known: the API server gives it to every namespace,
    /// and lets nobody change it. Requirements on other labels match where these are not known.
    pub fn matches(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let selected = self
            .namespace_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(name, labels));
        selected
            && !self
                .exclude_namespaces
                .iter()
                .any(|excluded| excluded == name)
    }

    /// Refuses names and labels that no namespace can have: the policy would be asked about none,
    /// or about more than it should, and nothing would say so.
    fn check(&self) -> Result<(), DecodeError> {
        if let Some((index, name)) = self
            .exclude_namespaces
            .iter()
            .enumerate()
            .find(|(_, name)| !is_label(name))
        {
            let place = format!("spec.match.excludeNamespaces[{index}]");
            let problem = format!(
                "{:?} is no namespace's name; write names one by one, without patterns",
                excerpt(name)
            );
            return Err(DecodeError::new(place, problem));
        }
        self.namespace_selector.as_ref().map_or(Ok(()), |selector| {
            selector.written.check("spec.match.namespaceSelector")
        })
    }
}

/// A `LabelSelector` that is known to be valid.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "StrictSelector", into = "StrictSelector")]
struct NamespaceSelector {
    written: StrictSelector,
    /// The requirements on the label that bears the namespace's name.
    by_name: Selector,
    /// The others.
    by_others: Selector,
}

impl NamespaceSelector {
    fn matches(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let own = BTreeMap::from([(NAME_LABEL.to_owned(), name.to_owned())]);
        (self.by_name.selects_all() || self.by_name.matches(&own))
            && labels.is_none_or(|labels| self.by_others.matches(labels))
    }
}

/// What the value of a label can be.
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// metav1.LabelSelector, with unknown keys refused.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StrictSelector {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": 63,
        "pattern": LABEL_VALUE}))]
    match_labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<Requirement>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Requirement {
    #[schemars(
        length(max = 317),
        regex(pattern = "^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    key: String,
    #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    operator: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(max = 63), regex(pattern = LABEL_VALUE)))]
    values: Vec<String>,
}

impl StrictSelector {
    fn to_kubernetes(&self) -> LabelSelector {
        let requirements =
            self.match_expressions
                .iter()
                .map(|requirement| LabelSelectorRequirement {
                    key: requirement.key.clone(),
                    operator: requirement.operator.clone(),
                    values: Some(requirement.values.clone()),
                });
        LabelSelector {
            match_expressions: Some(requirements.collect()),
            match_labels: Some(self.match_labels.clone()),
        }
    }

    /// The requirements on the labels that are `wanted`.
    fn on(&self, wanted: impl Fn(&str) -> bool) -> Result<Selector, ParseExpressionError> {
        let mut selector = self.to_kubernetes();
        selector
            .match_labels
            .iter_mut()
            .for_each(|labels| labels.retain(|key, _| wanted(key)));
        selector
            .match_expressions
            .iter_mut()
            .for_each(|all| all.retain(|requirement| wanted(&requirement.key)));
        Selector::try_from(selector)
    }

    /// As an API server checks a selector (k8s.io/apimachinery `pkg/apis/meta/v1/validation`).
    fn check(&self, path: &str) -> Result<(), DecodeError> {
        for (key, value) in &self.match_labels {
            check_label(
                &format!("{path}.matchLabels[{:?}]", excerpt(key)),
                key,
                value,
            )?;
        }
        for (
            index,
            Requirement {
                key,
                operator,
                values,
            },
        ) in self.match_expressions.iter().enumerate()
        {
            let path = format!("{path}.matchExpressions[{index}]");
            if matches!(operator.as_str(), "In" | "NotIn") && values.is_empty() {
                let problem = "required with In and NotIn; name at least one value";
                return Err(DecodeError::new(format!("{path}.values"), problem));
            }
            check_label(&format!("{path}.key"), key, "")?;
            for (index, value) in values.iter().enumerate() {
                check_label(&format!("{path}.values[{index}]"), key, value)?;
            }
        }
        Ok(())
    }
}

/// Refuses a label that no namespace can have. An empty value is one that any label but the name
/// can have.
fn check_label(place: &str, key: &str, value: &str) -> Result<(), DecodeError> {
    let (prefix, name) = key.split_once('/').unwrap_or(("a", key));
    let of_dns = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let problem = if prefix.is_empty()
        || prefix.len() > 253
        || !prefix.bytes().all(of_dns)
        || !is_label_text(name)
    {
        format!(
            "{:?} can be no label's key; write it as {NAME_LABEL}",
            excerpt(key)
        )
    } else if !value.is_empty() && !is_label_text(value) {
        format!(
            "{:?} can be no label's value; write values without patterns",
            excerpt(value)
        )
    } else if key == NAME_LABEL && !value.is_empty() && !is_label(value) {
        format!("{value:?} is no namespace's name; use lower-case letters, digits and '-'")
    } else {
        return Ok(());
    };
    Err(DecodeError::new(place, problem))
}

/// Whether a text can be a label's value, or the name in its key.
fn is_label_text(text: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 63
        && text.bytes().all(inner)
        && end(text.as_bytes().first())
        && end(text.as_bytes().last())
}

impl TryFrom<StrictSelector> for NamespaceSelector {
    type Error = ParseExpressionError;

    fn try_from(written: StrictSelector) -> Result<Self, ParseExpressionError> {
        let by_name = written.on(|key| key == NAME_LABEL)?;
        let by_others = written.on(|key| key != NAME_LABEL)?;
        Ok(Self {
            written,
            by_name,
            by_others,
        })
    }
}

impl From<NamespaceSelector> for StrictSelector {
    fn from(selector: NamespaceSelector) -> Self {
        selector.written
    }
}

/// What one evaluation may use.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Wall-clock time of one evaluation; an update that ratchets may have two. Kept to a
    /// millisecond or two.
    pub deadline: Millis,
    /// Linear memory, all memories of the component together.
    pub memory: Bytes,
    /// What one answer may take up in the host: its texts, and a hundred bytes or so for each
    /// violation or operation.
    pub output: Bytes,
}

impl Default for Limits {
    /// A thousand times what an ordinary review takes, room for a Service of the largest size that
    /// etcd stores, and an answer with a violation for each of some thousand ports.
    fn default() -> Self {
        Self {
            deadline: Millis::new(50),
            memory: Bytes::new(16 << 20),
            output: Bytes::new(4 << 20),
        }
    }
}

impl ServicePolicy {
    /// The kind.
    pub const KIND: &'static str = "ServicePolicy";

    /// Reads one manifest.
    ///
    /// # Errors
    ///
    /// The first value that the format does not allow, with its path.
    pub fn from_value(value: &Value) -> Result<Self, DecodeError> {
        let manifest: Self = read(value, Self::KIND)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Reads an object as an API server has it: the same, with metadata and a status that no file
    /// has.
    ///
    /// # Errors
    ///
    /// As [`ServicePolicy::from_value`].
    pub fn from_object(mut object: Value) -> Result<Self, DecodeError> {
        if let Some(manifest) = object.as_object_mut() {
            manifest.remove("status");
            let name = manifest
                .get_mut("metadata")
                .and_then(|metadata| metadata.get_mut("name"))
                .map(Value::take);
            manifest.insert("metadata".to_owned(), json!({"name": name}));
        }
        Self::from_value(&object)
    }

    fn check(&self) -> Result<(), DecodeError> {
        let name = &self.metadata.name;
        if !is_label(name) {
            return Err(DecodeError::new(
                "metadata.name",
                format!(
                    "{name:?} is no name; use lower-case letters, digits and '-', at most 63 \
                     characters"
                ),
            ));
        }
        self.spec.r#match.check()?;
        self.spec.module.check("spec.module")?;
        self.spec
            .candidate
            .as_ref()
            .map_or(Ok(()), Candidate::check)
    }
}

impl Module {
    pub(super) fn check(&self, place: &str) -> Result<(), DecodeError> {
        let file = &self.file;
        let bare = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\\', '\0']);
        if !bare {
            return Err(DecodeError::new(
                format!("{place}.file"),
                format!(
                    "{file:?} is no bare file name; name a file in the directory of the policies, \
                     such as policy.wasm"
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(spec: Value) -> Result<ServicePolicy, String> {
        let value = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": "p"}, "spec": spec,
        });
        ServicePolicy::from_value(&value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let policy = manifest(json!({"module": {"file": "p.wasm"}})).expect("minimal");
        assert_eq!(policy.spec.mode, Mode::Enforce);
        assert_eq!(policy.spec.failure_policy, FailurePolicy::Fail);
        assert_eq!(policy.spec.updates, Updates::Ratchet);
        assert_eq!(policy.spec.limits.deadline.to_string(), "50ms");
        assert!(policy.spec.r#match.matches("any", None));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_path() {
        let error = manifest(json!({"module": {"file": "p.wasm"}, "limits": {"deadlin": "1s"}}))
            .expect_err("typo");
        assert_eq!(
            error,
            "spec.limits: unknown key \"deadlin\" (did you mean \"deadline\"?); known keys: \
             deadline, memory, output"
        );
    }

    #[test]
    fn a_module_is_a_bare_file_name() {
        for file in ["", "../p.wasm", "a/p.wasm", "/p.wasm", ".hidden", ".."] {
            let error = manifest(json!({"module": {"file": file}})).expect_err(file);
            assert!(error.starts_with("spec.module.file: "), "{error}");
        }
    }

    #[test]
    fn another_kind_or_version_is_named() {
        let error = ServicePolicy::from_value(&json!({"apiVersion": "v1", "kind": "Service"}))
            .expect_err("foreign");
        assert_eq!(
            error.to_string(),
            r#"apiVersion: expected sallyport.dev/v1alpha1, found string "v1""#
        );
    }

    #[test]
    fn a_selector_matches_labels_and_an_unknown_namespace_always_matches() {
        let policy = manifest(json!({
            "module": {"file": "p.wasm"},
            "match": {
                "namespaceSelector": {
                    "matchLabels": {"team": "a"},
                    "matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["dev"]}],
                },
                "excludeNamespaces": ["gone"],
            },
        }))
        .expect("valid");
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let matches =
            |name, pairs: &[(&str, &str)]| policy.spec.r#match.matches(name, Some(&labels(pairs)));
        assert!(matches("x", &[("team", "a")]));
        assert!(!matches("x", &[("team", "a"), ("env", "dev")]));
        assert!(!matches("x", &[]));
        assert!(!matches("gone", &[("team", "a")]));
        assert!(policy.spec.r#match.matches("x", None));
    }

    #[test]
    fn the_name_of_a_namespace_is_known_where_its_labels_are_not() {
        let matching = |selector: &Value| {
            let spec =
                json!({"module": {"file": "p.wasm"}, "match": {"namespaceSelector": selector}});
            manifest(spec).expect("valid").spec.r#match
        };
        let name = |operator: &str, values: &[&str]| {
            let requirement = json!({"key": "kubernetes.io/metadata.name", "operator": operator,
                "values": values});
            json!({"matchExpressions": [requirement]})
        };
        let label = json!({"matchLabels": {"kubernetes.io/metadata.name": "noisy"}});
        for (selector, noisy, cap) in [
            (label, true, false),
            (name("In", &["noisy", "other"]), true, false),
            (name("NotIn", &["noisy"]), false, true),
            (name("Exists", &[]), true, true),
            (name("DoesNotExist", &[]), false, false),
        ] {
            let matching = matching(&selector);
            let empty = BTreeMap::new();
            for labels in [None, Some(&empty)] {
                assert_eq!(matching.matches("noisy", labels), noisy, "{selector}");
                assert_eq!(matching.matches("cap", labels), cap, "{selector}");
            }
            assert!(
                !matching.goes_by_labels(),
                "nobody waits for the labels: {selector}"
            );
        }
        let both = matching(
            &json!({"matchLabels": {"kubernetes.io/metadata.name": "noisy", "team": "a"}}),
        );
        assert!(both.matches("noisy", None) && !both.matches("cap", None) && both.goes_by_labels());
        assert!(!both.matches("noisy", Some(&BTreeMap::new())));
    }

    #[test]
    fn what_no_namespace_can_have_is_an_error_with_its_path() {
        let error = |spec: Value| {
            let spec = json!({"module": {"file": "p.wasm"}, "match": spec});
            manifest(spec).expect_err("refused")
        };
        let labels =
            |key: &str, value: &str| json!({"namespaceSelector": {"matchLabels": {key: value}}});
        let expression = |operator: &str, values: &[&str]| {
            let requirement = json!({"key": "team", "operator": operator, "values": values});
            json!({"namespaceSelector": {"matchExpressions": [requirement]}})
        };
        const SELECTOR: &str = "spec.match.namespaceSelector";
        for (spec, place, problem) in [
            (
                json!({"excludeNamespaces": ["a", "team-*"]}),
                "spec.match.excludeNamespaces[1]",
                "is no namespace's name",
            ),
            (
                json!({"excludeNamespaces": ["Team"]}),
                "spec.match.excludeNamespaces[0]",
                "is no namespace's name",
            ),
            (
                labels("team", "a-*"),
                ".matchLabels[\"team\"]",
                "can be no label's value",
            ),
            (
                labels("team", "a "),
                ".matchLabels[\"team\"]",
                "can be no label's value",
            ),
            (
                labels("Example.com/team", "a"),
                ".matchLabels[\"Example.com/team\"]",
                "can be no label's key",
            ),
            (
                labels("kubernetes.io/metadata.name", "Noisy"),
                ".matchLabels",
                "is no namespace's name",
            ),
            (
                expression("In", &[]),
                ".matchExpressions[0].values",
                "name at least one value",
            ),
            (
                expression("NotIn", &["a", "b*"]),
                ".matchExpressions[0].values[1]",
                "can be no label's value",
            ),
        ] {
            let text = error(spec);
            let place = if place.starts_with('.') {
                format!("{SELECTOR}{place}")
            } else {
                place.to_owned()
            };
            assert!(text.starts_with(&place) && text.contains(problem), "{text}");
        }
        manifest(json!({"module": {"file": "p.wasm"}, "match": labels("team", "")}))
            .expect("an empty value is one");
    }

    #[test]
    fn a_bad_operator_is_an_error_with_its_path() {
        let selector =
            json!({"matchExpressions": [{"key": "env", "operator": "Like", "values": ["x"]}]});
        let error = manifest(
            json!({"module": {"file": "p.wasm"}, "match": {"namespaceSelector": selector}}),
        )
        .expect_err("operator");
        assert!(
            error.starts_with("spec.match.namespaceSelector: "),
            "{error}"
        );
    }
}
