//! ValidatingAdmissionPolicies for the rules that CEL can express: the backstop, which holds while
//! no host answers.
//!
//! Invariant: the backstop never denies a request that the policy allows. It allows everything that
//! depends on facts CEL can't see (who chose a port, what runs on the Nodes), that an update may
//! keep, or that is exempt. It therefore lists what it does not deny as gaps. The tests run every
//! fixture of a policy through both. Called by `sallyport webhooks --backstop`.

use super::cel::{self, Condition, IN_DELETION, literal, text};
use super::registration::Registration;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec, Validation, Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use sallyport_core::inventory::NAME_LABEL;
use sallyport_core::manifest::{BreakGlass, Exemptions, Mode, ServicePolicy, Updates};
use sallyport_core::policy::Policy;
use sallyport_core::policy::backstop::{self as rules, MAY_KEEP, SETTINGS};
use sallyport_core::printable::sentence;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The backstop of one policy.
#[derive(Debug, Clone)]
pub struct Backstop {
    /// The rules.
    pub policy: ValidatingAdmissionPolicy,
    /// The scope: all requests that the policy reviews.
    pub binding: ValidatingAdmissionPolicyBinding,
    /// The rules of the policy that are covered, such as `S01`, without duplicates.
    pub rules: Vec<String>,
    /// The denials of the policy that are not covered.
    pub gaps: Vec<String>,
}

/// Returns the backstops of all policies that have one. Policies that deny nothing, or nothing that
/// CEL can express, have none.
pub fn policies(registration: &Registration<'_>) -> Vec<Backstop> {
    let rules = |policy: &Arc<Policy>| CelRules::of(policy, registration.exemptions).ok();
    let with_rules = registration
        .policies
        .iter()
        .filter_map(|policy| Some((policy, rules(policy)?)));
    with_rules
        .map(|(policy, rules)| backstop(registration, policy.manifest(), rules))
        .collect()
}

/// Returns the policies without a backstop, each with the reason.
pub fn gaps(registration: &Registration<'_>) -> Vec<String> {
    let gap = |policy: &Arc<Policy>| {
        let why = CelRules::of(policy, registration.exemptions).err()?;
        Some(sentence(policy.name(), &why, ""))
    };
    registration.policies.iter().filter_map(gap).collect()
}

/// The CEL rules of a policy, with the settings that it was loaded with.
struct CelRules {
    variables: Vec<Variable>,
    validations: Vec<Validation>,
    rules: Vec<String>,
    gaps: Vec<String>,
}

/// The longest expression that an API server compiles (`ExpressionSizeCodePointLimit` of cel-go).
const MAX_EXPRESSION: usize = 100_000;

impl CelRules {
    fn of(policy: &Policy, exemptions: &Exemptions) -> Result<Self, String> {
        let spec = &policy.manifest().spec;
        if spec.mode != Mode::Enforce {
            return Err("denies nothing: its mode is not Enforce".to_owned());
        }
        let Some(settings) = policy.settings() else {
            return Err("can't be loaded".to_owned());
        };
        let Some(backstop) = policy.backstop() else {
            return Err("its rules are not expressed in CEL".to_owned());
        };
        let applying = backstop
            .validations
            .iter()
            .filter(|validation| validation.when.holds(settings));
        let (rules, validations): (Vec<_>, Vec<_>) = applying
            .map(|found| (found.rule.clone(), validation(policy.name(), found)))
            .unzip();
        let rules = BTreeSet::from_iter(rules).into_iter().collect();
        let mut gaps: Vec<String> = backstop
            .gaps
            .iter()
            .filter(|gap| gap.when.holds(settings))
            .map(|gap| gap.text.clone())
            .collect();
        if validations.is_empty() {
            return Err(if gaps.is_empty() {
                "denies nothing with these settings".to_owned()
            } else {
                gaps.join("; ")
            });
        }
        let literal = settings_literal(settings)?;
        // A kept break-glass annotation excuses the violations of the old object, whatever
        // `updates` is.
        let keeps = spec.updates == Updates::Ratchet || exemptions.break_glass.is_some();
        gaps.extend(gaps_of_updates(spec.updates, keeps).map(str::to_owned));
        Ok(Self {
            variables: variables(backstop, literal, keeps),
            validations,
            rules,
            gaps,
        })
    }
}

/// Returns the settings as a CEL literal, or the reason why an API server would not compile it.
pub(super) fn settings_literal(settings: &Value) -> Result<String, String> {
    let literal = literal(settings);
    if literal.chars().count() > MAX_EXPRESSION {
        return Err(format!(
            "its settings are longer than the {MAX_EXPRESSION} characters that an expression may \
             have"
        ));
    }
    Ok(literal)
}

/// Returns the gaps that every backstop has: the webhook compares more of an update than CEL can.
fn gaps_of_updates(updates: Updates, keeps: bool) -> impl Iterator<Item = &'static str> {
    let always = match keeps {
        true => {
            "updates that keep what the old object has, since it may have a break-glass annotation"
        }
        false => "updates of Services in deletion that keep what the old object has",
    };
    let widened = "updates that keep what the old object has and expose more in another way, such \
        as another port, another selector or wider source ranges, which the webhook denies";
    [
        Some(widened),
        (updates == Updates::Always).then_some(always),
    ]
    .into_iter()
    .flatten()
}

/// Returns the host's variables, then those of the policy's own file.
pub(super) fn variables(
    backstop: &rules::Backstop,
    settings: String,
    keeps: bool,
) -> Vec<Variable> {
    let may_keep = if keeps {
        "request.operation == 'UPDATE'"
    } else {
        IN_DELETION
    };
    let of_host = [(SETTINGS, settings), (MAY_KEEP, may_keep.to_owned())];
    let of_file = backstop
        .variables
        .iter()
        .map(|variable| (variable.name.as_str(), variable.expression.clone()));
    of_host
        .into_iter()
        .chain(of_file)
        .map(|(name, expression)| Variable {
            name: name.to_owned(),
            expression,
        })
        .collect()
}

/// Converts a rule. Its message names the policy.
fn validation(policy: &str, rule: &rules::Validation) -> Validation {
    let prefix = format!("[{policy}] ");
    let says = rule
        .message_expression
        .as_ref()
        .map(|expression| format!("{} + ({expression})", text(&prefix)));
    Validation {
        expression: rule.expression.clone(),
        message: Some(format!("{prefix}{}", rule.message)),
        message_expression: says,
        reason: Some("Forbidden".to_owned()),
    }
}

fn backstop(
    registration: &Registration<'_>,
    manifest: &ServicePolicy,
    rules: CelRules,
) -> Backstop {
    let name = format!("{}-{}", registration.options.name, manifest.metadata.name);
    let spec = ValidatingAdmissionPolicySpec {
        // An expression that fails, such as by exceeding the cost limit, must not deny what the
        // policy allows.
        failure_policy: Some("Ignore".to_owned()),
        match_conditions: Some(conditions(registration.exemptions, manifest)),
        match_constraints: Some(constraints(registration, manifest, &["CREATE", "UPDATE"])),
        validations: Some(rules.validations),
        variables: Some(rules.variables),
        ..ValidatingAdmissionPolicySpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        ..ObjectMeta::default()
    };
    let binding = ValidatingAdmissionPolicyBindingSpec {
        policy_name: name,
        validation_actions: vec!["Deny".to_owned()],
        ..ValidatingAdmissionPolicyBindingSpec::default()
    };
    Backstop {
        policy: ValidatingAdmissionPolicy {
            metadata: metadata.clone(),
            spec: Some(spec),
            status: None,
        },
        binding: ValidatingAdmissionPolicyBinding {
            metadata,
            spec: binding,
        },
        rules: rules.rules,
        gaps: rules.gaps,
    }
}

/// Returns the match conditions of the webhook and of the policy, widened where the exemption needs
/// more than CEL.
pub(super) fn conditions(exemptions: &Exemptions, manifest: &ServicePolicy) -> Vec<MatchCondition> {
    let mut conditions = cel::conditions(exemptions);
    conditions.extend(exemptions.break_glass.as_ref().and_then(break_glass));
    conditions.extend(cel::conditions_of_policy(&manifest.spec.exemptions));
    let conditions = conditions.into_iter();
    conditions.map(Condition::into_match_condition).collect()
}

/// Exempts annotated requests of users who may set the break-glass annotation, whatever time it
/// states.
fn break_glass(break_glass: &BreakGlass) -> Option<Condition> {
    let who = cel::named(
        &break_glass.users,
        &break_glass.groups,
        &break_glass.service_accounts,
    )?;
    let key = text(break_glass.annotation.as_str());
    let has = format!("has(object.metadata.annotations) && {key} in object.metadata.annotations");
    Some(Condition::unless(
        "not-with-broken-glass",
        &format!("{has} && ({who})"),
    ))
}

/// Returns the match constraints of a policy, for these operations.
pub(super) fn constraints(
    registration: &Registration<'_>,
    manifest: &ServicePolicy,
    operations: &[&str],
) -> MatchResources {
    let mut excluded = registration.excluded_namespaces();
    let (selector, own) = manifest.spec.r#match.written();
    excluded.extend(own.map(str::to_owned));
    let LabelSelector {
        match_labels,
        match_expressions,
    } = selector.unwrap_or_default();
    let mut expressions = match_expressions.unwrap_or_default();
    expressions.push(LabelSelectorRequirement {
        key: NAME_LABEL.to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(excluded.into_iter().collect()),
    });
    let rule = NamedRuleWithOperations {
        api_groups: Some(vec![String::new()]),
        api_versions: Some(vec!["v1".to_owned()]),
        operations: Some(operations.iter().map(|&one| one.to_owned()).collect()),
        resources: Some(vec!["services".to_owned()]),
        scope: Some("Namespaced".to_owned()),
        ..NamedRuleWithOperations::default()
    };
    MatchResources {
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: Some(LabelSelector {
            match_labels,
            match_expressions: Some(expressions),
        }),
        resource_rules: Some(vec![rule]),
        ..MatchResources::default()
    }
}
