//! Finds the facts of a case that no policy asks for.
//!
//! In a cluster a policy sees only the context that its description names. A case with more would
//! pass for another reason than its author thinks, or pass here and fail there: so it fails.

use crate::inventory::{ClusterData, InventoryData, Kind};
use std::collections::BTreeSet;

/// Returns a problem for each part of the inventory that is not among the kinds that policies ask
/// for.
pub(super) fn unasked(inventory: &InventoryData, asked: &BTreeSet<Kind>) -> Vec<String> {
    let given = [
        (
            !inventory.namespaces.is_empty(),
            Kind::Namespaces,
            "namespaces",
            "`namespace`",
        ),
        (
            inventory.cluster != ClusterData::default(),
            Kind::Nodes,
            "cluster",
            "`cluster`",
        ),
        (inventory.pods.is_some(), Kind::Pods, "pods", "`pods`"),
    ];
    let unasked = given
        .into_iter()
        .filter(|(given, kind, ..)| *given && !asked.contains(kind));
    unasked
        .map(|(_, _, key, context)| {
            format!(
                "inventory.{key}: no policy asks for it, so none sees it; remove it, or add \
                 {context} to the context of the policy's description"
            )
        })
        .collect()
}
