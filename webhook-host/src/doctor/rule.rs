//! Predicates on a webhook's rule: the resources, operations and scope that it matches.

use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;

/// Kubernetes' own cluster-scoped kinds, regardless of a rule's scope.
const CLUSTER_SCOPED: [(&str, &[&str]); 9] = [
    ("", &["namespaces", "nodes", "persistentvolumes"]),
    ("admissionregistration.k8s.io", &["*"]),
    ("apiextensions.k8s.io", &["*"]),
    ("apiregistration.k8s.io", &["*"]),
    ("authentication.k8s.io", &["*"]),
    ("certificates.k8s.io", &["*"]),
    (
        "rbac.authorization.k8s.io",
        &["clusterroles", "clusterrolebindings"],
    ),
    ("scheduling.k8s.io", &["priorityclasses"]),
    (
        "storage.k8s.io",
        &[
            "storageclasses",
            "volumeattachments",
            "csidrivers",
            "csinodes",
        ],
    ),
];

/// Groups without which nothing starts: Pods and their dependencies, their controllers, Leases,
/// EndpointSlices.
const NEEDED_TO_START: [&str; 6] = [
    "",
    "*",
    "apps",
    "batch",
    "coordination.k8s.io",
    "discovery.k8s.io",
];

/// Returns true when a rule matches a resource. `*` stands for every group, and for every resource
/// except sub-resources; `*/*` includes these.
pub(super) fn asks(rule: &RuleWithOperations, group: &str, resource: &str) -> bool {
    let groups = rule.api_groups.iter().flatten();
    let in_group = groups
        .into_iter()
        .any(|known| known == "*" || known == group);
    in_group && resources(rule).any(|known| known == resource || known == "*" || known == "*/*")
}

/// Returns true when a rule matches an operation.
pub(super) fn has_operation(rule: &RuleWithOperations, operation: &str) -> bool {
    rule.operations
        .iter()
        .flatten()
        .any(|known| known == operation || known == "*")
}

pub(super) fn resources(rule: &RuleWithOperations) -> impl Iterator<Item = &str> {
    rule.resources.iter().flatten().map(String::as_str)
}

/// Returns true when a rule may match namespaced objects.
pub(super) fn is_namespaced(rule: &RuleWithOperations) -> bool {
    let has_none = |group: &String, resource: &str| {
        let resource = resource.split('/').next().unwrap_or_default();
        CLUSTER_SCOPED
            .iter()
            .any(|(known, all)| known == group && (all.contains(&"*") || all.contains(&resource)))
    };
    let groups = || rule.api_groups.iter().flatten();
    rule.scope.as_deref() != Some("Cluster")
        && groups().any(|group| resources(rule).any(|name| !has_none(group, name)))
}

/// Returns true when a rule matches resources that a namespace needs to recover.
pub(super) fn is_needed_to_start(rule: &RuleWithOperations) -> bool {
    let groups = rule.api_groups.iter().flatten();
    is_namespaced(rule)
        && groups
            .into_iter()
            .any(|group| NEEDED_TO_START.contains(&group.as_str()))
}

/// Returns true when a rule matches all groups, or all resources of a group.
pub(super) fn is_broad(rule: &RuleWithOperations) -> bool {
    let any = |names: Option<&Vec<String>>| {
        names
            .into_iter()
            .flatten()
            .any(|name| name == "*" || name == "*/*")
    };
    any(rule.resources.as_ref()) || any(rule.api_groups.as_ref())
}
