//! The clients that can reach a load balancer, as far as the Service shows: by its class, and by
//! the annotations that load balancer controllers read, each in its own way (`sallyport_facts`, the
//! tables that the policies use).

use super::balancer::serving;
use super::converted::converted;
use super::provider;
use sallyport_core::contract::review::Provider;
use sallyport_core::contract::service::Service;
use sallyport_facts::Controller;
use sallyport_facts::exposing::EXPOSING;
use sallyport_facts::internal::CONTROLLERS;
use sallyport_policy::service as sdk;

/// The effect of a Service's class and annotations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Controllers that create an internal load balancer for it.
    pub(crate) internal: Vec<&'static str>,
    /// Controllers that read some of its annotations, and may still create a public one.
    pub(crate) public: Vec<&'static str>,
    /// Annotations that expose a Service of any type.
    pub(crate) exposing: Vec<String>,
}

impl Reach {
    /// Compares, for each controller, the Service with one without annotations and class. Where the
    /// controllers of all Nodes are known, only those count.
    pub(crate) fn of(service: &Service, nodes: &[Provider]) -> Self {
        let silent = sdk::Service::default();
        let mut service = converted(service);
        service.spec.type_ = Some(sdk::ServiceType::LoadBalancer);
        let annotations = service.metadata.annotations.iter();
        let exposing =
            annotations.filter(|(key, value)| EXPOSING.iter().any(|row| row.exposes(key, value)));
        let mut reach = Self {
            exposing: exposing.map(|(key, _)| key.clone()).collect(),
            ..Self::default()
        };
        let nodes: Vec<_> = nodes.iter().map(|node| provider(&node.id)).collect();
        let of_nodes = match nodes.as_slice() {
            [] => None,
            nodes => serving(&service, nodes).ok(),
        };
        let counts = |controller: &&Controller| {
            let is_it = |known: &&Controller| known.name == controller.name;
            of_nodes
                .as_ref()
                .is_none_or(|known| known.iter().any(is_it))
        };
        for controller in CONTROLLERS.iter().filter(counts) {
            let public = controller.public(&service);
            if public.is_none() && controller.public(&silent).is_some() {
                reach.internal.push(controller.name);
            } else if reads(controller, &service, public.is_some()) {
                reach.public.push(controller.name);
            }
        }
        reach
    }
}

/// Returns true when a controller reads some annotation of a Service, or serves its class.
fn reads(controller: &Controller, service: &sdk::Service, is_public: bool) -> bool {
    let class = service.spec.load_balancer_class.as_deref();
    let serves =
        class.is_none_or(|class| controller.classes.iter().any(|known| known.name == class));
    let switched = controller
        .switches
        .iter()
        .any(|switch| service.annotation(switch.key).is_some());
    is_public && serves && (class.is_some() || switched)
}
