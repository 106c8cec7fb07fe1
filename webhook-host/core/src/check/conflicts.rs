//! Node ports that several Services of one input request.
//!
//! The API server gives each to one of them, and refuses the other. Health-check node ports are
//! TCP.

use crate::report::check::{Finding, Level, Subject};
use crate::yaml::Located;
use serde_json::Value;
use std::collections::BTreeMap;

/// The node ports that Services have asked for so far.
#[derive(Debug, Default)]
pub(super) struct NodePorts {
    /// By number; a few Services at most for each.
    taken: BTreeMap<i64, Vec<Holder>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    protocol: String,
    service: String,
    place: String,
    field: String,
}

/// The holders of one node port that are remembered: one for each protocol is enough.
const MAX_HOLDERS: usize = 3;

impl NodePorts {
    /// Adds the node ports of a Service, and reports in `subject` each that is taken.
    pub(super) fn add(&mut self, subject: &mut Subject, service: &Value, located: &Located) {
        let own = subject.service.clone().unwrap_or_default();
        for (field, number, protocol) in asked(service) {
            let line = located.line_of(&field);
            let place = format!("{}:{line}", subject.source);
            let holders = self.taken.entry(number).or_default();
            // One Service may use a number for several protocols, and may stand in the input twice.
            let other = |holder: &&Holder| {
                let health_check = |field: &str| field == HEALTH_CHECK;
                holder.service != own
                    || holder.place != place && health_check(&holder.field) != health_check(&field)
            };
            let rank = |holder: &&Holder| holder.protocol != protocol;
            if let Some(holder) = holders.iter().filter(other).min_by_key(rank) {
                subject
                    .findings
                    .push(collision(holder, &field, number, &protocol, line));
            }
            if holders.len() < MAX_HOLDERS
                && holders.iter().all(|holder| holder.protocol != protocol)
            {
                holders.push(Holder {
                    protocol,
                    service: own.clone(),
                    place,
                    field,
                });
            }
        }
    }
}

const HEALTH_CHECK: &str = "spec.healthCheckNodePort";

/// Returns field, number and protocol of each node port that has an effect for the type.
fn asked(service: &Value) -> Vec<(String, i64, String)> {
    let spec = &service["spec"];
    let kind = spec["type"].as_str().unwrap_or_default();
    if !matches!(kind, "NodePort" | "LoadBalancer") {
        return vec![];
    }
    let ports = spec["ports"].as_array().into_iter().flatten().enumerate();
    let ports = ports.map(|(index, port)| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
        (
            format!("spec.ports[{index}].nodePort"),
            port["nodePort"].as_i64().unwrap_or_default(),
            protocol,
        )
    });
    let checks = kind == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local";
    let check = spec["healthCheckNodePort"].as_i64().filter(|_| checks);
    let check = check.map(|number| (HEALTH_CHECK.to_owned(), number, "TCP".to_owned()));
    ports
        .chain(check)
        .filter(|(_, number, _)| *number != 0)
        .collect()
}

fn collision(holder: &Holder, field: &str, number: i64, protocol: &str, line: usize) -> Finding {
    let Holder {
        service,
        place,
        field: other,
        ..
    } = holder;
    let same = holder.protocol == protocol;
    let fix = if same {
        "choose another port for one of them"
    } else {
        ""
    };
    let message = match same {
        true => format!(
            "{number} ({protocol}) is also {other} of {service} ({place}); the API server gives it \
             to one of them and refuses the other"
        ),
        false => format!(
            "{number} ({protocol}) is also {other} of {service} for {} ({place}); an API server \
             may allow a number once only, whatever the protocol",
            holder.protocol
        ),
    };
    Finding {
        rule: "node-port-conflict".to_owned(),
        field: field.to_owned(),
        message,
        fix: fix.to_owned(),
        line,
        ..Finding::empty(if same { Level::Warning } else { Level::Note })
    }
}
