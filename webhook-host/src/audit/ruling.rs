//! What the policies say of one door: who would refuse it, and who allows it.

use crate::exposure::{Door, DoorKind};
use sallyport_core::check::stored::{Judgement, OnUpdate};
use sallyport_core::report::check::Level;
use serde::Serialize;
use std::collections::BTreeSet;

/// A door, and what the policies say of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// The door.
    #[serde(flatten)]
    pub door: Door,
    /// What the policies say of it.
    pub policy: Ruling,
}

/// The policies that would refuse a door, and those that allow it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ruling {
    /// Those that would refuse to create it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_by: Vec<Refusal>,
    /// Those that were asked about the Service, and object to nothing that opens the door.
    pub allowed_by: BTreeSet<String>,
    /// The reason why no policy was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exempt: Option<String>,
    /// True if some policy has no verdict about the Service.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unjudged: bool,
}

/// A policy that would refuse a door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The policy; empty for the host.
    pub policy: String,
    /// Such as `S02`.
    pub rule: String,
    /// The field that offends.
    pub field: String,
    /// True if an update keeps it.
    pub kept_on_update: bool,
}

impl Ruling {
    /// Sorts out the findings about a Service for one of its doors, which have these fields.
    pub(super) fn of(door: &Door, fields: &[String], judgement: &Judgement) -> Self {
        let refusals = judgement.findings.iter().filter(|finding| {
            finding.level == Level::Error && concerns(door, fields, &finding.field)
        });
        let refused_by: Vec<_> = refusals
            .map(|finding| Refusal {
                policy: finding.policy.clone(),
                rule: finding.rule.clone(),
                field: finding.field.clone(),
                kept_on_update: finding.on_update == Some(OnUpdate::Kept),
            })
            .collect();
        let refuses = |policy: &str| refused_by.iter().any(|refusal| refusal.policy == policy);
        Self {
            allowed_by: judgement
                .asked
                .iter()
                .filter(|policy| !refuses(policy))
                .map(ToString::to_string)
                .collect(),
            exempt: judgement.exempt.clone(),
            unjudged: judgement.has(Level::Unjudged),
            refused_by,
        }
    }
}

/// Returns true if a finding about a field bears on a door. One about a field that opens nothing by
/// itself, such as the selector, bears on all of them.
fn concerns(door: &Door, fields: &[String], field: &str) -> bool {
    use DoorKind::{Alias, Exported, ExternalIp, LoadBalancer, NodePort, Shared};
    if fields.iter().any(|other| other == field) && field != "spec.type" {
        return door.field == field;
    }
    let kinds: &[DoorKind] = match field {
        "spec.type" => &[LoadBalancer, NodePort, Shared, Alias],
        "spec.allocateLoadBalancerNodePorts" | "spec.healthCheckNodePort" => &[NodePort],
        _ if field.starts_with("spec.externalIPs") => &[ExternalIp],
        _ if field.starts_with("spec.externalName") => &[Alias],
        _ if field.starts_with("spec.loadBalancer") => &[LoadBalancer, Shared],
        _ if field.ends_with(".nodePort") => &[NodePort],
        _ if field.starts_with("metadata.annotations") => &[LoadBalancer, Shared],
        _ => &[LoadBalancer, Exported, ExternalIp, NodePort, Shared, Alias],
    };
    kinds.contains(&door.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposure::Opens;
    use sallyport_core::check::stored::StoredFinding;
    use sallyport_core::report::check::Finding;

    fn door(kind: DoorKind, field: &str) -> Door {
        Door {
            kind,
            opens: Opens::Nodes,
            ports: vec![],
            address: String::new(),
            reason: String::new(),
            field: field.to_owned(),
            allocated: false,
            written_by: None,
        }
    }

    fn denied(policy: &str, field: &str) -> StoredFinding {
        Finding {
            policy: policy.to_owned(),
            field: field.to_owned(),
            ..Finding::empty(Level::Error)
        }
        .into()
    }

    #[test]
    fn each_door_names_the_policies_that_object_to_what_opens_it() {
        let fields = [
            "spec.ports[0].nodePort",
            "spec.ports[1].nodePort",
            "spec.externalIPs",
        ];
        let fields = fields.map(str::to_owned);
        let judgement = Judgement {
            asked: ["ips", "ports", "types"].map(Into::into).into(),
            findings: vec![
                denied("ports", "spec.ports[1].nodePort"),
                denied("ips", "spec.externalIPs[0]"),
            ],
            ..Judgement::default()
        };
        let refused = |kind, field: &str| {
            let ruling = Ruling::of(&door(kind, field), &fields, &judgement);
            let refused = ruling.refused_by.iter();
            refused.map(|by| by.policy.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            refused(DoorKind::NodePort, &fields[0]),
            Vec::<String>::new()
        );
        assert_eq!(refused(DoorKind::NodePort, &fields[1]), ["ports"]);
        assert_eq!(refused(DoorKind::ExternalIp, &fields[2]), ["ips"]);
        let ruling = Ruling::of(&door(DoorKind::ExternalIp, &fields[2]), &fields, &judgement);
        assert_eq!(
            ruling.allowed_by,
            ["ports", "types"].map(str::to_owned).into()
        );
    }

    #[test]
    fn what_opens_nothing_by_itself_counts_for_every_door() {
        for kind in [DoorKind::NodePort, DoorKind::Alias, DoorKind::Exported] {
            assert!(concerns(&door(kind, "x"), &[], "spec.selector"));
        }
        assert!(!concerns(
            &door(DoorKind::ExternalIp, "spec.externalIPs"),
            &[],
            "spec.type"
        ));
    }
}
