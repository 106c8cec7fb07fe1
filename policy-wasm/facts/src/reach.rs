//! Annotations that affect who reaches a load balancer, and whether a change of them admits more.
//!
//! The tables of [`super::internal`] say for certain what is internal. The other annotations have
//! many names, so this module recognises them by parts of their names: a rule that restricts may
//! match loosely. They count only on an update of a Service that violates a rule anyway.

use super::internal::{CONTROLLERS, Controller, Public};
use sallyport_policy::service::{Metadata, Pair, Service};
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

/// The beginning of the keys by which Google's controller writes down the firewall rules that it
/// has made. Nothing reads them.
const WRITTEN: &str = "service.kubernetes.io/firewall-rule";

/// Parts of the names of annotations that only add ways in: without them there are fewer.
pub static ADDING: [&str; 4] = ["additional-public", "exposed", "funnel", "pls-"];

/// Returns true if an annotation may decide who reaches a load balancer, or what is reached.
pub fn bears_on_reach(key: &str) -> bool {
    !key.starts_with(WRITTEN) && has_part(key, &PARTS)
}

fn has_part(key: &str, parts: &[&str]) -> bool {
    let name = key
        .as_bytes()
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    let has = |part: &str| {
        name.windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
    };
    parts.iter().any(|part| has(part))
}

/// Compares two states of a Service as [`Widening::between`] does, and also the annotations that
/// bear on who reaches its load balancer: where another one is chosen the result has
/// [`Widening::LOAD_BALANCER`], and where it is less certainly internal [`Widening::PUBLIC`].
pub fn widening(old: &Service, new: &Service) -> Widening {
    let mut widening = Widening::between(old, new);
    let (before, after) = (&old.metadata.annotations, &new.metadata.annotations);
    if before == after && old.spec.load_balancer_class == new.spec.load_balancer_class {
        return widening;
    }
    if choose_another(old, new) {
        widening = widening.or(Widening::LOAD_BALANCER);
    }
    if is_more_public(old, new) {
        widening = widening.or(Widening::PUBLIC);
    }
    widening
}

/// Returns true if annotations may let in more than before, or others, by something else than a
/// switch.
fn choose_another(old: &Service, new: &Service) -> bool {
    let (before, after) = (&old.metadata.annotations, &new.metadata.annotations);
    let counts = |(key, value): &Pair, others: &[Pair]| {
        pairs::get(others, key) != Some(value.as_str())
            && bears_on_reach(key)
            && !CONTROLLERS
                .iter()
                .any(|controller| has_switch(controller, key))
    };
    // Ranges where there were none let in fewer.
    let first_ranges = |key: &str| {
        new.spec.load_balancer_source_ranges.is_empty()
            && pairs::get(before, key).is_none()
            && CONTROLLERS
                .iter()
                .any(|controller| controller.ranges.contains(&key))
    };
    before.iter().any(|pair| {
        let is_removed = pairs::get(after, &pair.0).is_none();
        counts(pair, after) && !(is_removed && has_part(&pair.0, &ADDING))
    }) || after
        .iter()
        .any(|pair| counts(pair, before) && !first_ranges(&pair.0))
}

/// Returns true if a controller no longer makes a certainly internal load balancer, or makes a
/// public one that was uncertain before.
fn is_more_public(old: &Service, new: &Service) -> bool {
    are_more_public(old, new)
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

/// Returns 0 if the load balancer is certainly internal, 1 if that is uncertain, and 2 if the
/// Service makes it public.
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

    fn widens(old: &Service, new: &Service) -> bool {
        !widening(old, new)
            .and(Widening::LOAD_BALANCER.or(Widening::PUBLIC))
            .is_none()
    }

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
            "service.kubernetes.io/firewall-rule",
            "service.kubernetes.io/firewall-rule-ipv6",
        ] {
            assert!(!widened([], [(key, "x")]), "{key}");
        }
    }

    #[test]
    fn without_what_adds_ways_in_there_are_fewer() {
        for (key, narrows) in [
            ("service.beta.kubernetes.io/azure-pls-create", true),
            (
                "service.beta.kubernetes.io/azure-additional-public-ips",
                true,
            ),
            (
                "service.beta.kubernetes.io/aws-load-balancer-security-groups",
                false,
            ),
            (
                "service.beta.kubernetes.io/aws-load-balancer-subnets",
                false,
            ),
        ] {
            assert_eq!(widened([(key, "true")], []), !narrows, "{key}");
            assert!(widened([(key, "true")], [(key, "false")]), "{key}");
        }
    }

    #[test]
    fn the_first_ranges_let_in_fewer() {
        let key = "service.beta.kubernetes.io/azure-allowed-ip-ranges";
        assert!(!widened([], [(key, "10.0.0.0/8")]));
        assert!(widened([(key, "10.0.0.0/8")], [(key, "10.0.0.0/7")]));
        assert!(widened([(key, "10.0.0.0/8")], []));
        let older = "yawol.stackit.cloud/loadBalancerSourceRanges";
        assert!(widened([(older, "10.0.0.0/8")], [(older, "0.0.0.0/0")]));
    }

    #[test]
    fn another_load_balancer_and_a_more_public_one_are_told_apart() {
        let with = |annotations: &[(&str, &str)]| {
            let mut service = load_balancer("w", 80);
            for (key, value) in annotations {
                let pair = ((*key).to_owned(), (*value).to_owned());
                service.metadata.annotations.push(pair);
            }
            service
        };
        let subnets = "service.beta.kubernetes.io/aws-load-balancer-subnets";
        assert_eq!(
            widening(&with(&[]), &with(&[(subnets, "a")])),
            Widening::LOAD_BALANCER
        );
        let (internal, public) = ((SCHEME, "internal"), (SCHEME, "internet-facing"));
        assert_eq!(
            widening(&with(&[internal]), &with(&[public])),
            Widening::PUBLIC
        );
    }
}
