//! From the object of an AdmissionReview to the contract's typed Service.
//!
//! A Service is parsed once per review, whatever the number of policies. This module refuses, with
//! the field path, everything that the API server itself would refuse to decode (rule S16), so that
//! policies see only well-formed input. It also refuses a Service beyond the limits of `bounds`. If
//! a key occurs twice, the last one counts, as in the API server (which writes `managedFields`
//! itself, without duplicates). Called by `admission`.

mod aside;
mod bounds;
#[cfg(test)]
mod fields;
mod managed;

use crate::contract::service::{
    Condition, Ingress, Metadata, OwnerReference, Pair, Port, PortStatus, Service, ServiceType,
    SessionAffinityConfig, Spec, Status, TargetPort,
};
use crate::decode;
use crate::excerpt::excerpt;
use aside::aside;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self as meta, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use managed::Owned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// The reason why an object is no Service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}{}{problem}", if field.is_empty() { "" } else { ": " })]
pub struct Malformed {
    /// JSON path from the Service's root; empty for the object itself.
    pub field: String,
    /// The value found and what is allowed.
    pub problem: String,
}

impl Malformed {
    fn new(field: &str, problem: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            problem: problem.into(),
        }
    }
}

/// A Service as the API server writes it, without the metadata that no policy uses.
struct Written {
    /// Without its metadata.
    service: core::Service,
    meta: ObjectMeta,
    owned: Owned,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (service, metadata) =
            aside::<D, core::Service, Option<WrittenMeta>>(deserializer, "metadata")?;
        let WrittenMeta(meta, owned) = metadata.unwrap_or_default();
        Ok(Self {
            service,
            meta,
            owned,
        })
    }
}

/// The metadata without `managedFields`, and the owners that these name.
#[derive(Default)]
struct WrittenMeta(ObjectMeta, Owned);

impl<'de> Deserialize<'de> for WrittenMeta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        aside(deserializer, "managedFields").map(|(meta, owned)| Self(meta, owned))
    }
}

/// Parses the JSON text of a Service.
///
/// # Errors
///
/// The first field that is no Service's.
pub fn parse(json: &str) -> Result<Service, Malformed> {
    match serde_json::from_str::<Written>(json) {
        Ok(written) => convert(written),
        Err(error) => Err(explain(json, &error)),
    }
}

/// Parses a Service from a JSON value.
///
/// # Errors
///
/// The first field that is no Service's.
pub fn from_value(value: &Value) -> Result<Service, Malformed> {
    decode::from_value::<Written>(value)
        .map_err(malformed)
        .and_then(convert)
}

/// Bytes of the largest object that is decoded once more for the path: a tree takes many times its
/// text.
const EXPLAINED: usize = 1 << 20;

/// Decodes once more, slowly, for the field path. There is no path if the text is no JSON (or
/// nested beyond serde_json's 128 levels), or too large.
fn explain(json: &str, error: &serde_json::Error) -> Malformed {
    if json.len() > EXPLAINED {
        return Malformed::new(
            "",
            format!("the object is no Service: {}", excerpt(&error.to_string())),
        );
    }
    match serde_json::from_str::<Value>(json) {
        Err(error) => Malformed::new("", format!("the object is not valid JSON: {error}")),
        Ok(value) => match decode::from_value::<Written>(&value) {
            Err(error) => malformed(error),
            Ok(_) => Malformed::new(
                "",
                format!("the object is no Service: {}", excerpt(&error.to_string())),
            ),
        },
    }
}

fn malformed(error: decode::DecodeError) -> Malformed {
    Malformed {
        field: error.path,
        problem: error.problem,
    }
}

fn convert(
    Written {
        service,
        meta,
        owned,
    }: Written,
) -> Result<Service, Malformed> {
    bounds::check(&service, &meta, owned.managers())?;
    let has_spec = service.spec.is_some();
    Ok(Service {
        metadata: metadata(meta),
        has_spec,
        spec: spec(service.spec.unwrap_or_default(), &owned)?,
        status: status(service.status.unwrap_or_default()),
    })
}

fn metadata(meta: ObjectMeta) -> Metadata {
    Metadata {
        name: meta.name.unwrap_or_default(),
        generate_name: present(meta.generate_name),
        namespace: meta.namespace.unwrap_or_default(),
        labels: pairs(meta.labels),
        annotations: pairs(meta.annotations),
        uid: present(meta.uid),
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp.map(|time| time.0.to_string()),
        deletion_timestamp: meta.deletion_timestamp.map(|time| time.0.to_string()),
        finalizers: meta.finalizers.unwrap_or_default(),
        owner_references: all(meta.owner_references, owner_reference),
    }
}

fn owner_reference(reference: meta::OwnerReference) -> OwnerReference {
    OwnerReference {
        api_version: reference.api_version,
        kind: reference.kind,
        name: reference.name,
        uid: reference.uid,
        controller: reference.controller.unwrap_or_default(),
        block_owner_deletion: reference.block_owner_deletion.unwrap_or_default(),
    }
}

fn spec(spec: core::ServiceSpec, owned: &Owned) -> Result<Spec, Malformed> {
    Ok(Spec {
        type_: service_type(spec.type_.as_deref())?,
        ports: all(spec.ports, |port| convert_port(port, owned)),
        selector: pairs(spec.selector),
        cluster_ip: present(spec.cluster_ip),
        cluster_ips: spec.cluster_ips.unwrap_or_default(),
        ip_families: spec.ip_families.unwrap_or_default(),
        ip_family_policy: present(spec.ip_family_policy),
        internal_traffic_policy: present(spec.internal_traffic_policy),
        session_affinity: present(spec.session_affinity),
        session_affinity_config: spec.session_affinity_config.map(session_affinity_config),
        traffic_distribution: present(spec.traffic_distribution),
        external_ips: spec.external_ips.unwrap_or_default(),
        external_name: present(spec.external_name),
        external_traffic_policy_by_client: spec
            .external_traffic_policy
            .as_deref()
            .is_some_and(|policy| policy != "Cluster" || owned.external_traffic_policy()),
        external_traffic_policy: present(spec.external_traffic_policy),
        health_check_node_port: nonzero(spec.health_check_node_port),
        health_check_node_port_by_client: owned.health_check_node_port(),
        allocate_load_balancer_node_ports: spec.allocate_load_balancer_node_ports,
        allocate_load_balancer_node_ports_by_client: spec
            .allocate_load_balancer_node_ports
            .is_some_and(|allocate| !allocate || owned.allocate_load_balancer_node_ports()),
        load_balancer_class: load_balancer_class(spec.load_balancer_class)?,
        load_balancer_ip: present(spec.load_balancer_ip),
        load_balancer_source_ranges: spec.load_balancer_source_ranges.unwrap_or_default(),
        publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or_default(),
    })
}

/// Parses a type in exactly Kubernetes' spelling: another case is another type, which the API
/// server refuses after the mutating phase.
fn service_type(text: Option<&str>) -> Result<Option<ServiceType>, Malformed> {
    Ok(Some(match text {
        None | Some("") => return Ok(None),
        Some("ClusterIP") => ServiceType::ClusterIp,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        Some(other) => {
            let problem = format!(
                "{:?} is no type of a Service; use ClusterIP, NodePort, LoadBalancer or \
                 ExternalName",
                excerpt(other)
            );
            return Err(Malformed::new("spec.type", problem));
        }
    }))
}

/// The API server answers 422 for an empty class; a policy must not take it for "no class".
fn load_balancer_class(class: Option<String>) -> Result<Option<String>, Malformed> {
    match class {
        Some(class) if class.is_empty() => Err(Malformed::new(
            "spec.loadBalancerClass",
            "must not be empty; name a class or remove the field",
        )),
        class => Ok(class),
    }
}

fn session_affinity_config(config: core::SessionAffinityConfig) -> SessionAffinityConfig {
    SessionAffinityConfig {
        client_ip_timeout_seconds: config
            .client_ip
            .and_then(|client_ip| client_ip.timeout_seconds),
    }
}

fn convert_port(port: core::ServicePort, owned: &Owned) -> Port {
    let protocol = port
        .protocol
        .filter(|protocol| !protocol.is_empty())
        .unwrap_or_else(|| "TCP".to_owned());
    Port {
        node_port: nonzero(port.node_port),
        node_port_by_client: port.node_port.is_some() && owned.node_port(port.port, &protocol),
        name: present(port.name),
        app_protocol: present(port.app_protocol),
        port: port.port,
        target_port: port.target_port.map(|target| match target {
            IntOrString::Int(number) => TargetPort::Number(number),
            IntOrString::String(name) => TargetPort::Name(name),
        }),
        protocol,
    }
}

fn status(status: core::ServiceStatus) -> Status {
    let ingress = status.load_balancer.and_then(|balancer| balancer.ingress);
    Status {
        load_balancer_ingress: all(ingress, convert_ingress),
        conditions: all(status.conditions, condition),
    }
}

fn convert_ingress(ingress: core::LoadBalancerIngress) -> Ingress {
    Ingress {
        ip: present(ingress.ip),
        hostname: present(ingress.hostname),
        ip_mode: present(ingress.ip_mode),
        ports: all(ingress.ports, |port| PortStatus {
            port: port.port,
            protocol: port.protocol,
            error: present(port.error),
        }),
    }
}

fn condition(condition: meta::Condition) -> Condition {
    Condition {
        type_: condition.type_,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        observed_generation: condition.observed_generation,
        last_transition_time: condition.last_transition_time.0.to_string(),
    }
}

fn all<T, U>(list: Option<Vec<T>>, convert: impl FnMut(T) -> U) -> Vec<U> {
    list.unwrap_or_default().into_iter().map(convert).collect()
}

/// Returns `None` for an empty text, which the API server treats like an absent one.
fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Returns `None` for a port of 0, which the API server treats like an absent one.
fn nonzero(port: Option<i32>) -> Option<i32> {
    port.filter(|port| *port != 0)
}

fn pairs(map: Option<BTreeMap<String, String>>) -> Vec<Pair> {
    map.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem(value: &Value) -> String {
        parse(&value.to_string())
            .expect_err("malformed")
            .to_string()
    }

    #[test]
    fn zero_null_and_empty_are_absent() {
        let value = json!({
            "metadata": {"labels": null},
            "spec": {"type": "", "externalName": "",
                "ports": [{"port": 80, "nodePort": 0}, {"port": 81, "nodePort": null}]},
        });
        let service = parse(&value.to_string()).expect("valid");
        assert_eq!(service.spec.type_, None);
        assert_eq!(service.spec.external_name, None);
        assert!(
            service
                .spec
                .ports
                .iter()
                .all(|port| port.node_port.is_none())
        );
        assert!(service.has_spec);
    }

    #[test]
    fn a_type_in_another_case_is_malformed() {
        for found in ["nodeport", "NodePort ", "Nodeport"] {
            let text = problem(&json!({"spec": {"type": found}}));
            assert!(
                text.starts_with(&format!("spec.type: {found:?} is no type of a Service")),
                "{text}"
            );
        }
    }

    #[test]
    fn an_empty_class_is_malformed() {
        let text = problem(&json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": ""}}));
        assert!(
            text.starts_with("spec.loadBalancerClass: must not be empty"),
            "{text}"
        );
    }

    #[test]
    fn the_last_of_two_keys_wins() {
        let service =
            parse(r#"{"spec": {"type": "ClusterIP", "type": "NodePort"}}"#).expect("valid");
        assert_eq!(service.spec.type_, Some(ServiceType::NodePort));
    }

    #[test]
    fn deep_nesting_is_malformed_and_overflows_no_stack() {
        let deep = format!("{{\"spec\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let text = parse(&deep).expect_err("deep").to_string();
        assert!(text.contains("recursion limit"), "{text}");
    }

    #[test]
    fn every_field_arrives() {
        let value = json!({
            "metadata": {"uid": "u", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": ["example.com/mine"],
                "ownerReferences": [{"apiVersion": "example.com/v1", "kind": "Gateway",
                    "name": "g", "uid": "v", "controller": true}]},
            "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
                "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
                "internalTrafficPolicy": "Local", "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}},
                "trafficDistribution": "PreferSameZone"},
            "status": {"conditions": [{"type": "t", "status": "True", "reason": "r",
                "message": "m", "observedGeneration": 2,
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "Proxy",
                    "ports": [{"port": 80, "protocol": "TCP", "error": "e"}]}]}},
        });
        let Service {
            metadata,
            spec,
            status,
            ..
        } = parse(&value.to_string()).expect("valid");
        assert_eq!(metadata.uid.as_deref(), Some("u"));
        assert_eq!(metadata.generation, Some(3));
        assert_eq!(
            metadata.creation_timestamp.as_deref(),
            Some("2026-01-01T00:00:00Z")
        );
        assert_eq!(metadata.finalizers, ["example.com/mine"]);
        let owner = OwnerReference {
            api_version: "example.com/v1".to_owned(),
            kind: "Gateway".to_owned(),
            name: "g".to_owned(),
            uid: "v".to_owned(),
            controller: true,
            block_owner_deletion: false,
        };
        assert_eq!(metadata.owner_references, [owner]);
        assert_eq!(spec.cluster_ips, ["10.0.0.1", "fd00::1"]);
        assert_eq!(spec.ip_families, ["IPv4", "IPv6"]);
        assert_eq!(spec.ip_family_policy.as_deref(), Some("PreferDualStack"));
        assert_eq!(spec.internal_traffic_policy.as_deref(), Some("Local"));
        assert_eq!(spec.session_affinity.as_deref(), Some("ClientIP"));
        let config = spec.session_affinity_config.expect("given");
        assert_eq!(config.client_ip_timeout_seconds, Some(10));
        assert_eq!(spec.traffic_distribution.as_deref(), Some("PreferSameZone"));
        let condition = Condition {
            type_: "t".to_owned(),
            status: "True".to_owned(),
            reason: "r".to_owned(),
            message: "m".to_owned(),
            observed_generation: Some(2),
            last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
        };
        assert_eq!(status.conditions, [condition]);
        let ingress = &status.load_balancer_ingress[0];
        assert_eq!(ingress.ip_mode.as_deref(), Some("Proxy"));
        assert_eq!(ingress.ports[0].error.as_deref(), Some("e"));
    }

    #[test]
    fn a_node_port_without_managed_fields_is_the_clients() {
        let service =
            parse(r#"{"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}"#).expect("valid");
        assert!(service.spec.ports[0].node_port_by_client);
    }

    #[test]
    fn a_default_counts_as_a_clients_only_where_an_apply_set_it() {
        let by_client = |operation: &str, allocate: bool| {
            let fields = json!({"f:spec": {"f:allocateLoadBalancerNodePorts": {}}});
            let value = json!({
                "metadata": {"managedFields": [{"manager": "m", "operation": operation,
                    "fieldsV1": fields}]},
                "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": allocate},
            });
            parse(&value.to_string())
                .expect("valid")
                .spec
                .allocate_load_balancer_node_ports_by_client
        };
        assert!(!by_client("Update", true));
        assert!(by_client("Update", false) && by_client("Apply", true));
    }

    #[test]
    fn managed_fields_tell_which_node_port_was_set() {
        let key = |port: u16| format!(r#"k:{{"port":{port},"protocol":"TCP"}}"#);
        let owned = |value: Value| json!({"f:port": {}, "f:nodePort": value});
        let ports = json!({
            ".": {}, key(80): owned(json!({})), key(81): {"f:port": {}},
            key(82): owned(Value::Null), key(83): null,
        });
        let port = |number: u16| json!({"port": number, "nodePort": 30_000 + number});
        let value = json!({
            "metadata": {"managedFields": [{"manager": "kubectl",
                "fieldsV1": {"f:spec": {"f:ports": ports}}}]},
            "spec": {"ports": [port(80), port(81), port(82), port(83), port(84)]},
        });
        let service = parse(&value.to_string()).expect("valid");
        let by_client: Vec<_> = service
            .spec
            .ports
            .iter()
            .map(|port| port.node_port_by_client)
            .collect();
        assert_eq!(by_client, [true, false, true, false, false]);
    }

    #[test]
    fn metadata_is_checked_but_for_what_managers_own_elsewhere() {
        let with = |member: &str, value: Value| json!({"metadata": {member: value}, "spec": {}});
        let entry = |name: &str, value: Value| {
            with("managedFields", json!([{"manager": "m", name: value}]))
        };
        for (value, expected) in [
            (
                json!({"metadata": 1}),
                "metadata: expected an object, found integer 1",
            ),
            (
                with("finalizers", json!([1])),
                "metadata.finalizers[0]: expected string, found integer 1",
            ),
            (
                with("managedFields", json!({})),
                "metadata.managedFields: expected a list, found an object",
            ),
            (
                entry("operation", json!(1)),
                "metadata.managedFields[0].operation: expected string, found integer 1",
            ),
            (
                entry("fieldsV1", json!({"f:spec": 1})),
                "metadata.managedFields[0].fieldsV1[\"f:spec\"]: expected an object, found integer \
                 1",
            ),
        ] {
            assert_eq!(problem(&value), expected);
        }
        let elsewhere = json!({"f:metadata": {"f:labels": [1]},
            "f:spec": {"f:selector": 1, "f:ports": {".": {}}}});
        let nulls = json!({"f:spec": {"f:ports": null}});
        for fields in [elsewhere, nulls, json!({"f:spec": null}), Value::Null] {
            parse(&entry("fieldsV1", fields).to_string()).expect("valid");
        }
        parse(r#"{"metadata": null}"#).expect("valid");
    }
}
