//! MutatingAdmissionPolicies for the defaults that CEL can express: the part of the backstop that
//! patches new Services while no host answers.
//!
//! Invariants: a default changes nothing that the policy would leave alone, and sets what the
//! policy would set. API servers apply MutatingAdmissionPolicies before they call webhooks, so that
//! a host that answers finds the defaults done and patches nothing; and a Service that has them is
//! left alone when the policy is invoked again. Called by `sallyport webhooks --backstop` and
//! `--static`.

use super::backstop;
use super::registration::Registration;
use k8s_openapi::api::admissionregistration::v1::{
    JSONPatch, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
    MutatingAdmissionPolicyBindingSpec, MutatingAdmissionPolicySpec, Mutation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sallyport_core::manifest::Mode;
use sallyport_core::policy::Policy;
use sallyport_core::policy::backstop as rules;
use std::collections::BTreeSet;

/// The first minor version of Kubernetes that serves MutatingAdmissionPolicies in `v1`.
pub const SINCE: u32 = 36;

/// The defaults of one policy.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The mutations.
    pub policy: MutatingAdmissionPolicy,
    /// The scope: all creations that the policy reviews.
    pub binding: MutatingAdmissionPolicyBinding,
    /// The rules of the policy that are covered, such as `M4`, without duplicates.
    pub rules: Vec<String>,
}

/// Returns the defaults of all policies that set any.
pub fn policies(registration: &Registration<'_>) -> Vec<Defaults> {
    let policies = registration.policies.iter();
    policies
        .filter_map(|policy| defaults(registration, policy))
        .collect()
}

/// Returns the defaults of a policy; `None` where it sets none that CEL can express.
fn defaults(registration: &Registration<'_>, policy: &Policy) -> Option<Defaults> {
    let manifest = policy.manifest();
    let (settings, backstop) = (policy.settings()?, policy.backstop()?);
    let applying: Vec<_> = backstop
        .defaults
        .iter()
        .filter(|default| default.applies(settings))
        .collect();
    if applying.is_empty() || manifest.spec.mode != Mode::Enforce {
        return None;
    }
    let literal = backstop::settings_literal(settings).ok()?;
    let spec = MutatingAdmissionPolicySpec {
        // A default that can't be set must not stand in the way of a Service.
        failure_policy: Some("Ignore".to_owned()),
        match_conditions: Some(backstop::conditions(registration.exemptions, manifest)),
        match_constraints: Some(backstop::constraints(registration, manifest, &["CREATE"])),
        mutations: Some(applying.iter().map(|default| mutation(default)).collect()),
        // As the webhook's, since a later mutation may make a Service one that gets defaults.
        reinvocation_policy: Some("IfNeeded".to_owned()),
        variables: Some(backstop::variables(backstop, literal, false)),
        ..MutatingAdmissionPolicySpec::default()
    };
    let name = format!("{}-{}", registration.options.name, manifest.metadata.name);
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        ..ObjectMeta::default()
    };
    let binding = MutatingAdmissionPolicyBindingSpec {
        policy_name: Some(name),
        ..MutatingAdmissionPolicyBindingSpec::default()
    };
    let rules: BTreeSet<_> = applying
        .iter()
        .map(|default| default.rule.clone())
        .collect();
    Some(Defaults {
        policy: MutatingAdmissionPolicy {
            metadata: metadata.clone(),
            spec: Some(spec),
        },
        binding: MutatingAdmissionPolicyBinding {
            metadata,
            spec: Some(binding),
        },
        rules: rules.into_iter().collect(),
    })
}

fn mutation(default: &rules::Default) -> Mutation {
    Mutation {
        json_patch: Some(JSONPatch {
            expression: Some(default.expression.clone()),
        }),
        patch_type: "JSONPatch".to_owned(),
        ..Mutation::default()
    }
}
