//! `kind: ServicePolicy`: the component that runs, its settings, the requests that it is asked
//! about, and the effect of its violations.
//!
//! Invariant: a manifest that was read holds only usable values. Every value that a user writes is
//! checked where it is read, so that its error has its path.

use super::candidate::Candidate;
use super::exemptions::PolicyExemptions;
use super::module::Module;
use super::names::ExcludedNamespace;
use super::selector::NamespaceSelector;
use super::{API_VERSION, Metadata, is_label, read};
use crate::decode::DecodeError;
use crate::schema;
use crate::units::{Bytes, Millis};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The description of the format, in schemas.
pub(super) const PURPOSE: &str = "A policy about how Services may be exposed: which component \
    runs, with which settings, on what, and what its opinion is worth.";

/// One policy as its user configured it. Read by [`ServicePolicy::from_value`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "Written")]
pub struct ServicePolicy {
    /// The name stands in messages: `[nodeport-range] …`.
    pub metadata: Metadata,
    /// Everything else.
    pub spec: ServicePolicySpec,
}

/// The form of a ServicePolicy in a file, its name not checked yet.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ServicePolicy", description = PURPOSE)]
struct Written {
    /// The version of the format.
    #[schemars(extend("const" = API_VERSION))]
    api_version: String,
    /// The kind of the manifest.
    #[schemars(extend("const" = ServicePolicy::KIND))]
    kind: String,
    /// The name stands in messages: `[nodeport-range] …`.
    metadata: Metadata,
    /// Everything else.
    spec: ServicePolicySpec,
}

impl From<ServicePolicy> for Written {
    fn from(ServicePolicy { metadata, spec }: ServicePolicy) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: ServicePolicy::KIND.to_owned(),
            metadata,
            spec,
        }
    }
}

/// The `spec` of a `ServicePolicy`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServicePolicySpec {
    /// The component.
    pub module: Module,
    /// The effect of a violation.
    #[serde(default)]
    pub mode: Mode,
    /// The effect of an evaluation error, in mode Enforce.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// The reason of a denial, for programs. It decides about the HTTP code.
    #[serde(default, skip_serializing_if = "Reason::is_default")]
    pub reason: Reason,
    /// Which namespaces the policy is asked about.
    #[serde(default)]
    pub r#match: Match,
    /// Requests that this policy is not asked about.
    #[serde(default, skip_serializing_if = "PolicyExemptions::is_empty")]
    pub exemptions: PolicyExemptions,
    /// The violations that an update may keep.
    #[serde(default)]
    pub updates: Updates,
    /// The policy's own settings, laid over its defaults.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::settings", default)]
    pub settings: Map<String, Value>,
    /// The limits of one evaluation.
    #[serde(default)]
    pub limits: Limits,
    /// A next version, which a serving host evaluates beside the live one, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<super::candidate::Written>")]
    pub candidate: Option<Candidate>,
}

/// The effect of a violation.
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

/// The effect of an evaluation error in mode Enforce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum FailurePolicy {
    /// The request is denied.
    #[default]
    Fail,
    /// The client is warned.
    Ignore,
}

/// The reason of a denial, as metav1.Status has it: one that a ValidatingAdmissionPolicy may give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Reason {
    /// HTTP 403.
    #[default]
    Forbidden,
    /// HTTP 422.
    Invalid,
    /// HTTP 413.
    RequestEntityTooLarge,
}

impl Reason {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "Forbidden",
            Self::Invalid => "Invalid",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
        }
    }

    /// Returns the HTTP code.
    pub fn code(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::Invalid => 422,
            Self::RequestEntityTooLarge => 413,
        }
    }
}

/// The violations that an update may keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Updates {
    /// A violation that the old object has too is a warning.
    #[default]
    Ratchet,
    /// An update is judged like a create.
    Always,
}

/// Which namespaces a policy is asked about. There is no selector for Services: who writes a
/// Service writes its labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Match {
    /// By the namespace's labels; absent or empty: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<NamespaceSelector>,
    /// By name, exactly.
    #[serde(default)]
    #[schemars(
        with = "Vec<String>",
        length(max = 1024),
        inner(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    exclude_namespaces: Vec<ExcludedNamespace>,
}

impl Match {
    /// As it was written: the selector, and the names of namespaces that it leaves out.
    pub fn written(&self) -> (Option<LabelSelector>, impl Iterator<Item = &str>) {
        let selector = self
            .namespace_selector
            .as_ref()
            .map(NamespaceSelector::to_kubernetes);
        let excluded = self
            .exclude_namespaces
            .iter()
            .map(ExcludedNamespace::as_str);
        (selector, excluded)
    }

    /// Returns true if labels of a namespace have a say, other than its name.
    pub fn goes_by_labels(&self) -> bool {
        self.namespace_selector
            .as_ref()
            .is_some_and(NamespaceSelector::goes_by_labels)
    }

    /// Returns the keys of the namespace labels that decide what it matches.
    pub fn compared_labels(&self) -> impl Iterator<Item = &str> {
        self.namespace_selector
            .iter()
            .flat_map(NamespaceSelector::keys)
    }

    /// Returns true if a namespace matches by its name and its labels. The label
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
                .any(|excluded| excluded.as_str() == name)
    }
}

/// The limits of one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Wall-clock time of one evaluation; an update that ratchets may have two. Kept to a
    /// millisecond or two.
    pub deadline: Millis,
    /// Linear memory, all memories of the component together.
    pub memory: Bytes,
    /// The memory that one answer may take in the host: its texts, and about a hundred bytes for
    /// each violation or operation.
    pub output: Bytes,
}

impl Default for Limits {
    /// Returns the default limits: a thousand times the time of an ordinary review, memory for the
    /// largest Service that etcd stores, and room for an answer with a violation for each of some
    /// thousand ports.
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

    /// Returns the JSON Schema of the format. That of the settings is the component's own.
    pub fn schema() -> Value {
        schema::of::<Written>()
    }

    /// Reads one manifest.
    ///
    /// # Errors
    ///
    /// The first value that the format does not allow, with its path.
    pub fn from_value(value: &Value) -> Result<Self, DecodeError> {
        let Written { metadata, spec, .. } = read(value, Self::KIND)?;
        let name = &metadata.name;
        if !is_label(name) {
            return Err(DecodeError::new(
                "metadata.name",
                format!(
                    "{name:?} is no name; use lower-case letters, digits and '-', at most 63 \
                     characters"
                ),
            ));
        }
        Ok(Self { metadata, spec })
    }

    /// Returns the manifest of the live policy alone, and that of its candidate, if it has one.
    #[must_use]
    pub fn split(mut self) -> (Self, Option<Self>) {
        let candidate = self.spec.candidate.take();
        let candidate = candidate.map(|Candidate { module, settings }| {
            let live = self.spec.clone();
            let spec = ServicePolicySpec {
                module: module.unwrap_or(live.module),
                settings: settings.unwrap_or(live.settings),
                ..live
            };
            Self {
                metadata: self.metadata.clone(),
                spec,
            }
        });
        (self, candidate)
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
                ".matchLabels.team",
                "can be no label's value",
            ),
            (
                labels("team", "a "),
                ".matchLabels.team",
                "can be no label's value",
            ),
            (
                labels("Example.com/team", "a"),
                ".matchLabels",
                "can be no label's key",
            ),
            (
                labels("kubernetes.io/metadata.name", "Noisy"),
                ".matchLabels",
                "is no namespace's name",
            ),
            (
                expression("In", &[]),
                ".matchExpressions[0]",
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
            error.starts_with("spec.match.namespaceSelector.matchExpressions[0].operator: "),
            "{error}"
        );
    }
}
