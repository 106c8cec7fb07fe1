//! The defaults that an API server fills in before the first webhook sees a Service
//! (`SetDefaults_Service` in Kubernetes' `pkg/apis/core/v1/defaults.go`), on JSON, since the object
//! may be malformed. Nothing is added beside a value of a wrong type. Nothing that is present is
//! changed, but for a null in a map of texts, which is an empty text for an API server.

use serde_json::{Map, Value, json};

/// The maps of texts of a Service.
const MAPS: [&str; 3] = [
    "/metadata/annotations",
    "/metadata/labels",
    "/spec/selector",
];

/// Makes an empty text of each null in a map of texts, as an API server decodes it.
pub fn empty_texts(service: &mut Value) {
    for map in MAPS {
        let texts = service.pointer_mut(map).and_then(Value::as_object_mut);
        let texts = texts.into_iter().flat_map(|map| map.values_mut());
        for null in texts.filter(|text| text.is_null()) {
            *null = "".into();
        }
    }
}

/// Fills in the defaults of core/v1.
pub fn apply(service: &mut Value) {
    empty_texts(service);
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    fill(spec, "type", || "ClusterIP".into());
    fill(spec, "sessionAffinity", || "None".into());
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    let forwards = matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer");
    let external_ips = spec
        .get("externalIPs")
        .and_then(Value::as_array)
        .is_some_and(|ips| !ips.is_empty());
    if forwards {
        fill(spec, "internalTrafficPolicy", || "Cluster".into());
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || kind == "ClusterIP" && external_ips {
        fill(spec, "externalTrafficPolicy", || "Cluster".into());
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", || true.into());
    }
    if spec["sessionAffinity"] == "ClientIP" {
        fill(
            spec,
            "sessionAffinityConfig",
            || json!({"clientIP": {"timeoutSeconds": 10800}}),
        );
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    ports
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .for_each(port);
}

fn port(port: &mut Map<String, Value>) {
    fill(port, "protocol", || "TCP".into());
    if port.get("targetPort").is_some_and(|target| target == 0) {
        port.remove("targetPort");
    }
    if let Some(number) = port.get("port").cloned() {
        fill(port, "targetPort", || number);
    }
}

/// The API server treats null and "" like an absent key.
fn fill(object: &mut Map<String, Value>, key: &str, default: impl FnOnce() -> Value) {
    if object
        .get(key)
        .is_none_or(|value| value.is_null() || value == "")
    {
        object.insert(key.to_owned(), default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(mut service: Value) -> Value {
        apply(&mut service);
        service["spec"].clone()
    }

    #[test]
    fn a_bare_service_becomes_a_cluster_ip() {
        let spec = defaulted(json!({"spec": {"ports": [{"port": 80},
                {"port": 53, "protocol": "UDP", "targetPort": "dns"}]}}));
        let expected = json!({
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [
                {"port": 80, "protocol": "TCP", "targetPort": 80},
                {"port": 53, "protocol": "UDP", "targetPort": "dns"},
            ],
        });
        assert_eq!(spec, expected);
    }

    #[test]
    fn what_reaches_in_from_outside_has_an_external_traffic_policy() {
        for (spec, expected) in [
            (json!({"type": "NodePort"}), json!("Cluster")),
            (
                json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
                json!("Local"),
            ),
            (json!({"externalIPs": ["192.0.2.1"]}), json!("Cluster")),
            (json!({"type": "ExternalName"}), Value::Null),
        ] {
            assert_eq!(
                defaulted(json!({"spec": spec}))["externalTrafficPolicy"],
                expected
            );
        }
        assert_eq!(
            defaulted(json!({"spec": {"type": "LoadBalancer"}}))["allocateLoadBalancerNodePorts"],
            true
        );
    }

    #[test]
    fn a_null_in_a_map_of_texts_is_an_empty_text() {
        let mut service = json!({"metadata": {"annotations": {"a": null, "b": "c"}, "labels": null},
            "spec": {"selector": {"app": null}, "externalIPs": [null]}});
        apply(&mut service);
        assert_eq!(
            service["metadata"],
            json!({"annotations": {"a": "", "b": "c"}, "labels": null})
        );
        assert_eq!(service["spec"]["selector"], json!({"app": ""}));
        assert_eq!(service["spec"]["externalIPs"], json!([null]));
    }

    #[test]
    fn malformed_objects_stay_malformed() {
        for service in [
            json!({"spec": []}),
            json!("x"),
            json!({}),
            json!({"spec": {"type": 7, "ports": [null, 1]}}),
        ] {
            let mut copy = service.clone();
            apply(&mut copy);
            assert_eq!(copy["spec"]["ports"], service["spec"]["ports"]);
            assert_eq!(copy["spec"]["type"], service["spec"]["type"]);
        }
    }
}
