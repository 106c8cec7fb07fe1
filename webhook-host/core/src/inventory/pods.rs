//! Pods by namespace, reduced to labels and ports.
//!
//! Pods of one Deployment have equal labels and ports. Each such combination (a look) is held once
//! a namespace, so that 50,000 Pods take some megabytes, and a selector is compared with looks
//! instead of Pods. A change copies the namespace that it touches, and only if a reader holds the
//! version before.

use crate::contract::review::{ContainerPort, Pod};
use crate::contract::service::Pair;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All Pods that are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Pods {
    namespaces: BTreeMap<Arc<str>, Arc<InNamespace>>,
    count: usize,
}

#[derive(Debug, Clone, Default)]
struct InNamespace {
    pods: BTreeMap<Arc<str>, Arc<Look>>,
    /// The number of Pods with this look; at least one.
    looks: BTreeMap<Arc<Look>, usize>,
}

/// The part of a Pod that policies see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Look {
    labels: Box<[Pair]>,
    ports: Box<[(Option<String>, i32)]>,
}

impl Look {
    pub(super) fn new(labels: BTreeMap<String, String>, ports: Vec<(Option<String>, i32)>) -> Self {
        Self {
            labels: labels.into_iter().collect(),
            ports: ports.into(),
        }
    }

    fn is_selected(&self, selector: &[Pair]) -> bool {
        selector
            .iter()
            .all(|pair| self.labels.binary_search(pair).is_ok())
    }
}

impl From<&Look> for Pod {
    fn from(look: &Look) -> Self {
        let port = |(name, number): &(Option<String>, i32)| ContainerPort {
            name: name.clone(),
            number: *number,
        };
        Self {
            labels: look.labels.to_vec(),
            ports: look.ports.iter().map(port).collect(),
        }
    }
}

impl Pods {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the distinct looks of the Pods that a selector selects. An empty selector selects
    /// none: the Service has no selector then.
    pub(super) fn selected(&self, namespace: &str, selector: &[Pair]) -> Vec<Pod> {
        let Some(known) = self
            .namespaces
            .get(namespace)
            .filter(|_| !selector.is_empty())
        else {
            return vec![];
        };
        known
            .looks
            .keys()
            .filter(|look| look.is_selected(selector))
            .map(|look| Pod::from(&**look))
            .collect()
    }

    /// Returns namespace and name of all Pods.
    pub(super) fn names(&self) -> BTreeSet<(Arc<str>, Arc<str>)> {
        let of = |(namespace, known): (&Arc<str>, &Arc<InNamespace>)| {
            let namespace = Arc::clone(namespace);
            known
                .pods
                .keys()
                .map(move |name| (Arc::clone(&namespace), Arc::clone(name)))
                .collect::<Vec<_>>()
        };
        self.namespaces.iter().flat_map(of).collect()
    }

    /// Returns true if a Pod is known with this look: most changes of a Pod touch neither labels
    /// nor ports.
    pub(super) fn has(&self, namespace: &str, name: &str, look: &Look) -> bool {
        self.namespaces
            .get(namespace)
            .and_then(|known| known.pods.get(name))
            .is_some_and(|known| **known == *look)
    }

    pub(super) fn insert(&mut self, namespace: &str, name: &str, look: Look) {
        self.remove(namespace, name);
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.into(), Arc::default());
        }
        let known = self
            .namespaces
            .get_mut(namespace)
            .expect("it was just put there");
        Arc::make_mut(known).insert(name.into(), look);
        self.count += 1;
    }

    /// Returns true if it was known.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> bool {
        let Some(known) = self
            .namespaces
            .get_mut(namespace)
            .filter(|known| known.pods.contains_key(name))
        else {
            return false;
        };
        let known = Arc::make_mut(known);
        known.remove(name);
        let empty = known.pods.is_empty();
        if empty {
            self.namespaces.remove(namespace);
        }
        self.count -= 1;
        true
    }
}

impl InNamespace {
    fn insert(&mut self, name: Arc<str>, look: Look) {
        let look = self
            .looks
            .get_key_value(&look)
            .map_or_else(|| Arc::new(look), |(look, _)| Arc::clone(look));
        *self.looks.entry(Arc::clone(&look)).or_default() += 1;
        self.pods.insert(name, look);
    }

    fn remove(&mut self, name: &str) {
        let Some(look) = self.pods.remove(name) else {
            return;
        };
        if let Some(count) = self.looks.get_mut(&look) {
            *count -= 1;
            if *count == 0 {
                self.looks.remove(&look);
            }
        }
    }
}
