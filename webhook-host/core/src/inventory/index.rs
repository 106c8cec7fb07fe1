//! The cluster's objects as far as they are known, and the events that change them.
//!
//! Plain data: events come from watchers, from tests, or from files, which are a list of them.
//! Parts are copied on write, so that a published version never changes, and shares the unchanged
//! parts.

use super::nodes::{self, Nodes};
use super::pods::{Look, Pods};
use super::{Labels, NAME_LABEL};
use crate::contract::review::Provider;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Their labels, and their annotations if a policy needs them.
    Namespaces,
    /// Their providers.
    Nodes,
    /// Their labels and ports.
    Pods,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Namespaces, Self::Nodes, Self::Pods];

    /// Returns the resource's name in the API.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Nodes => "nodes",
            Self::Pods => "pods",
        }
    }
}

/// Objects that policies need, and how much of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Namespaces with their labels.
    Namespaces,
    /// The annotations of namespaces as well.
    NamespaceAnnotations,
    /// Nodes.
    Nodes,
    /// Pods.
    Pods,
}

impl Need {
    /// Returns the kind of the objects.
    pub fn kind(self) -> Kind {
        match self {
            Self::Namespaces | Self::NamespaceAnnotations => Kind::Namespaces,
            Self::Nodes => Kind::Nodes,
            Self::Pods => Kind::Pods,
        }
    }
}

/// An object, reduced to the facts that policies may see.
#[derive(Debug, Clone)]
pub enum Object {
    /// A namespace.
    Namespace {
        /// `metadata.name`.
        name: String,
        /// `metadata.labels`.
        labels: BTreeMap<String, String>,
        /// `metadata.annotations`; `None` where no policy needs them.
        annotations: Option<BTreeMap<String, String>>,
        /// True if it has a `metadata.deletionTimestamp`.
        terminating: bool,
    },
    /// A Node.
    Node {
        /// `metadata.name`.
        name: String,
        /// `spec.providerID`.
        provider_id: Option<String>,
        /// Keys of `spec.taints`.
        taints: Vec<String>,
    },
    /// A Pod.
    Pod {
        /// `metadata.namespace`.
        namespace: String,
        /// `metadata.name`.
        name: String,
        /// `metadata.labels`.
        labels: BTreeMap<String, String>,
        /// Name and number of the ports of its containers.
        ports: Vec<(Option<String>, i32)>,
    },
}

impl Object {
    fn kind(&self) -> Kind {
        match self {
            Self::Namespace { .. } => Kind::Namespaces,
            Self::Node { .. } => Kind::Nodes,
            Self::Pod { .. } => Kind::Pods,
        }
    }

    /// Returns namespace and name; the namespace is empty for cluster-scoped objects.
    fn key(&self) -> (&str, &str) {
        match self {
            Self::Namespace { name, .. } | Self::Node { name, .. } => ("", name),
            Self::Pod {
                namespace, name, ..
            } => (namespace, name),
        }
    }
}

/// An event from a watcher. Each kind has its own order of events.
#[derive(Debug, Clone)]
pub enum Event {
    /// A list of all objects of a kind begins. Until it ends, known objects are kept.
    Listing(Kind),
    /// An object exists in this form.
    Apply(Object),
    /// An object was deleted. Only its name is used.
    Delete(Object),
    /// The list has ended: known objects that were not in it are removed.
    Listed(Kind),
    /// A kind is no longer watched: its objects are forgotten.
    Forget(Kind),
    /// No policy needs the annotations of namespaces any more: they are forgotten.
    ForgetAnnotations,
}

impl Event {
    /// Returns the kind of the event's objects.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Listing(kind) | Self::Listed(kind) | Self::Forget(kind) => *kind,
            Self::Apply(object) | Self::Delete(object) => object.kind(),
            Self::ForgetAnnotations => Kind::Namespaces,
        }
    }
}

/// The objects that are known at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    namespaces: Arc<BTreeMap<Arc<str>, Arc<Namespace>>>,
    nodes: Arc<Nodes>,
    /// Absent Nodes are known to be absent.
    all_nodes: bool,
    pods: Arc<Pods>,
    /// Absent Pods are known to be absent.
    all_pods: bool,
}

/// A namespace that is known.
#[derive(Debug, PartialEq)]
struct Namespace {
    labels: Labels,
    /// `None`: not known.
    annotations: Option<Labels>,
    terminating: bool,
}

/// Bytes of the annotations of one namespace, keys and values. Ours: 10,000 namespaces may take
/// 160 MiB then, and people and controllers write a few hundred bytes.
const MAX_NAMESPACE_ANNOTATIONS: usize = 16 << 10;

/// The annotation by which `kubectl apply` repeats the whole manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Returns the annotations that policies see: all of them or, where they are too large, none.
fn bounded(mut annotations: Labels) -> Option<Labels> {
    annotations.remove(LAST_APPLIED);
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    (bytes <= MAX_NAMESPACE_ANNOTATIONS).then_some(annotations)
}

impl Known {
    pub(super) fn labels(&self, namespace: &str) -> Option<&Labels> {
        Some(&self.namespaces.get(namespace)?.labels)
    }

    pub(super) fn annotations(&self, namespace: &str) -> Option<&Labels> {
        self.namespaces.get(namespace)?.annotations.as_ref()
    }

    /// Returns true if a namespace is being deleted; `None` if it is not known.
    pub(super) fn is_terminating(&self, namespace: &str) -> Option<bool> {
        Some(self.namespaces.get(namespace)?.terminating)
    }

    /// Returns the providers of all Nodes. It returns none until all Nodes were listed once,
    /// because they may have different providers.
    pub(super) fn providers(&self) -> Vec<Provider> {
        if self.all_nodes {
            self.nodes.providers()
        } else {
            vec![]
        }
    }

    /// Returns the Pods; `None` until all Pods were listed once.
    pub(super) fn pods(&self) -> Option<&Pods> {
        self.all_pods.then_some(&*self.pods)
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespaces => self.namespaces.len(),
            Kind::Nodes => self.nodes.count(),
            Kind::Pods => self.pods.count(),
        }
    }
}

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

/// The objects that are known, kept up to date by events.
#[derive(Debug, Default)]
pub struct Index {
    known: Known,
    /// For each kind whose list has begun and not ended: the objects that were known before and are
    /// not listed yet.
    unseen: BTreeMap<Kind, BTreeSet<Key>>,
}

impl Index {
    /// Makes an index without objects.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the objects that are known now: a few references, whatever their number.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// Counts the objects of a kind that are known.
    pub fn count(&self, kind: Kind) -> usize {
        self.known.count(kind)
    }

    /// Applies one event. Returns true if it changed anything that policies can see.
    pub fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Listing(kind) => {
                self.unseen.insert(kind, self.keys(kind));
                false
            }
            Event::Apply(object) => {
                self.see(&object);
                self.insert(object)
            }
            Event::Delete(object) => {
                self.see(&object);
                let (kind, (namespace, name)) = (object.kind(), object.key());
                self.remove(kind, namespace, name)
            }
            Event::Listed(kind) => self.listed(kind),
            Event::Forget(kind) => self.forget(kind),
            Event::ForgetAnnotations => self.forget_annotations(),
        }
    }

    fn keys(&self, kind: Kind) -> BTreeSet<Key> {
        let nowhere: Arc<str> = "".into();
        match kind {
            Kind::Namespaces => self
                .known
                .namespaces
                .keys()
                .map(|name| (Arc::clone(&nowhere), Arc::clone(name)))
                .collect(),
            Kind::Nodes => self
                .known
                .nodes
                .names()
                .into_iter()
                .map(|name| (Arc::clone(&nowhere), name))
                .collect(),
            Kind::Pods => self.known.pods.names(),
        }
    }

    fn see(&mut self, object: &Object) {
        if let Some(unseen) = self
            .unseen
            .get_mut(&object.kind())
            .filter(|unseen| !unseen.is_empty())
        {
            let (namespace, name) = object.key();
            unseen.remove(&(Arc::from(namespace), Arc::from(name)));
        }
    }

    fn insert(&mut self, object: Object) -> bool {
        match object {
            Object::Namespace {
                name,
                mut labels,
                annotations,
                terminating,
            } => {
                labels.insert(NAME_LABEL.to_owned(), name.clone());
                let namespace = Namespace {
                    labels,
                    annotations: annotations.and_then(bounded),
                    terminating,
                };
                let known = self.known.namespaces.get(&*name);
                let changed = known.is_none_or(|known| **known != namespace);
                if changed {
                    Arc::make_mut(&mut self.known.namespaces)
                        .insert(name.into(), Arc::new(namespace));
                }
                changed
            }
            Object::Node {
                name,
                provider_id,
                taints,
            } => {
                let kind = nodes::Kind::of(provider_id.as_deref(), &taints);
                let changed = !self.known.nodes.has(&name, &kind);
                if changed {
                    Arc::make_mut(&mut self.known.nodes).insert(&name, kind);
                }
                changed
            }
            Object::Pod {
                namespace,
                name,
                labels,
                ports,
            } => {
                let look = Look::new(labels, ports);
                let changed = !self.known.pods.has(&namespace, &name, &look);
                if changed {
                    Arc::make_mut(&mut self.known.pods).insert(&namespace, &name, look);
                }
                changed
            }
        }
    }

    fn remove(&mut self, kind: Kind, namespace: &str, name: &str) -> bool {
        match kind {
            Kind::Namespaces => {
                self.known.labels(name).is_some()
                    && Arc::make_mut(&mut self.known.namespaces)
                        .remove(name)
                        .is_some()
            }
            Kind::Nodes => Arc::make_mut(&mut self.known.nodes).remove(name),
            Kind::Pods => Arc::make_mut(&mut self.known.pods).remove(namespace, name),
        }
    }

    fn listed(&mut self, kind: Kind) -> bool {
        let gone = self.unseen.remove(&kind).unwrap_or_default();
        let mut changed = !gone.is_empty();
        for (namespace, name) in gone {
            self.remove(kind, &namespace, &name);
        }
        let all = match kind {
            Kind::Namespaces => return changed,
            Kind::Nodes => &mut self.known.all_nodes,
            Kind::Pods => &mut self.known.all_pods,
        };
        changed |= !std::mem::replace(all, true);
        changed
    }

    fn forget_annotations(&mut self) -> bool {
        let known = self.known.namespaces.iter();
        let without = known.map(|(name, namespace)| {
            let namespace = Namespace {
                labels: namespace.labels.clone(),
                annotations: None,
                terminating: namespace.terminating,
            };
            (Arc::clone(name), Arc::new(namespace))
        });
        self.known.namespaces = Arc::new(without.collect());
        true
    }

    fn forget(&mut self, kind: Kind) -> bool {
        self.unseen.remove(&kind);
        let known = &mut self.known;
        match kind {
            Kind::Namespaces => known.namespaces = Arc::default(),
            Kind::Nodes => (known.nodes, known.all_nodes) = Default::default(),
            Kind::Pods => (known.pods, known.all_pods) = Default::default(),
        }
        true
    }
}
