//! The interface `review`: a request with its context.

use super::service::{Json, Pair, Service};
use std::fmt;
#[cfg(feature = "wasmtime")]
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(enum)
)]
#[repr(u8)]
pub enum Operation {
    #[cfg_attr(feature = "wasmtime", component(name = "create"))]
    Create,
    #[cfg_attr(feature = "wasmtime", component(name = "update"))]
    Update,
    #[cfg_attr(feature = "wasmtime", component(name = "delete"))]
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(enum)
)]
#[repr(u8)]
pub enum Resource {
    #[cfg_attr(feature = "wasmtime", component(name = "services"))]
    Services,
    #[cfg_attr(feature = "wasmtime", component(name = "services-status"))]
    ServicesStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(enum)
)]
#[repr(u8)]
pub enum Phase {
    #[cfg_attr(feature = "wasmtime", component(name = "mutating"))]
    Mutating,
    #[cfg_attr(feature = "wasmtime", component(name = "validating"))]
    Validating,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Review {
    pub phase: Phase,
    pub operation: Operation,
    pub resource: Resource,
    #[cfg_attr(feature = "wasmtime", component(name = "dry-run"))]
    pub dry_run: bool,
    pub user: User,
    pub service: Service,
    #[cfg_attr(feature = "wasmtime", component(name = "old-service"))]
    pub old_service: Option<Service>,
    pub object: Option<Json>,
    #[cfg_attr(feature = "wasmtime", component(name = "old-object"))]
    pub old_object: Option<Json>,
    pub namespace: Namespace,
    pub cluster: Cluster,
    #[cfg_attr(feature = "wasmtime", component(name = "selected-pods"))]
    pub selected_pods: Option<Vec<Pod>>,
    pub time: u64,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
    pub uid: Option<String>,
    pub extra: Vec<(String, Vec<String>)>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Namespace {
    pub name: String,
    pub labels: Vec<Pair>,
    pub known: bool,
    pub annotations: Option<Vec<Pair>>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Cluster {
    pub environment: Option<Environment>,
    pub providers: Vec<Provider>,
    #[cfg_attr(feature = "wasmtime", component(name = "node-ports"))]
    pub node_ports: PortRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(enum)
)]
#[repr(u8)]
pub enum Environment {
    #[cfg_attr(feature = "wasmtime", component(name = "cloud"))]
    Cloud,
    #[cfg_attr(feature = "wasmtime", component(name = "on-prem"))]
    OnPrem,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Provider {
    pub id: ProviderId,
    pub nodes: u32,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(variant)
)]
pub enum ProviderId {
    #[cfg_attr(feature = "wasmtime", component(name = "scheme"))]
    Scheme(String),
    #[cfg_attr(feature = "wasmtime", component(name = "bare"))]
    Bare(String),
    #[cfg_attr(feature = "wasmtime", component(name = "missing"))]
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct PortRange {
    pub from: u16,
    pub to: u16,
}

impl PortRange {
    pub fn contains(self, port: i32) -> bool {
        (i32::from(self.from)..=i32::from(self.to)).contains(&port)
    }
}

/// `30000-32767`, or `30000` for a single port.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { from, to } if from == to => write!(f, "{from}"),
            Self { from, to } => write!(f, "{from}-{to}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Pod {
    pub labels: Vec<Pair>,
    pub ports: Vec<ContainerPort>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct ContainerPort {
    pub name: Option<String>,
    pub number: i32,
}
