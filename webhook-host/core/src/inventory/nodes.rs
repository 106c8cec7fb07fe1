//! Nodes, reduced to their providers: the prefix of the providerID, and whether a cloud controller
//! has initialized the Node.

use crate::contract::review::{Provider, ProviderId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The taint of a Node whose cloud controller has not seen it yet (k8s.io/cloud-provider
/// `api/well_known_taints.go`).
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// All Nodes that are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    kinds: BTreeMap<Arc<str>, Kind>,
    /// The number of Nodes of each kind; at least one.
    counts: BTreeMap<Kind, u32>,
}

/// The provider of a Node, as far as the Node shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Scheme(Box<str>),
    Bare(Box<str>),
    Missing,
    /// No provider yet.
    Uninitialized,
}

impl Kind {
    pub(super) fn of(provider_id: Option<&str>, taints: &[String]) -> Self {
        if taints.iter().any(|taint| taint == UNINITIALIZED) {
            return Self::Uninitialized;
        }
        match provider_id {
            None | Some("") => Self::Missing,
            // hcloud-cloud-controller-manager, internal/providerid: the legacy form of a dedicated
            // server.
            Some(id) if id.starts_with("hcloud://bm-") => Self::Scheme("hrobot".into()),
            Some(id) => match id.split_once("://") {
                Some((scheme, _)) => Self::Scheme(scheme.into()),
                None => Self::Bare(id.split('.').next().unwrap_or(id).into()),
            },
        }
    }

    fn provider_id(&self) -> Option<ProviderId> {
        match self {
            Self::Scheme(scheme) => Some(ProviderId::Scheme(scheme.to_string())),
            Self::Bare(prefix) => Some(ProviderId::Bare(prefix.to_string())),
            Self::Missing => Some(ProviderId::Missing),
            Self::Uninitialized => None,
        }
    }
}

impl Nodes {
    pub(super) fn count(&self) -> usize {
        self.kinds.len()
    }

    pub(super) fn names(&self) -> BTreeSet<Arc<str>> {
        self.kinds.keys().cloned().collect()
    }

    pub(super) fn has(&self, name: &str, kind: &Kind) -> bool {
        self.kinds.get(name) == Some(kind)
    }

    pub(super) fn insert(&mut self, name: &str, kind: Kind) {
        self.remove(name);
        *self.counts.entry(kind.clone()).or_default() += 1;
        self.kinds.insert(name.into(), kind);
    }

    /// Returns true if it was known.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let Some(kind) = self.kinds.remove(name) else {
            return false;
        };
        if let Some(count) = self.counts.get_mut(&kind) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&kind);
            }
        }
        true
    }

    /// Returns the initialized Nodes, by provider.
    pub(super) fn providers(&self) -> Vec<Provider> {
        let provider = |(kind, nodes): (&Kind, &u32)| {
            Some(Provider {
                id: kind.provider_id()?,
                nodes: *nodes,
            })
        };
        self.counts.iter().filter_map(provider).collect()
    }
}
