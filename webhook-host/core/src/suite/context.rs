//! Finds the facts of a case that no policy asks for.
//!
//! In a cluster a policy sees only the context that its description names. A case with more would
//! pass for another reason than its author thinks, or pass here and fail there: so it fails.

use crate::contract::description::Context;
use crate::inventory::{ClusterData, InventoryData, NamespaceData};
use crate::policy::Policy;
use std::sync::Arc;

/// Returns a problem for each part of the inventory for which no policy asks.
pub(super) fn unasked(inventory: &InventoryData, policies: &[Arc<Policy>]) -> Vec<String> {
    let needed = |context| policies.iter().any(|policy| policy.needs(context));
    let mut matches = policies
        .iter()
        .map(|policy| &policy.manifest().spec.r#match);
    let labels = needed(Context::Namespace) || matches.any(|found| found.goes_by_labels());
    let annotations = needed(Context::NamespaceAnnotations);
    let namespaces = || inventory.namespaces.values();
    let has_annotations = |namespace: &NamespaceData| {
        let annotations = namespace.annotations.as_ref();
        annotations.is_some_and(|annotations| !annotations.is_empty())
    };
    let deletions = policies.iter().any(|policy| policy.asks_of_deletions());
    let is_terminating = |namespace: &NamespaceData| namespace.terminating;
    let parts = [
        (
            !labels && namespaces().any(|namespace| !namespace.labels.is_empty()),
            "inventory.namespaces: no policy asks for the labels",
            "`namespace`",
        ),
        (
            !annotations && namespaces().any(has_annotations),
            "inventory.namespaces: no policy asks for the annotations",
            "`namespace-annotations`",
        ),
        (
            !deletions && namespaces().any(is_terminating),
            "inventory.namespaces: no policy asks about deletions, which `terminating` lets pass",
            "`delete`",
        ),
        (
            inventory.cluster != ClusterData::default() && !needed(Context::Cluster),
            "inventory.cluster: no policy asks for these facts",
            "`cluster`",
        ),
        (
            inventory.pods.is_some() && !needed(Context::Pods),
            "inventory.pods: no policy asks for the Pods",
            "`pods`",
        ),
    ];
    let unasked = parts.into_iter().filter(|(is_unasked, ..)| *is_unasked);
    unasked
        .map(|(_, problem, context)| {
            format!(
                "{problem}, so that none sees them; remove them, or add {context} to the context \
                 of the policy's description"
            )
        })
        .collect()
}
