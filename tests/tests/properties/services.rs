//! Strategies for Services, biased towards the fields that policies read.
//!
//! All of them decode; [`crate::shapes`] has those that don't. Fields come and go one by one, so
//! that a failure shrinks to those that matter.

use crate::review::Json;
use crate::worlds::{self, EXTRA, INTERNAL_CLASS, RESTRICTED, TEAM, UNKNOWN, VAULT};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sallyport_facts::backends::{
    AMBIGUOUS_PORTS, OPERATOR_LABELS, PRODUCTS, PROTOCOLS, STRICT_PORTS, TIERS,
};
use sallyport_facts::classes;
use sallyport_facts::internal::{CONTROLLERS, Controller, Enforces, Switch, Variant, When};
use sallyport_facts::metadata_services::METADATA_SERVICES;
use sallyport_facts::reads::Reading;
use sallyport_facts::voids::VOIDS;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The annotation that preceded `loadBalancerSourceRanges`.
pub(crate) const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// The annotation that chooses the controller on AWS.
pub(crate) const AWS_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
/// The break-glass annotation.
pub(crate) const BREAK_GLASS: &str = "sallyport.dev/break-glass";
pub(crate) const GLASS: &str = "2026-01-01T12:00:00Z; an emergency";

type Field = BoxedStrategy<Option<(String, Value)>>;

/// Generates any Service that decodes.
pub(crate) fn any_service() -> BoxedStrategy<Json> {
    let metadata = object(vec![
        field(
            "name",
            9,
            select(vec!["w", "db", "kubernetes"]).prop_map(Value::from),
        ),
        field("generateName", 1, Just(json!("w-"))),
        field("namespace", 9, namespace()),
        field("labels", 6, odd(labels(), json!({}))),
        field("annotations", 7, odd(annotations(), json!({}))),
        field("managedFields", 3, odd(managed_fields(), json!([]))),
        field("deletionTimestamp", 1, Just(json!("2026-01-01T00:00:00Z"))),
        field("finalizers", 1, Just(json!(["example.com/a"]))),
        field(
            "uid",
            1,
            Just(json!("3b5f1b2c-0000-4000-8000-000000000001")),
        ),
        field("generation", 1, Just(json!(3))),
        field("creationTimestamp", 2, Just(json!("2026-01-01T00:00:00Z"))),
        field("ownerReferences", 1, odd(Just(owners()), json!([]))),
    ]);
    let spec = object(vec![
        field("type", 14, service_type()),
        field(
            "ports",
            12,
            odd(vec(port(), 0..5).prop_map(Value::from), json!([])),
        ),
        field("selector", 8, odd(labels(), json!({}))),
        field(
            "clusterIP",
            4,
            select(vec!["", "None", "10.96.0.7"]).prop_map(Value::from),
        ),
        field(
            "externalIPs",
            3,
            odd(vec(address(), 0..3).prop_map(Value::from), json!([])),
        ),
        field("externalName", 3, host_name()),
        field(
            "externalTrafficPolicy",
            4,
            select(vec!["Local", "Cluster", ""]).prop_map(Value::from),
        ),
        field("healthCheckNodePort", 2, node_port()),
        field(
            "allocateLoadBalancerNodePorts",
            6,
            odd(any::<bool>().prop_map(Value::from), Value::Null),
        ),
        field("loadBalancerClass", 3, odd(class(), Value::Null)),
        field("loadBalancerIP", 2, address()),
        field(
            "loadBalancerSourceRanges",
            6,
            odd(vec(range(), 0..4).prop_map(Value::from), json!([])),
        ),
        field(
            "publishNotReadyAddresses",
            1,
            any::<bool>().prop_map(Value::from),
        ),
        field("clusterIPs", 2, Just(json!(["10.96.0.7", "fd00::7"]))),
        field("ipFamilies", 3, ip_families()),
        field("ipFamilyPolicy", 1, Just(json!("PreferDualStack"))),
        field("internalTrafficPolicy", 1, Just(json!("Local"))),
        field(
            "sessionAffinity",
            1,
            select(vec!["None", "ClientIP"]).prop_map(Value::from),
        ),
        field(
            "sessionAffinityConfig",
            1,
            Just(json!({"clientIP": {"timeoutSeconds": 10}})),
        ),
        field("trafficDistribution", 1, Just(json!("PreferSameZone"))),
    ]);
    let service = object(vec![
        field("apiVersion", 14, Just(json!("v1"))),
        field("kind", 14, Just(json!("Service"))),
        field("metadata", 14, metadata),
        field("spec", 14, odd(spec, Value::Null)),
        field("status", 4, status()),
    ]);
    service.prop_map(Json).boxed()
}

fn owners() -> Value {
    json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "o",
        "uid": "3b5f1b2c-0000-4000-8000-000000000002"}])
}

fn ip_families() -> BoxedStrategy<Value> {
    let families = [json!(["IPv4"]), json!(["IPv6"]), json!(["IPv4", "IPv6"])];
    select(families.to_vec()).boxed()
}

/// Generates a Service with a name and a known namespace.
pub(crate) fn service() -> BoxedStrategy<Json> {
    (
        any_service(),
        select(vec![TEAM, TEAM, TEAM, RESTRICTED, VAULT]),
    )
        .prop_map(|(Json(mut service), namespace)| {
            if !service["metadata"].is_object() {
                service["metadata"] = json!({});
            }
            service["metadata"]["name"] = json!("w");
            service["metadata"]["namespace"] = json!(namespace);
            Json(service)
        })
        .boxed()
}

/// Generates a load balancer that all rules allow except for a few changes, for the world of a
/// controller.
pub(crate) fn nearly_fine(controller: Option<&'static Controller>) -> BoxedStrategy<Json> {
    let fine = controller.map_or_else(|| fine_by_class(INTERNAL_CLASS), fine_load_balancer);
    let change = prop_oneof![
        4 => switches_of(controller).prop_map(|(key, value)| ("annotations", key, Some(value))),
        4 => any_switch().prop_map(|switch| ("annotations", switch.key.to_owned(), None)),
        1 => Just(("annotations", SOURCE_RANGES.to_owned(), Some("0.0.0.0/0".to_owned()))),
        2 => pair().prop_map(|(key, value)| ("labels", key, Some(value))),
    ];
    let field = prop_oneof![
        service_type().prop_map(|value| ("type", value)),
        port().prop_map(|value| ("ports", json!([value]))),
        labels().prop_map(|value| ("selector", value)),
        vec(address(), 1..3).prop_map(|value| ("externalIPs", json!(value))),
        class().prop_map(|value| ("loadBalancerClass", value)),
        vec(range(), 0..3).prop_map(|value| ("loadBalancerSourceRanges", json!(value))),
        Just(("allocateLoadBalancerNodePorts", json!(true))),
        host_name().prop_map(|value| ("externalName", value)),
        address().prop_map(|value| ("loadBalancerIP", value)),
    ];
    (
        vec(change, 0..3),
        vec(field, 0..2),
        select(vec![TEAM, TEAM, TEAM, VAULT, RESTRICTED]),
    )
        .prop_map(move |(changes, fields, namespace)| {
            let mut service = fine.clone();
            service["metadata"]["namespace"] = json!(namespace);
            for (map, key, value) in changes {
                match value {
                    Some(value) => service["metadata"][map][key] = value.into(),
                    None => {
                        _ = service["metadata"][map]
                            .as_object_mut()
                            .expect("a map")
                            .remove(&key)
                    }
                }
            }
            for (key, value) in fields {
                service["spec"][key] = value;
            }
            Json(service)
        })
        .boxed()
}

/// Returns a load balancer that all rules allow, internal by the controller's first switch.
pub(crate) fn fine_load_balancer(controller: &Controller) -> Value {
    let mut service = fine_by_class(INTERNAL_CLASS);
    let spec = service["spec"].as_object_mut().expect("a spec");
    spec.remove("loadBalancerClass");
    if controller.name == "aws-lbc" {
        service["metadata"]["annotations"][AWS_TYPE] = json!("external");
    }
    if let Some(switch) = controller.switches.first() {
        service["metadata"]["annotations"][switch.key] = json!(internal_value(switch));
    }
    service
}

fn fine_by_class(class: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "w", "namespace": TEAM, "labels": {"app": "web"}, "annotations": {}},
        "spec": {
            "type": "LoadBalancer",
            "ports": [{"port": 443, "targetPort": 8443}],
            "selector": {"app": "web"},
            "allocateLoadBalancerNodePorts": false,
            "loadBalancerClass": class,
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
        },
    })
}

/// Returns a value by which the controller makes an internal load balancer.
pub(crate) fn internal_value(switch: &Switch) -> String {
    let values = [
        "true",
        "internal",
        "Internal",
        "INTERNAL",
        "private",
        "intranet",
        "inner",
        r#"{"type":"inner"}"#,
    ];
    let value = switch.set.or_else(|| {
        values
            .into_iter()
            .find(|value| switch.reads.read(value) == Reading::Yes)
    });
    value.expect("a value that is internal").to_owned()
}

fn variants() -> impl Iterator<Item = &'static Variant> {
    CONTROLLERS
        .iter()
        .filter_map(|controller| controller.variant.as_ref())
}

/// Returns every switch of every controller and its variants.
pub(crate) fn all_switches() -> Vec<Switch> {
    let variants = variants().flat_map(|variant| variant.switches);
    CONTROLLERS
        .iter()
        .flat_map(|controller| controller.switches)
        .chain(variants)
        .copied()
        .collect()
}

/// Returns the annotations by which policies may permit more: those that controllers read to make a
/// load balancer internal, to choose between controllers and to enforce source ranges, those that
/// settings name, and the source ranges.
pub(crate) fn permissions() -> BTreeSet<String> {
    let switches = all_switches().into_iter().map(|switch| switch.key);
    let kinds = variants().filter_map(|variant| match variant.when {
        When::Annotation(key, _) => Some(key),
        When::Class(_) => None,
    });
    let enforcing = variants().flat_map(|variant| match variant.enforces {
        Enforces::Where(annotations) => annotations.iter().map(|(key, _)| *key).collect(),
        _ => vec![],
    });
    let ranges = CONTROLLERS
        .iter()
        .flat_map(|controller| controller.ranges)
        .copied();
    let keys = switches.chain(kinds).chain(enforcing).chain(ranges).chain([
        EXTRA.0,
        SOURCE_RANGES,
        AWS_TYPE,
    ]);
    keys.map(str::to_owned).collect()
}

/// Generates annotations that somebody might try in order to be admitted.
pub(crate) fn annotation() -> BoxedStrategy<(String, String)> {
    let voids: Vec<_> = VOIDS.iter().map(|row| row.key).collect();
    prop_oneof![
        6 => (any_switch(), 0..3_u8, switch_value()).prop_map(|(switch, wrong, value)| {
            (switch.key.to_owned(), if wrong == 0 { value } else { internal_value(&switch) })
        }),
        1 => select(vec!["nlb", "NLB", "lb"])
            .prop_map(|value| ("oci.oraclecloud.com/load-balancer-type".to_owned(),
                value.to_owned())),
        1 => select(vec!["external", "nlb-ip", "nlb", "External"])
            .prop_map(|value| (AWS_TYPE.to_owned(), value.to_owned())),
        2 => (select(voids), switch_value()).prop_map(|(key, value)| (key.to_owned(), value)),
        1 => vec(range(), 0..3).prop_map(|ranges| {
            let texts: Vec<_> = ranges.iter().filter_map(Value::as_str).collect();
            (SOURCE_RANGES.to_owned(), texts.join(","))
        }),
        1 => any::<bool>().prop_map(|right| {
            (EXTRA.0.to_owned(), (if right { EXTRA.1 } else { "outside" }).to_owned())
        }),
        1 => break_glass().prop_map(|value| (BREAK_GLASS.to_owned(), value)),
        2 => (select(vec![
            "external-dns.alpha.kubernetes.io/hostname",
            "metallb.universe.tf/loadBalancerIPs",
            "metallb.io/loadBalancerIPs",
            "tailscale.com/expose",
            "tailscale.com/funnel",
            "networking.gke.io/internal-load-balancer-allow-global-access",
            "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type",
            "service.kubernetes.io/topology-mode",
            "sallyport.dev/exempt",
            "kubectl.kubernetes.io/last-applied-configuration",
            "example.com/x",
        ]), switch_value()).prop_map(|(key, value)| (key.to_owned(), value)),
    ]
    .boxed()
}

/// Generates a label, or a pair of a selector.
pub(crate) fn pair() -> BoxedStrategy<(String, String)> {
    let own = |(key, value): (&'static str, &'static str)| (key.to_owned(), value.to_owned());
    prop_oneof![
        3 => (Just("app"), select(PRODUCTS.to_vec())).prop_map(own),
        3 => (select(vec!["role", "tier", "type"]), select(TIERS.to_vec())).prop_map(own),
        2 => (select(OPERATOR_LABELS.to_vec()), select(vec!["", "x"])).prop_map(own),
        6 => (select(vec!["app", "tier"]),
            select(vec!["web", "shop", "Database", "frontend"])).prop_map(own),
        2 => (select(vec!["example.com/exposure", "sallyport.dev/exempt", "example.com/x"]),
              select(vec!["internal", "public", "true"])).prop_map(own),
    ]
    .boxed()
}

fn any_switch() -> impl Strategy<Value = Switch> {
    select(all_switches())
}

fn switches_of(controller: Option<&'static Controller>) -> BoxedStrategy<(String, String)> {
    let mut switches =
        controller.map_or_else(all_switches, |controller| controller.switches.to_vec());
    let variant = controller.and_then(|controller| controller.variant);
    switches.extend(variant.into_iter().flat_map(|variant| variant.switches));
    if switches.is_empty() {
        switches = all_switches();
    }
    (select(switches), switch_value())
        .prop_map(|(switch, value)| (switch.key.to_owned(), value))
        .boxed()
}

fn switch_value() -> impl Strategy<Value = String> {
    let values = vec![
        "",
        "true",
        "True",
        "1",
        "false",
        "internal",
        "Internal",
        "INTERNAL",
        "internet-facing",
        "private",
        "intranet",
        "subnet-1",
        "nlb",
        "external",
        "0.0.0.0/0",
        r#"{"type":"inner"}"#,
        r#"{"type":"public"}"#,
        "\u{202e}\n\"",
    ];
    select(values).prop_map(str::to_owned)
}

/// Generates break-glass values: some of them valid at [`worlds::NOW`], if a permitted user sets
/// them.
fn break_glass() -> impl Strategy<Value = String> {
    let values = vec![
        GLASS,
        "2027-01-01T00:00:00Z; far ahead",
        "2020-01-01T00:00:00Z; expired",
        "; ",
        "",
    ];
    select(values).prop_map(str::to_owned)
}

fn namespace() -> impl Strategy<Value = Value> {
    select(vec![
        TEAM,
        TEAM,
        TEAM,
        RESTRICTED,
        VAULT,
        UNKNOWN,
        "default",
        "kube-system",
    ])
    .prop_map(Value::from)
}

fn labels() -> impl Strategy<Value = Value> {
    vec(pair(), 0..4)
        .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k, v.into())).collect()))
}

fn annotations() -> impl Strategy<Value = Value> {
    vec(annotation(), 0..5)
        .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k, v.into())).collect()))
}

fn service_type() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => Just(json!("LoadBalancer")),
        4 => Just(json!("NodePort")),
        3 => Just(json!("ClusterIP")),
        3 => Just(json!("ExternalName")),
        1 => Just(json!("")),
        1 => Just(Value::Null),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    let target = prop_oneof![
        port_number(),
        select(PROTOCOLS.to_vec()).prop_map(Value::from),
        select(vec!["web", "data", "redis-tls", ""]).prop_map(Value::from),
    ];
    let name = || {
        prop_oneof![
            select(PROTOCOLS.to_vec()).prop_map(Value::from),
            select(vec![
                "web",
                "http",
                "REDIS",
                "redis-0",
                "example.com/redis",
                ""
            ])
            .prop_map(Value::from),
        ]
    };
    let rest = object(vec![
        field("name", 5, odd(name(), Value::Null)),
        field(
            "protocol",
            5,
            odd(
                select(vec!["TCP", "UDP", "SCTP", ""]).prop_map(Value::from),
                Value::Null,
            ),
        ),
        field("targetPort", 6, odd(target, Value::Null)),
        field("nodePort", 7, odd(node_port(), Value::Null)),
        field("appProtocol", 2, odd(name(), Value::Null)),
    ]);
    (rest, port_number()).prop_map(|(mut rest, number)| {
        rest["port"] = number;
        rest
    })
}

fn port_number() -> impl Strategy<Value = Value> {
    let known = |ports: &[sallyport_facts::backends::KnownPort]| {
        ports
            .iter()
            .map(|port| i32::from(port.number))
            .collect::<Vec<_>>()
    };
    prop_oneof![
        4 => select(vec![80, 443, 8080]).prop_map(Value::from),
        3 => select(known(&STRICT_PORTS)).prop_map(Value::from),
        2 => select(known(&AMBIGUOUS_PORTS)).prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
    ]
}

fn node_port() -> impl Strategy<Value = Value> {
    prop_oneof![
        5 => (30000..30110_i32).prop_map(Value::from),
        2 => select(vec![0, 1, 22, 29999, 30050, 32767, 32768, 65535]).prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
    ]
}

fn address() -> BoxedStrategy<Value> {
    select(vec![
        "192.0.2.1",
        "192.0.2.77",
        "8.8.8.8",
        "10.0.0.1",
        "2001:db8::1",
        "127.0.0.1",
        "nonsense",
        "",
    ])
    .prop_map(Value::from)
    .boxed()
}

fn range() -> BoxedStrategy<Value> {
    select(vec![
        "10.0.0.0/8",
        "10.1.0.0/16",
        " 10.2.0.0/16 ",
        "192.0.2.0/24",
        "0.0.0.0/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "::/0",
        "2000::/3",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "nonsense",
        "",
    ])
    .prop_map(Value::from)
    .boxed()
}

fn host_name() -> impl Strategy<Value = Value> {
    let metadata = METADATA_SERVICES
        .iter()
        .map(|service| format!("{}.{}", service.host, service.domain));
    let names = [
        "api.example.com",
        "example.com",
        "API.EXAMPLE.COM.",
        "notexample.com",
        "db.shop.svc.cluster.local",
        "localhost",
        "db.shared.svc.cluster.local",
        "kubernetes.default",
        "10.0.0.1",
        "127.1",
        "0x7f.1",
        "::1",
        "xn--nxa",
        "a..b",
        "",
    ];
    select(metadata.chain(names.map(str::to_owned)).collect::<Vec<_>>()).prop_map(Value::from)
}

fn class() -> impl Strategy<Value = Value> {
    let known = CONTROLLERS
        .iter()
        .flat_map(|controller| controller.classes)
        .chain(&classes::OTHERS);
    let names: Vec<_> = known
        .map(|class| class.name)
        .chain([INTERNAL_CLASS, "example.com/other"])
        .collect();
    select(names).prop_map(Value::from)
}

fn managed_fields() -> impl Strategy<Value = Value> {
    let names = [
        "f:healthCheckNodePort",
        "f:externalTrafficPolicy",
        "f:allocateLoadBalancerNodePorts",
        "f:loadBalancerClass",
    ];
    let ports = vec(
        (select(vec![80, 443, 5432]), select(vec!["TCP", "UDP"])),
        0..3,
    )
    .prop_map(|ports| {
        let key = |(port, protocol)| format!(r#"k:{{"port":{port},"protocol":"{protocol}"}}"#);
        let fields = json!({".": {}, "f:port": {}, "f:nodePort": {}});
        Value::Object(
            ports
                .into_iter()
                .map(|port| (key(port), fields.clone()))
                .collect(),
        )
    });
    let fields = prop::sample::subsequence(names.to_vec(), 0..=names.len());
    let entry = (select(vec!["Update", "Apply"]), fields,
        ports).prop_map(|(operation, fields, ports)| {
        let mut spec: Map<_, _> = fields.into_iter().map(|name| (name.to_owned(),
            json!({}))).collect();
        spec.insert("f:ports".to_owned(), ports);
        json!({
            "manager": "m", "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": spec},
        })
    });
    vec(entry, 0..3).prop_map(Value::from)
}

fn status() -> impl Strategy<Value = Value> {
    let ingress = prop_oneof![
        address().prop_map(|ip| json!({"ip": ip})),
        host_name().prop_map(|name| json!({"hostname": name})),
    ];
    prop_oneof![
        Just(json!({})),
        vec(ingress, 0..3).prop_map(|ingress| json!({"loadBalancer": {"ingress": ingress}}))
    ]
}

/// Generates mostly the value, sometimes null or the empty value.
fn odd(value: impl Strategy<Value = Value> + 'static, empty: Value) -> BoxedStrategy<Value> {
    prop_oneof![12 => value, 1 => Just(Value::Null), 1 => Just(empty)].boxed()
}

/// Generates a field that is present in `weight` of 15 cases.
fn field(name: &'static str, weight: u32, value: impl Strategy<Value = Value> + 'static) -> Field {
    let share = f64::from(weight.min(15)) / 15.0;
    if share >= 1.0 {
        return value
            .prop_map(move |value| Some((name.to_owned(), value)))
            .boxed();
    }
    prop::option::weighted(share, value.prop_map(move |value| (name.to_owned(), value))).boxed()
}

fn object(fields: Vec<Field>) -> BoxedStrategy<Value> {
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
        .boxed()
}

/// Generates the index of a world.
pub(crate) fn world() -> impl Strategy<Value = usize> {
    0..worlds::World::COUNT
}
