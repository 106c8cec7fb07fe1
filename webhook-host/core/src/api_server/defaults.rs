//! The defaults that an API server fills in before the first webhook sees a Service
//! (`SetDefaults_Service` in Kubernetes' `pkg/apis/core/v1/defaults.go`), on JSON, since the object
//! may be malformed. Nothing is added beside a value of a wrong type. Nothing that is present is
//! changed, but for what is lost when the API server decodes the object into its types and encodes
//! it again: nulls, and empty values of fields with `omitempty`. Policies find such a field absent.

use serde_json::{Map, Value, json};

/// The maps of texts of a Service.
const MAPS: [&str; 3] = [
    "/metadata/annotations",
    "/metadata/labels",
    "/spec/selector",
];

/// The fields of metadata that an API server leaves out where they are empty.
const META: [&str; 11] = [
    "annotations",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The fields of a spec that an API server leaves out where they are empty. The others are
/// pointers, whose empty values are kept, and refused.
const SPEC: [&str; 14] = [
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "externalName",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "ipFamilies",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "ports",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "type",
];

/// The fields of a port that an API server leaves out where they are empty.
const PORT: [&str; 3] = ["name", "nodePort", "protocol"];

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

/// Removes what an API server leaves out when it encodes the Service.
fn omit_empty(service: &mut Value) {
    let meta = service.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(meta) = meta {
        omit(meta, &META);
    }
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    omit(spec, &SPEC);
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        omit(port, &PORT);
    }
}

/// Removes nulls, and empty values of these fields.
fn omit(object: &mut Map<String, Value>, fields: &[&str]) {
    object.retain(|key, value| match value {
        Value::Null => false,
        _ if !fields.contains(&key.as_str()) => true,
        Value::Bool(is_set) => *is_set,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    });
}

/// Fills in the defaults of core/v1.
pub fn apply(service: &mut Value) {
    empty_texts(service);
    omit_empty(service);
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
    affinity(spec);
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    ports
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .for_each(port);
}

/// Without affinity there is no configuration of it, and with it a whole one.
fn affinity(spec: &mut Map<String, Value>) {
    let is_decodable = spec.get("sessionAffinityConfig").is_none_or(|config| {
        config.is_object() && matches!(config["clientIP"], Value::Null | Value::Object(_))
    });
    if !is_decodable {
        return;
    }
    if spec["sessionAffinity"] == "None" {
        spec.remove("sessionAffinityConfig");
    } else if spec["sessionAffinity"] == "ClientIP" {
        let config = spec.get("sessionAffinityConfig");
        if config.is_none_or(|config| config["clientIP"]["timeoutSeconds"].is_null()) {
            let whole = json!({"clientIP": {"timeoutSeconds": 10800}});
            spec.insert("sessionAffinityConfig".to_owned(), whole);
        }
    }
}

fn port(port: &mut Map<String, Value>) {
    fill(port, "protocol", || "TCP".into());
    if port
        .get("targetPort")
        .is_some_and(|target| *target == 0 || target == "")
    {
        port.remove("targetPort");
    }
    if let Some(number) = port.get("port").cloned() {
        fill(port, "targetPort", || number);
    }
}

fn fill(object: &mut Map<String, Value>, key: &str, default: impl FnOnce() -> Value) {
    object.entry(key).or_insert_with(default);
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
            json!({"annotations": {"a": "", "b": "c"}})
        );
        assert_eq!(service["spec"]["selector"], json!({"app": ""}));
        assert_eq!(service["spec"]["externalIPs"], json!([null]));
    }

    #[test]
    fn empty_values_are_left_out_as_the_api_server_leaves_them_out() {
        let mut service = json!({
            "metadata": {"name": "web", "generateName": "", "labels": {}, "annotations": {},
                "finalizers": [], "ownerReferences": [], "creationTimestamp": null,
                "generation": 0},
            "spec": {"type": "", "selector": {}, "clusterIP": "", "clusterIPs": [],
                "externalIPs": [], "externalName": "", "loadBalancerIP": "",
                "loadBalancerSourceRanges": [], "ipFamilies": null, "sessionAffinity": "",
                "publishNotReadyAddresses": false, "healthCheckNodePort": 0,
                "externalTrafficPolicy": "", "ports": [{"port": 80, "name": "", "protocol": "",
                    "nodePort": 0, "targetPort": "", "appProtocol": null}]},
        });
        apply(&mut service);
        let expected = json!({
            "metadata": {"name": "web"},
            "spec": {"type": "ClusterIP", "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]},
        });
        assert_eq!(service, expected);
    }

    #[test]
    fn empty_values_of_pointers_are_kept() {
        let spec = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
            "loadBalancerClass": "", "internalTrafficPolicy": "", "ipFamilyPolicy": "",
            "trafficDistribution": "", "ports": [{"port": 80, "appProtocol": ""}]});
        let kept = defaulted(json!({"spec": &spec}));
        for (key, value) in spec.as_object().expect("a map") {
            if key != "ports" {
                assert_eq!(kept[key], *value, "{key}");
            }
        }
        assert_eq!(kept["ports"][0]["appProtocol"], "");
    }

    #[test]
    fn the_configuration_of_affinity_is_whole_or_absent() {
        let whole = json!({"clientIP": {"timeoutSeconds": 10800}});
        for (affinity, config, expected) in [
            ("None", json!({}), Value::Null),
            ("ClientIP", Value::Null, whole.clone()),
            ("ClientIP", json!({}), whole.clone()),
            ("ClientIP", json!({"clientIP": null}), whole.clone()),
            (
                "ClientIP",
                json!({"clientIP": {"timeoutSeconds": null}}),
                whole,
            ),
            ("ClientIP", json!({"clientIP": []}), json!({"clientIP": []})),
            (
                "ClientIP",
                json!({"clientIP": {"timeoutSeconds": 0}}),
                json!({"clientIP": {"timeoutSeconds": 0}}),
            ),
        ] {
            let spec = json!({"sessionAffinity": affinity, "sessionAffinityConfig": &config});
            let spec = defaulted(json!({"spec": spec}));
            assert_eq!(
                spec["sessionAffinityConfig"], expected,
                "{affinity} {config}"
            );
        }
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
