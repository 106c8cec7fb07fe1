//! Services and reviews for a policy's own unit tests, which run natively with `cargo test`.
//!
//! Each builder returns the smallest object of its kind, whose public fields a test then changes.
//!
//! ```
//! use sallyport_policy::prelude::*;
//! use sallyport_policy::testing::*;
//!
//! let review = create(node_port("web", 80, 30080))
//!     .in_namespace("edge", [("team", "a")])
//!     .by("system:serviceaccount:edge:deployer", ["system:serviceaccounts"])
//!     .on_nodes_of(["aws"])
//!     .in_dry_run();
//! assert_eq!(review.service.metadata.namespace, "edge");
//! assert!(review.namespace.known && review.dry_run);
//! ```

mod apply;

pub use apply::apply;

use crate::review::{
    Cluster, Environment, Namespace, Operation, Phase, Pod, PortRange, Provider, ProviderId,
    Resource, Review, User,
};
use crate::service::{Metadata, Pair, Port, Service, ServiceType, Spec};

/// Returns a ClusterIP Service with one port, 80.
pub fn cluster_ip(name: &str) -> Service {
    Service {
        metadata: Metadata {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            ..Metadata::default()
        },
        has_spec: true,
        spec: Spec {
            type_: Some(ServiceType::ClusterIp),
            ports: vec![port(80)],
            ..Spec::default()
        },
        ..Service::default()
    }
}

/// Returns a NodePort Service with one port, its node port chosen by the client.
pub fn node_port(name: &str, number: i32, node_port: i32) -> Service {
    let mut service = with_type(name, ServiceType::NodePort, number);
    service.spec.ports[0].node_port = Some(node_port);
    service.spec.ports[0].node_port_by_client = true;
    service
}

/// Returns a LoadBalancer Service with one port, no class, and no node port allocated yet.
pub fn load_balancer(name: &str, number: i32) -> Service {
    with_type(name, ServiceType::LoadBalancer, number)
}

fn with_type(name: &str, service_type: ServiceType, number: i32) -> Service {
    let mut service = cluster_ip(name);
    service.spec.type_ = Some(service_type);
    service.spec.ports = vec![port(number)];
    service
}

/// Returns a TCP port without a node port.
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
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
}

/// Returns the creation of a Service by `alice`, in the validating phase. The namespace has a name
/// and nothing else that is known, and nothing is known of the cluster.
pub fn create(service: Service) -> Review {
    let namespace = service.metadata.namespace.clone();
    Review {
        phase: Phase::Validating,
        operation: Operation::Create,
        resource: Resource::Services,
        dry_run: false,
        user: User {
            name: "alice".to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            uid: None,
            extra: vec![],
        },
        service,
        old_service: None,
        object: None,
        old_object: None,
        namespace: Namespace {
            labels: vec![("kubernetes.io/metadata.name".to_owned(), namespace.clone())],
            name: namespace,
            known: false,
            annotations: None,
        },
        cluster: Cluster {
            environment: None,
            providers: vec![],
            node_ports: PortRange {
                from: 30000,
                to: 32767,
            },
        },
        selected_pods: None,
        time: 1_767_225_600,
    }
}

/// Returns the update of a Service.
pub fn update(old: Service, new: Service) -> Review {
    Review {
        operation: Operation::Update,
        old_service: Some(old),
        ..create(new)
    }
}

/// Returns the deletion of a Service.
pub fn delete(service: Service) -> Review {
    Review {
        operation: Operation::Delete,
        ..create(service)
    }
}

/// Moves a review to the mutating phase.
#[must_use]
pub fn mutating(review: Review) -> Review {
    Review {
        phase: Phase::Mutating,
        ..review
    }
}

/// Builders for the context of a review.
impl Review {
    /// In a namespace whose labels are known: these, and its name.
    #[must_use]
    pub fn in_namespace<const N: usize>(mut self, name: &str, labels: [(&str, &str); N]) -> Self {
        let mut labels = self::labels(labels);
        labels.push(("kubernetes.io/metadata.name".to_owned(), name.to_owned()));
        labels.sort();
        for service in std::iter::once(&mut self.service).chain(&mut self.old_service) {
            name.clone_into(&mut service.metadata.namespace);
        }
        self.namespace = Namespace {
            name: name.to_owned(),
            labels,
            known: true,
            ..self.namespace
        };
        self
    }

    /// In a namespace with these annotations.
    #[must_use]
    pub fn with_namespace_annotations<const N: usize>(
        mut self,
        annotations: [(&str, &str); N],
    ) -> Self {
        self.namespace.annotations = Some(labels(annotations));
        self
    }

    /// Sent by another user than `alice`.
    #[must_use]
    pub fn by<const N: usize>(mut self, name: &str, groups: [&str; N]) -> Self {
        self.user = User {
            name: name.to_owned(),
            groups: groups.map(str::to_owned).to_vec(),
            uid: None,
            extra: vec![],
        };
        self
    }

    /// Sent with a value that the authenticator adds to the user's `extra`.
    #[must_use]
    pub fn with_extra(mut self, key: &str, value: &str) -> Self {
        let extra = &mut self.user.extra;
        match extra.binary_search_by(|(known, _)| known.as_str().cmp(key)) {
            Ok(found) => extra[found].1.push(value.to_owned()),
            Err(place) => extra.insert(place, (key.to_owned(), vec![value.to_owned()])),
        }
        self
    }

    /// With the JSON texts of the Service and of the old one, as the API server sends them.
    #[must_use]
    pub fn with_raw_objects(mut self, object: &str, old_object: Option<&str>) -> Self {
        self.object = Some(object.to_owned());
        self.old_object = old_object.map(str::to_owned);
        self
    }

    /// With `--dry-run=server`.
    #[must_use]
    pub fn in_dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Makes it a write to `services/status`.
    #[must_use]
    pub fn of_status(mut self) -> Self {
        self.resource = Resource::ServicesStatus;
        self
    }

    /// In a cluster about which its operator has spoken.
    #[must_use]
    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.cluster.environment = Some(environment);
        self
    }

    /// In a cluster with one Node for each of these schemes of a providerID; an empty one stands
    /// for a Node without an ID.
    #[must_use]
    pub fn on_nodes_of<const N: usize>(self, schemes: [&str; N]) -> Self {
        self.on_nodes(schemes.map(|scheme| match scheme {
            "" => ProviderId::Missing,
            _ => ProviderId::Scheme(scheme.to_owned()),
        }))
    }

    /// In a cluster with one Node for each of these providerIDs.
    #[must_use]
    pub fn on_nodes<const N: usize>(mut self, ids: [ProviderId; N]) -> Self {
        self.cluster.providers = ids.map(|id| Provider { id, nodes: 1 }).to_vec();
        self
    }

    /// Adds the selected Pods.
    #[must_use]
    pub fn selecting(mut self, pods: Vec<Pod>) -> Self {
        self.selected_pods = Some(pods);
        self
    }
}
