//! The fields of a review whose texts a record keeps as they are.
//!
//! Invariant: nobody writes free-form texts into them. Used by `place`, which decides about all
//! texts of a review, and by `compared`.

/// The path of a request's two objects in [`KEPT`].
pub(super) const OBJECT: &str = "object";

/// The fields that a record keeps: objects by their path, in which arrays are skipped, and their
/// members. All are numbers, addresses, names, times, or words of Kubernetes' own.
pub(super) const KEPT: [(&str, &[&str]); 17] = [
    ("", &["apiVersion", "kind"]),
    (
        "request",
        &[
            "uid",
            "subResource",
            "requestSubResource",
            "name",
            "namespace",
            "operation",
            "dryRun",
        ],
    ),
    ("request/kind", &["group", "version", "kind"]),
    ("request/requestKind", &["group", "version", "kind"]),
    ("request/resource", &["group", "version", "resource"]),
    ("request/requestResource", &["group", "version", "resource"]),
    (
        "request/options",
        &[
            "apiVersion",
            "kind",
            "fieldManager",
            "fieldValidation",
            "force",
            "dryRun",
        ],
    ),
    (OBJECT, &["apiVersion", "kind"]),
    (
        "object/metadata",
        &[
            "name",
            "generateName",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "finalizers",
        ],
    ),
    (
        "object/metadata/ownerReferences",
        &[
            "apiVersion",
            "kind",
            "name",
            "uid",
            "controller",
            "blockOwnerDeletion",
        ],
    ),
    (
        "object/metadata/managedFields",
        &[
            "manager",
            "operation",
            "apiVersion",
            "time",
            "fieldsType",
            "subresource",
        ],
    ),
    (
        "object/spec",
        &[
            "type",
            "clusterIP",
            "clusterIPs",
            "externalIPs",
            "loadBalancerIP",
            "loadBalancerClass",
            "loadBalancerSourceRanges",
            "allocateLoadBalancerNodePorts",
            "externalTrafficPolicy",
            "internalTrafficPolicy",
            "healthCheckNodePort",
            "ipFamilies",
            "ipFamilyPolicy",
            "publishNotReadyAddresses",
            "sessionAffinity",
            "trafficDistribution",
        ],
    ),
    (
        "object/spec/ports",
        &[
            "name",
            "protocol",
            "appProtocol",
            "port",
            "targetPort",
            "nodePort",
        ],
    ),
    (
        "object/spec/sessionAffinityConfig/clientIP",
        &["timeoutSeconds"],
    ),
    (
        "object/status/loadBalancer/ingress",
        &["ip", "hostname", "ipMode"],
    ),
    (
        "object/status/loadBalancer/ingress/ports",
        &["port", "protocol", "error"],
    ),
    (
        "object/status/conditions",
        &[
            "type",
            "status",
            "reason",
            "observedGeneration",
            "lastTransitionTime",
        ],
    ),
];

/// Returns true for a field of an object that a record keeps and policies see: its text was hashed
/// only if it looked like a credential. Takes the steps of the path, from the object.
pub(super) fn is_kept_field(steps: &[&str]) -> bool {
    let mut names = steps
        .iter()
        .filter(|step| !step.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(name) = names.next_back() else {
        return false;
    };
    let parent = names.fold(OBJECT.to_owned(), |path, step| path + "/" + step);
    parent != "object/metadata/managedFields"
        && KEPT
            .iter()
            .any(|(path, members)| *path == parent && members.contains(name))
}
