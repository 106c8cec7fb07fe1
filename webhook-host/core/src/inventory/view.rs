//! The inventory as one review sees it.

use super::index::Known;
use super::profile::Profile;
use super::{Inventory, Labels};
use crate::contract::review::{Cluster, Environment, Namespace, Pod};
use crate::contract::service::Pair;
use arc_swap::Guard;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The inventory at the moment of one review.
pub struct View<'a> {
    pub(super) profile: &'a Profile,
    pub(super) known: Guard<Arc<Known>>,
}

impl View<'_> {
    /// Returns the labels of a namespace, if it is known.
    pub fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.known.labels(name)
    }

    /// Returns the annotations of a namespace, if they are known.
    pub fn namespace_annotations(&self, name: &str) -> Option<Vec<Pair>> {
        self.known.annotations(name).map(pairs)
    }

    /// Returns true if a namespace is being deleted; `None` if it is not known.
    pub fn is_terminating(&self, namespace: &str) -> Option<bool> {
        self.known.is_terminating(namespace)
    }

    /// Returns a namespace as policies see it, without its annotations. A namespace that is not
    /// known still has its name label.
    pub fn namespace(&self, name: &str) -> Namespace {
        match self.known.labels(name) {
            Some(labels) => Namespace {
                name: name.to_owned(),
                labels: pairs(labels),
                known: true,
                annotations: None,
            },
            None => Inventory::unknown_namespace(name),
        }
    }

    /// Returns the environment, if it is a default that no operator wrote.
    pub fn assumed_environment(&self) -> Option<&'static str> {
        let environment = self
            .profile
            .environment
            .filter(|_| self.profile.is_assumed)?;
        Some(match environment {
            Environment::Cloud => "environment cloud",
            Environment::OnPrem => "environment onPrem",
        })
    }

    /// Returns the cluster as policies see it.
    pub fn cluster(&self) -> Cluster {
        self.profile.with(self.known.providers())
    }

    /// Returns the distinct Pods that a selector selects in a namespace; `None` when Pods are not
    /// known. An empty selector selects none: the Service has no selector then.
    pub fn selected_pods(&self, namespace: &str, selector: &[Pair]) -> Option<Vec<Pod>> {
        Some(self.known.pods()?.selected(namespace, selector))
    }
}

fn pairs(map: &Labels) -> Vec<Pair> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
