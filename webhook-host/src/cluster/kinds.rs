//! Namespaces, Nodes and Pods as they are deserialized from the API server's JSON: only the fields
//! that the inventory keeps.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::PartialObjectMeta;
use sallyport_core::inventory::Object;
use serde::Deserialize;

/// A Node: its providerID and the keys of its taints.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = core::Node)]
pub(super) struct Node {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NodeSpec {
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
    taints: Option<Vec<Taint>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Taint {
    key: String,
}

/// A Pod: its labels and the ports of its containers.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = core::Pod)]
pub(super) struct Pod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    restart_policy: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    name: Option<String>,
    container_port: i32,
}

impl Container {
    /// Returns true for an init container that keeps running (KEP-753). Others end before the Pod
    /// serves.
    fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// Converts an API object to the inventory's object.
pub(super) trait IntoObject {
    fn into_object(self) -> Object;
}

impl IntoObject for PartialObjectMeta<core::Namespace> {
    fn into_object(self) -> Object {
        let ObjectMeta {
            name,
            labels,
            annotations,
            deletion_timestamp,
            ..
        } = self.metadata;
        Object::Namespace {
            name: name.unwrap_or_default(),
            labels: labels.unwrap_or_default(),
            annotations: Some(annotations.unwrap_or_default()),
            terminating: deletion_timestamp.is_some(),
        }
    }
}

impl IntoObject for Node {
    fn into_object(self) -> Object {
        let Self { metadata, spec } = self;
        let taints = spec
            .taints
            .into_iter()
            .flatten()
            .map(|taint| taint.key)
            .collect();
        Object::Node {
            name: metadata.name.unwrap_or_default(),
            provider_id: spec.provider_id,
            taints,
        }
    }
}

impl IntoObject for Pod {
    fn into_object(self) -> Object {
        let Self { metadata, spec } = self;
        let sidecars = spec
            .init_containers
            .into_iter()
            .flatten()
            .filter(Container::is_sidecar);
        let ports = spec
            .containers
            .into_iter()
            .chain(sidecars)
            .flat_map(|container| container.ports)
            .flatten();
        let ObjectMeta {
            namespace,
            name,
            labels,
            ..
        } = metadata;
        Object::Pod {
            namespace: namespace.unwrap_or_default(),
            name: name.unwrap_or_default(),
            labels: labels.unwrap_or_default(),
            ports: ports.map(|port| (port.name, port.container_port)).collect(),
        }
    }
}
