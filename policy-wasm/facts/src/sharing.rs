//! Annotations by which a Service shares the address of its load balancer with others.
//!
//! A Service that shares an address takes ports of it. Some controllers compare a key alone, so
//! that a Service of another namespace gets in by writing the same key.

use super::reads::{Reading, Reads};
use sallyport_policy::service::{Service, ServiceType};

/// The Services with which an address is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// Those of every namespace that have the same value.
    SameValue,
    /// Those of every namespace that have the annotation.
    Everybody,
    /// Those of the same namespace with the same value.
    Namespace,
    /// Like `Namespace`, but one of these annotations may list other namespaces with commas, or
    /// `*` for all of them.
    NamespaceUnless(&'static [&'static str]),
    /// The one that the value names as `namespace/name`.
    Named,
}

/// An annotation that shares an address.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// The controller that reads it.
    pub by: &'static str,
    /// The annotation.
    pub key: &'static str,
    /// The parser of its value.
    pub reads: Reads,
    /// The others.
    pub with: With,
    /// The source.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn row(
    by: &'static str,
    key: &'static str,
    reads: Reads,
    with: With,
    source: &'static str,
) -> Shares {
    Shares {
        by,
        key,
        reads,
        with,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

const ACROSS: With = With::NamespaceUnless(&[
    "lbipam.cilium.io/sharing-cross-namespace",
    "io.cilium/lb-ipam-sharing-cross-namespace",
]);

/// Every annotation that is known to share an address.
pub static SHARES: [Shares; 8] = [
    row(
        "metallb",
        "metallb.io/allow-shared-ip",
        Reads::PRESENCE,
        With::SameValue,
        "metallb/metallb controller/service.go and internal/allocator/allocator.go: ports must \
         differ, and the Pods must be the same where externalTrafficPolicy is Local",
    ),
    row(
        "metallb",
        "metallb.universe.tf/allow-shared-ip",
        Reads::PRESENCE,
        With::SameValue,
        "the same file: the older key",
    ),
    row(
        "purelb",
        "purelb.io/allow-shared-ip",
        Reads::PRESENCE,
        With::SameValue,
        "purelb/purelb internal/allocator/localpool.go",
    ),
    row(
        "cilium",
        "lbipam.cilium.io/sharing-key",
        Reads::PRESENCE,
        ACROSS,
        "cilium/cilium operator/pkg/lbipam",
    ),
    row(
        "cilium",
        "io.cilium/lb-ipam-sharing-key",
        Reads::PRESENCE,
        ACROSS,
        "the same: the older key",
    ),
    row(
        "ako",
        "ako.vmware.com/enable-shared-vip",
        Reads::PRESENCE,
        With::Namespace,
        "vmware/load-balancer-and-ingress-services-for-kubernetes docs/shared_vip.md",
    ),
    row(
        "antrea",
        "service.antrea.io/allow-shared-load-balancer-ip",
        Reads::ParseBool,
        With::Everybody,
        "antrea-io/antrea pkg/controller/serviceexternalip/controller.go: that ask for the same \
         address",
    ),
    row(
        "harvester",
        "cloudprovider.harvesterhci.io/primary-service",
        Reads::PRESENCE,
        With::Named,
        "harvester/harvester-cloud-provider pkg/cloud-controller-manager/loadbalancer.go",
    ),
];

/// An annotation of a Service by which it shares its address.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    /// The row of the table.
    pub row: &'static Shares,
    /// The annotation, as the Service spells it.
    pub key: &'a str,
    /// Its value.
    pub value: &'a str,
}

/// Returns the annotations by which a LoadBalancer shares its address. Other types have none. Keys
/// match without regard to case, because the match restricts.
pub fn shared(service: &Service) -> Vec<Shared<'_>> {
    let mut found = vec![];
    if service.service_type() != ServiceType::LoadBalancer {
        return found;
    }
    for row in &SHARES {
        for (key, value) in &service.metadata.annotations {
            if key.eq_ignore_ascii_case(row.key) && row.reads.read(value) == Reading::Yes {
                found.push(Shared { row, key, value });
            }
        }
    }
    found
}

/// Returns the keys of every annotation in the table, and of those that say with whom.
pub fn keys() -> Vec<&'static str> {
    let mut keys = vec![];
    for row in &SHARES {
        keys.push(row.key);
        if let With::NamespaceUnless(across) = row.with {
            keys.extend_from_slice(across);
        }
    }
    keys
}
