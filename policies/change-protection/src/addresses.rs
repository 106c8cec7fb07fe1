//! The addresses that a protected Service keeps.
//!
//! An address may move from a field to an annotation, and others may come beside it. To ask for an
//! address for the first time is no change, unless the load balancer has another one.

use crate::mark::Mark;
use sallyport_facts::addresses::{Checked, asked};
use sallyport_facts::pools::chosen;
use sallyport_policy::MAX_VIOLATIONS;
use sallyport_policy::net::Address;
use sallyport_policy::prelude::*;
use std::collections::BinaryHeap;

/// An address, or the name of a pool, a reserved address or a network.
struct Held<'a> {
    field: String,
    text: &'a str,
    /// The same for every spelling of an address.
    identity: String,
    /// None for a name.
    is_v6: Option<bool>,
}

impl<'a> Held<'a> {
    fn new(field: impl Into<String>, text: &'a str) -> Self {
        let text = text.trim_ascii();
        let address = Address::parse(text);
        Self {
            field: field.into(),
            text,
            identity: address.map_or_else(|| text.to_owned(), |address| address.to_string()),
            is_v6: address.map(|address| address.is_v6()),
        }
    }
}

/// Identities that are looked up quickly. (A heap takes a fraction of the code of `sort`.)
struct Identities<'a>(Vec<&'a str>);

impl<'a> Identities<'a> {
    fn of(held: impl Iterator<Item = &'a Held<'a>>) -> Self {
        let heap: BinaryHeap<_> = held.map(|held| held.identity.as_str()).collect();
        Self(heap.into_sorted_vec())
    }

    fn has(&self, held: &Held<'_>) -> bool {
        self.0.binary_search(&held.identity.as_str()).is_ok()
    }
}

/// Returns a violation for each address that an update takes from a Service or puts in the place of
/// another one. `judges_status` is true where it writes the status and is not a writer's.
pub(crate) fn violations(
    old: &Service,
    new: &Service,
    judges_status: bool,
    mark: &Mark<'_>,
) -> Vec<Violation> {
    let (before, after) = (requested(old), requested(new));
    let mut violations = lost(&before, &after, mark);
    violations.extend(lost(&cluster_ips(old), &cluster_ips_of_new(old, new), mark));
    violations.extend(lost(&external_ips(old), &external_ips(new), mark));
    if judges_status {
        violations.extend(lost(&published(old), &published(new), mark));
    } else {
        violations.extend(in_place(&before, &after, &published(old), mark));
    }
    violations
}

fn lost(before: &[Held<'_>], after: &[Held<'_>], mark: &Mark<'_>) -> Vec<Violation> {
    let kept = Identities::of(after.iter());
    let violation = |held: &Held<'_>| {
        let problem = format!("{} may not be removed", quote(held.text));
        mark.violation(held.field.clone(), &problem)
    };
    let lost = before.iter().filter(|held| !kept.has(held));
    lost.take(MAX_VIOLATIONS + 1).map(violation).collect()
}

/// Returns a violation for each address that is asked for anew while the load balancer has others
/// of the same family.
fn in_place(
    before: &[Held<'_>],
    after: &[Held<'_>],
    published: &[Held<'_>],
    mark: &Mark<'_>,
) -> Vec<Violation> {
    let stood = Identities::of(before.iter().chain(published));
    let of_family = |is_v6| published.iter().find(|has| has.is_v6 == Some(is_v6));
    let (v4, v6) = (of_family(false), of_family(true));
    let mut violations = vec![];
    for held in after.iter().filter(|held| !stood.has(held)) {
        let has = match held.is_v6 {
            Some(true) => v6,
            Some(false) => v4,
            None => None,
        };
        if let Some(has) = has {
            let (has, asked) = (quote(has.text), quote(held.text));
            let problem = format!("its address {has} may not become {asked}");
            violations.push(mark.violation(held.field.clone(), &problem));
        }
    }
    violations
}

/// Returns the addresses and names that a Service asks for its load balancer.
fn requested(service: &Service) -> Vec<Held<'_>> {
    let annotation = |key: &str| format!("metadata.annotations[\"{key}\"]");
    let field = service.spec.load_balancer_ip.iter();
    let mut held: Vec<_> = field
        .map(|ip| Held::new("spec.loadBalancerIP", ip))
        .collect();
    for checked in [Checked::Pool, Checked::Nothing] {
        for asked in asked(service, checked) {
            held.push(Held::new(annotation(asked.key), asked.text));
        }
    }
    for chosen in chosen(service) {
        held.push(Held::new(annotation(chosen.key), chosen.text));
    }
    held
}

fn external_ips(service: &Service) -> Vec<Held<'_>> {
    let ips = service.spec.external_ips.iter();
    ips.map(|ip| Held::new("spec.externalIPs", ip)).collect()
}

fn cluster_ips(service: &Service) -> Vec<Held<'_>> {
    let ips = service.spec.cluster_ips.iter();
    ips.map(|ip| Held::new("spec.clusterIPs", ip)).collect()
}

/// A manifest that leaves them out keeps those that stand: the API server fills them in.
fn cluster_ips_of_new<'a>(old: &'a Service, new: &'a Service) -> Vec<Held<'a>> {
    cluster_ips(if new.spec.cluster_ips.is_empty() {
        old
    } else {
        new
    })
}

/// Returns the addresses and names in `status.loadBalancer`.
fn published(service: &Service) -> Vec<Held<'_>> {
    const FIELD: &str = "status.loadBalancer.ingress";
    let points = service.status.load_balancer_ingress.iter();
    points
        .flat_map(|point| point.ip.iter().chain(&point.hostname))
        .map(|text| Held::new(FIELD, text))
        .collect()
}
