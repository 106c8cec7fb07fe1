//! The fields of `spec` that clients set, from `metadata.managedFields`.
//!
//! The API server never records there the values that it allocates. It does record its defaults,
//! except under server-side apply (seen on 1.20 and 1.36). Only the fields that policies need are
//! kept: managers may own anything, and a tree takes many times its text.

use super::aside::aside;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;

/// The fields that clients set. The default is that of an object without managedFields: a client
/// must have written everything.
#[derive(Default)]
pub(super) struct Owned {
    managers: Option<Vec<Manager>>,
}

struct Manager {
    is_apply: bool,
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Fields {
    #[serde(rename = "f:spec")]
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "f:allocateLoadBalancerNodePorts")]
    allocate_load_balancer_node_ports: Stands,
    #[serde(rename = "f:externalTrafficPolicy")]
    external_traffic_policy: Stands,
    #[serde(rename = "f:healthCheckNodePort")]
    health_check_node_port: Stands,
    #[serde(rename = "f:ports")]
    ports: Option<HashMap<String, Option<Port>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Port {
    #[serde(rename = "f:nodePort")]
    node_port: Stands,
}

/// True if a field stands here, and so is owned: all that its value says is which of its own fields
/// are.
#[derive(Default)]
struct Stands(bool);

impl<'de> Deserialize<'de> for Stands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(Self(true))
    }
}

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let managers = Option::<Vec<Manager>>::deserialize(deserializer)?;
        Ok(Self {
            managers: managers.filter(|managers| !managers.is_empty()),
        })
    }
}

impl<'de> Deserialize<'de> for Manager {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (entry, fields) =
            aside::<D, ManagedFieldsEntry, Option<Fields>>(deserializer, "fieldsV1")?;
        let is_apply = entry.operation.as_deref() == Some("Apply");
        Ok(Self {
            is_apply,
            spec: fields.and_then(|fields| fields.spec).unwrap_or_default(),
        })
    }
}

impl Spec {
    fn port(&self, key: &str) -> Option<&Port> {
        self.ports.as_ref()?.get(key)?.as_ref()
    }
}

impl Owned {
    /// Counts the entries.
    pub(super) fn managers(&self) -> usize {
        self.managers.as_ref().map_or(0, Vec::len)
    }

    /// Returns true if a client set a field that is never defaulted.
    pub(super) fn health_check_node_port(&self) -> bool {
        self.any(|manager| manager.spec.health_check_node_port.0)
    }

    /// Returns true if a client set the node port of a port that has one.
    pub(super) fn node_port(&self, port: i32, protocol: &str) -> bool {
        if self.managers.is_none() {
            return true;
        }
        let key = format!(r#"k:{{"port":{port},"protocol":"{protocol}"}}"#);
        self.any(|manager| manager.spec.port(&key).is_some_and(|port| port.node_port.0))
    }

    /// Returns true if a client certainly set a field that may be defaulted.
    pub(super) fn external_traffic_policy(&self) -> bool {
        self.any(|manager| manager.is_apply && manager.spec.external_traffic_policy.0)
    }

    /// Returns true if a client certainly set a field that may be defaulted.
    pub(super) fn allocate_load_balancer_node_ports(&self) -> bool {
        self.any(|manager| manager.is_apply && manager.spec.allocate_load_balancer_node_ports.0)
    }

    fn any(&self, set: impl Fn(&Manager) -> bool) -> bool {
        self.managers
            .as_ref()
            .is_none_or(|managers| managers.iter().any(set))
    }
}
