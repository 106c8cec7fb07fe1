//! How an update makes a Service expose more than it did.
//!
//! An update may keep an offence that stood before (`updates: Ratchet`), and the host recognises it by rule and key. A key names
//! the offence ("type NodePort"), not everything that the offence exposes (which ports, which Pods, to whom). So a policy asks
//! here whether the update exposes more, and [`Verdict::renewed`] then takes the keys off what stood before: it is a new
//! offence. Harmless edits (labels, another order, fewer ports, narrower ranges) widen nothing.
//!
//! Invariant: an update from a Service to itself widens nothing, since that is what the host compares with. The comparison
//! takes time proportional to `n log n` for `n` ports, addresses and ranges.

use crate::facts::reach;
use crate::net::{self, Cidr};
use crate::service::{Pair, Service, ServiceType};
use crate::{Review, Verdict, Violation, text};
use std::collections::BinaryHeap;

/// Ways in which an update exposes more, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widening(u16);

impl Widening {
    /// In no way.
    pub const NONE: Self = Self(0);
    /// Another type, unless it is a lesser one (LoadBalancer, NodePort, ClusterIP, headless in descending order).
    pub const TYPE: Self = Self(1);
    /// A port that the Service did not have.
    pub const PORTS: Self = Self(1 << 1);
    /// A port that it had leads to another port of the Pods.
    pub const TARGETS: Self = Self(1 << 2);
    /// Other Pods: another selector (unless it only adds requirements), Pods that are not ready, or another `externalName`.
    pub const SELECTED: Self = Self(1 << 3);
    /// A node port that a client chose, or more of them than before.
    pub const NODE_PORTS: Self = Self(1 << 4);
    /// External IPs.
    pub const EXTERNAL_IPS: Self = Self(1 << 5);
    /// Clients that the source ranges of the load balancer did not admit.
    pub const SOURCES: Self = Self(1 << 6);
    /// Another load balancer: its class, its address, or an annotation that bears on who reaches it.
    pub const LOAD_BALANCER: Self = Self(1 << 7);
    /// The node ports of every node, in place of those with Pods.
    pub const NODES: Self = Self(1 << 8);
    /// In any way.
    pub const ANY: Self = Self(u16::MAX);
    /// To what a kept way in leads: other ports, other Pods.
    pub const LEADS: Self = Self(Self::PORTS.0 | Self::TARGETS.0 | Self::SELECTED.0);

    /// The ways that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The ways that are in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The ways that are in this set alone.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it is the empty set.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Names the first way, for a message.
    fn text(self) -> &'static str {
        const TEXTS: [(Widening, &str); 9] = [
            (Widening::TYPE, "another type"),
            (Widening::PORTS, "another port"),
            (Widening::TARGETS, "another target port"),
            (Widening::SELECTED, "other Pods or another name to lead to"),
            (Widening::NODE_PORTS, "another node port"),
            (Widening::NODES, "more nodes"),
            (Widening::EXTERNAL_IPS, "another external IP"),
            (Widening::SOURCES, "wider source ranges"),
            (Widening::LOAD_BALANCER, "another kind or address of load balancer"),
        ];
        TEXTS.iter().find(|(way, _)| !self.and(*way).is_none()).map_or("", |(_, text)| text)
    }

    fn when(self, holds: bool) -> Self {
        if holds { self } else { Self::NONE }
    }

    /// Compares two states of a Service.
    pub fn between(old: &Service, new: &Service) -> Self {
        ports(old, new)
            .or(Self::TYPE.when(is_greater_type(old, new)))
            .or(Self::SELECTED.when(selects_more(old, new)))
            .or(Self::NODE_PORTS.when(opens_node_ports(old, new)))
            .or(Self::NODES.when(answers_on_more_nodes(old, new)))
            .or(Self::EXTERNAL_IPS.when(has_more_ips(old, new)))
            .or(Self::SOURCES.when(admits_more(old, new)))
            .or(Self::LOAD_BALANCER.when(is_another_load_balancer(old, new)))
    }
}

impl Review {
    /// How the update makes the Service expose more; not at all where nothing is updated.
    pub fn widening(&self) -> Widening {
        self.old_service.as_ref().map_or(Widening::NONE, |old| Widening::between(old, &self.service))
    }
}

impl Verdict {
    /// Makes new offences of those that stood before and that the update widens: it takes off their keys, and their messages
    /// say why. `ways` tells which ways of exposing more count for an offence; `judge` is the rule itself, asked again
    /// about the old object.
    #[must_use]
    pub fn renewed(
        mut self,
        review: &Review,
        ways: impl Fn(&Violation) -> Widening,
        judge: impl FnOnce(&Review) -> Self,
    ) -> Self {
        let Some(old) = review.old_service.as_ref().filter(|_| !self.violations.is_empty()) else { return self };
        let widening = review.widening();
        if widening.is_none() {
            return self;
        }
        let before = judge(&Review { service: old.clone(), ..review.clone() });
        let before: BinaryHeap<_> = before.violations.into_iter().map(|found| (found.key, found.rule)).collect();
        let before = before.into_sorted_vec();
        for violation in &mut self.violations {
            let ways = widening.and(ways(violation));
            let stood = |violation: &Violation| {
                before.binary_search_by(|(key, rule)| (key, rule).cmp(&(&violation.key, &violation.rule))).is_ok()
            };
            if !ways.is_none() && !violation.key.is_empty() && stood(violation) {
                violation.key.clear();
                violation.message.push_str(&text![" (kept until now, but the update adds ", ways.text(), ")"]);
            }
        }
        self
    }
}

/// Every change of the type but to a lesser one. An ExternalName is neither more nor less than the others.
fn is_greater_type(old: &Service, new: &Service) -> bool {
    let rank = |service: &Service| match service.service_type() {
        ServiceType::ExternalName => 0,
        ServiceType::ClusterIp => 1 + u8::from(!service.is_headless()),
        ServiceType::NodePort => 3,
        ServiceType::LoadBalancer => 4,
    };
    let (old, new) = (rank(old), rank(new));
    new > old || new == 0 && old != 0
}

/// A port, and where it leads on the Pods: a number, or else a name.
type Way<'a> = (i32, &'a str, i32, &'a str);

fn ways(service: &Service) -> impl Iterator<Item = Way<'_>> {
    service.spec.ports.iter().map(|port| {
        let (number, name) = port.target();
        (port.port, port.protocol.as_str(), number, name)
    })
}

fn ports(old: &Service, new: &Service) -> Widening {
    let before = ways(old).collect::<BinaryHeap<_>>().into_sorted_vec();
    let mut widening = Widening::NONE;
    for way in ways(new) {
        if before.binary_search(&way).is_err() {
            let same_port = before.binary_search_by(|old| (old.0, old.1).cmp(&(way.0, way.1))).is_ok();
            widening = widening.or(if same_port { Widening::TARGETS } else { Widening::PORTS });
        }
    }
    widening
}

fn selects_more(old: &Service, new: &Service) -> bool {
    if new.service_type() == ServiceType::ExternalName {
        let name = |service: &Service| service.spec.external_name.as_deref().unwrap_or_default().to_ascii_lowercase();
        return name(old) != name(new);
    }
    let more_requirements = !old.spec.selector.is_empty() && is_subset(&old.spec.selector, &new.spec.selector);
    let same = old.spec.selector == new.spec.selector;
    !(same || more_requirements) || new.spec.publish_not_ready_addresses && !old.spec.publish_not_ready_addresses
}

/// Whether each pair is among the others, which are sorted by key.
fn is_subset(pairs: &[Pair], others: &[Pair]) -> bool {
    pairs.iter().all(|pair| others.binary_search(pair).is_ok())
}

fn opens_node_ports(old: &Service, new: &Service) -> bool {
    if !new.uses_node_ports() {
        return false;
    }
    let opens = |service: &Service| {
        service.uses_node_ports()
            && (service.service_type() == ServiceType::NodePort
                || service.spec.allocate_load_balancer_node_ports != Some(false))
    };
    if opens(new) && !opens(old) {
        return true;
    }
    fn numbers(service: &Service) -> impl Iterator<Item = (i32, &str, bool)> {
        let ports = service.spec.ports.iter().filter(|_| service.uses_node_ports());
        ports.filter_map(|port| Some((port.node_port?, port.protocol.as_str(), port.node_port_by_client)))
    }
    let before = numbers(old).map(|port| (port.0, port.1)).collect::<BinaryHeap<_>>().into_sorted_vec();
    // What the API server allocates anew in place of another one is nobody's choice.
    let (mut count, mut chosen) = (0, false);
    for (number, protocol, by_client) in numbers(new) {
        count += 1;
        chosen |= by_client && before.binary_search(&(number, protocol)).is_err();
    }
    chosen || count > before.len()
}

fn answers_on_more_nodes(old: &Service, new: &Service) -> bool {
    let every_node = |service: &Service| service.spec.external_traffic_policy.as_deref() != Some("Local");
    new.is_exposed() && every_node(new) && !every_node(old)
}

fn has_more_ips(old: &Service, new: &Service) -> bool {
    let before = old.live_external_ips().iter().collect::<BinaryHeap<_>>().into_sorted_vec();
    new.live_external_ips().iter().any(|ip| before.binary_search(&ip).is_err())
}

fn admits_more(old: &Service, new: &Service) -> bool {
    if new.service_type() != ServiceType::LoadBalancer || old.service_type() != ServiceType::LoadBalancer {
        return false;
    }
    let (before, after) = (source_ranges(old), source_ranges(new));
    if before == after || before.is_empty() {
        return false;
    }
    let (mut texts, mut blocks) = (BinaryHeap::new(), vec![]);
    for text in before {
        texts.push(text);
        blocks.extend(Cidr::parse(text));
    }
    let (texts, union) = (texts.into_sorted_vec(), net::Union::of(&blocks));
    let is_new = |text: &&str| {
        texts.binary_search(text).is_err() && !Cidr::parse(text).is_some_and(|block| union.covers(&block))
    };
    after.is_empty() || after.iter().any(is_new)
}

/// The older form of `loadBalancerSourceRanges`, which the field wins over.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// The source ranges that count. None: the whole world.
fn source_ranges(service: &Service) -> Vec<&str> {
    let field = &service.spec.load_balancer_source_ranges;
    if !field.is_empty() {
        return field.iter().map(|range| range.trim_ascii()).collect();
    }
    let ranges = service.annotation(SOURCE_RANGES).unwrap_or_default().split(',');
    ranges.map(str::trim_ascii).filter(|range| !range.is_empty()).collect()
}

fn is_another_load_balancer(old: &Service, new: &Service) -> bool {
    let is_served = |service: &Service| service.service_type() == ServiceType::LoadBalancer;
    let changes = |read: fn(&Service) -> Option<&String>| read(new).is_some() && read(old) != read(new);
    let by_field = is_served(new)
        && is_served(old)
        && (old.spec.load_balancer_class != new.spec.load_balancer_class
            || changes(|service| service.spec.load_balancer_ip.as_ref()));
    by_field || reach::widens(old, new)
}

#[cfg(test)]
mod tests;
