//! What policies may know about the cluster beside the Service: namespaces, Nodes, Pods.
//!
//! Context is data, not a trait: `Inventory` is a plain struct that the host's configuration, a suite or (later) watchers
//! fill. What is absent is unknown, which is not the same as empty. Read by `admission`.

mod data;

pub use data::{
    ClusterData, ContainerPortData, EnvironmentData, InventoryData, NamespaceData, NodeData, PodData, PortRangeData,
};

use crate::contract::review::{Cluster, ContainerPort, Environment, Namespace, Pod, PortRange, Provider, ProviderId};
use crate::contract::service::Pair;
use std::collections::BTreeMap;

/// The label that the API server gives every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The taint of a Node whose cloud controller has not seen it yet (k8s.io/cloud-provider `api/well_known_taints.go`).
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// An inventory, ready to be asked.
#[derive(Debug, Clone)]
pub struct Inventory {
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    cluster: Cluster,
    pods: Option<BTreeMap<String, Vec<KnownPod>>>,
}

#[derive(Debug, Clone)]
struct KnownPod {
    labels: BTreeMap<String, String>,
    ports: Vec<ContainerPort>,
}

impl Default for Inventory {
    fn default() -> Self {
        Self::from(InventoryData::default())
    }
}

impl From<InventoryData> for Inventory {
    fn from(data: InventoryData) -> Self {
        let namespaces = data.namespaces.into_iter().map(|(name, mut namespace)| {
            namespace.labels.insert(NAME_LABEL.to_owned(), name.clone());
            (name, namespace.labels)
        });
        let pods = data.pods.map(|pods| {
            let mut by_namespace = BTreeMap::<String, Vec<KnownPod>>::new();
            for pod in pods {
                by_namespace.entry(pod.namespace.clone()).or_default().push(KnownPod::from(pod));
            }
            by_namespace
        });
        Self { namespaces: namespaces.collect(), cluster: cluster(data.cluster), pods }
    }
}

impl From<PodData> for KnownPod {
    fn from(pod: PodData) -> Self {
        let ports = pod.ports.into_iter();
        let ports = ports.map(|port| ContainerPort { name: port.name, number: port.container_port.into() });
        Self { labels: pod.labels, ports: ports.collect() }
    }
}

impl Inventory {
    /// The labels of a namespace, when it is known.
    pub fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(name)
    }

    /// A namespace as policies see it; one that is not known has its name label all the same.
    pub fn namespace(&self, name: &str) -> Namespace {
        match self.namespaces.get(name) {
            Some(labels) => Namespace { name: name.to_owned(), labels: pairs(labels), known: true },
            None => Self::unknown_namespace(name),
        }
    }

    /// A namespace of which nothing but the name is known.
    pub fn unknown_namespace(name: &str) -> Namespace {
        Namespace { name: name.to_owned(), labels: vec![(NAME_LABEL.to_owned(), name.to_owned())], known: false }
    }

    /// The cluster as policies see it.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The Pods that a selector selects in a namespace; `None` when Pods are not known. An empty selector selects none: the
    /// Service has no selector then.
    pub fn selected_pods(&self, namespace: &str, selector: &[Pair]) -> Option<Vec<Pod>> {
        let pods = self.pods.as_ref()?.get(namespace).map_or(&[][..], Vec::as_slice);
        let selects = |pod: &&KnownPod| {
            !selector.is_empty() && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
        };
        let selected = pods.iter().filter(selects);
        Some(selected.map(|pod| Pod { labels: pairs(&pod.labels), ports: pod.ports.clone() }).collect())
    }
}

/// What a policy sees that did not ask for the cluster.
pub(crate) fn no_cluster() -> Cluster {
    cluster(ClusterData::default())
}

fn cluster(data: ClusterData) -> Cluster {
    let mut nodes = BTreeMap::<Kind<'_>, u32>::new();
    let initialized = |node: &&NodeData| !node.taints.iter().any(|taint| taint == UNINITIALIZED);
    for node in data.nodes.iter().filter(initialized) {
        *nodes.entry(Kind::of(node.provider_id.as_deref())).or_default() += 1;
    }
    Cluster {
        environment: data.environment.map(|environment| match environment {
            EnvironmentData::Cloud => Environment::Cloud,
            EnvironmentData::OnPrem => Environment::OnPrem,
        }),
        providers: nodes.into_iter().map(|(kind, nodes)| Provider { id: kind.into(), nodes }).collect(),
        node_ports: PortRange { from: data.node_ports.from, to: data.node_ports.to },
    }
}

/// The beginning of a providerID.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind<'a> {
    Scheme(&'a str),
    Bare(&'a str),
    Missing,
}

impl<'a> Kind<'a> {
    fn of(provider_id: Option<&'a str>) -> Self {
        match provider_id {
            None | Some("") => Self::Missing,
            // hcloud-cloud-controller-manager, internal/providerid: the legacy form of a dedicated server.
            Some(id) if id.starts_with("hcloud://bm-") => Self::Scheme("hrobot"),
            Some(id) => match id.split_once("://") {
                Some((scheme, _)) => Self::Scheme(scheme),
                None => Self::Bare(id.split('.').next().unwrap_or(id)),
            },
        }
    }
}

impl From<Kind<'_>> for ProviderId {
    fn from(kind: Kind<'_>) -> Self {
        match kind {
            Kind::Scheme(scheme) => Self::Scheme(scheme.to_owned()),
            Kind::Bare(prefix) => Self::Bare(prefix.to_owned()),
            Kind::Missing => Self::Missing,
        }
    }
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<Pair> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use serde_json::{Value, json};

    fn inventory(value: &Value) -> Inventory {
        decode::from_value::<InventoryData>(value).expect("valid").into()
    }

    #[test]
    fn nodes_are_grouped_by_what_their_provider_id_says_and_uninitialized_ones_left_out() {
        let inventory = inventory(&json!({"cluster": {"nodes": [
            {"name": "a", "providerID": "aws:///eu-1/i-1"},
            {"name": "b", "providerID": "aws:////i-2"},
            {"name": "c", "providerID": "hcloud://bm-7"},
            {"name": "d", "providerID": "ocid1.instance.oc1"},
            {"name": "e"},
            {"name": "f", "taints": ["node.cloudprovider.kubernetes.io/uninitialized"]},
        ]}}));
        let expected = [
            (ProviderId::Scheme("aws".into()), 2),
            (ProviderId::Scheme("hrobot".into()), 1),
            (ProviderId::Bare("ocid1".into()), 1),
            (ProviderId::Missing, 1),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(id, nodes)| Provider { id, nodes }).collect();
        assert_eq!(inventory.cluster().providers, expected);
    }

    #[test]
    fn a_namespace_that_is_not_listed_is_unknown_but_has_its_name_label() {
        let inventory = inventory(&json!({"namespaces": {"a": {"labels": {"team": "x"}}}}));
        assert_eq!(inventory.namespace("a").labels.len(), 2);
        assert!(inventory.namespace("a").known);
        let unknown = inventory.namespace("b");
        assert!(!unknown.known);
        assert_eq!(unknown.labels, vec![(NAME_LABEL.to_owned(), "b".to_owned())]);
    }

    #[test]
    fn pods_are_unknown_unless_listed_and_an_empty_selector_selects_none() {
        let selector = [("app".to_owned(), "db".to_owned())];
        assert_eq!(Inventory::default().selected_pods("a", &selector), None);
        let inventory = inventory(&json!({"pods": [
            {"namespace": "a", "labels": {"app": "db"}, "ports": [{"name": "web", "containerPort": 5432}]},
            {"namespace": "b", "labels": {"app": "db"}},
        ]}));
        assert_eq!(inventory.selected_pods("a", &selector).map(|pods| pods.len()), Some(1));
        assert_eq!(inventory.selected_pods("a", &[]), Some(vec![]));
        assert_eq!(inventory.selected_pods("c", &selector), Some(vec![]));
    }

    #[test]
    fn an_inverted_range_is_an_error_with_its_path() {
        let value = json!({"cluster": {"nodePorts": {"from": 5, "to": 4}}});
        let error = decode::from_value::<InventoryData>(&value).expect_err("inverted").to_string();
        assert_eq!(error, "cluster.nodePorts: 5-4 is no range of ports; use 1 <= from <= to <= 65535");
    }
}
