//! The interface `service`: the Service under review.

#[cfg(feature = "wasmtime")]
use wasmtime::component::{ComponentType, Lift, Lower};

pub type Pair = (String, String);

pub type Json = String;

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Service {
    pub metadata: Metadata,
    #[cfg_attr(feature = "wasmtime", component(name = "has-spec"))]
    pub has_spec: bool,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Metadata {
    pub name: String,
    #[cfg_attr(feature = "wasmtime", component(name = "generate-name"))]
    pub generate_name: Option<String>,
    pub namespace: String,
    pub labels: Vec<Pair>,
    pub annotations: Vec<Pair>,
    pub uid: Option<String>,
    pub generation: Option<i64>,
    #[cfg_attr(feature = "wasmtime", component(name = "creation-timestamp"))]
    pub creation_timestamp: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "deletion-timestamp"))]
    pub deletion_timestamp: Option<String>,
    pub finalizers: Vec<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "owner-references"))]
    pub owner_references: Vec<OwnerReference>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct OwnerReference {
    #[cfg_attr(feature = "wasmtime", component(name = "api-version"))]
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub controller: bool,
    #[cfg_attr(feature = "wasmtime", component(name = "block-owner-deletion"))]
    pub block_owner_deletion: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(enum)
)]
#[repr(u8)]
pub enum ServiceType {
    #[cfg_attr(feature = "wasmtime", component(name = "cluster-ip"))]
    ClusterIp,
    #[cfg_attr(feature = "wasmtime", component(name = "node-port"))]
    NodePort,
    #[cfg_attr(feature = "wasmtime", component(name = "load-balancer"))]
    LoadBalancer,
    #[cfg_attr(feature = "wasmtime", component(name = "external-name"))]
    ExternalName,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Spec {
    #[cfg_attr(feature = "wasmtime", component(name = "type"))]
    pub type_: Option<ServiceType>,
    pub ports: Vec<Port>,
    pub selector: Vec<Pair>,
    #[cfg_attr(feature = "wasmtime", component(name = "cluster-ip"))]
    pub cluster_ip: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "cluster-ips"))]
    pub cluster_ips: Vec<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "ip-families"))]
    pub ip_families: Vec<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "ip-family-policy"))]
    pub ip_family_policy: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "internal-traffic-policy"))]
    pub internal_traffic_policy: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "session-affinity"))]
    pub session_affinity: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "session-affinity-config"))]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    #[cfg_attr(feature = "wasmtime", component(name = "traffic-distribution"))]
    pub traffic_distribution: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "external-ips"))]
    pub external_ips: Vec<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "external-name"))]
    pub external_name: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "external-traffic-policy"))]
    pub external_traffic_policy: Option<String>,
    #[cfg_attr(
        feature = "wasmtime",
        component(name = "external-traffic-policy-by-client")
    )]
    pub external_traffic_policy_by_client: bool,
    #[cfg_attr(feature = "wasmtime", component(name = "health-check-node-port"))]
    pub health_check_node_port: Option<i32>,
    #[cfg_attr(
        feature = "wasmtime",
        component(name = "health-check-node-port-by-client")
    )]
    pub health_check_node_port_by_client: bool,
    #[cfg_attr(
        feature = "wasmtime",
        component(name = "allocate-load-balancer-node-ports")
    )]
    pub allocate_load_balancer_node_ports: Option<bool>,
    #[cfg_attr(
        feature = "wasmtime",
        component(name = "allocate-load-balancer-node-ports-by-client")
    )]
    pub allocate_load_balancer_node_ports_by_client: bool,
    #[cfg_attr(feature = "wasmtime", component(name = "load-balancer-class"))]
    pub load_balancer_class: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "load-balancer-ip"))]
    pub load_balancer_ip: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "load-balancer-source-ranges"))]
    pub load_balancer_source_ranges: Vec<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "publish-not-ready-addresses"))]
    pub publish_not_ready_addresses: bool,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct SessionAffinityConfig {
    #[cfg_attr(feature = "wasmtime", component(name = "client-ip-timeout-seconds"))]
    pub client_ip_timeout_seconds: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Port {
    pub name: Option<String>,
    pub protocol: String,
    #[cfg_attr(feature = "wasmtime", component(name = "app-protocol"))]
    pub app_protocol: Option<String>,
    pub port: i32,
    #[cfg_attr(feature = "wasmtime", component(name = "target-port"))]
    pub target_port: Option<TargetPort>,
    #[cfg_attr(feature = "wasmtime", component(name = "node-port"))]
    pub node_port: Option<i32>,
    #[cfg_attr(feature = "wasmtime", component(name = "node-port-by-client"))]
    pub node_port_by_client: bool,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(variant)
)]
pub enum TargetPort {
    #[cfg_attr(feature = "wasmtime", component(name = "number"))]
    Number(i32),
    #[cfg_attr(feature = "wasmtime", component(name = "name"))]
    Name(String),
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Status {
    #[cfg_attr(feature = "wasmtime", component(name = "load-balancer-ingress"))]
    pub load_balancer_ingress: Vec<Ingress>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Condition {
    #[cfg_attr(feature = "wasmtime", component(name = "type"))]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    #[cfg_attr(feature = "wasmtime", component(name = "observed-generation"))]
    pub observed_generation: Option<i64>,
    #[cfg_attr(feature = "wasmtime", component(name = "last-transition-time"))]
    pub last_transition_time: String,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Ingress {
    pub ip: Option<String>,
    pub hostname: Option<String>,
    #[cfg_attr(feature = "wasmtime", component(name = "ip-mode"))]
    pub ip_mode: Option<String>,
    pub ports: Vec<PortStatus>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct PortStatus {
    pub port: i32,
    pub protocol: String,
    pub error: Option<String>,
}
