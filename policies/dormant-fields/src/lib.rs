//! No value in a field that the Service's type does not use (S11); optionally it is removed (M5).
//!
//! The API server stores some such values, and they take effect when the type changes. A node port
//! that an ExternalName carried is then taken for allocated though it never was: out of range, or
//! another Service's.

mod dormant;

use dormant::{Dormant, NodePorts, Place};
use sallyport_policy::MAX_VIOLATIONS;
use sallyport_policy::prelude::*;
use settings::Fields;

policy!(DormantFields, "policy.wit", backstop = "backstop.yaml");

/// The policy, with its settings.
pub struct DormantFields(Settings);

impl Policy for DormantFields {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .mutating()
            .about(
                About::NODE_PORTS
                    | About::ALIAS
                    | About::LOAD_BALANCER_FIELDS
                    | About::COMPARED_ANNOTATIONS,
            )
            .compares_annotations([dormant::SOURCE_RANGES])
    }

    fn describe_configured(&self) -> Description {
        if self.0.strip {
            Self::describe()
        } else {
            Self::describe().not_mutating()
        }
    }

    fn defaults() -> Settings {
        let fields = Fields {
            node_port: true,
            external_name: true,
            load_balancer_ip: true,
            load_balancer_source_ranges: true,
            load_balancer_class: true,
            allocate_load_balancer_node_ports: true,
            health_check_node_port: true,
            external_traffic_policy: true,
        };
        Settings {
            fields,
            strip: false,
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let fields = &settings.fields;
        let is_any_checked = fields.node_port
            || fields.external_name
            || fields.load_balancer_ip
            || fields.load_balancer_source_ranges
            || fields.load_balancer_class
            || fields.allocate_load_balancer_node_ports
            || fields.health_check_node_port
            || fields.external_traffic_policy;
        if is_any_checked {
            return Ok(Self(settings));
        }
        Err(vec![SettingsError::new(
            "fields",
            "none is checked; set one to true, or remove the policy",
        )])
    }

    fn validate(&self, review: &Review) -> Verdict {
        let service_type = review.service.service_type();
        let dormant = Dormant::all(&self.0.fields, review);
        let mut verdict: Verdict = dormant
            .iter()
            .map(|value| value.violation(service_type))
            .collect();
        if self.0.fields.node_port {
            for violation in armed(review) {
                verdict.add(violation);
            }
        }
        verdict
    }

    fn mutate(&self, review: &Review) -> Mutation {
        let mut patch = Patch::new(&review.service);
        if self.0.strip {
            let mut node_ports = false;
            for value in Dormant::all(&self.0.fields, review) {
                match value.place {
                    // All at once, since there may be thousands. What the API server would have
                    // wiped goes, too.
                    Place::NodePort(_) => node_ports = true,
                    Place::Field(field) => _ = patch.remove(field),
                    Place::SourceRange(0) => _ = patch.remove(SpecField::LoadBalancerSourceRanges),
                    Place::SourceRange(_) => {}
                    Place::SourceRanges => _ = patch.remove_annotation(dormant::SOURCE_RANGES),
                }
            }
            if node_ports {
                patch.remove_node_ports();
            }
        }
        patch.finish()
    }
}

/// Node ports that the update brings to life where they stood. The API server allocates what is
/// new; these it takes for the Service's own. The offence is the change of the type, so that it has
/// no key.
fn armed(review: &Review) -> Vec<Violation> {
    let new = &review.service;
    let Some(old) = review
        .old_service
        .as_ref()
        .filter(|old| new.uses_node_ports() && !old.uses_node_ports())
    else {
        return vec![];
    };
    let stood = NodePorts::of(old);
    let was_dormant =
        |port: &NodePortInUse<'_>| port.used_as == UsedAs::NodePort && stood.contains(port.number);
    let violation = |port: NodePortInUse<'_>| {
        let (number, before) = (port.number, old.service_type());
        let message =
            format!("{number} was never allocated: as {before} the Service did not use it");
        Violation::new("S11", port.field(), message).fix("remove the field or use another port")
    };
    new.live_node_ports()
        .filter(was_dormant)
        .map(violation)
        .take(MAX_VIOLATIONS + 1)
        .collect()
}

#[cfg(test)]
mod tests;
