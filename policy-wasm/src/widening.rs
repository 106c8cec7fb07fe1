//! Widening: the ways in which an update makes a Service expose more.
//!
//! Under `updates: Ratchet` an update may keep a violation that was there before, and the host
//! recognises it by rule and key. A key names the violation ("type NodePort"), not everything that
//! the violation exposes (which ports, which Pods, to whom). So a policy checks here whether the
//! update exposes more, and [`Verdict::of_update`] then removes the keys of violations that were
//! there before, which makes them new ones. Harmless edits (labels, another order, fewer ports,
//! narrower ranges) widen nothing.
//!
//! Invariant: an update from a Service to itself widens nothing, since that is what the host
//! compares with. The comparison takes time proportional to `n log n` for `n` ports and addresses,
//! and stops where lists are longer than anybody needs.
//!
//! Every component carries this code. To keep it small, it compares texts in one kind of set
//! instead of tuples in several.

use crate::net::{self, Cidr};
use crate::service::{Pair, Port, Service, ServiceType};
use crate::{Review, Verdict, Violation};
use std::collections::BinaryHeap;

/// Ways in which an update exposes more, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widening(u16);

impl Widening {
    /// No way.
    pub const NONE: Self = Self(0);
    /// Another type, unless it is a lesser one (LoadBalancer, NodePort, ClusterIP, headless in
    /// descending order).
    pub const TYPE: Self = Self(1);
    /// A port that the Service did not have.
    pub const PORTS: Self = Self(1 << 1);
    /// A port that it had leads to another port of the Pods.
    pub const TARGETS: Self = Self(1 << 2);
    /// Other Pods: another selector (unless it only adds requirements), Pods that are not ready, or
    /// another `externalName`.
    pub const SELECTED: Self = Self(1 << 3);
    /// A node port that a client chose, or more of them than before.
    pub const NODE_PORTS: Self = Self(1 << 4);
    /// External IPs.
    pub const EXTERNAL_IPS: Self = Self(1 << 5);
    /// Clients that the source ranges of the load balancer did not admit. An IP family of which no
    /// range is left is open to everyone where kube-proxy or Google's controller enforces them.
    pub const SOURCES: Self = Self(1 << 6);
    /// Another load balancer: its class or its address. The crate `sallyport-facts` also finds
    /// annotations that bear on who reaches it.
    pub const LOAD_BALANCER: Self = Self(1 << 7);
    /// The node ports of every node, in place of those with Pods.
    pub const NODES: Self = Self(1 << 8);
    /// Another family of IP addresses, by which the Service is reached.
    pub const FAMILIES: Self = Self(1 << 9);
    /// A load balancer that is less certainly internal, as its class and annotations say. Only the
    /// crate `sallyport-facts` finds it.
    pub const PUBLIC: Self = Self(1 << 10);
    /// Every way.
    pub const ANY: Self = Self(u16::MAX);
    /// The ways that change the destination of kept traffic: other ports, other Pods.
    pub const LEADS: Self = Self(Self::PORTS.0 | Self::TARGETS.0 | Self::SELECTED.0);

    /// Returns the ways that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the ways that are in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the ways that are in this set alone.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns true for the empty set.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Returns the name of the first way, for a message.
    fn text(self) -> &'static str {
        const TEXTS: [(Widening, &str); 11] = [
            (Widening::TYPE, "another type"),
            (Widening::PORTS, "another port"),
            (Widening::TARGETS, "another target port"),
            (Widening::SELECTED, "other Pods or another name to lead to"),
            (Widening::NODE_PORTS, "another node port"),
            (Widening::NODES, "more nodes"),
            (Widening::EXTERNAL_IPS, "another external IP"),
            (Widening::FAMILIES, "another IP family"),
            (Widening::SOURCES, "wider source ranges"),
            (Widening::PUBLIC, "a less certainly internal load balancer"),
            (
                Widening::LOAD_BALANCER,
                "another kind or address of load balancer",
            ),
        ];
        TEXTS
            .iter()
            .find(|(way, _)| !self.and(*way).is_none())
            .map_or("", |(_, text)| text)
    }

    fn when(self, holds: bool) -> Self {
        if holds { self } else { Self::NONE }
    }

    /// Compares the fields of two states of a Service. Annotations are not looked at, except
    /// for source ranges: `sallyport_facts::reach::widening` compares those of load balancers, too.
    pub fn between(old: &Service, new: &Service) -> Self {
        ports(old, new)
            .or(Self::TYPE.when(is_greater_type(old, new)))
            .or(Self::SELECTED.when(selects_more(old, new)))
            .or(Self::NODE_PORTS.when(opens_node_ports(old, new)))
            .or(Self::NODES.when(answers_on_more_nodes(old, new)))
            .or(Self::EXTERNAL_IPS.when(has_more_ips(old, new)))
            .or(Self::FAMILIES.when(has_another_family(old, new)))
            .or(Self::SOURCES.when(admits_more(old, new)))
            .or(Self::LOAD_BALANCER.when(is_another_load_balancer(old, new)))
    }
}

impl Verdict {
    /// Judges the Service under review. If the update widens violations that were there before, it
    /// makes them new ones: it removes their keys, and their messages say why.
    ///
    /// `compare` compares the old and the new Service: [`Widening::between`], or
    /// `sallyport_facts::reach::widening` where annotations of load balancers count. `ways` returns
    /// the ways of exposing more that count for a violation. `judge` is the rule itself; if the
    /// update widens something, it is called for the old object, too.
    pub fn of_update(
        review: &Review,
        compare: impl Fn(&Service, &Service) -> Widening,
        ways: impl Fn(&Violation) -> Widening,
        judge: impl Fn(&Service) -> Self,
    ) -> Self {
        let mut verdict = judge(&review.service).bounded();
        let Some(old) = review
            .old_service
            .as_ref()
            .filter(|_| !verdict.violations.is_empty())
        else {
            return verdict;
        };
        let widening = compare(old, &review.service);
        if widening.is_none() {
            return verdict;
        }
        let name = |violation: &Violation| format!("{} {}", violation.rule, violation.key);
        let before = Set::of(&judge(old).violations, |violation| Some(name(violation)));
        for violation in &mut verdict.violations {
            let ways = widening.and(ways(violation));
            if !ways.is_none() && !violation.key.is_empty() && before.has(&name(violation)) {
                violation.key.clear();
                violation
                    .message
                    .push_str(" (kept until now, but the update adds ");
                violation.message.push_str(ways.text());
                violation.message.push(')');
            }
        }
        verdict
    }
}

/// Texts that are looked up quickly.
struct Set(Vec<String>);

impl Set {
    fn of<T>(items: &[T], text: impl Fn(&T) -> Option<String>) -> Self {
        let mut heap = BinaryHeap::new();
        for item in items {
            heap.extend(text(item));
        }
        Self(heap.into_sorted_vec())
    }

    fn has(&self, text: &String) -> bool {
        self.0.binary_search(text).is_ok()
    }
}

/// Returns true for every change of the type but to a lesser one. An ExternalName is neither more
/// nor less than the others.
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

/// Entries that are compared one by one. Longer lists are compared as a whole: another order then
/// counts as wider.
const MOST_COMPARED: usize = 8192;

fn is_long<T>(old: &[T], new: &[T]) -> bool {
    old.len().max(new.len()) > MOST_COMPARED
}

fn ports(old: &Service, new: &Service) -> Widening {
    if old.spec.ports == new.spec.ports {
        return Widening::NONE;
    }
    if is_long(&old.spec.ports, &new.spec.ports) {
        return Widening::LEADS;
    }
    let name = |port: &Port| format!("{}:{}", port.protocol, port.port);
    let way = |port: &Port| {
        let (number, target) = port.target();
        format!("{}:{}:{number}{target}", port.protocol, port.port)
    };
    let ports = Set::of(&old.spec.ports, |port| Some(name(port)));
    let ways = Set::of(&old.spec.ports, |port| Some(way(port)));
    let mut widening = Widening::NONE;
    for port in &new.spec.ports {
        if !ports.has(&name(port)) {
            widening = widening.or(Widening::PORTS);
        } else if !ways.has(&way(port)) {
            widening = widening.or(Widening::TARGETS);
        }
    }
    widening
}

fn selects_more(old: &Service, new: &Service) -> bool {
    let (before, after) = (&old.spec, &new.spec);
    if new.service_type() == ServiceType::ExternalName {
        let name = after.external_name.as_deref().unwrap_or_default();
        return !name.eq_ignore_ascii_case(before.external_name.as_deref().unwrap_or_default());
    }
    let same = before.selector.is_empty() && after.selector.is_empty();
    let more_requirements =
        !before.selector.is_empty() && is_subset(&before.selector, &after.selector);
    !(same || more_requirements)
        || after.publish_not_ready_addresses && !before.publish_not_ready_addresses
}

/// Returns true if every pair is among the others. Both lists are sorted by key.
fn is_subset(pairs: &[Pair], others: &[Pair]) -> bool {
    let mut others = others.iter();
    pairs.iter().all(|pair| others.any(|other| other == pair))
}

fn opens_node_ports(old: &Service, new: &Service) -> bool {
    if !new.uses_node_ports() {
        return false;
    }
    if opens_any(new) && !opens_any(old) {
        return true;
    }
    if old.uses_node_ports() && old.spec.ports == new.spec.ports {
        return false;
    }
    if is_long(&old.spec.ports, &new.spec.ports) {
        return true;
    }
    let name = |port: &Port| Some(format!("{}:{}", port.protocol, port.node_port?));
    let before = Set::of(
        if old.uses_node_ports() {
            &old.spec.ports
        } else {
            &[]
        },
        name,
    );
    // A port that the API server allocates in place of another one is nobody's choice.
    let mut count = 0;
    for port in &new.spec.ports {
        if let Some(name) = name(port) {
            count += 1;
            if port.node_port_by_client && !before.has(&name) {
                return true;
            }
        }
    }
    count > before.0.len()
}

fn opens_any(service: &Service) -> bool {
    service.service_type() == ServiceType::NodePort
        || service.service_type() == ServiceType::LoadBalancer
            && service.spec.allocate_load_balancer_node_ports != Some(false)
}

fn answers_on_more_nodes(old: &Service, new: &Service) -> bool {
    let every_node =
        |service: &Service| service.spec.external_traffic_policy.as_deref() != Some("Local");
    new.is_exposed() && every_node(new) && !every_node(old)
}

/// The families of IP addresses.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// Returns true if traffic comes in by a family that the Service did not have. A ClusterIP counts,
/// too: an annotation may expose it. A Service whose families nobody has set yet says nothing about
/// them.
fn has_another_family(old: &Service, new: &Service) -> bool {
    let is_added = |family| new.has_family(family) && !old.has_family(family);
    !old.spec.ip_families.is_empty() && FAMILIES.into_iter().any(is_added)
}

fn has_more_ips(old: &Service, new: &Service) -> bool {
    let (before, after) = (old.live_external_ips(), new.live_external_ips());
    if before == after || after.is_empty() || is_long(before, after) {
        return before != after && !after.is_empty();
    }
    let before = Set::of(before, |ip| Some(ip.clone()));
    !after.iter().all(|ip| before.has(ip))
}

/// Comparisons of source ranges. More ranges are not compared one by one: they count as wider.
const MOST_COMPARISONS: usize = 1 << 22;

fn admits_more(old: &Service, new: &Service) -> bool {
    if new.service_type() != ServiceType::LoadBalancer
        || old.service_type() != ServiceType::LoadBalancer
    {
        return false;
    }
    let (before, mut after) = (source_ranges(old), source_ranges(new));
    if before.is_empty() || before == after {
        return false;
    }
    if FAMILIES
        .into_iter()
        .any(|family| is_opened(&before, &after, new, family))
    {
        return true;
    }
    if after.is_empty() || before.len().saturating_mul(after.len()) > MOST_COMPARISONS {
        return true;
    }
    after.retain(|text| !before.contains(text));
    // A new block may be covered by several old ones together.
    if before.len().saturating_pow(2).saturating_mul(after.len()) > MOST_COMPARISONS {
        return true;
    }
    let mut blocks = vec![];
    for text in &before {
        blocks.extend(Cidr::parse(text));
    }
    let is_covered = |block: Cidr| net::together_cover(&blocks, &block);
    !after
        .iter()
        .all(|text| Cidr::parse(text).is_some_and(is_covered))
}

/// Returns true if the last range of a family goes that the Service has.
fn is_opened(before: &[&str], after: &[&str], service: &Service, family: &str) -> bool {
    let is_v6 = family == FAMILIES[1];
    let is_of = |range: &&str| Cidr::parse(range).is_some_and(|block| block.is_v6() == is_v6);
    service.has_family(family) && before.iter().any(is_of) && !after.iter().any(is_of)
}

/// The older form of `loadBalancerSourceRanges`, which the field wins over.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// Returns the source ranges that count. None: the whole world.
fn source_ranges(service: &Service) -> Vec<&str> {
    let mut ranges = vec![];
    for range in &service.spec.load_balancer_source_ranges {
        ranges.push(range.trim_ascii());
    }
    let mut rest = service
        .annotation(SOURCE_RANGES)
        .filter(|_| ranges.is_empty())
        .unwrap_or_default();
    while !rest.is_empty() {
        let end = rest
            .bytes()
            .position(|byte| byte == b',')
            .unwrap_or(rest.len());
        let range = rest.get(..end).unwrap_or_default().trim_ascii();
        if !range.is_empty() {
            ranges.push(range);
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    ranges
}

fn is_another_load_balancer(old: &Service, new: &Service) -> bool {
    let (before, after) = (&old.spec, &new.spec);
    let is_served = |service: &Service| service.service_type() == ServiceType::LoadBalancer;
    let by_field = before.load_balancer_class != after.load_balancer_class
        || after.load_balancer_ip.is_some() && before.load_balancer_ip != after.load_balancer_ip;
    by_field && is_served(new) && is_served(old)
}

#[cfg(test)]
mod tests;
