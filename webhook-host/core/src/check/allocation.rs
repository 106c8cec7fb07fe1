//! The fields that only the API server decides when it stores a Service: node ports, the
//! health-check node port, cluster IPs.
//!
//! A manifest leaves them out, but policies see the object that has them. Therefore `check` asks
//! about several objects that the API server could make of a manifest, and compares the verdicts.
//! The rules are those of Kubernetes' `pkg/registry/core/service/storage/alloc.go`; those of
//! addresses are in `api_server::update`. No policy is named here: the numbers at which a verdict
//! can change are those in the settings of the loaded policies, and these are tried.

use crate::api_server::update::{Families, Family, forwards, is_absent, is_set, ports};
use crate::contract::review::PortRange;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Choices that are tried at most. Each is one review; the shipped policies need four to twenty.
const MAX_CHOICES: usize = 128;

/// The IP families that clusters give: one of them, or both, where a Service may have both.
const FAMILIES: [Families; 4] = [
    Families {
        primary: Family::V4,
        is_dual: false,
    },
    Families {
        primary: Family::V6,
        is_dual: false,
    },
    Families {
        primary: Family::V4,
        is_dual: true,
    },
    Families {
        primary: Family::V6,
        is_dual: true,
    },
];

/// The fields of a Service that are left to the API server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Allocation {
    /// Indexes of ports that get one node port together: the API server gives ports of one number
    /// the same one, when it creates a Service.
    groups: Vec<Vec<usize>>,
    health_check: bool,
    /// The kinds of cluster that give the Service different families; empty if all give the same.
    families: Vec<Families>,
}

/// One way in which the API server may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// The first node port; more of them follow it.
    first: u16,
    /// The families of the cluster, for a new Service.
    pub(super) families: Families,
    /// The families of the cluster, for an update. It is taken for a dual-stack one, in which a
    /// Service that prefers two families exposes more: see `judge`.
    pub(super) of_update: Families,
}

impl Choice {
    fn new(first: u16, families: Families) -> Self {
        Self {
            first,
            families,
            of_update: Families {
                is_dual: true,
                ..families
            },
        }
    }

    /// The lowest node ports.
    pub(super) fn first(range: PortRange) -> Self {
        Self::new(range.from, FAMILIES[0])
    }

    /// Returns the choice in a cluster that has one family.
    pub(super) fn single_stack(self) -> Self {
        let of_update = Families {
            is_dual: false,
            ..self.of_update
        };
        Self { of_update, ..self }
    }
}

impl Allocation {
    /// The fields that a Service with the API server's defaults leaves out, when it is created.
    pub(super) fn of(service: &Value) -> Self {
        let spec = &service["spec"];
        Self {
            families: if forwards(spec) { kinds(spec) } else { vec![] },
            ..Self::with(service, unset_ports)
        }
    }

    /// The fields that an update leaves out, which has what the old Service had.
    pub(super) fn of_update(service: &Value) -> Self {
        let spec = &service["spec"];
        let is_new = ["clusterIP", "clusterIPs"]
            .iter()
            .all(|key| is_absent(&spec[*key]));
        let alone = |spec: &Value| {
            let groups = unset_ports(spec).into_iter().flatten();
            groups.map(|index| vec![index]).collect()
        };
        Self {
            families: match forwards(spec) && is_new {
                true => FAMILIES[..2].to_vec(),
                false => vec![],
            },
            ..Self::with(service, alone)
        }
    }

    fn with(service: &Value, groups: impl Fn(&Value) -> Vec<Vec<usize>>) -> Self {
        let spec = &service["spec"];
        let kind = spec["type"].as_str().unwrap_or_default();
        let opens = match kind {
            "NodePort" => true,
            "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
            _ => false,
        };
        let groups = if opens { groups(spec) } else { vec![] };
        let health_check = kind == "LoadBalancer"
            && spec["externalTrafficPolicy"] == "Local"
            && !is_set(&spec["healthCheckNodePort"]);
        Self {
            groups,
            health_check,
            families: vec![],
        }
    }

    /// Returns true if a node port of some kind is left to the API server.
    pub(super) fn has_ports(&self) -> bool {
        !self.groups.is_empty() || self.health_check
    }

    /// Adds the kinds of cluster that decide about the families of another object.
    pub(super) fn with_families_of(mut self, other: &Self) -> Self {
        for families in &other.families {
            if !self.families.contains(families) {
                self.families.push(*families);
            }
        }
        self
    }

    /// Returns the paths of the node ports that the API server chooses.
    pub(super) fn fields(&self) -> BTreeSet<String> {
        let ports = self
            .groups
            .iter()
            .flatten()
            .map(|index| format!("spec.ports[{index}].nodePort"));
        ports
            .chain(
                self.health_check
                    .then(|| "spec.healthCheckNodePort".to_owned()),
            )
            .collect()
    }

    /// Returns choices that the API server may make: at least one from each part of the node port
    /// range in which verdicts can't change.
    pub(super) fn choices<'a>(
        &self,
        range: PortRange,
        settings: impl Iterator<Item = &'a Value>,
    ) -> Vec<Choice> {
        let numbers = match self.has_ports() {
            true => numbers(range, settings),
            false => vec![range.from],
        };
        let families = if self.families.is_empty() {
            &FAMILIES[..1]
        } else {
            &self.families
        };
        // Every number and every kind of cluster is tried once.
        let length = numbers.len().max(families.len());
        numbers
            .into_iter()
            .cycle()
            .zip(families.iter().cycle())
            .map(|(first, families)| Choice::new(first, *families))
            .take(length)
            .collect()
    }

    /// Fills in the ports that the API server would have chosen. Returns the choice that is left
    /// for another object.
    pub(super) fn fill(&self, service: &mut Value, choice: Choice, range: PortRange) -> Choice {
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
            return choice;
        };
        let mut next = choice.first;
        let mut take = || {
            let number = next;
            next = if next >= range.to {
                range.from
            } else {
                next + 1
            };
            number
        };
        for group in &self.groups {
            let number = take();
            for index in group {
                let port = spec
                    .get_mut("ports")
                    .and_then(|ports| ports.get_mut(*index));
                if let Some(port) = port.and_then(Value::as_object_mut) {
                    port.insert("nodePort".to_owned(), number.into());
                }
            }
        }
        if self.health_check {
            spec.insert("healthCheckNodePort".to_owned(), take().into());
        }
        Choice {
            first: next,
            ..choice
        }
    }
}

/// Returns the kinds of cluster that give the Service other families than another kind does. One
/// that names addresses of one family only is taken to be written for a cluster whose first family
/// this is: most clusters have IPv4, and few manifests say so.
fn kinds(spec: &Value) -> Vec<Families> {
    let named: Vec<_> = list(&spec["ipFamilies"]).collect();
    let policy = family_policy(spec);
    let may_have_both = matches!(policy, "PreferDualStack" | "RequireDualStack");
    if named.len() > 1 || named.len() == 1 && !may_have_both {
        return vec![];
    }
    let first = match named.first() {
        Some(family) => Family::named(family),
        None => family_of_addresses(spec),
    };
    let is_possible = |families: &&Families| {
        first.is_none_or(|first| first == families.primary)
            && match policy {
                "RequireDualStack" => families.is_dual,
                "PreferDualStack" => true,
                _ => !families.is_dual,
            }
    };
    FAMILIES.iter().filter(is_possible).copied().collect()
}

/// Returns the family of all addresses and blocks that the Service names.
fn family_of_addresses(spec: &Value) -> Option<Family> {
    let one = ["clusterIP", "loadBalancerIP"].into_iter();
    let many = ["clusterIPs", "externalIPs", "loadBalancerSourceRanges"].into_iter();
    let mut of = one
        .filter_map(|key| spec[key].as_str())
        .chain(many.flat_map(|key| list(&spec[key])))
        .filter(|address| !matches!(*address, "" | "None"))
        .map(Family::of);
    let first = of.next()?;
    of.all(|other| other == first).then_some(first)
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Returns the policy of the families, or the API server's default: a headless Service without a
/// selector gets both, in any cluster.
fn family_policy(spec: &Value) -> &str {
    let is_empty = |key: &str| spec[key].as_object().is_none_or(Map::is_empty);
    match spec["ipFamilyPolicy"].as_str() {
        Some(policy) if !policy.is_empty() => policy,
        _ if spec["clusterIP"] == "None" && is_empty("selector") => "RequireDualStack",
        _ => "SingleStack",
    }
}

/// Returns the ports without a node port, by the number of the port. [`share`] has filled in those
/// whose number has a node port elsewhere.
fn unset_ports(spec: &Value) -> Vec<Vec<usize>> {
    let mut groups = BTreeMap::<i64, Vec<usize>>::new();
    for (index, port) in ports(spec)
        .enumerate()
        .filter(|(_, port)| port.is_object() && !is_set(&port["nodePort"]))
    {
        groups
            .entry(port["port"].as_i64().unwrap_or(-1))
            .or_default()
            .push(index);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort();
    groups
}

/// Gives ports without a node port the one of a port with the same number (DNS over TCP and UDP),
/// as the API server does.
pub(super) fn share(service: &mut Value) {
    let spec = &service["spec"];
    let opens = matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"));
    if !opens || spec["type"] == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] == false {
        return;
    }
    let mut chosen = BTreeMap::<i64, Value>::new();
    for port in ports(spec).filter(|port| is_set(&port["nodePort"])) {
        if let Some(number) = port["port"].as_i64() {
            chosen
                .entry(number)
                .or_insert_with(|| port["nodePort"].clone());
        }
    }
    let all = service
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut);
    for port in all.into_iter().flatten().filter(|port| port.is_object()) {
        let number = port["port"].as_i64().and_then(|number| chosen.get(&number));
        if let (Some(number), false) = (number, is_set(&port["nodePort"])) {
            port["nodePort"] = number.clone();
        }
    }
}

/// Returns numbers of which at least one lies in each part into which the settings' numbers divide
/// the range, the ends first.
fn numbers<'a>(range: PortRange, settings: impl Iterator<Item = &'a Value>) -> Vec<u16> {
    let (from, to) = (range.from, range.to);
    let mut known = BTreeSet::from([from, to]);
    settings.for_each(|settings| collect(settings, &mut known));
    // A bound belongs to one side or the other, so its neighbours are tried too; and so is the
    // middle between two bounds.
    let near: BTreeSet<u16> = known
        .iter()
        .flat_map(|number| [number.saturating_sub(1), *number, number.saturating_add(1)])
        .collect();
    let near: Vec<u16> = near
        .into_iter()
        .filter(|number| (from..=to).contains(number))
        .collect();
    let middles = near
        .windows(2)
        .map(|pair| pair[0] + (pair[1] - pair[0]) / 2);
    let mut all: BTreeSet<u16> = near.iter().copied().chain(middles).collect();
    let ends = [from, to];
    all.retain(|number| !ends.contains(number));
    let step = all.len().div_ceil(MAX_CHOICES).max(1);
    ends.into_iter()
        .take(if from == to { 1 } else { 2 })
        .chain(all.into_iter().step_by(step))
        .collect()
}

/// Returns every port number in the settings, also in texts such as `30000-30100`.
fn collect(settings: &Value, known: &mut BTreeSet<u16>) {
    match settings {
        Value::Number(number) => known.extend(
            number
                .as_u64()
                .and_then(|number| u16::try_from(number).ok()),
        ),
        Value::String(text) => {
            let words = text
                .split(|c: char| !c.is_ascii_digit())
                .filter(|word| !word.is_empty());
            known.extend(words.filter_map(|word| word.parse::<u16>().ok()));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, known)),
        Value::Object(members) => members.values().for_each(|member| collect(member, known)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_server::update;
    use serde_json::json;

    const RANGE: PortRange = PortRange {
        from: 30000,
        to: 32767,
    };

    fn service(kind: &str, ports: &Value) -> Value {
        json!({"metadata": {}, "spec": {"type": kind, "clusterIP": "10.0.0.1", "ports": ports}})
    }

    #[test]
    fn only_ports_without_a_number_are_left_to_the_api_server() {
        let ports =
            json!([{"port": 80, "nodePort": 30080}, {"port": 81}, {"port": 82, "nodePort": 0}]);
        let fields = |kind: &str| Allocation::of(&service(kind, &ports)).fields();
        assert_eq!(
            fields("NodePort").into_iter().collect::<Vec<_>>(),
            ["spec.ports[1].nodePort", "spec.ports[2].nodePort"]
        );
        assert_eq!(fields("LoadBalancer").len(), 2);
        assert!(fields("ClusterIP").is_empty());
        let mut none = service("LoadBalancer", &ports);
        none["spec"]["allocateLoadBalancerNodePorts"] = false.into();
        assert!(!Allocation::of(&none).has_ports());
        none["spec"]["externalTrafficPolicy"] = "Local".into();
        assert!(Allocation::of(&none).health_check);
    }

    #[test]
    fn ports_of_one_number_share_a_node_port() {
        let ports =
            json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80}]);
        let mut dns = service("NodePort", &ports);
        let allocation = Allocation::of(&dns);
        allocation.fill(&mut dns, Choice::new(32767, FAMILIES[0]), RANGE);
        let numbers: Vec<_> = dns["spec"]["ports"]
            .as_array()
            .expect("ports")
            .iter()
            .map(|p| p["nodePort"].clone())
            .collect();
        assert_eq!(numbers, [32767, 32767, 30000]);
        let mut chosen = service(
            "NodePort",
            &json!([{"port": 53}, {"port": 53, "nodePort": 30053, "protocol": "UDP"}]),
        );
        share(&mut chosen);
        assert_eq!(chosen["spec"]["ports"][0]["nodePort"], 30053);
        assert!(!Allocation::of(&chosen).has_ports());
    }

    /// Returns the families that a Service gets, in each kind of cluster that is tried.
    fn tried(spec: &Value) -> Vec<String> {
        let mut service = service("LoadBalancer", &json!([{"port": 80, "nodePort": 30080}]));
        let own = service["spec"].as_object_mut().expect("a map");
        own.remove("clusterIP");
        own.extend(spec.as_object().expect("a map").clone());
        let allocation = Allocation::of(&service);
        let choices = allocation.choices(RANGE, [].iter());
        let families = choices.into_iter().map(|choice| {
            let mut filled = service.clone();
            update::families(&mut filled, None, choice.families);
            update::addresses(&mut filled, None);
            let spec = &filled["spec"];
            let count = |key: &str| spec[key].as_array().map_or(0, Vec::len);
            if spec["clusterIP"] != "None" {
                assert_eq!(count("clusterIPs"), count("ipFamilies"), "{spec}");
            }
            list(&spec["ipFamilies"]).collect::<Vec<_>>().join(" ")
        });
        families.collect()
    }

    #[test]
    fn the_families_of_every_kind_of_cluster_are_tried() {
        for (spec, expected) in [
            (json!({}), &["IPv4", "IPv6"][..]),
            (json!({"ipFamilies": ["IPv6"]}), &["IPv6"]),
            (
                json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]}),
                &["IPv4"],
            ),
            (json!({"loadBalancerIP": "2001:db8::1"}), &["IPv6"]),
            (
                json!({"loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"]}),
                &["IPv4", "IPv6"],
            ),
            (
                json!({"ipFamilyPolicy": "PreferDualStack"}),
                &["IPv4", "IPv6", "IPv4 IPv6", "IPv6 IPv4"],
            ),
            (
                json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}),
                &["IPv6", "IPv6 IPv4"],
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                &["IPv4 IPv6", "IPv6 IPv4"],
            ),
            (
                json!({"type": "ClusterIP", "clusterIP": "None"}),
                &["IPv4 IPv6", "IPv6 IPv4"],
            ),
            (
                json!({"type": "ClusterIP", "clusterIP": "None", "selector": {"app": "a"}}),
                &["IPv4", "IPv6"],
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}),
                &["IPv6 IPv4"],
            ),
        ] {
            assert_eq!(tried(&spec), expected, "{spec}");
        }
    }

    #[test]
    fn an_update_to_one_family_gives_back_the_other_one() {
        let mut old = service("ClusterIP", &json!([{"port": 80}]));
        old["spec"]["clusterIPs"] = json!(["10.0.0.1", "fd00::1"]);
        old["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
        let mut new = json!({"metadata": {}, "spec": {"type": "ClusterIP", "ports": [{"port": 80}],
            "ipFamilyPolicy": "SingleStack"}});
        update::carry_over(&mut new, &old);
        update::families(&mut new, Some(&old), FAMILIES[2]);
        assert_eq!(new["spec"]["ipFamilies"], json!(["IPv4"]));
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.1"]));
    }

    #[test]
    fn every_stretch_between_two_numbers_of_the_settings_is_tried() {
        let settings =
            json!({"ranges": [{"from": 30100, "to": 30199}], "note": "32000-32001", "small": 7});
        let tried = numbers(RANGE, [settings].iter());
        for stretch in [
            30000..=30099,
            30100..=30199,
            30200..=31999,
            32000..=32001,
            32002..=32767,
        ] {
            assert!(
                tried.iter().any(|number| stretch.contains(number)),
                "{stretch:?}: {tried:?}"
            );
        }
        assert_eq!(tried[..2], [30000, 32767]);
        let many: Value = (30000..32000).collect();
        assert!(numbers(RANGE, [many].iter()).len() <= MAX_CHOICES + 2);
        assert_eq!(numbers(PortRange { from: 5, to: 5 }, [].iter()), [5]);
    }
}
