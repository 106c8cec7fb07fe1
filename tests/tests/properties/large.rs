//! No policy fails on the longest lists that the host accepts, since a policy that fails repeatedly
//! is short-circuited (P13).
//!
//! The host refuses anything larger before it asks a policy. The policies' work is linear in their
//! input, and they stop collecting violations at a bound.

use crate::review::{Request, VALIDATE};
use crate::worlds::{PATCHING, STRICT, TEAM, World};
use sallyport_core::admission::{Function, Outcome};
use serde_json::{Value, json};
use std::time::Duration;

/// The most external IPs or source ranges.
const ADDRESSES: usize = 1000;
/// The most ports, and the most ingress points.
const PORTS: usize = 5000;
/// The most labels, or entries of a selector.
const PAIRS: usize = 1000;
/// Bytes of all annotations.
const ANNOTATIONS: usize = 256 << 10;

/// A hundred times the usual duration, for busy machines, and less than anything quadratic takes.
const MAX_DURATION: Duration = Duration::from_secs(2);

fn service(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "w", "namespace": TEAM},
        "spec": spec})
}

fn list(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

fn map(count: usize, key: impl Fn(usize) -> String, value: &str) -> Value {
    Value::Object((0..count).map(|i| (key(i), json!(value))).collect())
}

fn ip(i: usize) -> String {
    format!("8.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255)
}

/// Returns Services with the longest possible lists. The label makes an internal backend of each.
fn large() -> Vec<(&'static str, Value)> {
    let backend = json!({"tier": "database"});
    let ports = |count: usize, more: fn(usize) -> Value| {
        list(count, |i| {
            let mut port = json!({"name": format!("p{i}"), "port": 1 + i % 65_535,
                "nodePort": 1 + i % 29_000});
            port.as_object_mut()
                .expect("a map")
                .extend(more(i).as_object().expect("a map").clone());
            port
        })
    };
    let mut services = vec![
        (
            "external IPs",
            service(json!({"type": "ClusterIP", "externalIPs": list(ADDRESSES, |i| json!(ip(i)))})),
        ),
        (
            "external IPs and ports",
            service(json!({
                "type": "NodePort", "externalIPs": list(ADDRESSES, |i| json!(ip(i))),
                "ports": ports(PORTS, |_| json!({})),
            })),
        ),
        (
            "ports of backends",
            service(json!({"type": "LoadBalancer",
                    "ports": ports(PORTS, |_| json!({"targetPort": 5432}))})),
        ),
        (
            "ports with a warning",
            service(
                json!({"type": "NodePort", "ports": ports(PORTS, |_| json!({"targetPort": 9000}))}),
            ),
        ),
        (
            "named target ports",
            service(json!({
                "type": "NodePort", "selector": {"app": "shop"},
                "ports": ports(PORTS, |_| json!({"targetPort": "data"})),
            })),
        ),
        (
            "dormant node ports",
            service(json!({
                "type": "ExternalName", "externalName": "localhost",
                "ports": ports(PORTS, |_| json!({})),
            })),
        ),
        (
            "dormant source ranges",
            service(json!({
                "type": "ClusterIP", "loadBalancerSourceRanges": list(ADDRESSES,
                    |i| json!(format!("{}/32", ip(i)))),
            })),
        ),
        (
            "source ranges",
            service(json!({
                "type": "LoadBalancer",
                "loadBalancerSourceRanges": list(ADDRESSES, |i| json!(format!("{}/32", ip(i)))),
            })),
        ),
        (
            "selector",
            service(json!({"type": "NodePort",
                    "selector": map(PAIRS, |i| format!("example.com/k{i}"), "x")})),
        ),
        (
            "a long name",
            service(json!({"type": "ExternalName", "externalName": "a.".repeat(126)})),
        ),
    ];
    let mut labels = service(json!({"type": "NodePort"}));
    labels["metadata"]["labels"] = map(PAIRS, |i| format!("example.com/k{i}"), "x");
    services.push(("labels", labels));
    let mut annotations = service(json!({"type": "ClusterIP"}));
    annotations["metadata"]["annotations"] =
        map(PORTS, |i| format!("skupper.io/proxy-{i}"), "true");
    annotations["metadata"]["annotations"]["getambassador.io/config"] =
        json!("x-".repeat(ANNOTATIONS / 4));
    services.push(("annotations", annotations.clone()));
    annotations["spec"]["type"] = json!("LoadBalancer");
    services.push(("annotations of a load balancer", annotations));
    let mut status = service(json!({"type": "LoadBalancer"}));
    status["status"] = json!({"loadBalancer": {"ingress": list(PORTS, |i| json!({"ip": ip(i)}))}});
    services.push(("ingress", status));
    for (_, service) in &mut services {
        if service["metadata"]["labels"].is_null() {
            service["metadata"]["labels"] = backend.clone();
        }
    }
    services
}

/// Returns the Service with each list reversed and one entry longer, so that no entry keeps its
/// index.
fn widened(service: &Value) -> Value {
    let mut service = service.clone();
    for list in ["ports", "externalIPs", "loadBalancerSourceRanges"] {
        if let Some(list) = service["spec"][list].as_array_mut() {
            list.reverse();
        }
    }
    service["spec"]["publishNotReadyAddresses"] = json!(true);
    service
}

fn check(name: &str, outcome: &Outcome) {
    for evaluation in &outcome.evaluations {
        let policy = &evaluation.policy;
        assert!(
            evaluation.error.is_none(),
            "{policy}, {name}: {:?}",
            evaluation.error
        );
        assert!(
            evaluation.elapsed < MAX_DURATION,
            "{policy}, {name}: {:?}",
            evaluation.elapsed
        );
        if std::env::var_os("SHOW_ELAPSED").is_some()
            && evaluation.elapsed > Duration::from_millis(10)
        {
            println!("{policy}, {name}: {:?}", evaluation.elapsed);
        }
    }
}

#[test]
fn no_policy_fails_on_a_large_service() {
    let world = World::of(&STRICT, "azure");
    for (name, service) in large() {
        check(name, &world.review(VALIDATE, &Request::create(&service)));
        check(
            name,
            &World::of(&PATCHING, "azure").review(Function::Mutate, &Request::create(&service)),
        );
        check(
            name,
            &world.review(VALIDATE, &Request::update(&service, &service)),
        );
        check(
            name,
            &world.review(VALIDATE, &Request::update(&service, &widened(&service))),
        );
        let status = Request {
            status: true,
            ..Request::update(&json!({"metadata": service["metadata"]}), &service)
        };
        check(name, &world.review(VALIDATE, &status));
    }
}
