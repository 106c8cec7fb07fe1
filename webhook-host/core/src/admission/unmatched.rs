//! Explains why no policy matches a request, for people who wonder: a suite's case that says
//! `unmatched`.

use super::{Admission, AdmissionRequest, Function};
use crate::contract::review::{Operation, Phase, Resource};
use crate::inventory::View;
use crate::manifest::Mode;
use crate::policy::Policy;

impl Admission {
    /// Returns for each policy the first reason why it does not match a request. Empty where the
    /// request is exempt.
    pub fn unmatched(&self, function: Function, request: &AdmissionRequest<'_>) -> Vec<String> {
        let Ok(scope) = self.scope(function, request) else {
            return vec![];
        };
        let view = self.inventory.view();
        let reason = |policy: &Policy| {
            let reason = reason(policy, function, &view, request.namespace(), scope)?;
            Some(format!("{} is not asked: {reason}", policy.name()))
        };
        self.policies
            .iter()
            .filter_map(|policy| reason(policy))
            .collect()
    }
}

fn reason(
    policy: &Policy,
    function: Function,
    view: &View<'_>,
    namespace: &str,
    (operation, resource): (Operation, Resource),
) -> Option<String> {
    let spec = &policy.manifest().spec;
    if !spec
        .r#match
        .matches(namespace, view.namespace_labels(namespace))
    {
        return Some(format!("its spec.match leaves out namespace {namespace:?}"));
    }
    if let Some(description) = policy.description() {
        let phase = function.wanted();
        let lacking = [
            (
                !description.phases.contains(&phase),
                match phase {
                    Phase::Mutating => "phase mutating",
                    Phase::Validating => "phase validating",
                },
            ),
            (
                !description.operations.contains(&operation),
                match operation {
                    Operation::Create => "operation CREATE",
                    Operation::Update => "operation UPDATE",
                    Operation::Delete => "operation DELETE",
                },
            ),
            (
                !description.resources.contains(&resource),
                match resource {
                    Resource::Services => "resource services",
                    Resource::ServicesStatus => "resource services/status",
                },
            ),
        ];
        if let Some((_, what)) = lacking.iter().find(|(is_lacking, _)| *is_lacking) {
            return Some(format!("its own description lacks the {what}"));
        }
    }
    let is_patched = function != Function::Mutate || spec.mode == Mode::Enforce;
    (!is_patched).then(|| format!("mode {:?} does not patch, only Enforce does", spec.mode))
}
