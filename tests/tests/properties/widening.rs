//! Updates that expose strictly more keep no violation, rule by rule; updates that expose no more
//! keep all of them.
//!
//! Each rule has a Service that violates it, edits that widen its exposure, and edits that don't. A
//! pair combines any of these edits. [`key_of_before`] shows that the widening edits are worth
//! testing: with the keys of an earlier version, the host would keep every one of them.

use crate::review::{Json, Request, VALIDATE};
use crate::worlds::{DENIED, DENIED_PORT, RESTRICTED, STRICT, TEAM, World};
use proptest::prelude::*;
use proptest::sample::subsequence;
use sallyport_core::admission::Outcome;
use sallyport_core::contract::verdict::Violation;
use sallyport_tests::widening::WAYS;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A named edit of a Service.
type Edit = (&'static str, fn(&mut Value));

/// A rule, a Service that violates it, and the edits that make it worse.
struct Case {
    rule: &'static str,
    /// The name of the world's controller; `None` on bare metal.
    world: Option<&'static str>,
    old: Value,
    ways: Vec<Edit>,
}

const AWS_SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";

fn service(spec: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "w", "namespace": TEAM, "labels": {"team": "a"},
            "annotations": {"example.com/x": "y"}},
        "spec": spec,
    });
    if service["spec"]["ports"].is_null() {
        service["spec"]["ports"] =
            json!([{"name": "a", "port": 80}, {"name": "b", "port": 443, "targetPort": 8443}]);
    }
    if service["spec"]["type"] != "ExternalName" {
        service["spec"]["ipFamilies"] = json!(["IPv4"]);
    }
    service
}

fn load_balancer(more: Value) -> Value {
    let mut service = service(json!({
        "type": "LoadBalancer", "selector": {"app": "web"}, "allocateLoadBalancerNodePorts": false,
        "loadBalancerSourceRanges": ["10.0.0.0/8"], "externalTrafficPolicy": "Local",
    }));
    for (key, value) in more.as_object().expect("a map") {
        service["spec"][key] = value.clone();
    }
    service
}

fn with_annotation(mut service: Value, key: &str, value: &str) -> Value {
    service["metadata"]["annotations"][key] = json!(value);
    service
}

const ADDED_PORT: Edit = ("a port is added", |s| {
    let port = json!({"name": "added", "port": 8080, "targetPort": 8081});
    s["spec"]["ports"].as_array_mut().expect("ports").push(port);
});
const ADDED_PROTOCOL: Edit = ("a protocol is added", |s| {
    let port = json!({"name": "udp", "port": 80, "protocol": "UDP"});
    s["spec"]["ports"].as_array_mut().expect("ports").push(port);
});
const OTHER_TARGET: Edit = ("a port leads elsewhere", |s| {
    s["spec"]["ports"][0]["targetPort"] = json!(9999)
});
const NAMED_TARGET: Edit = ("a port leads to a name", |s| {
    s["spec"]["ports"][0]["targetPort"] = json!("admin")
});
const OTHER_SELECTOR: Edit = ("it selects other Pods", |s| {
    s["spec"]["selector"] = json!({"app": "other"})
});
const UNREADY: Edit = ("it leads to unready Pods", |s| {
    s["spec"]["publishNotReadyAddresses"] = json!(true)
});
const ADDED_IP: Edit = ("an external IP is added", |s| {
    s["spec"]["externalIPs"] = json!(["8.8.8.8", "8.8.4.4"])
});
const ALL_NODES: Edit = ("every node answers", |s| {
    s["spec"]["externalTrafficPolicy"] = json!("Cluster")
});
const NO_RANGES: Edit = ("source ranges go", |s| {
    s["spec"]["loadBalancerSourceRanges"] = json!([])
});
const ADDED_RANGE: Edit = ("a source range is added", |s| {
    let ranges = s["spec"]["loadBalancerSourceRanges"]
        .as_array_mut()
        .expect("ranges");
    ranges.push(json!("192.0.2.0/25"));
});
const PUBLIC: Edit = ("it becomes public", |s| {
    s["metadata"]["annotations"][AWS_SCHEME] = json!("internet-facing")
});

const SECOND_FAMILY: Edit = ("a second IP family is added", |s| {
    s["spec"]["ipFamilyPolicy"] = json!("PreferDualStack");
    s["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
});
const REQUIRED_FAMILY: Edit = ("a second IP family is required", |s| {
    s["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
});
const OTHER_SUBNET: Edit = ("it moves to another subnet", |s| {
    s["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-subnets"] =
        json!("subnet-1");
});
const OTHER_ADDRESS: Edit = ("it asks for another address", |s| {
    s["spec"]["loadBalancerIP"] = json!("192.0.2.77")
});
const NODE_PORTS: Edit = ("other node ports", |s| {
    s["spec"]["allocateLoadBalancerNodePorts"] = json!(true);
    s["spec"]["ports"][1]["nodePort"] = json!(30003);
});
const GREATER_TYPE: Edit = ("a type that exposes more", |s| {
    let node_port = s["spec"]["type"] == "ClusterIP";
    s["spec"]["type"] = json!(if node_port {
        "NodePort"
    } else {
        "LoadBalancer"
    });
});

fn leads() -> Vec<Edit> {
    vec![
        ADDED_PORT,
        ADDED_PROTOCOL,
        OTHER_TARGET,
        NAMED_TARGET,
        OTHER_SELECTOR,
        UNREADY,
    ]
}

fn and(more: &[Edit]) -> Vec<Edit> {
    leads().into_iter().chain(more.iter().copied()).collect()
}

fn cases() -> Vec<Case> {
    let node_port = json!({
        "type": "NodePort", "selector": {"app": "web"}, "externalTrafficPolicy": "Local",
        "ports": [{"name": "a", "port": 80, "nodePort": 30001},
            {"name": "b", "port": 443, "nodePort": 30002}],
    });
    let mut restricted = service(node_port.clone());
    restricted["metadata"]["namespace"] = json!(RESTRICTED);
    let mut out_of_range = service(node_port.clone());
    out_of_range["spec"]["ports"][0]["nodePort"] = json!(31999);
    let mut denied_port = service(node_port.clone());
    denied_port["spec"]["ports"][0]["port"] = json!(DENIED_PORT);
    let mut backend = service(node_port.clone());
    backend["metadata"]["labels"]["tier"] = json!("database");
    let mut selectorless = service(node_port);
    selectorless["spec"]
        .as_object_mut()
        .expect("a map")
        .remove("selector");
    let aws = json!({"loadBalancerClass": "service.k8s.aws/nlb"});
    let internal = |service| with_annotation(service, AWS_SCHEME, "internal");
    let other_node_port: Edit = ("another node port", |s| {
        s["spec"]["ports"][1]["nodePort"] = json!(30003)
    });
    let public_and_more = [PUBLIC, NO_RANGES, ADDED_RANGE, ADDED_IP, SECOND_FAMILY];
    vec![
        Case {
            rule: "S01",
            world: None,
            old: restricted,
            ways: and(&[other_node_port, ADDED_IP, ALL_NODES, SECOND_FAMILY]),
        },
        Case {
            rule: "S02",
            world: None,
            old: out_of_range,
            ways: vec![
                OTHER_TARGET,
                NAMED_TARGET,
                OTHER_SELECTOR,
                UNREADY,
                ALL_NODES,
                SECOND_FAMILY,
                REQUIRED_FAMILY,
            ],
        },
        Case {
            rule: "S03",
            world: None,
            old: load_balancer(json!({})),
            ways: and(&[NO_RANGES, ADDED_RANGE, ADDED_IP, SECOND_FAMILY]),
        },
        Case {
            rule: "S04",
            world: Some("aws-lbc"),
            old: load_balancer(aws.clone()),
            ways: and(&[
                PUBLIC,
                NO_RANGES,
                SECOND_FAMILY,
                REQUIRED_FAMILY,
                OTHER_SUBNET,
            ]),
        },
        Case {
            rule: "S05",
            world: Some("aws-lbc"),
            old: internal(load_balancer(json!({
                "loadBalancerClass": "service.k8s.aws/nlb",
                "loadBalancerSourceRanges": ["172.16.0.0/12"],
            }))),
            ways: and(&[ADDED_RANGE, SECOND_FAMILY, OTHER_SUBNET]),
        },
        Case {
            rule: "S06",
            world: Some("aws-lbc"),
            old: internal(load_balancer(json!({
                "loadBalancerClass": "service.k8s.aws/nlb", "allocateLoadBalancerNodePorts": true,
            }))),
            ways: and(&[NO_RANGES, ADDED_RANGE, SECOND_FAMILY, OTHER_SUBNET]),
        },
        Case {
            rule: "S07",
            world: None,
            old: backend,
            ways: and(&[other_node_port, ALL_NODES, SECOND_FAMILY]),
        },
        Case {
            rule: "S08",
            world: None,
            old: service(json!({"type": "ClusterIP", "selector": {"app": "web"},
                    "externalIPs": ["8.8.8.8"], "externalTrafficPolicy": "Local"})),
            ways: and(&[
                ALL_NODES,
                SECOND_FAMILY,
                ("another type", |s| s["spec"]["type"] = json!("NodePort")),
            ]),
        },
        Case {
            rule: "S09",
            world: None,
            old: service(json!({"type": "ExternalName", "externalName": "localhost"})),
            ways: vec![ADDED_PORT, ADDED_PROTOCOL, OTHER_TARGET],
        },
        Case {
            rule: "S10",
            world: None,
            old: with_annotation(
                service(json!({"type": "ClusterIP", "selector": {"app": "web"}})),
                "tailscale.com/expose",
                "true",
            ),
            ways: and(&[
                SECOND_FAMILY,
                ("another type", |s| s["spec"]["type"] = json!("NodePort")),
                ("to others", |s| {
                    s["metadata"]["annotations"]["tailscale.com/tags"] = json!("tag:all")
                }),
            ]),
        },
        Case {
            rule: "S12",
            world: Some("azure"),
            old: load_balancer(json!({"loadBalancerClass": "a/b"})),
            ways: and(&public_and_more),
        },
        Case {
            rule: "S13",
            world: Some("aws-lbc"),
            old: internal(load_balancer(json!({
                "loadBalancerClass": "service.k8s.aws/nlb", "loadBalancerIP": "192.0.2.9",
            }))),
            ways: and(&[PUBLIC, ADDED_RANGE, SECOND_FAMILY]),
        },
        Case {
            rule: "S17",
            world: Some("aws-lbc"),
            old: with_annotation(
                internal(load_balancer(
                    json!({"loadBalancerClass": "service.k8s.aws/nlb"}),
                )),
                "metallb.io/address-pool",
                "public",
            ),
            ways: and(&[NO_RANGES, ADDED_RANGE, PUBLIC, SECOND_FAMILY]),
        },
        Case {
            rule: "S19",
            world: None,
            old: with_annotation(
                service(json!({"type": "ClusterIP", "selector": {"app": "web"}})),
                DENIED.0,
                DENIED.1,
            ),
            ways: and(&[
                ("another type", |s| s["spec"]["type"] = json!("NodePort")),
                ADDED_IP,
                SECOND_FAMILY,
            ]),
        },
        Case {
            rule: "S20",
            world: None,
            old: denied_port,
            ways: vec![
                OTHER_TARGET,
                NAMED_TARGET,
                OTHER_SELECTOR,
                UNREADY,
                other_node_port,
                ADDED_IP,
                ALL_NODES,
                SECOND_FAMILY,
            ],
        },
        Case {
            rule: "S15",
            world: None,
            old: selectorless,
            ways: vec![
                ADDED_PORT,
                ADDED_PROTOCOL,
                OTHER_TARGET,
                UNREADY,
                other_node_port,
                ADDED_IP,
                ALL_NODES,
                SECOND_FAMILY,
            ],
        },
    ]
}

/// Edits that expose no more than before.
const HARMLESS: [Edit; 7] = [
    ("a label", |s| {
        s["metadata"]["labels"]["example.com/harmless"] = json!("x")
    }),
    ("an annotation", |s| {
        s["metadata"]["annotations"]["example.com/harmless"] = json!("x")
    }),
    ("an annotation less", |s| {
        _ = s["metadata"]["annotations"]
            .as_object_mut()
            .expect("a map")
            .remove("example.com/x")
    }),
    ("another order", |s| {
        s["spec"]["ports"].as_array_mut().expect("ports").reverse()
    }),
    ("another name", |s| {
        s["spec"]["ports"][0]["name"] = json!("renamed")
    }),
    ("fewer Pods", |s| {
        if let Some(selector) = s["spec"]["selector"].as_object_mut() {
            selector.insert("example.com/part".to_owned(), json!("one"));
        }
    }),
    ("narrower ranges", |s| {
        if s["spec"]["loadBalancerSourceRanges"] == json!(["10.0.0.0/8"]) {
            s["spec"]["loadBalancerSourceRanges"] = json!([" 10.1.0.0/16 ", "10.2.0.0/16"]);
        }
    }),
];

/// Applies the edits in the order of their lists, so that those that name a port find it at its
/// index.
fn edited(old: &Value, edits: &[Edit]) -> Json {
    let mut new = old.clone();
    for (_, edit) in edits {
        edit(&mut new);
    }
    Json(new)
}

/// Generates a case's number and edits.
fn pairs(least: usize) -> impl Strategy<Value = (usize, Vec<Edit>)> {
    (0..cases().len()).prop_flat_map(move |number| {
        let ways = cases().swap_remove(number).ways;
        let most = if least == 0 { 0 } else { ways.len() };
        (
            Just(number),
            subsequence(ways, least..=most),
            subsequence(HARMLESS.to_vec(), 0..=HARMLESS.len()),
        )
            .prop_map(|(number, ways, harmless)| (number, [ways, harmless].concat()))
    })
}

impl Case {
    fn world(&self) -> &'static World {
        match self.world {
            Some(name) => World::of(&STRICT, name),
            None => STRICT.last().expect("a world without a controller"),
        }
    }

    fn of_rule<'a>(&self, violations: impl Iterator<Item = &'a Violation>) -> Vec<&'a Violation> {
        violations
            .filter(|violation| violation.rule == self.rule)
            .collect()
    }

    fn violations<'a>(&self, outcome: &'a Outcome) -> Vec<&'a Violation> {
        self.of_rule(
            outcome
                .evaluations
                .iter()
                .flat_map(|evaluation| &evaluation.violations),
        )
    }

    fn kept<'a>(&self, outcome: &'a Outcome) -> Vec<&'a Violation> {
        self.of_rule(
            outcome
                .evaluations
                .iter()
                .flat_map(|evaluation| &evaluation.kept),
        )
    }

    /// Returns the keys that Ratchet compared in an earlier version: those of the Service alone.
    fn keys_of_before(&self, object: &Value) -> BTreeSet<String> {
        let outcome = self.world().review(VALIDATE, &Request::create(object));
        self.violations(&outcome)
            .into_iter()
            .map(key_of_before)
            .collect()
    }
}

/// Returns the violation's key of an earlier version, when keys did not name the exposure. S04 had
/// one for all reasons, and S05 one for each range, which its message names.
fn key_of_before(violation: &Violation) -> String {
    match violation.rule.as_str() {
        "S04" => "LoadBalancer:public".to_owned(),
        "S05" => violation.message.clone(),
        _ => violation.key.clone(),
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn is_a_new_violation((number, edits) in pairs(1)) {
        let case = cases().swap_remove(number);
        let Json(new) = edited(&case.old, &edits);
        let outcome = case.world().review(VALIDATE, &Request::update(&case.old, &new));
        let names: Vec<_> = edits.iter().map(|(name, _)| name).collect();
        prop_assert!(!outcome.response.allowed, "{} allows {:?}: {}", case.rule, names, new);
        prop_assert!(!case.violations(&outcome).is_empty(), "{} keeps {:?}: \
            {}", case.rule, names, new);
    }

    #[test]
    fn is_none_of_an_update_that_exposes_no_more((number, edits) in pairs(0)) {
        let case = cases().swap_remove(number);
        let Json(new) = edited(&case.old, &edits);
        let outcome = case.world().review(VALIDATE, &Request::update(&case.old, &new));
        prop_assert!(outcome.response.allowed, "{}: {:?}: \
            {}", case.rule, outcome.response.denial, new);
        prop_assert!(!case.kept(&outcome).is_empty(), "{} is not reported: {}", case.rule, new);
        prop_assert!(!outcome.response.warnings.is_empty());
    }
}

#[test]
fn was_kept_by_the_keys_of_before() {
    for case in cases() {
        let before = case.keys_of_before(&case.old);
        assert!(
            !before.is_empty(),
            "{} is not offended: {}",
            case.rule,
            case.old
        );
        let collide = |way: &&Edit| {
            case.keys_of_before(&edited(&case.old, &[**way]).0)
                .is_subset(&before)
        };
        let found: Vec<_> = case
            .ways
            .iter()
            .filter(collide)
            .map(|(name, _)| name)
            .collect();
        assert!(
            !found.is_empty(),
            "{}: no way has the keys of before",
            case.rule
        );
    }
}

/// Tells whether a way concerns a Service.
type Concerns = fn(&Value) -> bool;

/// The edits of each way of [`WAYS`], in its order, with the Services that it concerns.
const EDITS: [(Concerns, &[Edit]); 12] = [
    (|service| !is_load_balancer(service), &[GREATER_TYPE]),
    (|_| true, &[ADDED_PORT]),
    (|_| true, &[OTHER_TARGET]),
    (is_forwarded, &[OTHER_SELECTOR, UNREADY]),
    (opens_node_ports, &[NODE_PORTS]),
    (is_exposed, &[ALL_NODES]),
    (is_forwarded, &[ADDED_IP]),
    (is_forwarded, &[SECOND_FAMILY, REQUIRED_FAMILY]),
    (is_load_balancer, &[NO_RANGES]),
    (|_| true, &[PUBLIC]),
    (is_load_balancer, &[OTHER_ADDRESS]),
    (|_| true, &[OTHER_SUBNET]),
];

fn is_forwarded(service: &Value) -> bool {
    service["spec"]["type"] != "ExternalName"
}

fn opens_node_ports(service: &Value) -> bool {
    service["spec"]["type"] == "NodePort" || is_load_balancer(service)
}

fn is_exposed(service: &Value) -> bool {
    opens_node_ports(service) || service["spec"]["externalIPs"].is_array()
}

fn is_load_balancer(service: &Value) -> bool {
    service["spec"]["type"] == "LoadBalancer"
}

/// Returns the cases of the rules that are not about load balancers alone, on a load balancer.
fn on_load_balancers() -> Vec<Case> {
    let of_other_types = cases().into_iter().filter(|case| {
        let kind = case.old["spec"]["type"].as_str().unwrap_or_default();
        kind == "NodePort" || case.rule == "S19"
    });
    of_other_types
        .map(|mut case| {
            let spec = &mut case.old["spec"];
            spec["type"] = json!("LoadBalancer");
            spec["externalTrafficPolicy"] = json!("Local");
            spec["loadBalancerSourceRanges"] = json!(["10.0.0.0/8"]);
            case
        })
        .collect()
}

#[test]
fn counts_for_the_rules_of_the_page() {
    for case in cases().into_iter().chain(on_load_balancers()) {
        for (way, (concerns, edits)) in WAYS.iter().zip(EDITS) {
            for edit in edits.iter().filter(|_| concerns(&case.old)) {
                let Json(new) = edited(&case.old, &[*edit]);
                let request = Request::update(&case.old, &new);
                let outcome = case.world().review(VALIDATE, &request);
                let is_new = !case.violations(&outcome).is_empty();
                // Without a violation, the edit has mended it.
                if new != case.old && (is_new || !case.kept(&outcome).is_empty()) {
                    assert_eq!(
                        is_new,
                        way.rules.contains(&case.rule),
                        "{}: {}: {new}",
                        case.rule,
                        edit.0
                    );
                }
            }
        }
    }
}
