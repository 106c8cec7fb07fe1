//! Kubernetes' admission policies in CEL, as ServicePolicies of the component `expressions`.
//!
//! Role: `sallyport import vap`. Invariants: a ServicePolicy judges Services as the policy and the
//! binding that it was made of do, or a finding names the difference. A policy that the component
//! would refuse, or that would judge by other data, is left out.

mod expressions;
mod manifest;
mod scope;
mod source;
mod translate;

pub use manifest::Manifest;

use sallyport_core::decode::DecodeError;
use serde_json::Value;
use source::{Binding, Policy, Source};
use std::collections::BTreeSet;

/// The result of an import.
#[derive(Debug, Default)]
pub struct Import {
    /// Manifests, each with its findings.
    pub policies: Vec<Imported>,
    /// Policies that have no counterpart.
    pub refused: Vec<Refused>,
    /// Policies that no Service matches.
    pub unrelated: Vec<String>,
    /// Objects of other kinds that no policy needs.
    pub ignored: usize,
}

/// A ServicePolicy.
#[derive(Debug)]
pub struct Imported {
    /// The kind and name of its policy and binding.
    pub source: String,
    /// The manifest.
    pub manifest: Manifest,
    /// The differences.
    pub findings: Vec<Finding>,
}

/// A policy that is not imported.
#[derive(Debug)]
pub struct Refused {
    /// The kind and name of the policy and the binding.
    pub source: String,
    /// The reasons.
    pub findings: Vec<Finding>,
}

/// Something that is different, or has no counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The field of the policy, or of the binding.
    pub path: String,
    /// The difference.
    pub text: String,
    /// Something of the policy has no counterpart.
    pub is_lost: bool,
}

impl Finding {
    fn note(path: &str, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            text: text.into(),
            is_lost: false,
        }
    }

    fn lost(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            is_lost: true,
        }
    }
}

impl Import {
    /// Returns true if something has no counterpart.
    pub fn is_incomplete(&self) -> bool {
        let policies = self.policies.iter().flat_map(|policy| &policy.findings);
        !self.refused.is_empty() || { policies }.any(|finding| finding.is_lost)
    }
}

/// A policy or a binding that does not decode.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name}: {error}")]
pub struct Malformed {
    kind: String,
    name: String,
    error: Box<DecodeError>,
}

/// Imports all policies among objects. Bindings and parameters are looked for among the objects,
/// too.
///
/// # Errors
///
/// When a policy or a binding does not decode.
pub fn import(objects: &[Value]) -> Result<Import, Malformed> {
    let mut policies = vec![];
    let mut bindings = vec![];
    let mut others = vec![];
    for object in objects {
        let source = Source::read(object).map_err(|error| Malformed {
            kind: text(object, "/kind").to_owned(),
            name: text(object, "/metadata/name").to_owned(),
            error: Box::new(error),
        })?;
        match source {
            Source::Policy(policy) => policies.push(policy),
            Source::Binding(binding) => bindings.push(binding),
            Source::Other => others.push(object),
        }
    }
    let mut importer = Importer {
        others,
        used: BTreeSet::new(),
        names: BTreeSet::new(),
        import: Import::default(),
    };
    for policy in &policies {
        let is_own =
            |binding: &&Binding| binding.kind == policy.kind && binding.policy_name == policy.name;
        let own: Vec<&Binding> = bindings.iter().filter(is_own).collect();
        importer.policy(policy, &own);
    }
    importer.stray(&policies, &bindings);
    importer.import.ignored = importer.others.len() - importer.used.len();
    Ok(importer.import)
}

struct Importer<'a> {
    /// Objects that are no policies and no bindings.
    others: Vec<&'a Value>,
    /// Those of them that are parameters of a policy, by index.
    used: BTreeSet<usize>,
    /// The names that are taken.
    names: BTreeSet<String>,
    import: Import,
}

impl Importer<'_> {
    /// Refuses bindings whose policy is not there.
    fn stray(&mut self, policies: &[Policy], bindings: &[Binding]) {
        for binding in bindings {
            let is_own =
                |policy: &Policy| policy.kind == binding.kind && policy.name == binding.policy_name;
            if !policies.iter().any(is_own) {
                let kind = binding.kind.name();
                let text = format!("the input has no {kind} {}; add it", binding.policy_name);
                self.import.refused.push(Refused {
                    source: format!("{kind}Binding {}", binding.name),
                    findings: vec![Finding::lost("spec.policyName", text)],
                });
            }
        }
    }

    /// Returns a name for a ServicePolicy that no other has.
    fn name(&mut self, wanted: &str) -> String {
        const MAX: usize = 63;
        let plain: String = wanted
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let cut = |length: usize| plain[..plain.len().min(length)].trim_end_matches('-');
        let mut name = cut(MAX).to_owned();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            let suffix = format!("-{number}");
            name = format!("{}{suffix}", cut(MAX - suffix.len()));
        }
        name
    }

    /// Finds the parameters that a binding refers to.
    fn param(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Value> {
        let index = self.others.iter().position(|object| {
            text(object, "/apiVersion") == api_version
                && text(object, "/kind") == kind
                && text(object, "/metadata/namespace") == namespace
                && text(object, "/metadata/name") == name
        })?;
        self.used.insert(index);
        Some(self.others[index].clone())
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let value = object.pointer(pointer);
    value.and_then(Value::as_str).unwrap_or_default()
}

/// Names a policy and its binding.
fn source(policy: &Policy, binding: Option<&Binding>) -> String {
    let kind = policy.kind.name();
    match binding {
        Some(binding) => format!("{kind} {}, bound by {}", policy.name, binding.name),
        None => format!("{kind} {}", policy.name),
    }
}

#[cfg(test)]
mod tests;
