//! A ServicePolicy of the component `expressions`, in the order in which people read one. Values
//! that are the defaults are left out.

use super::source::{
    AuditAnnotation, Expression, FailurePolicy, Mutation, PatchType, Reason, Requirement,
    Validation,
};
pub(super) use super::source::{MatchCondition, Variable};
use sallyport_core::manifest::{API_VERSION, ServicePolicy};
use serde::Serialize;
use serde_json::Value;

/// The file name of the component.
const MODULE: &str = "expressions.wasm";

/// A manifest. Its fields are those of a ServicePolicy.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    api_version: &'static str,
    kind: &'static str,
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

impl Manifest {
    pub(super) fn new(name: String, spec: Spec) -> Self {
        Self {
            api_version: API_VERSION,
            kind: ServicePolicy::KIND,
            metadata: Metadata { name },
            spec,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Metadata {
    pub(super) name: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) module: Module,
    pub(super) mode: Mode,
    pub(super) failure_policy: FailurePolicy,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Reason>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub(super) matched: Option<Match>,
    pub(super) updates: &'static str,
    pub(super) settings: Settings,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Module {
    file: &'static str,
}

impl Default for Module {
    fn default() -> Self {
        Self { file: MODULE }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Mode {
    Enforce,
    Warn,
    Audit,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Match {
    namespace_selector: Selector,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_expressions: Vec<Requirement>,
}

impl Match {
    /// Makes a match by the labels of namespaces, if there are requirements.
    pub(super) fn namespaces(match_expressions: Vec<Requirement>) -> Option<Self> {
        let selector = Selector { match_expressions };
        (!selector.match_expressions.is_empty()).then_some(Self {
            namespace_selector: selector,
        })
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    pub(super) match_constraints: MatchConstraints,
    pub(super) failure_policy: FailurePolicy,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(super) params: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) match_conditions: Vec<MatchCondition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) variables: Vec<Variable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) validations: Vec<Rule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) audit_annotations: Vec<AuditAnnotation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mutations: Vec<Patch>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MatchConstraints {
    pub(super) resource_rules: Vec<ResourceRule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ResourceRule {
    pub(super) operations: Vec<&'static str>,
    pub(super) resources: Vec<&'static str>,
}

/// A validation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    /// None: C and the number of the validation.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    expression: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expression: Option<String>,
}

impl Rule {
    pub(super) fn new(rule: Option<String>, validation: &Validation) -> Self {
        Self {
            rule,
            expression: validation.expression.clone(),
            message: validation.message().map(str::to_owned),
            message_expression: validation.message_expression().map(str::to_owned),
        }
    }
}

/// A mutation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Patch {
    json_patch: Expression,
}

impl Patch {
    /// Takes over a mutation, if it is a JSONPatch.
    pub(super) fn new(mutation: &Mutation) -> Option<Self> {
        let json_patch = mutation.json_patch.clone();
        let json_patch = json_patch.filter(|_| mutation.patch_type == PatchType::JSONPatch);
        json_patch.map(|json_patch| Self { json_patch })
    }
}
