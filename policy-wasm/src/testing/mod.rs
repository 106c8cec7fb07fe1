//! Services and reviews for a policy's own unit tests, which run natively with `cargo test`.
//!
//! Each builder gives the smallest object of its kind; tests change what they are about, since all fields are public.

mod apply;

pub use apply::apply;

use crate::review::{Cluster, Namespace, Operation, Phase, PortRange, Resource, Review, User};
use crate::service::{Metadata, Pair, Port, Service, ServiceType, Spec};

/// A ClusterIP Service with one port, 80.
pub fn cluster_ip(name: &str) -> Service {
    Service {
        metadata: Metadata { name: name.to_owned(), namespace: "default".to_owned(), ..Metadata::default() },
        has_spec: true,
        spec: Spec { type_: Some(ServiceType::ClusterIp), ports: vec![port(80)], ..Spec::default() },
        ..Service::default()
    }
}

/// A NodePort Service with one port, its node port chosen by the client.
pub fn node_port(name: &str, number: i32, node_port: i32) -> Service {
    let mut service = with_type(name, ServiceType::NodePort, number);
    service.spec.ports[0].node_port = Some(node_port);
    service.spec.ports[0].node_port_by_client = true;
    service
}

/// A LoadBalancer Service with one port, no class, and no node port allocated yet.
pub fn load_balancer(name: &str, number: i32) -> Service {
    with_type(name, ServiceType::LoadBalancer, number)
}

fn with_type(name: &str, service_type: ServiceType, number: i32) -> Service {
    let mut service = cluster_ip(name);
    service.spec.type_ = Some(service_type);
    service.spec.ports = vec![port(number)];
    service
}

/// A TCP port without a node port.
pub fn port(number: i32) -> Port {
    Port {
        name: None,
        protocol: "TCP".to_owned(),
        app_protocol: None,
        port: number,
        target_port: None,
        node_port: None,
        node_port_by_client: false,
    }
}

/// Pairs for labels, annotations and selectors.
pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Vec<Pair> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

/// The creation of a Service by `alice`, in the validating phase, in a namespace of which only the name is known and a
/// cluster of which nothing is.
pub fn create(service: Service) -> Review {
    let namespace = service.metadata.namespace.clone();
    Review {
        phase: Phase::Validating,
        operation: Operation::Create,
        resource: Resource::Services,
        dry_run: false,
        user: User { name: "alice".to_owned(), groups: vec!["system:authenticated".to_owned()] },
        service,
        old_service: None,
        namespace: Namespace {
            labels: vec![("kubernetes.io/metadata.name".to_owned(), namespace.clone())],
            name: namespace,
            known: false,
        },
        cluster: Cluster { environment: None, providers: vec![], node_ports: PortRange { from: 30000, to: 32767 } },
        selected_pods: None,
        time: 1_767_225_600,
    }
}

/// The update of a Service.
pub fn update(old: Service, new: Service) -> Review {
    Review { operation: Operation::Update, old_service: Some(old), ..create(new) }
}

/// The same review in the mutating phase.
#[must_use]
pub fn mutating(review: Review) -> Review {
    Review { phase: Phase::Mutating, ..review }
}
