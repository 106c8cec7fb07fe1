//! The Services that a run looked at: a comparison of two runs is about those that both did.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The Services that a run looked at. By default all of a cluster, or of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// The only namespaces; empty: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub namespaces: BTreeSet<String>,
    /// Namespaces whose Services the user may not list.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub hidden: BTreeSet<String>,
    /// A label selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

impl Scope {
    /// Returns true if the run looked at a Service, given as `namespace/name`, wherever it has the
    /// labels that are selected.
    pub fn has(&self, service: &str) -> bool {
        let namespace = service.split('/').next().unwrap_or_default();
        let is_named = self.namespaces.is_empty() || self.namespaces.contains(namespace);
        is_named && !self.hidden.contains(namespace)
    }

    /// Returns the Services in words, such as `those with the labels team=web`.
    pub fn selected(&self) -> String {
        match &self.selector {
            None => "all of them".to_owned(),
            Some(selector) => format!("those with the labels {selector}"),
        }
    }
}
