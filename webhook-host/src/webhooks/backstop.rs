//! ValidatingAdmissionPolicies for the rules that CEL can express: a net under a webhook that does
//! not answer.
//!
//! The net must never deny what the policy allows: whatever CEL can't see (who chose a port, what
//! runs on the Nodes), whatever an update may keep and whoever is exempt passes. What it therefore
//! lets through is told as gaps. The tests run every fixture of a policy through both.

use super::cel::{self, Condition, IN_DELETION, literal, text};
use super::registration::Registration;
use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
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
use std::collections::BTreeSet;
use std::sync::Arc;

/// One policy's part of the net.
#[derive(Debug, Clone)]
pub struct Backstop {
    /// What it denies.
    pub policy: ValidatingAdmissionPolicy,
    /// Where: everywhere that the policy allows itself.
    pub binding: ValidatingAdmissionPolicyBinding,
    /// The rules of the policy that it stands for, such as `S01`; each once.
    pub rules: Vec<String>,
    /// What the policy denies beyond that.
    pub gaps: Vec<String>,
}

/// The part that each policy has in the net; none for those that deny nothing, or nothing that CEL
/// can express.
pub fn policies(registration: &Registration<'_>) -> Vec<Backstop> {
    let net = |policy: &Arc<Policy>| Net::of(policy, registration.exemptions).ok();
    let with_rules = registration
        .policies
        .iter()
        .filter_map(|policy| Some((policy, net(policy)?)));
    with_rules
        .map(|(policy, net)| backstop(registration, policy.manifest(), net))
        .collect()
}

/// The policies without a part in the net, and why.
pub fn gaps(registration: &Registration<'_>) -> Vec<String> {
    let gap = |policy: &Arc<Policy>| {
        let why = Net::of(policy, registration.exemptions).err()?;
        Some(format!("{}: {why}", policy.name()))
    };
    registration.policies.iter().filter_map(gap).collect()
}

/// A policy's rules in CEL, with the settings that it was loaded with.
struct Net {
    variables: Vec<Variable>,
    validations: Vec<Validation>,
    rules: Vec<String>,
    gaps: Vec<String>,
}

/// Characters of an expression that an API server compiles (`ExpressionSizeCodePointLimit` of
/// cel-go).
const MAX_EXPRESSION: usize = 100_000;

impl Net {
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
        let literal = literal(settings);
        if literal.chars().count() > MAX_EXPRESSION {
            return Err(format!(
                "its settings are longer than the {MAX_EXPRESSION} characters that an expression \
                 may have"
            ));
        }
        // A broken glass that is carried along excuses what the old object has, whatever `updates`
        // says.
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

/// What every net lets through: the webhook compares more of an update than CEL can.
fn gaps_of_updates(updates: Updates, keeps: bool) -> impl Iterator<Item = &'static str> {
    let always = match keeps {
        true => "updates that keep what the old object has, since the glass may be broken",
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

/// The variables of the host, then those of the policy's own file.
fn variables(backstop: &rules::Backstop, settings: String, keeps: bool) -> Vec<Variable> {
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

/// A rule whose messages name the policy.
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

fn backstop(registration: &Registration<'_>, manifest: &ServicePolicy, net: Net) -> Backstop {
    let name = format!("{}-{}", registration.options.name, manifest.metadata.name);
    let conditions = conditions(registration.exemptions);
    let spec = ValidatingAdmissionPolicySpec {
        // A net that breaks (an expression that costs more than an API server spends) must not deny
        // what the policy allows.
        failure_policy: Some("Ignore".to_owned()),
        match_conditions: Some(
            conditions
                .into_iter()
                .map(Condition::into_match_condition)
                .collect(),
        ),
        match_constraints: Some(constraints(registration, manifest)),
        validations: Some(net.validations),
        variables: Some(net.variables),
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
        rules: net.rules,
        gaps: net.gaps,
    }
}

/// As the webhook's, and wider where it takes more than CEL to tell.
fn conditions(exemptions: &Exemptions) -> Vec<Condition> {
    let mut conditions = cel::conditions(exemptions);
    conditions.extend(exemptions.break_glass.as_ref().and_then(break_glass));
    conditions
}

/// Whoever may break the glass is believed the time.
fn break_glass(glass: &BreakGlass) -> Option<Condition> {
    let who = cel::named(&glass.users, &glass.groups, &glass.service_accounts)?;
    let key = text(glass.annotation.as_str());
    let has = format!("has(object.metadata.annotations) && {key} in object.metadata.annotations");
    Some(Condition::unless(
        "not-with-broken-glass",
        &format!("{has} && ({who})"),
    ))
}

/// Services where the policy itself is asked.
fn constraints(registration: &Registration<'_>, manifest: &ServicePolicy) -> MatchResources {
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
        operations: Some(vec!["CREATE".to_owned(), "UPDATE".to_owned()]),
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
