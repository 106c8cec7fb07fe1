//! `kind: ServicePolicy`: which component runs, with which settings, on what, and what its opinion is worth.

use super::candidate::Candidate;
use super::{Metadata, is_label, read};
use crate::decode::DecodeError;
use crate::units::{Bytes, Millis};
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
        "rule": r"self != '' && !self.startsWith('.') && !self.contains('/') && !self.contains('\\')",
        "message": "this is no bare file name; name a file in the directory of the policies, such as policy.wasm",
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

/// Which namespaces a policy is asked about. There is no selector for Services: who writes a Service writes its labels.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Match {
    /// By the namespace's labels; absent or empty: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<NamespaceSelector>,
    /// By name, exactly.
    #[serde(default)]
    #[schemars(length(max = 1024), inner(length(max = 63)))]
    exclude_namespaces: Vec<String>,
}

impl Match {
    /// As it was written: the selector, and the names of namespaces that it leaves out.
    pub fn written(&self) -> (Option<LabelSelector>, &[String]) {
        let selector = self.namespace_selector.as_ref().map(|selector| selector.written.to_kubernetes());
        (selector, &self.exclude_namespaces)
    }

    /// Whether the labels of a namespace have a say.
    pub fn goes_by_labels(&self) -> bool {
        self.namespace_selector.as_ref().is_some_and(|selector| !selector.selector.selects_all())
    }

    /// The keys of the labels that have a say.
    pub fn compared_labels(&self) -> impl Iterator<Item = &str> {
        self.namespace_selector.iter().flat_map(|selector| {
            let StrictSelector { match_labels, match_expressions } = &selector.written;
            let expressions = match_expressions.iter().map(|requirement| requirement.key.as_str());
            match_labels.keys().map(String::as_str).chain(expressions)
        })
    }

    /// Whether a namespace matches by its name and, where they are known, its labels. What is not known matches.
    pub fn matches(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let selected = match (&self.namespace_selector, labels) {
            (Some(selector), Some(labels)) => selector.selector.matches(labels),
            _ => true,
        };
        selected && !self.exclude_namespaces.iter().any(|excluded| excluded == name)
    }
}

/// A `LabelSelector` that is known to be valid.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "StrictSelector", into = "StrictSelector")]
struct NamespaceSelector {
    written: StrictSelector,
    selector: Selector,
}

/// metav1.LabelSelector, with unknown keys refused.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StrictSelector {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    match_labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<Requirement>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Requirement {
    #[schemars(length(max = 316))]
    key: String,
    #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    operator: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

impl StrictSelector {
    fn to_kubernetes(&self) -> LabelSelector {
        let requirements = self.match_expressions.iter().map(|requirement| LabelSelectorRequirement {
            key: requirement.key.clone(),
            operator: requirement.operator.clone(),
            values: Some(requirement.values.clone()),
        });
        LabelSelector { match_expressions: Some(requirements.collect()), match_labels: Some(self.match_labels.clone()) }
    }
}

impl TryFrom<StrictSelector> for NamespaceSelector {
    type Error = ParseExpressionError;

    fn try_from(written: StrictSelector) -> Result<Self, ParseExpressionError> {
        let selector = Selector::try_from(written.to_kubernetes())?;
        Ok(Self { written, selector })
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
    /// Wall-clock time of one evaluation; an update that ratchets may have two. Kept to a millisecond or two.
    pub deadline: Millis,
    /// Linear memory, all memories of the component together.
    pub memory: Bytes,
    /// What one answer may take up in the host: its texts, and a hundred bytes or so for each violation or operation.
    pub output: Bytes,
}

impl Default for Limits {
    /// A thousand times what an ordinary review takes, room for a Service of the largest size that etcd stores, and an answer
    /// with a violation for each of some thousand ports.
    fn default() -> Self {
        Self { deadline: Millis::new(50), memory: Bytes::new(16 << 20), output: Bytes::new(4 << 20) }
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

    /// Reads an object as an API server has it: the same, with metadata and a status that no file has.
    ///
    /// # Errors
    ///
    /// As [`ServicePolicy::from_value`].
    pub fn from_object(mut object: Value) -> Result<Self, DecodeError> {
        if let Some(manifest) = object.as_object_mut() {
            manifest.remove("status");
            let name = manifest.get_mut("metadata").and_then(|metadata| metadata.get_mut("name")).map(Value::take);
            manifest.insert("metadata".to_owned(), json!({"name": name}));
        }
        Self::from_value(&object)
    }

    fn check(&self) -> Result<(), DecodeError> {
        let name = &self.metadata.name;
        if !is_label(name) {
            return Err(DecodeError::new(
                "metadata.name",
                format!("{name:?} is no name; use lower-case letters, digits and '-', at most 63 characters"),
            ));
        }
        self.spec.module.check("spec.module")?;
        self.spec.candidate.as_ref().map_or(Ok(()), Candidate::check)
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
                    "{file:?} is no bare file name; name a file in the directory of the policies, such as policy.wasm"
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
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy", "metadata": {"name": "p"}, "spec": spec,
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
        let error = manifest(json!({"module": {"file": "p.wasm"}, "limits": {"deadlin": "1s"}})).expect_err("typo");
        assert_eq!(
            error,
            r#"spec.limits: unknown key "deadlin" (did you mean "deadline"?); known keys: deadline, memory, output"#
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
        let error = ServicePolicy::from_value(&json!({"apiVersion": "v1", "kind": "Service"})).expect_err("foreign");
        assert_eq!(error.to_string(), r#"apiVersion: expected sallyport.dev/v1alpha1, found string "v1""#);
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
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let matches = |name, pairs: &[(&str, &str)]| policy.spec.r#match.matches(name, Some(&labels(pairs)));
        assert!(matches("x", &[("team", "a")]));
        assert!(!matches("x", &[("team", "a"), ("env", "dev")]));
        assert!(!matches("x", &[]));
        assert!(!matches("gone", &[("team", "a")]));
        assert!(policy.spec.r#match.matches("x", None));
    }

    #[test]
    fn a_bad_operator_is_an_error_with_its_path() {
        let selector = json!({"matchExpressions": [{"key": "env", "operator": "Like", "values": ["x"]}]});
        let error = manifest(json!({"module": {"file": "p.wasm"}, "match": {"namespaceSelector": selector}}))
            .expect_err("operator");
        assert!(error.starts_with("spec.match.namespaceSelector: "), "{error}");
    }
}
