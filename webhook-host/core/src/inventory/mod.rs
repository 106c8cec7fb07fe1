//! The facts about the cluster that policies may know beside the Service: namespaces, Nodes, Pods.
//!
//! Role: an `Inventory` is filled by a HostConfig, by a suite, or by a host's watchers, which
//! publish to a [`Current`]. Invariants: what is absent is unknown, which is not the same as empty;
//! a review takes one view and sees nothing of later changes.

mod current;
mod data;
mod excerpt;
mod index;
mod nodes;
mod pods;
mod profile;
mod view;

pub use current::Current;
pub use data::{
    ClusterData, ContainerPortData, EnvironmentData, InventoryData, NamespaceData, NodeData,
    PodData, PortRangeData, is_label,
};
pub(crate) use data::{LABEL_PATTERN, MAX_LABEL};
pub use excerpt::{Excerpt, FreeTexts};
pub use index::{Event, Index, Kind, Need, Object};
pub(crate) use profile::no_cluster;
pub use view::View;

use crate::contract::review::{Environment, Namespace, PortRange};
use arc_swap::Guard;
use index::Known;
use profile::Profile;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label that the API server gives every namespace.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// By key.
type Labels = BTreeMap<String, String>;

/// An inventory, ready to be asked. Clones share what is known.
#[derive(Debug, Clone)]
pub struct Inventory {
    profile: Profile,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    File(Arc<Known>),
    Cluster(Arc<Current>),
}

impl Default for Inventory {
    fn default() -> Self {
        Self::from(InventoryData::default())
    }
}

impl From<InventoryData> for Inventory {
    fn from(data: InventoryData) -> Self {
        let profile = Profile::from(&data.cluster);
        let mut index = Index::new();
        for event in data.into_events() {
            index.apply(event);
        }
        Self {
            profile,
            source: Source::File(Arc::new(index.known().clone())),
        }
    }
}

impl Inventory {
    /// Returns the inventory that watchers publish. It takes the operator's statements about the
    /// cluster from `data`, and ignores the objects there.
    pub fn of_cluster(data: &InventoryData, current: Arc<Current>) -> Self {
        Self {
            profile: Profile::from(&data.cluster),
            source: Source::Cluster(current),
        }
    }

    /// Marks the statements about the cluster as a default that no operator wrote.
    #[must_use]
    pub fn assumed(self) -> Self {
        Self {
            profile: Profile {
                is_assumed: true,
                ..self.profile
            },
            ..self
        }
    }

    /// Returns an operator's statements about the cluster, as a HostConfig writes them.
    pub(crate) fn stated(&self) -> Value {
        let Profile {
            environment,
            node_ports: PortRange { from, to },
            is_assumed: _,
        } = &self.profile;
        let environment = environment.map(|environment| match environment {
            Environment::Cloud => EnvironmentData::Cloud,
            Environment::OnPrem => EnvironmentData::OnPrem,
        });
        json!({"environment": environment, "nodePorts": {"from": from, "to": to}})
    }

    /// Takes a view of the inventory as it is now.
    pub fn view(&self) -> View<'_> {
        let known = match &self.source {
            Source::File(known) => Guard::from_inner(Arc::clone(known)),
            Source::Cluster(current) => current.known(),
        };
        View {
            profile: &self.profile,
            known,
        }
    }

    /// Returns a copy of the inventory as it is now, which later changes do not reach.
    #[must_use]
    pub fn as_of_now(&self) -> Self {
        let known = Guard::into_inner(self.view().known);
        Self {
            profile: self.profile.clone(),
            source: Source::File(known),
        }
    }

    /// Returns a namespace of which nothing but the name is known.
    pub fn unknown_namespace(name: &str) -> Namespace {
        Namespace {
            name: name.to_owned(),
            labels: vec![(NAME_LABEL.to_owned(), name.to_owned())],
            known: false,
            annotations: None,
        }
    }
}

#[cfg(test)]
mod tests;
