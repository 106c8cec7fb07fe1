//! Findings about a HostConfig's inventory: facts that no cluster can have, so that policies that
//! go by them never see what is meant.

use super::finding;
use sallyport_core::inventory::{InventoryData, NAME_LABEL};
use sallyport_core::manifest::{is_annotation_key, is_label_key, is_label_value};
use sallyport_core::report::check::{Finding, Level};
use sallyport_core::yaml::Located;
use sallyport_facts::nodes::INFRASTRUCTURE;
use std::collections::BTreeSet;

/// Returns a warning for each fact that no cluster can have.
pub(super) fn findings(document: &Located, inventory: &InventoryData) -> Vec<Finding> {
    let mut findings = vec![];
    let mut warn = |field: &str, message: String, fix: &str| {
        let field = format!("spec.inventory.{field}");
        findings.push(finding(Level::Warning, document, &field, message, fix));
    };
    for (name, namespace) in &inventory.namespaces {
        for (key, value) in &namespace.labels {
            let field = format!("namespaces.{name}.labels[{key:?}]");
            if !is_label_key(key) {
                let message = format!("no namespace has a label with the key {key:?}");
                warn(&field, message, "write it as example.com/name");
            } else if !is_label_value(value) {
                let message = format!("{value:?} can be no label's value");
                warn(&field, message, "use letters, digits, '-', '_' and '.'");
            } else if key == NAME_LABEL && value != name {
                let message = format!("{value:?} is not the namespace's name, {name:?}");
                warn(&field, message, "remove the label: every namespace has it");
            }
        }
        for key in namespace.annotations.iter().flat_map(|known| known.keys()) {
            if !is_annotation_key(key) {
                let message = format!("no namespace has an annotation with the key {key:?}");
                let field = format!("namespaces.{name}.annotations[{key:?}]");
                warn(&field, message, "write it as example.com/name");
            }
        }
    }
    let mut names = BTreeSet::new();
    for (index, node) in inventory.cluster.nodes.iter().enumerate() {
        if !names.insert(node.name.as_str()) {
            let message = format!("{:?} is among the nodes twice", node.name);
            warn(
                &format!("cluster.nodes[{index}].name"),
                message,
                "remove one",
            );
        }
        if let Some((problem, fix)) = node.provider_id.as_deref().and_then(odd_provider) {
            let field = format!("cluster.nodes[{index}].providerID");
            warn(&field, problem, &fix);
        }
    }
    findings
}

/// Returns what is odd about a Node's providerID.
fn odd_provider(id: &str) -> Option<(String, String)> {
    if id.is_empty() {
        return Some((
            "it is empty".to_owned(),
            "leave it out for a Node without one".to_owned(),
        ));
    }
    if id.trim() != id {
        let problem = format!("{id:?} has blanks at an end, so that its provider is not known");
        return Some((problem, "remove them".to_owned()));
    }
    let scheme = id.split("://").next().unwrap_or_default();
    let is_other_case = |name: &&str| *name != scheme && name.eq_ignore_ascii_case(scheme);
    let known = INFRASTRUCTURE
        .iter()
        .map(|row| row.name)
        .find(is_other_case);
    known.map(|known| {
        let problem = format!("{scheme:?} is no known provider, since case counts");
        (problem, format!("write {known}://…"))
    })
}
