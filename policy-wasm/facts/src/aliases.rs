//! Names that an alias must not lead to without somebody's leave: rule S09.
//!
//! DNS follows an alias for whoever asks, so that it opens a way around what protects them.
//!
//! All functions take normal names ([`sallyport_policy::dns::normal`]).

use super::metadata_services::METADATA_SERVICES;
use sallyport_policy::dns::{is_address, is_below, is_in, last_label};

/// Last labels inside a cluster. `kubernetes.default` is found along a Pod's search path,
/// `db.shop.svc` too; the namespaces are those that every cluster has. None of these is a top-level
/// domain.
const INTERNAL: [&str; 6] = [
    "svc",
    "pod",
    "default",
    "kube-system",
    "kube-public",
    "kube-node-lease",
];
/// The domain of the Services that a set of clusters shares (KEP-1645, the Multi-Cluster Services
/// API).
const CLUSTER_SET: &str = "clusterset.local";

/// RFC 6761, and what /etc/hosts of the usual distributions makes of it: `localhost.localdomain`,
/// `localhost6.localdomain6`, `ip6-localhost`. None of these is a top-level domain.
const LOCALHOST: [&str; 8] = [
    "localhost",
    "localdomain",
    "localhost4",
    "localdomain4",
    "localhost6",
    "localdomain6",
    "ip6-localhost",
    "ip6-loopback",
];

/// A kind of name that no setting allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {
    /// An IP address, not a name.
    Address,
    /// The machine that asks.
    Localhost,
    /// A cloud's metadata service.
    Metadata,
}

/// Returns the kind of a name that no setting allows.
pub fn never(name: &str) -> Option<Never> {
    if is_address(name) {
        return Some(Never::Address);
    }
    if LOCALHOST.iter().any(|domain| is_in(name, domain)) {
        return Some(Never::Localhost);
    }
    let is_metadata = METADATA_SERVICES
        .iter()
        .any(|service| service.is_called(name));
    is_metadata.then_some(Never::Metadata)
}

/// Returns true for a name inside the cluster, which has these domains.
pub fn is_internal<T: AsRef<str>>(name: &str, cluster_domains: &[T]) -> bool {
    INTERNAL.iter().any(|label| is_below(name, label))
        || is_in(name, CLUSTER_SET)
        || is_of_cluster(name, 2)
        || cluster_domains
            .iter()
            .any(|domain| is_in(name, domain.as_ref()))
}

/// Returns true for a name as Kubernetes gives it to a Service or a Pod, in some cluster whose
/// domain ends in `.local`, as `cluster.local` does: `name.namespace.svc.other.local`. At least
/// `before` labels stand before `svc` or `pod`, and at least two after it.
pub fn is_of_cluster(name: &str, before: usize) -> bool {
    let (mut index, mut found) = (0, None);
    for label in name.as_bytes().split(|byte| *byte == b'.') {
        if found.is_none() && index >= before && matches!(label, b"svc" | b"pod") {
            found = Some(index);
        }
        index += 1;
    }
    last_label(name) == b"local" && found.is_some_and(|found| index > found + 2)
}

/// Returns true for a name of the cluster's API server: that of the Service `kubernetes` of the
/// namespace default. Whatever stands after `svc` is some cluster's domain.
pub fn is_api_server(name: &str) -> bool {
    let rest = name.strip_prefix("kubernetes.default");
    rest.is_some_and(|rest| rest.is_empty() || rest == ".svc" || rest.starts_with(".svc."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_has_a_name_in_each_length() {
        for name in [
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "kubernetes.default.svc.k8s.example.com",
        ] {
            assert!(is_api_server(name), "{name}");
        }
        for name in [
            "kubernetes",
            "kubernetes.default.example.com",
            "kubernetes.defaults.svc",
            "my-kubernetes.default.svc",
            "kubernetes.default.svcs",
        ] {
            assert!(!is_api_server(name), "{name}");
        }
    }
}
