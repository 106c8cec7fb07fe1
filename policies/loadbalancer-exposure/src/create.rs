//! M3 and M4: what a new load balancer gets where its manifest says nothing.
//!
//! On a create only: the class can't be changed later, and what stands is somebody's. An update to
//! type LoadBalancer is left to its author, and to the rules.

use super::LoadBalancerExposure;
use sallyport_facts::ranges::Ranges;
use sallyport_policy::prelude::*;

pub(crate) fn complete(policy: &LoadBalancerExposure, review: &Review) -> Mutation {
    let (service, set) = (&review.service, &policy.settings.set_on_create);
    let mut patch = Patch::new(service);
    let is_new = review.operation == Operation::Create && review.resource == Resource::Services;
    if !is_new || service.service_type() != ServiceType::LoadBalancer {
        return patch.finish();
    }
    let spec = &service.spec;
    if set.internal
        && let Some((key, value)) = policy.switch_to_set(review)
    {
        patch.set_annotation(key, value);
    }
    if let (Some(class), None) = (&set.load_balancer_class, &spec.load_balancer_class) {
        patch.set_load_balancer_class(class);
    }
    if !Ranges::is_any(service) {
        patch.set_load_balancer_source_ranges(&set.load_balancer_source_ranges);
    }
    if set.no_node_ports && !spec.allocate_load_balancer_node_ports_by_client {
        patch.set_allocate_load_balancer_node_ports(false);
    }
    if set.local_traffic && !spec.external_traffic_policy_by_client {
        patch.set_external_traffic_policy("Local");
    }
    patch.finish()
}

impl LoadBalancerExposure {
    /// Only where it is one controller that serves the Service, and this finds nothing that says
    /// what it is to be.
    fn switch_to_set(&self, review: &Review) -> Option<(&'static str, &'static str)> {
        let controllers = self.controllers_for(review, &review.service).ok()?;
        let [controller] = controllers.as_slice() else {
            return None;
        };
        if self.public(review, &review.service).is_empty() {
            return None;
        }
        controller.switch_to_set(&review.service)
    }
}
