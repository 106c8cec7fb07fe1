//! The properties of a Service that a policy's `about` can name.
//!
//! Asking a policy costs a fresh instance; comparing these flags costs nothing. Called by
//! `subject`.

use crate::contract::description::About;
use crate::contract::service::{Service, ServiceType, Spec};

/// Returns the properties of the Service and of the old one, together.
pub(super) fn about(service: &Service, old: Option<&Service>) -> About {
    let changed = |old: &Service| old.metadata.labels != service.metadata.labels;
    let update = old.map_or(About::empty(), |old| {
        of(old) | when(changed(old), About::CHANGED_LABELS)
    });
    of(service) | update
}

fn of(service: &Service) -> About {
    let spec = &service.spec;
    of_type(spec.type_)
        | when(has_node_ports(spec), About::NODE_PORTS)
        | when(!spec.external_ips.is_empty(), About::EXTERNAL_IPS)
        | when(spec.external_name.is_some(), About::ALIAS)
        | when(has_load_balancer_fields(spec), About::LOAD_BALANCER_FIELDS)
        | when(spec.selector.is_empty(), About::SELECTORLESS)
        | when(!service.metadata.annotations.is_empty(), About::ANNOTATIONS)
}

fn of_type(found: Option<ServiceType>) -> About {
    match found {
        None => About::TYPE_UNSET | About::CLUSTER_IP,
        Some(ServiceType::ClusterIp) => About::CLUSTER_IP,
        Some(ServiceType::NodePort) => About::NODE_PORT,
        Some(ServiceType::LoadBalancer) => About::LOAD_BALANCER,
        Some(ServiceType::ExternalName) => About::EXTERNAL_NAME,
    }
}

fn has_node_ports(spec: &Spec) -> bool {
    spec.health_check_node_port.is_some() || spec.ports.iter().any(|port| port.node_port.is_some())
}

fn has_load_balancer_fields(spec: &Spec) -> bool {
    spec.load_balancer_class.is_some()
        || spec.load_balancer_ip.is_some()
        || !spec.load_balancer_source_ranges.is_empty()
        || spec.allocate_load_balancer_node_ports.is_some()
        || spec.external_traffic_policy.is_some()
}

fn when(holds: bool, about: About) -> About {
    if holds { about } else { About::empty() }
}
