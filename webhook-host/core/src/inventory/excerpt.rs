//! An excerpt of the inventory for one review: small enough for a line of a log, and complete, so
//! that the review can be replayed.
//!
//! The shape is that of [`InventoryData`], but counts stand for Nodes and Pods that are alike: a
//! cluster of 5,000 Nodes takes as much room as one of a single Node. It is part of a review's
//! record.

use super::{
    ClusterData, ContainerPortData, EnvironmentData, Inventory, InventoryData, NamespaceData,
    NodeData, PodData, PortRangeData, View,
};
use crate::contract::review::{Environment, Pod, ProviderId};
use crate::contract::service::Pair;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Nodes or Pods that one count can stand for: more than a cluster has, and few enough for memory
/// where a log is corrupt.
const MAX_COUNT: usize = 200_000;

/// An inventory reduced to one namespace and to the Pods that some selectors select.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Excerpt {
    /// The namespace's labels; absent when it was not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    /// The namespace's annotations; absent when they were not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
    /// True when the namespace was being deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    terminating: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<EnvironmentData>,
    node_ports: Option<PortRangeData>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<Nodes>,
    /// Absent when Pods were not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Vec<Pods>>,
}

/// Nodes of one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Nodes {
    /// The prefix that names the provider; absent when they have none.
    #[serde(
        default,
        rename = "providerID",
        skip_serializing_if = "Option::is_none"
    )]
    provider_id: Option<String>,
    count: u32,
}

/// Pods that look the same to policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pods {
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ports: Vec<ContainerPortData>,
    count: u32,
}

/// The texts of an excerpt that their writers are free to choose, by key.
pub struct FreeTexts<'a> {
    /// Labels of the namespace.
    pub labels: Option<&'a mut BTreeMap<String, String>>,
    /// Annotations of the namespace.
    pub annotations: Option<&'a mut BTreeMap<String, String>>,
    /// Labels of each group of Pods.
    pub pods: Vec<&'a mut BTreeMap<String, String>>,
}

impl Excerpt {
    /// Takes labels and annotations of a namespace, the facts about the cluster, and the Pods that
    /// any of the selectors selects.
    pub fn of(inventory: &Inventory, namespace: &str, selectors: &[&[Pair]]) -> Self {
        let view = inventory.view();
        let cluster = view.cluster();
        let nodes = cluster.providers.iter().map(|provider| Nodes {
            provider_id: match &provider.id {
                ProviderId::Scheme(scheme) => Some(format!("{scheme}://")),
                ProviderId::Bare(prefix) => Some(format!("{prefix}.")),
                ProviderId::Missing => None,
            },
            count: provider.nodes,
        });
        Self {
            labels: view.namespace_labels(namespace).cloned(),
            annotations: view
                .namespace_annotations(namespace)
                .map(|annotations| annotations.into_iter().collect()),
            terminating: view.is_terminating(namespace).unwrap_or_default(),
            environment: cluster
                .environment
                .as_ref()
                .map(|environment| match environment {
                    Environment::Cloud => EnvironmentData::Cloud,
                    Environment::OnPrem => EnvironmentData::OnPrem,
                }),
            node_ports: Some(PortRangeData {
                from: cluster.node_ports.from,
                to: cluster.node_ports.to,
            }),
            nodes: nodes.collect(),
            pods: Pods::selected(&view, namespace, selectors),
        }
    }

    /// Returns the texts that their writers are free to choose.
    pub fn free_texts(&mut self) -> FreeTexts<'_> {
        let pods = self.pods.iter_mut().flatten();
        FreeTexts {
            labels: self.labels.as_mut(),
            annotations: self.annotations.as_mut(),
            pods: pods.map(|pods| &mut pods.labels).collect(),
        }
    }

    /// Rebuilds the inventory, as far as a review in this namespace can see it.
    pub fn data(self, namespace: &str) -> InventoryData {
        let node = |nodes: Nodes| {
            let node = NodeData {
                name: String::new(),
                provider_id: nodes.provider_id,
                taints: vec![],
            };
            std::iter::repeat_n(node, most(nodes.count))
        };
        let cluster = ClusterData {
            environment: self.environment,
            node_ports: self.node_ports.unwrap_or_default(),
            nodes: self.nodes.into_iter().flat_map(node).collect(),
        };
        let pod = |pods: Pods| {
            let pod = PodData {
                namespace: namespace.to_owned(),
                labels: pods.labels,
                ports: pods.ports,
            };
            std::iter::repeat_n(pod, most(pods.count))
        };
        InventoryData {
            cluster,
            namespaces: self
                .labels
                .map(|labels| {
                    let annotations = self.annotations;
                    (
                        namespace.to_owned(),
                        NamespaceData {
                            labels,
                            annotations,
                            terminating: self.terminating,
                        },
                    )
                })
                .into_iter()
                .collect(),
            pods: self
                .pods
                .map(|pods| pods.into_iter().flat_map(pod).collect()),
        }
    }
}

fn most(count: u32) -> usize {
    usize::try_from(count).unwrap_or(MAX_COUNT).min(MAX_COUNT)
}

impl Pods {
    /// Returns the selected Pods in groups. A group that two selectors select is listed once: Pods
    /// that are alike are selected all or none.
    fn selected(view: &View<'_>, namespace: &str, selectors: &[&[Pair]]) -> Option<Vec<Self>> {
        let mut groups = BTreeMap::<_, (Vec<ContainerPortData>, u32)>::new();
        // An empty selector shows if Pods are known at all.
        view.selected_pods(namespace, &[])?;
        for selector in selectors {
            let mut alike = BTreeMap::<_, (Vec<ContainerPortData>, u32)>::new();
            for Pod { labels, ports } in view.selected_pods(namespace, selector)? {
                let key = (
                    labels,
                    ports
                        .iter()
                        .map(|port| (port.name.clone(), port.number))
                        .collect::<Vec<_>>(),
                );
                let ports = || {
                    ports
                        .iter()
                        .map(|port| data(port.name.as_ref(), port.number))
                        .collect()
                };
                alike.entry(key).or_insert_with(|| (ports(), 0)).1 += 1;
            }
            groups.extend(alike);
        }
        let pods = groups
            .into_iter()
            .map(|((labels, _), (ports, count))| Self {
                labels: labels.into_iter().collect(),
                ports,
                count,
            });
        Some(pods.collect())
    }
}

fn data(name: Option<&String>, number: impl TryInto<u16>) -> ContainerPortData {
    ContainerPortData {
        name: name.cloned(),
        container_port: number.try_into().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use serde_json::json;

    #[test]
    fn an_excerpt_says_of_its_review_what_the_whole_inventory_says() {
        let pod = |app: &str| {
            json!({"namespace": "a", "labels": {"app": app},
            "ports": [{"containerPort": 80}]})
        };
        let whole: Inventory = decode::from_value::<InventoryData>(&json!({
            "cluster": {"environment": "cloud", "nodePorts": {"from": 31000, "to": 31099},
                "nodes": [
                {"name": "a", "providerID": "aws:///x/i-1"},
                {"name": "b", "providerID": "aws:///x/i-2"},
                {"name": "c", "providerID": "ocid1.instance"},
                {"name": "d", "providerID": "hcloud://bm-1"}, {"name": "e"},
            ]},
            "namespaces": {"b": {}, "a": {"labels": {"team": "x"}, "annotations": {"note": "y"},
                "terminating": true}},
            "pods": [pod("db"), pod("db"), pod("web"), pod("other")],
        }))
        .expect("valid")
        .into();
        let selectors = ["db", "web"].map(|app| [("app".to_owned(), app.to_owned())]);
        let excerpt = Excerpt::of(&whole, "a", &[&selectors[0], &selectors[1]]);
        let text = serde_json::to_string(&excerpt).expect("JSON");
        assert!(!text.contains("other"), "{text}");
        let read: Excerpt = serde_json::from_str(&text).expect("its own form");
        let again = Inventory::from(read.data("a"));
        assert_eq!(again.view().cluster(), whole.view().cluster());
        assert_eq!(
            again.view().namespace_labels("a"),
            whole.view().namespace_labels("a")
        );
        assert_eq!(again.view().namespace_labels("b"), None);
        assert_eq!(again.view().is_terminating("a"), Some(true));
        assert_eq!(again.view().is_terminating("b"), None);
        assert_eq!(
            again.view().namespace_annotations("a"),
            Some(vec![("note".to_owned(), "y".to_owned())])
        );
        for selector in &selectors {
            assert_eq!(
                again.view().selected_pods("a", selector),
                whole.view().selected_pods("a", selector)
            );
        }
    }

    #[test]
    fn what_was_not_known_stays_unknown() {
        let excerpt = Excerpt::of(&Inventory::default(), "a", &[]);
        let again = Inventory::from(excerpt.data("a"));
        assert_eq!(again.view().namespace_labels("a"), None);
        assert_eq!(
            again
                .view()
                .selected_pods("a", &[("app".to_owned(), "db".to_owned())]),
            None
        );
    }
}
