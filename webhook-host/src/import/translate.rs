//! Translates one policy with its bindings. A ServicePolicy has one mode and one reason for its
//! denials, so a binding becomes a ServicePolicy for each of its actions and for each reason.

use super::manifest::{
    Manifest, Match, MatchConstraints, Mode, Module, Patch, Rule, Settings, Spec,
};
use super::scope::Scope;
use super::source::{Action, Binding, FailurePolicy, Kind, ParamRef, Policy, Reason, Validation};
use super::{Finding, Imported, Importer, Refused, expressions, source};
use sallyport_core::manifest::ServicePolicy;
use serde_json::Value;
use std::collections::BTreeMap;

impl Importer<'_> {
    pub(super) fn policy(&mut self, policy: &Policy, bindings: &[&Binding]) {
        let problems = expressions::problems(&policy.spec);
        if is_unrelated(policy) {
            self.import.unrelated.push(source(policy, None));
        } else if !problems.is_empty() {
            let problems = problems.into_iter();
            self.import.refused.push(Refused {
                source: source(policy, None),
                findings: problems
                    .map(|(path, problem)| Finding::lost(path, problem))
                    .collect(),
            });
        } else if bindings.is_empty() {
            self.binding(policy, None, policy.name.clone());
        } else {
            for binding in bindings {
                let name = match bindings.len() {
                    1 => policy.name.clone(),
                    _ => format!("{}-{}", policy.name, binding.name),
                };
                self.binding(policy, Some(binding), name);
            }
        }
    }

    fn binding(&mut self, policy: &Policy, binding: Option<&Binding>, name: String) {
        let source = source(policy, binding);
        let scope = Scope::of(
            &policy.spec.match_constraints,
            binding.map(|binding| &binding.match_resources),
        );
        if scope.rules.is_empty() {
            self.import.unrelated.push(source);
            return;
        }
        let mut findings = findings(policy, binding, &scope);
        let params = match self.params(policy, binding) {
            Ok(params) => params,
            Err(finding) => {
                let findings = vec![finding];
                self.import.refused.push(Refused { source, findings });
                return;
            }
        };
        if !params.is_null() {
            findings.push(Finding::note(
                "spec.paramRef",
                "a copy of the parameters is in settings.params; import the policy again when they \
                 change",
            ));
        }
        let modes = modes(policy, binding);
        for (position, (mode, suffix)) in modes.iter().enumerate() {
            for (reason, group) in groups(policy, *mode) {
                let mut name = name.clone();
                if modes.len() > 1 {
                    name = format!("{name}-{suffix}");
                }
                let is_first = group.is_first;
                if let Some(suffix) = group.suffix {
                    name = format!("{name}-{suffix}");
                }
                let mut spec = spec(policy, &scope, *mode, &params);
                spec.reason = reason;
                spec.settings.validations = group.rules;
                // Once is enough.
                if position > 0 || !is_first {
                    spec.settings.audit_annotations.clear();
                }
                self.add(&source, name, spec, &findings);
            }
        }
    }

    fn add(&mut self, source: &str, name: String, spec: Spec, findings: &[Finding]) {
        let source = source.to_owned();
        let mut findings = findings.to_vec();
        let manifest = Manifest::new(self.name(&name), spec);
        let read = serde_json::to_value(&manifest)
            .map_err(|error| error.to_string())
            .and_then(|value| ServicePolicy::from_value(&value).map_err(|error| error.to_string()));
        match read {
            Ok(_) => self.import.policies.push(Imported {
                source,
                manifest,
                findings,
            }),
            Err(problem) => {
                let text = format!("the ServicePolicy would be refused: {problem}");
                findings.push(Finding::lost("", text));
                self.import.refused.push(Refused { source, findings });
            }
        }
    }

    /// Returns the parameters of a binding; null if there are none.
    fn params(&mut self, policy: &Policy, binding: Option<&Binding>) -> Result<Value, Finding> {
        let (Some(of), Some(binding)) = (&policy.spec.param_kind, binding) else {
            return match &policy.spec.param_kind {
                Some(kind) => Err(Finding::lost(
                    "spec.paramKind",
                    format!("add the binding that names the {} to the input", kind.kind),
                )),
                None => Ok(Value::Null),
            };
        };
        let refused = |text: String| Err(Finding::lost("spec.paramRef", text));
        let Some(ParamRef {
            name, namespace, ..
        }) = &binding.param_ref
        else {
            return refused(format!("name a {}; the policy has parameters", of.kind));
        };
        let Some(name) = name else {
            return refused(
                "a selector has no counterpart, since the parameters are copied; write a binding \
                 with paramRef.name for each object"
                    .to_owned(),
            );
        };
        let namespace = namespace.as_deref().unwrap_or_default();
        let found = self.param(&of.api_version, &of.kind, namespace, name);
        found.map_or_else(
            || {
                let place = match namespace {
                    "" => name.clone(),
                    _ => format!("{namespace}/{name}"),
                };
                let hint = match namespace {
                    "" => {
                        "; if it has a namespace, name that in paramRef: parameters in the \
                           namespace of the Service have no counterpart"
                    }
                    _ => "",
                };
                refused(format!(
                    "the input has no {} {place}; add the object{hint}",
                    of.kind
                ))
            },
            Ok,
        )
    }
}

fn is_unrelated(policy: &Policy) -> bool {
    Scope::of(&policy.spec.match_constraints, None)
        .rules
        .is_empty()
}

/// Returns what all ServicePolicies of a binding have in common.
fn spec(policy: &Policy, scope: &Scope, mode: Mode, params: &Value) -> Spec {
    let source = policy.spec.clone();
    let conditions = scope.conditions.iter().cloned();
    Spec {
        module: Module::default(),
        mode,
        failure_policy: source.failure_policy,
        reason: None,
        matched: Match::namespaces(scope.namespace.clone()),
        updates: "Always",
        settings: Settings {
            match_constraints: MatchConstraints {
                resource_rules: scope.rules.clone(),
            },
            failure_policy: source.failure_policy,
            params: params.clone(),
            match_conditions: conditions.chain(source.match_conditions).collect(),
            variables: source.variables,
            validations: vec![],
            audit_annotations: source.audit_annotations,
            mutations: source.mutations.iter().filter_map(Patch::new).collect(),
        },
    }
}

/// Returns a mode for each action of a binding, with the name of the action.
fn modes(policy: &Policy, binding: Option<&Binding>) -> Vec<(Mode, &'static str)> {
    let Some(binding) = binding else {
        return vec![(Mode::Audit, "audit")];
    };
    let known = [
        (Action::Deny, Mode::Enforce, "deny"),
        (Action::Warn, Mode::Warn, "warn"),
        (Action::Audit, Mode::Audit, "audit"),
    ];
    let has = |action: &Action| policy.kind == Kind::Mutating || binding.actions.contains(action);
    let mut modes: Vec<_> = known
        .into_iter()
        .filter(|(action, ..)| has(action))
        .map(|(_, mode, name)| (mode, name))
        .collect();
    if policy.kind == Kind::Mutating {
        modes.truncate(1);
    }
    modes
}

/// Validations that have one reason.
struct Group {
    rules: Vec<Rule>,
    suffix: Option<&'static str>,
    is_first: bool,
}

/// Returns the validations by their reason. Only denials have one.
fn groups(policy: &Policy, mode: Mode) -> Vec<(Option<Reason>, Group)> {
    let mut by_reason: BTreeMap<Option<Reason>, Vec<(usize, &Validation)>> = BTreeMap::new();
    for (i, validation) in policy.spec.validations.iter().enumerate() {
        let reason = (mode == Mode::Enforce).then(|| validation.reason.unwrap_or_default());
        by_reason.entry(reason).or_default().push((i, validation));
    }
    if by_reason.is_empty() {
        by_reason.insert(None, vec![]);
    }
    let is_apart = by_reason.len() > 1;
    let groups = by_reason.into_iter().enumerate();
    groups
        .map(|(position, (reason, validations))| {
            let rule = |i: usize| is_apart.then(|| format!("C{}", i + 1));
            let rules = validations.into_iter();
            let group = Group {
                rules: rules
                    .map(|(i, validation)| Rule::new(rule(i), validation))
                    .collect(),
                suffix: reason.filter(|_| is_apart).map(suffix),
                is_first: position == 0,
            };
            (reason, group)
        })
        .collect()
}

fn suffix(reason: Reason) -> &'static str {
    match reason {
        Reason::Forbidden => "forbidden",
        Reason::Invalid => "invalid",
        Reason::RequestEntityTooLarge => "too-large",
    }
}

/// Returns what is different here.
fn findings(policy: &Policy, binding: Option<&Binding>, scope: &Scope) -> Vec<Finding> {
    let mut findings = vec![];
    if !scope.others.is_empty() {
        let others: Vec<&str> = scope.others.iter().map(String::as_str).collect();
        findings.push(Finding::lost(
            "spec.matchConstraints.resourceRules",
            format!(
                "Sallyport judges Services alone; left out: {}. Keep the policy for these",
                others.join(", ")
            ),
        ));
    }
    if binding.is_none() {
        findings.push(Finding::lost(
            "",
            "the input has no binding, without which the policy has no effect in Kubernetes; the \
             mode is Audit",
        ));
    }
    if policy.kind == Kind::Mutating {
        if policy.spec.failure_policy == FailurePolicy::Fail {
            findings.push(Finding::lost(
                "spec.failurePolicy",
                "a mutation that fails is a warning, and the request goes on: /mutate never \
                 denies. Add a validation that denies what must be patched",
            ));
        }
        if policy.spec.reinvocation_policy.as_deref() == Some("Never") {
            findings.push(Finding::note(
                "spec.reinvocationPolicy",
                "an API server calls Sallyport again when another webhook changes the Service \
                 afterwards; see that a second patch changes nothing",
            ));
        }
    }
    findings
}
