//! The clients that can reach a load balancer, as far as the Service shows: by its class, and by
//! the annotations that load balancer controllers read, each in its own way (`sallyport_facts`, the
//! tables that the policies use).

use super::annotations::{exporting, notes};
use super::balancer::serving;
use super::converted::converted;
use super::provider;
use super::sources::Sources;
use sallyport_core::contract::review::Provider;
use sallyport_core::contract::service::Service;
use sallyport_facts::Controller;
use sallyport_facts::internal::CONTROLLERS;
use sallyport_facts::voids::{BESIDE, Voided, voiding};
use sallyport_policy::service as sdk;

/// The effect of a Service's class and annotations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Controllers that create an internal load balancer for it.
    pub(crate) internal: Vec<&'static str>,
    /// Controllers that read some of its annotations, and may still create a public one.
    pub(crate) public: Vec<&'static str>,
    /// Annotations and labels that expose a Service of any type, such as `annotation a.b/c`.
    pub(crate) exposing: Vec<String>,
    /// The clients that a load balancer admits, if it has source ranges.
    pub(crate) sources: Option<Sources>,
    /// A sentence about each other annotation that bears on how it is reached.
    pub(crate) notes: Vec<String>,
}

impl Reach {
    /// Compares, for each controller, the Service with one without annotations and class. Where the
    /// controllers of all Nodes are known, only those count.
    pub(crate) fn of(service: &Service, nodes: &[Provider]) -> Self {
        let service = converted(service);
        let nodes: Vec<_> = nodes.iter().map(|node| provider(&node.id)).collect();
        let of_nodes = match nodes.as_slice() {
            [] => None,
            nodes => serving(&service, nodes).ok(),
        };
        let of_nodes = of_nodes.as_deref();
        let exposing = exporting(&service).into_iter();
        let mut reach = Self {
            exposing: exposing
                .map(|found| format!("{} {}", found.what, found.key))
                .collect(),
            notes: notes(&service, of_nodes),
            ..Self::default()
        };
        if service.service_type() == sdk::ServiceType::LoadBalancer {
            reach.sources = Sources::of(&service, of_nodes);
            reach.sort(&service, of_nodes);
        }
        reach
    }

    /// Sorts the controllers that may serve a load balancer.
    fn sort(&mut self, service: &sdk::Service, of_nodes: Option<&[&'static Controller]>) {
        let silent = sdk::Service::default();
        let is_undone = BESIDE.iter().any(|by| {
            voiding(service, None, Voided::Internal, by)
                .next()
                .is_some()
        });
        let counts = |controller: &&Controller| {
            let is_it = |known: &&Controller| known.name == controller.name;
            of_nodes.is_none_or(|known| known.iter().any(is_it))
        };
        for controller in CONTROLLERS.iter().filter(counts) {
            let is_public = is_undone || controller.public(service).is_some();
            if !is_public && (of_nodes.is_some() || controller.public(&silent).is_some()) {
                self.internal.push(controller.name);
            } else if reads(controller, service, is_public) {
                self.public.push(controller.name);
            }
        }
    }
}

/// Returns true when a controller reads some annotation of a Service, or serves its class.
fn reads(controller: &Controller, service: &sdk::Service, is_public: bool) -> bool {
    let class = service.spec.load_balancer_class.as_deref();
    let serves =
        class.is_none_or(|class| controller.classes.iter().any(|known| known.name == class));
    let switched = controller
        .switches(service)
        .iter()
        .any(|switch| service.annotation(switch.key).is_some());
    is_public && serves && (class.is_some() || switched)
}
