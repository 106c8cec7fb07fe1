//! Names of findings for programs: an id for each kind, one sentence, and the page that explains
//! it.

use super::check::{Finding, Level};

/// The address of the rule pages.
const DOCS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/");

/// Id, anchor in docs/rules.md, and meaning.
const SHIPPED: [(&str, &str, &str); 20] = [
    (
        "S01",
        "service-type",
        "The type of a Service is among the allowed ones.",
    ),
    (
        "S02",
        "nodeport-range",
        "Node ports and health-check node ports lie in the allowed ranges.",
    ),
    (
        "S03",
        "loadbalancer-cloud-only",
        "A LoadBalancer is used only where something serves it.",
    ),
    (
        "S04",
        "loadbalancer-exposure",
        "A load balancer is certainly internal.",
    ),
    (
        "S05",
        "loadbalancer-exposure",
        "A load balancer is reached from known addresses only.",
    ),
    (
        "S06",
        "loadbalancer-exposure",
        "A load balancer opens no node ports.",
    ),
    (
        "S07",
        "clusterip-internal",
        "Internal backends stay inside the cluster.",
    ),
    (
        "S08",
        "external-ips",
        "External IPs lie in the allowed blocks.",
    ),
    (
        "S09",
        "external-name",
        "An ExternalName is no alias to internal names or addresses.",
    ),
    (
        "S10",
        "exposure-annotations",
        "No annotation exposes a Service that is no LoadBalancer.",
    ),
    (
        "S11",
        "dormant-fields",
        "No field is set that the type does not use.",
    ),
    (
        "S12",
        "loadbalancer-cloud-only",
        "The load balancer class is among the allowed ones.",
    ),
    (
        "S13",
        "loadbalancer-exposure",
        "The field loadBalancerIP is deprecated.",
    ),
    (
        "S14",
        "status-writes",
        "The status of a load balancer is written by known writers only.",
    ),
    (
        "S15",
        "selectorless",
        "A NodePort or LoadBalancer has a selector.",
    ),
    (
        "S16",
        "the-host",
        "The object is a Service by the API's own types.",
    ),
    (
        "S17",
        "loadbalancer-address",
        "A load balancer's address comes from an allowed block or pool.",
    ),
    (
        "S18",
        "change-protection",
        "A marked Service keeps its type, class, addresses and kind of load balancer, and is not \
         deleted.",
    ),
    (
        "S19",
        "annotations",
        "Annotations are there, are absent or have allowed values, as the settings say.",
    ),
    (
        "S20",
        "ports",
        "Ports and protocols are among the allowed ones.",
    ),
];

/// Ids of the host's own findings.
const HOST: [(&str, &str); 7] = [
    (
        "BreakGlass",
        "The break-glass annotation is used by those who may.",
    ),
    ("exempt", "No policy is asked about the Service."),
    ("in-deletion", "The Service is being deleted."),
    (
        "namespace-labels",
        "A policy goes by labels of a namespace that are not known.",
    ),
    (
        "node-port-conflict",
        "Two Services ask for the same node port.",
    ),
    ("sallyport", "The manifest can be read and used."),
    (
        "sallyport/warning",
        "The manifest allows what is rarely meant.",
    ),
];

/// Returns the id of a finding's kind. A policy's warnings have one of their own.
pub(super) fn id(finding: &Finding) -> String {
    let Finding {
        rule,
        policy,
        level,
        ..
    } = finding;
    let is_warning = matches!(level, Level::Warning | Level::Note);
    match (rule.is_empty(), policy.is_empty()) {
        (false, _) => rule.clone(),
        (true, true) if is_warning => "sallyport/warning".to_owned(),
        (true, true) => "sallyport".to_owned(),
        (true, false) if is_warning => format!("{policy}/warning"),
        (true, false) => format!("{policy}/error"),
    }
}

/// Returns the subject of a kind of findings.
pub(super) fn description(id: &str) -> String {
    let shipped = SHIPPED
        .iter()
        .find(|(rule, ..)| *rule == id)
        .map(|(.., text)| *text);
    let host = HOST
        .iter()
        .find(|(rule, _)| *rule == id)
        .map(|(_, text)| *text);
    match (shipped.or(host), id.rsplit_once('/')) {
        (Some(text), _) => text.to_owned(),
        (None, Some((policy, "warning"))) => format!("A warning of the policy {policy}."),
        (None, Some((policy, _))) => format!("The policy {policy} has no verdict."),
        (None, None) => format!("Rule {id} of a policy."),
    }
}

/// Returns the page that explains it.
pub(super) fn page(id: &str) -> String {
    match SHIPPED.iter().find(|(rule, ..)| *rule == id) {
        Some((_, anchor, _)) => format!("{DOCS}rules.md#{anchor}"),
        None => format!("{DOCS}operations.md#check"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_rule_that_judges_has_its_sentence_and_its_place() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
        let page = std::fs::read_to_string(file).expect("docs/rules.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| S"));
        let found: Vec<_> = rows
            .filter_map(|row| {
                let (id, rest) = row.split_once(" | [")?;
                let anchor = rest.split_once("](#")?.1.split_once(')')?.0;
                Some((format!("S{id}"), anchor.to_owned()))
            })
            .collect();
        let known = SHIPPED.map(|(id, anchor, _)| (id.to_owned(), anchor.to_owned()));
        for row in &found {
            assert!(known.contains(row), "{row:?} is missing here");
        }
        assert!(found.len() >= 16, "{found:?}");
    }

    #[test]
    fn the_kinds_of_one_policy_are_told_apart() {
        let of = |level, rule: &str| {
            id(&Finding {
                policy: "p".to_owned(),
                rule: rule.to_owned(),
                ..Finding::empty(level)
            })
        };
        let ids = [
            of(Level::Error, "X1"),
            of(Level::Warning, ""),
            of(Level::Unjudged, ""),
        ];
        assert_eq!(ids, ["X1", "p/warning", "p/error"]);
        assert_eq!(
            ids.map(|id| description(&id)),
            [
                "Rule X1 of a policy.",
                "A warning of the policy p.",
                "The policy p has no verdict."
            ]
        );
    }
}
