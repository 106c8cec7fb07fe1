//! The inventory as configuration files and suites write it.

use super::index::{Event, Kind, Object};
use schemars::JsonSchema;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The facts about the cluster that policies may know beside the Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Inventory")]
pub struct InventoryData {
    /// The cluster itself.
    pub cluster: ClusterData,
    /// The namespaces that are known, by name. One that is not listed is unknown.
    #[serde(deserialize_with = "namespaces")]
    #[schemars(extend("propertyNames" = {"pattern": LABEL_PATTERN, "maxLength": MAX_LABEL}))]
    pub namespaces: BTreeMap<String, NamespaceData>,
    /// All Pods of the cluster; absent: Pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<PodData>>,
}

/// The cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Cluster")]
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

/// The kind of cluster, as its operator states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Environment")]
pub enum EnvironmentData {
    /// Some controller serves LoadBalancer Services that name no class.
    Cloud,
    /// No controller does.
    OnPrem,
}

/// A range of ports with both ends included, within 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields, try_from = "RawPortRange")]
#[schemars(rename = "PortRange")]
pub struct PortRangeData {
    /// The first port.
    pub(super) from: u16,
    /// The last port.
    pub(super) to: u16,
}

/// A range of ports with both ends included.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawPortRange {
    /// The first port.
    #[schemars(range(min = 1))]
    from: u16,
    /// The last port.
    #[schemars(range(min = 1))]
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
    /// Returns the default of the API server's own flag.
    fn default() -> Self {
        Self {
            from: 30000,
            to: 32767,
        }
    }
}

/// A Node, reduced to the fields that name its provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Node")]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Namespace")]
pub struct NamespaceData {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`; null: not known.
    pub annotations: Option<BTreeMap<String, String>>,
    /// True if the namespace is being deleted: it has a `metadata.deletionTimestamp`. No policy is
    /// asked about the deletion of its Services then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminating: bool,
}

impl Default for NamespaceData {
    /// Returns a namespace without labels and annotations that is not being deleted.
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            annotations: Some(BTreeMap::new()),
            terminating: false,
        }
    }
}

/// A Pod, reduced to what a Service selects and reaches.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pod")]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ContainerPort")]
pub struct ContainerPortData {
    /// The port's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The port's number.
    pub container_port: u16,
}

impl InventoryData {
    /// Returns true if it names objects, and not only what an operator says about the cluster.
    pub fn has_objects(&self) -> bool {
        !(self.namespaces.is_empty() && self.cluster.nodes.is_empty() && self.pods.is_none())
    }

    /// Objects of files have no events; these make the same inventory.
    pub(super) fn into_events(self) -> impl Iterator<Item = Event> {
        let namespaces = self.namespaces.into_iter();
        let namespaces = namespaces.map(|(name, data)| Object::Namespace {
            name,
            labels: data.labels,
            annotations: data.annotations,
            terminating: data.terminating,
        });
        let listed = [Some(Kind::Nodes), self.pods.is_some().then_some(Kind::Pods)];
        let listed = listed.into_iter().flatten().map(Event::Listed);
        // Files give Pods no names, and those of Nodes are for people: their places will do.
        let nodes = self
            .cluster
            .nodes
            .into_iter()
            .enumerate()
            .map(|(place, node)| Object::Node {
                name: place.to_string(),
                provider_id: node.provider_id,
                taints: node.taints,
            });
        let pods = self.pods.into_iter().flatten().enumerate();
        let pods = pods.map(|(place, pod)| Object::Pod {
            namespace: pod.namespace,
            name: place.to_string(),
            labels: pod.labels,
            ports: pod
                .ports
                .into_iter()
                .map(|port| (port.name, port.container_port.into()))
                .collect(),
        });
        namespaces
            .chain(nodes)
            .chain(pods)
            .map(Event::Apply)
            .chain(listed)
    }
}

/// The longest label of RFC 1123.
pub(crate) const MAX_LABEL: usize = 63;

/// The labels of RFC 1123, as a regular expression.
pub(crate) const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Returns true if a text is a label of RFC 1123: what Kubernetes calls a name of at most 63
/// characters without dots.
pub fn is_label(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= MAX_LABEL
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Reads namespaces by their names, and refuses a name that no namespace can have. The error is one
/// of the entry, so that it has the entry's path.
fn namespaces<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, NamespaceData>, D::Error> {
    deserializer.deserialize_map(Namespaces)
}

struct Namespaces;

impl<'de> Visitor<'de> for Namespaces {
    type Value = BTreeMap<String, NamespaceData>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut namespaces = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let data = map.next_value_seed(Named(&name))?;
            namespaces.insert(name, data);
        }
        Ok(namespaces)
    }
}

/// The namespace of this name.
struct Named<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = NamespaceData;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<NamespaceData, D::Error> {
        if is_label(self.0) {
            return NamespaceData::deserialize(deserializer);
        }
        Err(D::Error::custom(
            "no namespace can have this name; use lower-case letters, digits and '-', at most 63 \
             characters",
        ))
    }
}
