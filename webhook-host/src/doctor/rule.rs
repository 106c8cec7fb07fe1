//! What a rule of a webhook asks about.

use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;

/// Whether a rule asks about a resource. `*` is every group and every resource but sub-resources, `*/*` every one.
pub(super) fn asks(rule: &RuleWithOperations, group: &str, resource: &str) -> bool {
    let groups = rule.api_groups.iter().flatten();
    let in_group = groups.into_iter().any(|known| known == "*" || known == group);
    in_group && resources(rule).any(|known| known == resource || known == "*" || known == "*/*")
}

/// Whether an operation is among them.
pub(super) fn has_operation(rule: &RuleWithOperations, operation: &str) -> bool {
    rule.operations.iter().flatten().any(|known| known == operation || known == "*")
}

pub(super) fn resources(rule: &RuleWithOperations) -> impl Iterator<Item = &str> {
    rule.resources.iter().flatten().map(String::as_str)
}
