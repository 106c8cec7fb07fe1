//! The host's Service as the SDK's type, which the tables of `sallyport_facts` and the functions
//! that the policies share take.

use sallyport_core::contract::service::{Ingress, Port, Service, ServiceType, TargetPort};
use sallyport_policy::service as sdk;

/// Converts what bears on the exposure of a Service.
pub(super) fn converted(service: &Service) -> sdk::Service {
    let (meta, spec) = (&service.metadata, &service.spec);
    let mut converted = sdk::Service::default();
    converted.metadata.name.clone_from(&meta.name);
    converted.metadata.namespace.clone_from(&meta.namespace);
    converted.metadata.annotations.clone_from(&meta.annotations);
    converted.metadata.labels.clone_from(&meta.labels);
    converted.spec = sdk::Spec {
        type_: spec.type_.map(service_type),
        ports: spec.ports.iter().map(port).collect(),
        selector: spec.selector.clone(),
        cluster_ip: spec.cluster_ip.clone(),
        ip_families: spec.ip_families.clone(),
        external_ips: spec.external_ips.clone(),
        external_name: spec.external_name.clone(),
        external_traffic_policy: spec.external_traffic_policy.clone(),
        health_check_node_port: spec.health_check_node_port,
        health_check_node_port_by_client: spec.health_check_node_port_by_client,
        allocate_load_balancer_node_ports: spec.allocate_load_balancer_node_ports,
        load_balancer_class: spec.load_balancer_class.clone(),
        load_balancer_ip: spec.load_balancer_ip.clone(),
        load_balancer_source_ranges: spec.load_balancer_source_ranges.clone(),
        publish_not_ready_addresses: spec.publish_not_ready_addresses,
        ..sdk::Spec::default()
    };
    let ingress = service.status.load_balancer_ingress.iter();
    converted.status.load_balancer_ingress = ingress.map(self::ingress).collect();
    converted
}

fn service_type(service_type: ServiceType) -> sdk::ServiceType {
    match service_type {
        ServiceType::ClusterIp => sdk::ServiceType::ClusterIp,
        ServiceType::NodePort => sdk::ServiceType::NodePort,
        ServiceType::LoadBalancer => sdk::ServiceType::LoadBalancer,
        ServiceType::ExternalName => sdk::ServiceType::ExternalName,
    }
}

fn port(port: &Port) -> sdk::Port {
    sdk::Port {
        name: port.name.clone(),
        protocol: port.protocol.clone(),
        app_protocol: None,
        port: port.port,
        target_port: port.target_port.as_ref().map(target_port),
        node_port: port.node_port,
        node_port_by_client: port.node_port_by_client,
    }
}

fn target_port(target: &TargetPort) -> sdk::TargetPort {
    match target {
        TargetPort::Number(number) => sdk::TargetPort::Number(*number),
        TargetPort::Name(name) => sdk::TargetPort::Name(name.clone()),
    }
}

fn ingress(ingress: &Ingress) -> sdk::Ingress {
    sdk::Ingress {
        ip: ingress.ip.clone(),
        hostname: ingress.hostname.clone(),
        ip_mode: ingress.ip_mode.clone(),
        ..sdk::Ingress::default()
    }
}
