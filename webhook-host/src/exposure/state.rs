//! Facts that decide how far the doors of a Service open, kept so that a later run can say what got
//! wider: the SDK's own comparison ([`widening`]) takes two states of a Service.
//!
//! It is written as a part of the Service's own JSON, so that it is read back as any Service is.

use super::converted::converted;
use super::door::DoorKind;
use sallyport_core::contract::service::Service;
use sallyport_core::service;
use sallyport_facts::reach::{bears_on_reach, widening};
use sallyport_facts::{keys, ranges};
use sallyport_policy::Widening;
use sallyport_policy::service as sdk;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Bytes of an annotation that are kept. Longer ones are kept as a hash: that they changed shows
/// all the same.
const MAX_VALUE: usize = 1024;

/// The fields of a Service that decide how far its doors open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(Value);

/// A way in which a door got wider or narrower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The part that changed, such as `source ranges`.
    pub what: String,
    /// Its former value.
    pub before: String,
    /// Its value now.
    pub after: String,
}

impl State {
    /// Takes the state of a Service.
    pub(crate) fn of(service: &Service) -> Self {
        let service = converted(service);
        let spec = &service.spec;
        let ports: Vec<_> = spec.ports.iter().map(port).collect();
        let ingress = service.status.load_balancer_ingress.iter();
        let ingress: Vec<_> = ingress
            .map(|ingress| pruned(json!({"ip": ingress.ip, "hostname": ingress.hostname})))
            .collect();
        Self(pruned(json!({
            "metadata": pruned(json!({"annotations": annotations(&service)})),
            "spec": pruned(json!({
                "type": service.service_type().as_str(),
                "ports": ports,
                "selector": pairs(&spec.selector),
                "clusterIP": spec.cluster_ip.as_ref().filter(|_| service.is_headless()),
                "ipFamilies": spec.ip_families,
                "externalIPs": spec.external_ips,
                "externalName": spec.external_name,
                "externalTrafficPolicy": spec.external_traffic_policy,
                "allocateLoadBalancerNodePorts": spec.allocate_load_balancer_node_ports,
                "loadBalancerClass": spec.load_balancer_class,
                "loadBalancerIP": spec.load_balancer_ip,
                "loadBalancerSourceRanges": spec.load_balancer_source_ranges,
                "publishNotReadyAddresses": spec.publish_not_ready_addresses.then_some(true),
            })),
            "status": pruned(json!({"loadBalancer": pruned(json!({"ingress": ingress}))})),
        })))
    }

    /// Returns the ways in which a door of this kind got wider until `later`, or `None` where one
    /// of the two is no state of a Service. `port` is the port behind a node port: `TCP 80`.
    pub(crate) fn widened(&self, later: &Self, kind: DoorKind, port: &str) -> Option<Vec<Change>> {
        let read = |state: &Self| Some(converted(&service::from_value(&state.0).ok()?));
        let (old, new) = (read(self)?, read(later)?);
        let ways = widening(&old, &new);
        let mut changes = vec![];
        let mut add = |way: Widening, what: &str, before: String, after: String| {
            if !ways.and(way).is_none() && before != after {
                let what = what.to_owned();
                changes.push(Change {
                    what,
                    before,
                    after,
                });
            }
        };
        if kind == DoorKind::Alias {
            let name = |service: &sdk::Service| service.spec.external_name.clone();
            let (before, after) = (name(&old), name(&new));
            let text = Option::unwrap_or_default;
            add(Widening::SELECTED, "name", text(before), text(after));
            return Some(changes);
        }
        let is_balancer = matches!(kind, DoorKind::LoadBalancer | DoorKind::Shared);
        add(
            Widening::SOURCES,
            "source ranges",
            sources(&old),
            sources(&new),
        );
        add(
            Widening::FAMILIES,
            "IP families",
            families(&old),
            families(&new),
        );
        let targets = |service| targets(service, kind, port);
        add(
            Widening::TARGETS,
            "target ports",
            targets(&old),
            targets(&new),
        );
        add(Widening::SELECTED, "Pods", selected(&old), selected(&new));
        if is_balancer {
            let (before, after) = (load_balancer(&old, &new), load_balancer(&new, &old));
            let ways = Widening::LOAD_BALANCER.or(Widening::PUBLIC);
            add(ways, "load balancer", before, after);
        }
        Some(changes)
    }
}

/// Removes what says nothing.
fn pruned(value: Value) -> Value {
    let Value::Object(fields) = value else {
        return value;
    };
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let fields = fields.into_iter().filter(|(_, value)| !says_nothing(value));
    Value::Object(fields.collect())
}

fn port(port: &sdk::Port) -> Value {
    let target = port.target_port.as_ref().map(|target| match target {
        sdk::TargetPort::Number(number) => json!(number),
        sdk::TargetPort::Name(name) => json!(name),
    });
    pruned(
        json!({"protocol": port.protocol, "port": port.port, "targetPort": target,
        "nodePort": port.node_port}),
    )
}

fn pairs(pairs: &[sdk::Pair]) -> Map<String, Value> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect()
}

/// The annotations of a load balancer that decide who reaches it.
fn annotations(service: &sdk::Service) -> Map<String, Value> {
    if service.service_type() != sdk::ServiceType::LoadBalancer {
        return Map::new();
    }
    let known = keys::of_load_balancers();
    let annotations = service.metadata.annotations.iter();
    annotations
        .filter(|(key, _)| bears_on_reach(key) || known.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), Value::from(short(value))))
        .collect()
}

fn short(value: &str) -> String {
    if value.len() <= MAX_VALUE {
        return value.to_owned();
    }
    let hash = Sha256::digest(value);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn sources(service: &sdk::Service) -> String {
    let ranges = ranges::Ranges::of(service, None);
    match ranges.list.as_slice() {
        [] => "anywhere".to_owned(),
        list => {
            let texts: Vec<_> = list.iter().map(|range| range.text).collect();
            texts.join(", ")
        }
    }
}

fn families(service: &sdk::Service) -> String {
    service.spec.ip_families.join(", ")
}

/// The target ports: of one port for a node port, else of all.
fn targets(service: &sdk::Service, kind: DoorKind, port: &str) -> String {
    let named = service.spec.ports.iter().map(|port| {
        let target = match port.target() {
            (0, name) => name.to_owned(),
            (number, _) => number.to_string(),
        };
        (format!("{} {}", port.protocol, port.port), target)
    });
    let counts = |(name, _): &(String, String)| kind != DoorKind::NodePort || name == port;
    let texts: Vec<_> = named
        .filter(counts)
        .map(|(name, target)| format!("{name} to {target}"))
        .collect();
    texts.join(", ")
}

fn selected(service: &sdk::Service) -> String {
    let pairs = service.spec.selector.iter();
    let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    let selector = match pairs.as_slice() {
        [] => "no selector".to_owned(),
        pairs => pairs.join(","),
    };
    let unready = match service.spec.publish_not_ready_addresses {
        true => ", ready or not",
        false => "",
    };
    selector + unready
}

/// The parts of a load balancer's class, address and annotations that another one has not.
fn load_balancer(service: &sdk::Service, other: &sdk::Service) -> String {
    let mut texts = vec![];
    let mut add = |what: &str, value: &Option<String>, other: &Option<String>| {
        if value != other {
            let value = value.as_deref().unwrap_or("none");
            texts.push(format!("{what} {value}"));
        }
    };
    let (spec, others) = (&service.spec, &other.spec);
    add(
        "class",
        &spec.load_balancer_class,
        &others.load_balancer_class,
    );
    add("address", &spec.load_balancer_ip, &others.load_balancer_ip);
    let annotations = service.metadata.annotations.iter();
    let own = annotations.filter(|(key, value)| other.annotation(key) != Some(value));
    texts.extend(own.map(|(key, value)| format!("{key}: {value}")));
    match texts.as_slice() {
        [] => "no such annotation".to_owned(),
        texts => texts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(value: &Value) -> State {
        State::of(&service::from_value(value).expect("a Service"))
    }

    fn balancer(spec: &Value, annotations: &Value) -> State {
        let mut value = json!({"metadata": {"annotations": annotations},
            "spec": {"type": "LoadBalancer", "selector": {"app": "a"},
                "ports": [{"port": 80, "nodePort": 30080}]}});
        for (key, field) in spec.as_object().expect("an object") {
            value["spec"][key] = field.clone();
        }
        state(&value)
    }

    fn widened(before: &State, after: &State) -> Vec<String> {
        let changes = before.widened(after, DoorKind::LoadBalancer, "");
        let changes = changes.expect("states").into_iter();
        changes
            .map(
                |Change {
                     what,
                     before,
                     after,
                 }| format!("{what}: {before} -> {after}"),
            )
            .collect()
    }

    #[test]
    fn a_state_is_read_back_as_it_was() {
        let value = json!({"metadata": {"annotations": {"a.b/load-balancer-ip": "192.0.2.1",
            "example.com/other": "x"}},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "targetPort": "http", "nodePort": 30080}],
            "loadBalancerSourceRanges": ["10.0.0.0/8"], "selector": {"app": "a"}},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        let first = state(&value);
        assert_eq!(
            first.0["metadata"]["annotations"],
            json!({"a.b/load-balancer-ip": "192.0.2.1"})
        );
        assert_eq!(state(&first.0), first);
        assert_eq!(widened(&first, &first), Vec::<String>::new());
    }

    #[test]
    fn each_way_is_told_with_before_and_after() {
        let none = json!({});
        let ranges = |ranges: Value| balancer(&json!({"loadBalancerSourceRanges": ranges}), &none);
        for (before, after, expected) in [
            (
                ranges(json!(["10.0.0.0/8"])),
                ranges(json!(["10.0.0.0/8", "192.0.2.0/24"])),
                "source ranges: 10.0.0.0/8 -> 10.0.0.0/8, 192.0.2.0/24",
            ),
            (
                ranges(json!(["10.0.0.0/8"])),
                ranges(json!([])),
                "source ranges: 10.0.0.0/8 -> anywhere",
            ),
            (
                balancer(&json!({"ipFamilies": ["IPv4"]}), &none),
                balancer(&json!({"ipFamilies": ["IPv4", "IPv6"]}), &none),
                "IP families: IPv4 -> IPv4, IPv6",
            ),
            (
                balancer(&none, &none),
                balancer(&json!({"selector": {"app": "b"}}), &none),
                "Pods: app=a -> app=b",
            ),
            (
                balancer(&none, &none),
                balancer(&json!({"ports": [{"port": 80, "targetPort": 5432}]}), &none),
                "target ports: TCP 80 to 80 -> TCP 80 to 5432",
            ),
            (
                balancer(
                    &none,
                    &json!({"service.cilium.io/src-ranges-policy": "allow"}),
                ),
                balancer(
                    &none,
                    &json!({"service.cilium.io/src-ranges-policy": "deny"}),
                ),
                "load balancer: service.cilium.io/src-ranges-policy: allow -> \
                 service.cilium.io/src-ranges-policy: deny",
            ),
        ] {
            assert_eq!(widened(&before, &after), [expected]);
        }
        let narrower = widened(
            &ranges(json!(["10.0.0.0/8"])),
            &ranges(json!(["10.1.0.0/16"])),
        );
        assert_eq!(narrower, Vec::<String>::new());
    }

    #[test]
    fn a_long_annotation_that_changes_is_told_and_not_kept() {
        let rules = |end: char| {
            let value = "x".repeat(100_000) + &end.to_string();
            balancer(&json!({}), &json!({"a.b/firewall-rules": value}))
        };
        let (before, after) = (rules('a'), rules('b'));
        assert!(before.0.to_string().len() < 500);
        assert_eq!(widened(&before, &after).len(), 1);
    }
}
