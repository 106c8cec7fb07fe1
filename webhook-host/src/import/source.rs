//! Admission policies of Kubernetes and their bindings, as users write them.
//!
//! Invariant: an unknown field is an error, since it could be one that a verdict depends on.

use sallyport_core::decode::{self, DecodeError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The group of both kinds of policy.
const GROUP: &str = "admissionregistration.k8s.io";

/// Versions of the group. The fields are the same in all of them.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

/// The kind of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Validating,
    Mutating,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Validating => "ValidatingAdmissionPolicy",
            Self::Mutating => "MutatingAdmissionPolicy",
        }
    }
}

/// An object of the input.
pub(super) enum Source {
    Policy(Policy),
    Binding(Binding),
    /// An object of another kind. It may be the parameters of a policy.
    Other,
}

/// A policy of either kind.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) spec: PolicySpec,
}

/// The fields of both kinds.
#[derive(Debug, Clone)]
pub(super) struct PolicySpec {
    pub(super) failure_policy: FailurePolicy,
    pub(super) param_kind: Option<ParamKind>,
    pub(super) match_constraints: MatchResources,
    pub(super) match_conditions: Vec<MatchCondition>,
    pub(super) variables: Vec<Variable>,
    pub(super) validations: Vec<Validation>,
    pub(super) audit_annotations: Vec<AuditAnnotation>,
    pub(super) mutations: Vec<Mutation>,
    pub(super) reinvocation_policy: Option<String>,
}

/// A binding of either kind.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) policy_name: String,
    pub(super) param_ref: Option<ParamRef>,
    pub(super) match_resources: MatchResources,
    pub(super) actions: Vec<Action>,
}

#[derive(Deserialize)]
struct Written<S> {
    metadata: Metadata,
    spec: S,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ValidatingSpec {
    #[serde(default)]
    failure_policy: FailurePolicy,
    param_kind: Option<ParamKind>,
    match_constraints: MatchResources,
    #[serde(default)]
    match_conditions: Vec<MatchCondition>,
    #[serde(default)]
    variables: Vec<Variable>,
    #[serde(default)]
    validations: Vec<Validation>,
    #[serde(default)]
    audit_annotations: Vec<AuditAnnotation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct MutatingSpec {
    #[serde(default)]
    failure_policy: FailurePolicy,
    param_kind: Option<ParamKind>,
    match_constraints: MatchResources,
    #[serde(default)]
    match_conditions: Vec<MatchCondition>,
    #[serde(default)]
    variables: Vec<Variable>,
    mutations: Vec<Mutation>,
    reinvocation_policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ValidatingBindingSpec {
    policy_name: String,
    param_ref: Option<ParamRef>,
    #[serde(default)]
    match_resources: MatchResources,
    validation_actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct MutatingBindingSpec {
    policy_name: String,
    param_ref: Option<ParamRef>,
    #[serde(default)]
    match_resources: MatchResources,
}

/// The effect of an expression without a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum FailurePolicy {
    #[default]
    Fail,
    Ignore,
}

/// The effect of a validation that is false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Action {
    Deny,
    Warn,
    Audit,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ParamKind {
    pub(super) api_version: String,
    pub(super) kind: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ParamRef {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    #[serde(rename = "selector")]
    _selector: Option<LabelSelector>,
    #[serde(rename = "parameterNotFoundAction")]
    _not_found: Option<NotFound>,
}

/// The effect of parameters that are not there. They are at hand when a policy is imported.
#[derive(Debug, Clone, Deserialize)]
enum NotFound {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct MatchResources {
    pub(super) resource_rules: Vec<ResourceRule>,
    pub(super) exclude_resource_rules: Vec<ResourceRule>,
    pub(super) namespace_selector: LabelSelector,
    pub(super) object_selector: LabelSelector,
    /// Services have one version, so that both policies mean the same.
    #[serde(rename = "matchPolicy")]
    _match_policy: Option<MatchPolicy>,
}

#[derive(Debug, Clone, Deserialize)]
enum MatchPolicy {
    Exact,
    Equivalent,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ResourceRule {
    pub(super) api_groups: Vec<String>,
    pub(super) api_versions: Vec<String>,
    pub(super) operations: Vec<String>,
    pub(super) resources: Vec<String>,
    #[serde(default)]
    pub(super) resource_names: Vec<String>,
    pub(super) scope: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct LabelSelector {
    pub(super) match_labels: BTreeMap<String, String>,
    pub(super) match_expressions: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requirement {
    pub(super) key: String,
    pub(super) operator: Operator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    /// Returns all requirements in one form.
    pub(super) fn requirements(&self) -> Vec<Requirement> {
        let labels = self.match_labels.iter().map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        });
        labels.chain(self.match_expressions.clone()).collect()
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MatchCondition {
    pub(super) name: String,
    pub(super) expression: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) expression: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Validation {
    pub(super) expression: String,
    message: Option<String>,
    message_expression: Option<String>,
    pub(super) reason: Option<Reason>,
}

/// An empty text is none for an API server.
impl Validation {
    /// Returns the message as the API server shows it, without white space around it.
    pub(super) fn message(&self) -> Option<&str> {
        let message = self.message.as_deref();
        message.filter(|text| !text.is_empty()).map(str::trim)
    }

    pub(super) fn message_expression(&self) -> Option<&str> {
        let expression = self.message_expression.as_deref();
        expression.filter(|text| !text.is_empty())
    }
}

/// The reason of a denial.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub(super) enum Reason {
    Forbidden,
    /// The one of a validation that names none.
    #[default]
    Invalid,
    RequestEntityTooLarge,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AuditAnnotation {
    pub(super) key: String,
    pub(super) value_expression: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Mutation {
    pub(super) patch_type: PatchType,
    pub(super) json_patch: Option<Expression>,
    #[serde(rename = "applyConfiguration")]
    _apply_configuration: Option<Expression>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum PatchType {
    ApplyConfiguration,
    JSONPatch,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expression {
    pub(super) expression: String,
}

impl Source {
    /// Reads an object. A list has to be opened before.
    ///
    /// # Errors
    ///
    /// When a policy or a binding does not decode.
    pub(super) fn read(object: &Value) -> Result<Self, DecodeError> {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let version = text("apiVersion")
            .strip_prefix(GROUP)
            .and_then(|rest| rest.strip_prefix('/'));
        if !version.is_some_and(|version| VERSIONS.contains(&version)) {
            return Ok(Self::Other);
        }
        Ok(match text("kind") {
            "ValidatingAdmissionPolicy" => Self::Policy(Policy::validating(read(object)?)),
            "MutatingAdmissionPolicy" => Self::Policy(Policy::mutating(read(object)?)),
            "ValidatingAdmissionPolicyBinding" => Self::Binding(Binding::validating(read(object)?)),
            "MutatingAdmissionPolicyBinding" => Self::Binding(Binding::mutating(read(object)?)),
            _ => Self::Other,
        })
    }
}

fn read<T: DeserializeOwned>(object: &Value) -> Result<Written<T>, DecodeError> {
    decode::from_value(object)
}

impl Policy {
    fn validating(Written { metadata, spec }: Written<ValidatingSpec>) -> Self {
        let spec = PolicySpec {
            failure_policy: spec.failure_policy,
            param_kind: spec.param_kind,
            match_constraints: spec.match_constraints,
            match_conditions: spec.match_conditions,
            variables: spec.variables,
            validations: spec.validations,
            audit_annotations: spec.audit_annotations,
            mutations: vec![],
            reinvocation_policy: None,
        };
        Self {
            kind: Kind::Validating,
            name: metadata.name,
            spec,
        }
    }

    fn mutating(Written { metadata, spec }: Written<MutatingSpec>) -> Self {
        let spec = PolicySpec {
            failure_policy: spec.failure_policy,
            param_kind: spec.param_kind,
            match_constraints: spec.match_constraints,
            match_conditions: spec.match_conditions,
            variables: spec.variables,
            validations: vec![],
            audit_annotations: vec![],
            mutations: spec.mutations,
            reinvocation_policy: spec.reinvocation_policy,
        };
        Self {
            kind: Kind::Mutating,
            name: metadata.name,
            spec,
        }
    }
}

impl Binding {
    fn validating(Written { metadata, spec }: Written<ValidatingBindingSpec>) -> Self {
        Self {
            kind: Kind::Validating,
            name: metadata.name,
            policy_name: spec.policy_name,
            param_ref: spec.param_ref,
            match_resources: spec.match_resources,
            actions: spec.validation_actions,
        }
    }

    fn mutating(Written { metadata, spec }: Written<MutatingBindingSpec>) -> Self {
        Self {
            kind: Kind::Mutating,
            name: metadata.name,
            policy_name: spec.policy_name,
            param_ref: spec.param_ref,
            match_resources: spec.match_resources,
            actions: vec![Action::Deny],
        }
    }
}
