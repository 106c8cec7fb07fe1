//! The inventory as configuration files and suites write it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An inventory as configuration files and suites write it.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct InventoryData {
    /// The cluster itself.
    pub cluster: ClusterData,
    /// The namespaces that are known, by name. One that is not listed is unknown.
    pub namespaces: BTreeMap<String, NamespaceData>,
    /// All Pods of the cluster; absent: Pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<PodData>>,
}

/// The cluster.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ClusterData {
    /// Says if some controller serves LoadBalancer Services that name no class. Wins over what the
    /// nodes suggest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentData>,
    /// `--service-node-port-range` of the API server.
    pub node_ports: PortRangeData,
    /// The Nodes.
    pub nodes: Vec<NodeData>,
}

/// See [`ClusterData::environment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvironmentData {
    /// Some controller serves them.
    Cloud,
    /// No controller serves them.
    OnPrem,
}

/// A range of ports with both ends included, within 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, try_from = "RawPortRange")]
pub struct PortRangeData {
    pub(super) from: u16,
    pub(super) to: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPortRange {
    from: u16,
    to: u16,
}

impl TryFrom<RawPortRange> for PortRangeData {
    type Error = String;

    fn try_from(RawPortRange { from, to }: RawPortRange) -> Result<Self, String> {
        if from == 0 || from > to {
            return Err(format!(
                "{from}-{to} is no range of ports; use 1 <= from <= to <= 65535"
            ));
        }
        Ok(Self { from, to })
    }
}

impl Default for PortRangeData {
    /// The API server's own default.
    fn default() -> Self {
        Self {
            from: 30000,
            to: 32767,
        }
    }
}

/// A Node, reduced to the fields that name its provider.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeData {
    /// A name for people.
    pub name: String,
    /// `spec.providerID`.
    #[serde(
        default,
        rename = "providerID",
        skip_serializing_if = "Option::is_none"
    )]
    pub provider_id: Option<String>,
    /// Keys of `spec.taints`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<String>,
}

/// A namespace.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceData {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`; null: not known.
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Default for NamespaceData {
    /// A namespace without labels and annotations.
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            annotations: Some(BTreeMap::new()),
        }
    }
}

/// A Pod, reduced to what a Service selects and reaches.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PodData {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.labels`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The ports of its containers.
    #[serde(default)]
    pub ports: Vec<ContainerPortData>,
}

/// One port of a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ContainerPortData {
    /// `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `containerPort`.
    pub container_port: u16,
}
