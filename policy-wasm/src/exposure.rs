//! The exposure of a Service: its type, and the node ports that take effect.
//!
//! A field can have a value without effect: an ExternalName may carry a `nodePort`. Which values
//! take effect ("live") depends on the type, and is decided here only.

use crate::service::{Port, Service, ServiceType, TargetPort};
use std::fmt;

impl ServiceType {
    /// Returns Kubernetes' spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The use of a port on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedAs {
    /// `spec.ports[].nodePort`.
    NodePort,
    /// `spec.healthCheckNodePort`.
    HealthCheck,
}

/// A port that a Service opens on every node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePortInUse<'a> {
    /// The field that opens it.
    pub used_as: UsedAs,
    /// Index into `spec.ports`; 0 for a health check.
    pub index: usize,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'a str,
    /// The port. Out of every range at worst: the mutating phase sees what clients send.
    pub number: i32,
    /// True if a client chose it, and not the API server.
    pub by_client: bool,
}

impl NodePortInUse<'_> {
    /// Returns the path of the field: `spec.ports[1].nodePort`.
    pub fn field(&self) -> String {
        match self.used_as {
            UsedAs::NodePort => format!("spec.ports[{}].nodePort", self.index),
            UsedAs::HealthCheck => "spec.healthCheckNodePort".to_owned(),
        }
    }

    /// Returns a key that names the port independent of its index: `NodePort:TCP:30022`.
    pub fn key(&self) -> String {
        match self.used_as {
            UsedAs::NodePort => format!("NodePort:{}:{}", self.protocol, self.number),
            UsedAs::HealthCheck => format!("HealthCheckNodePort:{}", self.number),
        }
    }
}

impl Port {
    /// Returns the port's target on the selected Pods: a number, or else 0 and the name of a
    /// container port. The API server's default is the port's own number.
    pub fn target(&self) -> (i32, &str) {
        match &self.target_port {
            Some(TargetPort::Number(number)) => (*number, ""),
            Some(TargetPort::Name(name)) => (0, name),
            None => (self.port, ""),
        }
    }
}

impl Service {
    /// Returns the type; ClusterIP when unset, like the API server.
    pub fn service_type(&self) -> ServiceType {
        self.spec.type_.unwrap_or(ServiceType::ClusterIp)
    }

    /// Returns true for `clusterIP: None`: the Service has no address of its own, only DNS records
    /// of its Pods.
    pub fn is_headless(&self) -> bool {
        self.service_type() == ServiceType::ClusterIp
            && self.spec.cluster_ip.as_deref() == Some("None")
    }

    /// Returns true if the type can open ports on every node: NodePort and LoadBalancer.
    pub fn uses_node_ports(&self) -> bool {
        matches!(
            self.service_type(),
            ServiceType::NodePort | ServiceType::LoadBalancer
        )
    }

    /// Returns the external IPs that take effect. Those of a headless Service and an ExternalName
    /// do not.
    pub fn live_external_ips(&self) -> &[String] {
        let takes_them = self.service_type() != ServiceType::ExternalName && !self.is_headless();
        if takes_them {
            &self.spec.external_ips
        } else {
            &[]
        }
    }

    /// Returns true if the Service can be reached from outside the cluster: by type, or by external
    /// IPs.
    pub fn is_exposed(&self) -> bool {
        self.uses_node_ports() || !self.live_external_ips().is_empty()
    }

    /// Returns true if the Service has addresses of an IP family (`IPv4`, `IPv6`), or certainly
    /// gets them: the API server fills in `ipFamilies`, and refuses a `RequireDualStack` that it
    /// can't fulfil.
    pub fn has_family(&self, family: &str) -> bool {
        self.spec.ip_family_policy.as_deref() == Some("RequireDualStack")
            || self.spec.ip_families.iter().any(|own| own == family)
    }

    /// Returns the known ports that the Service opens on every node. The API server uses
    /// `healthCheckNodePort` only on a LoadBalancer with `externalTrafficPolicy: Local`.
    pub fn live_node_ports(&self) -> impl Iterator<Item = NodePortInUse<'_>> {
        let ports = if self.uses_node_ports() {
            self.spec.ports.as_slice()
        } else {
            &[]
        };
        ports
            .iter()
            .enumerate()
            .filter_map(|(index, port)| in_use(index, port))
            .chain(self.live_health_check())
    }

    fn live_health_check(&self) -> Option<NodePortInUse<'_>> {
        let checks = self.service_type() == ServiceType::LoadBalancer
            && self.spec.external_traffic_policy.as_deref() == Some("Local");
        let number = self.spec.health_check_node_port.filter(|_| checks)?;
        Some(NodePortInUse {
            used_as: UsedAs::HealthCheck,
            index: 0,
            protocol: "TCP",
            number,
            by_client: self.spec.health_check_node_port_by_client,
        })
    }

    /// Returns the value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        crate::pairs::get(&self.metadata.labels, key)
    }

    /// Returns the value of an annotation. Keys match in their exact case, as controllers match
    /// them.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        crate::pairs::get(&self.metadata.annotations, key)
    }
}

fn in_use(index: usize, port: &Port) -> Option<NodePortInUse<'_>> {
    let number = port.node_port?;
    let by_client = port.node_port_by_client;
    Some(NodePortInUse {
        used_as: UsedAs::NodePort,
        index,
        protocol: &port.protocol,
        number,
        by_client,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[test]
    fn a_node_port_is_live_for_two_types_only() {
        let mut service = node_port("web", 80, 30080);
        for (service_type, live) in [
            (ServiceType::NodePort, 1),
            (ServiceType::LoadBalancer, 1),
            (ServiceType::ClusterIp, 0),
            (ServiceType::ExternalName, 0),
        ] {
            service.spec.type_ = Some(service_type);
            assert_eq!(service.live_node_ports().count(), live, "{service_type}");
        }
    }

    #[test]
    fn a_health_check_port_is_live_with_local_traffic_only() {
        let mut service = load_balancer("web", 80);
        service.spec.health_check_node_port = Some(32000);
        assert_eq!(service.live_node_ports().count(), 0);
        service.spec.external_traffic_policy = Some("Local".into());
        let port = service.live_node_ports().next().expect("live");
        assert_eq!(
            (port.field().as_str(), port.key().as_str()),
            ("spec.healthCheckNodePort", "HealthCheckNodePort:32000")
        );
    }

    #[test]
    fn a_required_second_family_counts_before_it_is_filled_in() {
        let mut service = load_balancer("web", 80);
        assert!(!service.has_family("IPv4"));
        service.spec.ip_families = vec!["IPv4".into()];
        service.spec.ip_family_policy = Some("PreferDualStack".into());
        assert!(service.has_family("IPv4") && !service.has_family("IPv6"));
        service.spec.ip_family_policy = Some("RequireDualStack".into());
        assert!(service.has_family("IPv6"));
    }

    #[test]
    fn external_ips_expose_a_cluster_ip_but_no_headless_service() {
        let mut service = cluster_ip("web");
        assert!(!service.is_exposed());
        service.spec.external_ips = vec!["192.0.2.1".into()];
        assert!(service.is_exposed());
        service.spec.cluster_ip = Some("None".into());
        assert!(!service.is_exposed());
    }
}
