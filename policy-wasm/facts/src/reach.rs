//! Annotations that bear on who reaches a load balancer, and whether a change of them lets in more.
//!
//! The tables of [`super::internal`] say for certain what is internal. What else bears on it has
//! many names, so that these are recognised by their parts: match loosely to restrict. It counts on
//! updates of what offends anyway, and nowhere else.

use super::internal::{CONTROLLERS, Controller, Public};
use sallyport_policy::service::{Metadata, Service};
use sallyport_policy::{Widening, pairs};

/// Parts of the names of annotations by which controllers choose addresses, address families,
/// networks, firewalls, an existing load balancer, or another Service to lead to. Compared without
/// regard to case. Sources: the annotations of the controllers in [`super::internal`], MetalLB,
/// kube-vip, Cilium, PureLB and Tailscale.
pub static PARTS: [&str; 37] = [
    "-rules",
    "access-control",
    "actions.",
    "additional-public",
    "address-pool",
    "address-type",
    "allow-shared-ip",
    "allowed-",
    "conditions.",
    "eip",
    "elb.id",
    "exposed",
    "externally-managed",
    "firewall",
    "floating",
    "funnel",
    "global-access",
    "inbound",
    "ip-address",
    "ip-family",
    "ip-type",
    "ipam",
    "ips",
    "ipv6",
    "lb-id",
    "load-balancer-ip",
    "load-balancer-type",
    "loadbalancer-id",
    "loadbalancerip",
    "network-type",
    "pls-",
    "public-ip",
    "security-group",
    "security-list",
    "sourceranges",
    "src-range",
    "subnet",
];

/// Returns true if an annotation may decide who reaches a load balancer, or what is reached.
pub fn bears_on_reach(key: &str) -> bool {
    let name = key
        .as_bytes()
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    let has = |part: &str| {
        name.windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
    };
    PARTS.iter().any(|part| has(part))
}

/// Compares two states of a Service as [`Widening::between`] does, and also the annotations that
/// bear on who reaches its load balancer: where these may let in more, the result has
/// [`Widening::LOAD_BALANCER`].
pub fn widening(old: &Service, new: &Service) -> Widening {
    let fields = Widening::between(old, new);
    if widens(old, new) {
        fields.or(Widening::LOAD_BALANCER)
    } else {
        fields
    }
}

/// Returns true if annotations or the class may let in more than before: a controller no longer
/// makes a certainly internal load balancer, or makes a certainly public one that was uncertain
/// before, or another annotation changes that bears on it.
pub fn widens(old: &Service, new: &Service) -> bool {
    let (before, after) = (&old.metadata.annotations, &new.metadata.annotations);
    if before == after && old.spec.load_balancer_class == new.spec.load_balancer_class {
        return false;
    }
    let changed =
        |(key, value): &(String, String), others| pairs::get(others, key) != Some(value.as_str());
    let changed = before
        .iter()
        .filter(|pair| changed(pair, after))
        .chain(after.iter().filter(|pair| changed(pair, before)));
    let mut counts = changed.filter(|(key, _)| bears_on_reach(key));
    counts.any(|(key, _)| !CONTROLLERS.iter().any(|controller| has_switch(controller, key)))
        || are_more_public(old, new)
        // A controller can be told to serve a class that no table knows, and then reads its
        // annotations as ever.
        || new.spec.load_balancer_class.is_some() && are_more_public(&without_class(old),
            &without_class(new))
}

fn are_more_public(old: &Service, new: &Service) -> bool {
    CONTROLLERS
        .iter()
        .any(|controller| degree(controller, new) > degree(controller, old))
}

/// Returns a Service with the annotations alone.
pub(super) fn without_class(service: &Service) -> Service {
    let annotations = service.metadata.annotations.clone();
    Service {
        metadata: Metadata {
            annotations,
            ..Metadata::default()
        },
        ..Service::default()
    }
}

fn has_switch(controller: &Controller, key: &str) -> bool {
    controller.switches.iter().any(|switch| switch.key == key)
}

/// 0: internal for certain. 1: not certain. 2: public, as somebody wrote.
pub(super) fn degree(controller: &Controller, service: &Service) -> u8 {
    match controller.public(service) {
        None => 0,
        Some(Public::Value { .. } | Public::ExternalClass(_)) => 2,
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{labels, load_balancer};

    const SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";

    #[test]
    fn a_class_that_no_table_knows_may_be_served_by_any_controller() {
        let with = |scheme| {
            let mut service = load_balancer("w", 80);
            service.spec.load_balancer_class = Some("example.com/own".to_owned());
            service.metadata.annotations = labels([(SCHEME, scheme)]);
            service
        };
        assert!(widens(&with("internal"), &with("internet-facing")));
        assert!(!widens(&with("internet-facing"), &with("internal")));
    }

    fn widened<const N: usize, const M: usize>(
        old: [(&str, &str); N],
        new: [(&str, &str); M],
    ) -> bool {
        let with = |annotations| {
            let mut service = load_balancer("w", 80);
            service.metadata.annotations = annotations;
            service
        };
        widens(&with(labels(old)), &with(labels(new)))
    }

    #[test]
    fn a_load_balancer_that_becomes_more_public_is_widened() {
        assert!(widened([(SCHEME, "internal")], []));
        assert!(widened(
            [(SCHEME, "internal")],
            [(SCHEME, "internet-facing")]
        ));
        assert!(widened([], [(SCHEME, "internet-facing")]));
        assert!(!widened([], [(SCHEME, "internal")]));
        assert!(!widened(
            [(SCHEME, "internet-facing")],
            [(SCHEME, "internal")]
        ));
    }

    #[test]
    fn annotations_about_addresses_and_firewalls_count() {
        for key in [
            "service.beta.kubernetes.io/azure-additional-public-ips",
            "service.beta.kubernetes.io/azure-allowed-service-tags",
            "service.beta.kubernetes.io/aws-load-balancer-security-groups",
            "service.beta.kubernetes.io/aws-load-balancer-eip-allocations",
            "service.beta.kubernetes.io/aws-load-balancer-ip-address-type",
            "service.cilium.io/src-ranges-policy",
            "metallb.io/loadBalancerIPs",
            "kube-vip.io/loadbalancerIPs",
            "service.beta.kubernetes.io/scw-loadbalancer-externally-managed",
            "yawol.stackit.cloud/loadBalancerSourceRanges",
        ] {
            assert!(widened([], [(key, "x")]), "{key}");
            assert!(widened([(key, "x")], [(key, "y")]), "{key}");
        }
        for key in [
            "kubectl.kubernetes.io/last-applied-configuration",
            "meta.helm.sh/release-name",
            "field.cattle.io/publicEndpoints",
            "cloud.google.com/neg-status",
            "prometheus.io/scrape",
            "service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval",
            "example.com/unrelated",
        ] {
            assert!(!widened([], [(key, "x")]), "{key}");
        }
    }
}
