//! Explains a Service by the columns of the comparison of Service types: access scope, ports,
//! address, cloud, load balancing, use.

use crate::exposure::{Infrastructures, Reach, destination};
use sallyport_core::contract::review::{Cluster, Environment};
use sallyport_core::contract::service::{Port, Service, ServiceType, Spec, TargetPort};
use sallyport_core::printable::printable;
use sallyport_core::report::Detail;
use serde::Serialize;
use std::fmt::Write as _;

/// The explanation of one Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Its file and line.
    pub source: String,
    /// `namespace/name`.
    pub service: String,
    /// The type, and a qualifier such as headless.
    pub r#type: String,
    /// The clients that can reach it.
    pub access_scope: String,
    /// The ports where traffic enters, and the ports where it goes.
    pub ports: Vec<String>,
    /// The address that clients connect to.
    pub address: String,
    /// The external component that must serve it, if any.
    pub needs_cloud: String,
    /// The component that distributes connections.
    pub load_balancing: String,
    /// The purpose of this type, and an alternative.
    pub use_for: String,
    /// Other facts that affect its exposure.
    pub notes: Vec<String>,
}

impl Explanation {
    /// Explains a Service that has the API server's defaults filled in. Without a cluster, whatever
    /// depends on one is left open.
    pub fn of(
        service: &Service,
        namespace: &str,
        source: String,
        cluster: Option<&Cluster>,
    ) -> Self {
        let meta = &service.metadata;
        let namespace = if meta.namespace.is_empty() {
            namespace
        } else {
            &meta.namespace
        };
        let name = if meta.name.is_empty() {
            meta.generate_name.as_deref().unwrap_or("(unnamed)")
        } else {
            &meta.name
        };
        let spec = &service.spec;
        let row = Row {
            spec,
            reach: Reach::of(
                service,
                cluster.map_or(&[][..], |cluster| &cluster.providers[..]),
            ),
            cluster,
            dns: format!("{name}.{namespace}.svc"),
        };
        Self {
            source,
            service: format!("{namespace}/{name}"),
            r#type: row.kind(),
            access_scope: row.access_scope(),
            ports: spec.ports.iter().map(|port| row.port(port)).collect(),
            address: row.address(),
            needs_cloud: row.needs_cloud(),
            load_balancing: row.load_balancing().to_owned(),
            use_for: row.use_for().to_owned(),
            notes: row.notes(),
        }
    }
}

struct Row<'a> {
    spec: &'a Spec,
    reach: Reach,
    cluster: Option<&'a Cluster>,
    dns: String,
}

impl Row<'_> {
    fn service_type(&self) -> ServiceType {
        self.spec.type_.unwrap_or(ServiceType::ClusterIp)
    }

    fn is_headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None")
    }

    /// Returns true unless the load balancer reaches Pods without node ports.
    fn opens_node_ports(&self) -> bool {
        match self.service_type() {
            ServiceType::NodePort => true,
            ServiceType::LoadBalancer => self.spec.allocate_load_balancer_node_ports != Some(false),
            ServiceType::ClusterIp | ServiceType::ExternalName => false,
        }
    }

    fn kind(&self) -> String {
        match self.service_type() {
            ServiceType::ClusterIp if self.is_headless() => "ClusterIP, headless".to_owned(),
            ServiceType::ClusterIp => "ClusterIP".to_owned(),
            ServiceType::NodePort => "NodePort".to_owned(),
            ServiceType::ExternalName => "ExternalName".to_owned(),
            ServiceType::LoadBalancer => match &self.spec.load_balancer_class {
                Some(class) => format!("LoadBalancer of class {class}"),
                None => "LoadBalancer".to_owned(),
            },
        }
    }

    /// Returns true if nodes accept traffic for external IPs. kube-proxy passes over a headless
    /// Service and an ExternalName.
    fn has_external_ips(&self) -> bool {
        !self.spec.external_ips.is_empty()
            && !self.is_headless()
            && self.service_type() != ServiceType::ExternalName
    }

    fn access_scope(&self) -> String {
        let mut scope = match self.service_type() {
            ServiceType::ClusterIp if self.has_external_ips() => "inside the cluster".to_owned(),
            ServiceType::ClusterIp if !self.reach.exposing.is_empty() => {
                "inside the cluster".to_owned()
            }
            ServiceType::ClusterIp => "inside the cluster only".to_owned(),
            ServiceType::NodePort => "whoever reaches any node's IP, on a static port".to_owned(),
            ServiceType::LoadBalancer => self.load_balancer_scope(),
            ServiceType::ExternalName => {
                let name = self.spec.external_name.as_deref().unwrap_or_default();
                format!("an alias inside the cluster for {}", destination(name))
            }
        };
        if self.has_external_ips() {
            scope += ", and whoever routes its external IPs to a node";
        }
        if !self.reach.exposing.is_empty() {
            let exposing = self.reach.exposing.join(", ");
            scope += &format!(", and outside of it by the {exposing}");
        }
        scope
    }

    /// Returns the access scope of a load balancer. Where the Nodes don't show its controller, all
    /// controllers that read some of its annotations count.
    fn load_balancer_scope(&self) -> String {
        let (internal, public) = (self.reach.internal.join(", "), self.reach.public.join(", "));
        let scope = match (internal.is_empty(), public.is_empty()) {
            (true, _) => "external, via a provisioned load balancer".to_owned(),
            (false, true) => {
                format!("internal, via a provisioned load balancer, where {internal} serves it")
            }
            (false, false) => format!(
                "via a provisioned load balancer, internal where {internal} serves it, and perhaps \
                 external where {public} does"
            ),
        };
        match &self.reach.sources {
            None => scope,
            Some(sources) => format!("{scope}, {}", sources.text()),
        }
    }

    fn port(&self, port: &Port) -> String {
        let target = match &port.target_port {
            None => port.port.to_string(),
            Some(TargetPort::Number(number)) => number.to_string(),
            Some(TargetPort::Name(name)) => format!("named port {name}"),
        };
        let name = port
            .name
            .as_ref()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        let node = match port.node_port {
            Some(number) if self.opens_node_ports() => format!(", on every node at {number}"),
            Some(number) => format!(", nodePort {number} without effect for this type"),
            None if self.opens_node_ports() => {
                let range = self.cluster.map_or_else(
                    || "30000-32767 by default".to_owned(),
                    |cluster| cluster.node_ports.to_string(),
                );
                format!(", on every node at a port that the API server allocates ({range})")
            }
            None => String::new(),
        };
        format!(
            "{name}{} {} to {target} of the Pods{node}",
            port.protocol, port.port
        )
    }

    fn address(&self) -> String {
        let spec = self.spec;
        let inside = match spec.cluster_ip.as_deref() {
            Some("None") => format!("{} resolves to the Pods' own IPs", self.dns),
            Some(ip) => format!("cluster IP {ip} ({})", self.dns),
            None => format!("a cluster IP that the API server allocates ({})", self.dns),
        };
        let outside = match self.service_type() {
            ServiceType::ExternalName => {
                return format!(
                    "{} is a CNAME of {}",
                    self.dns,
                    spec.external_name.as_deref().unwrap_or("(nothing)")
                );
            }
            ServiceType::ClusterIp => String::new(),
            ServiceType::NodePort => "; any node's IP".to_owned(),
            ServiceType::LoadBalancer => match &spec.load_balancer_ip {
                _ if self.is_unserved() => "; no external address".to_owned(),
                Some(ip) => format!("; external IP {ip}, as asked for (deprecated field)"),
                None if self.reach.internal.is_empty() => {
                    "; an external IP or host name from the provider".to_owned()
                }
                None => "; an IP or host name from the provider".to_owned(),
            },
        };
        let deprecated = "a field that is deprecated since Kubernetes 1.36";
        let external = match spec.external_ips.as_slice() {
            [] => String::new(),
            ips if self.is_headless() => {
                let ips = ips.join(", ");
                format!("; external IPs {ips} without effect, as it is headless ({deprecated})")
            }
            ips => format!("; external IPs {} ({deprecated})", ips.join(", ")),
        };
        format!("{inside}{outside}{external}")
    }

    fn needs_cloud(&self) -> String {
        match (self.service_type(), &self.spec.load_balancer_class) {
            (ServiceType::LoadBalancer, Some(class)) => {
                format!("a controller that serves the class {class}")
            }
            (ServiceType::LoadBalancer, None) => self.cloud(),
            _ => "no".to_owned(),
        }
    }

    /// Returns true for a load balancer without a class in a cluster whose operator says that no
    /// controller serves it.
    fn is_unserved(&self) -> bool {
        let environment = self.cluster.and_then(|cluster| cluster.environment);
        environment == Some(Environment::OnPrem) && self.spec.load_balancer_class.is_none()
    }

    /// The need of a load balancer without a class, and whether the cluster meets it.
    fn cloud(&self) -> String {
        const NEED: &str = "yes (or another load-balancer controller)";
        let Some(cluster) = self.cluster else {
            return NEED.to_owned();
        };
        match cluster.environment {
            Some(Environment::Cloud) => "yes, and this cluster has one (environment cloud)".into(),
            Some(Environment::OnPrem) => {
                "yes, and nothing serves it here (environment onPrem): it stays pending".into()
            }
            None => match Infrastructures::of(&cluster.providers) {
                Infrastructures::Clouds(names) => {
                    format!("yes, and this cluster has one (its Nodes are on {names})")
                }
                Infrastructures::Others(names) => {
                    format!("{NEED}; the Nodes are on {names}, which has none of its own")
                }
                Infrastructures::Unknown => NEED.to_owned(),
            },
        }
    }

    fn load_balancing(&self) -> &'static str {
        match self.service_type() {
            ServiceType::ClusterIp if self.is_headless() => "none; clients choose a Pod",
            ServiceType::ClusterIp => "inside Kubernetes",
            ServiceType::NodePort => "basic forwarding on the node",
            ServiceType::LoadBalancer => "the provider's load balancer",
            ServiceType::ExternalName => "none; a DNS answer",
        }
    }

    fn use_for(&self) -> &'static str {
        match self.service_type() {
            ServiceType::ClusterIp if self.is_headless() => {
                "StatefulSets and clients that need each Pod; ClusterIP with an address for \
                 everything else"
            }
            ServiceType::ClusterIp => {
                "pod to pod: backend APIs, databases; NodePort or LoadBalancer only for what must \
                 be reached from outside"
            }
            ServiceType::NodePort => {
                "quick external access, development; LoadBalancer for production, ClusterIP for \
                 what stays inside"
            }
            ServiceType::LoadBalancer if !self.reach.internal.is_empty() => {
                "access from the provider's private network; ClusterIP for what stays inside the \
                 cluster"
            }
            ServiceType::LoadBalancer => {
                "production-grade external access; ClusterIP for what stays inside"
            }
            ServiceType::ExternalName => {
                "moving a dependency in or out of the cluster; ClusterIP for Pods"
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        let spec = self.spec;
        let kind = self.service_type();
        let outside = matches!(kind, ServiceType::NodePort | ServiceType::LoadBalancer);
        let mut notes = vec![];
        if outside && spec.external_traffic_policy.as_deref() == Some("Local") {
            notes.push(
                "externalTrafficPolicy Local: only nodes with a Pod answer; the client's IP \
                is kept"
                    .to_owned(),
            );
        }
        if kind == ServiceType::LoadBalancer
            && self.reach.internal.is_empty()
            && !self.reach.public.is_empty()
        {
            let readers = self.reach.public.join(", ");
            notes.push(format!(
                "nothing makes it internal for certain where {readers} serves it; see \
                 docs/rules.md#facts"
            ));
        }
        if kind == ServiceType::LoadBalancer && self.opens_node_ports() {
            notes.push(
                "it opens node ports too; allocateLoadBalancerNodePorts: false closes them, where \
                 the provider allows"
                    .to_owned(),
            );
        }
        if kind != ServiceType::ExternalName && spec.selector.is_empty() {
            notes.push(
                "no selector: whoever writes its EndpointSlices decides where traffic goes"
                    .to_owned(),
            );
        }
        notes.extend(self.reach.notes.iter().cloned());
        notes.extend(self.refused_node_ports());
        if spec.publish_not_ready_addresses {
            notes.push(
                "publishNotReadyAddresses: Pods are reached before they are ready".to_owned(),
            );
        }
        notes
    }

    /// Warns of each node port outside of the cluster's range.
    fn refused_node_ports(&self) -> Vec<String> {
        let (Some(cluster), true) = (self.cluster, self.opens_node_ports()) else {
            return vec![];
        };
        let range = cluster.node_ports;
        let ports = self.spec.ports.iter().filter_map(|port| port.node_port);
        ports
            .filter(|number| !range.contains(*number))
            .map(|number| {
                format!(
                    "nodePort {number} lies outside of the cluster's range {range}: the API server \
                     refuses it"
                )
            })
            .collect()
    }
}

/// Prints a block of lines for each Service, with its place in detail; or a line with its type.
pub fn text(explanations: &[Explanation], detail: Detail) -> String {
    let between = if detail == Detail::Quiet { "" } else { "\n" };
    explanations
        .iter()
        .map(|explanation| block(explanation, detail))
        .collect::<Vec<_>>()
        .join(between)
}

fn block(explanation: &Explanation, detail: Detail) -> String {
    let mut text = format!(
        "{}: {}\n",
        printable(&explanation.service),
        printable(&explanation.r#type)
    );
    if detail == Detail::Quiet {
        return text;
    }
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<15} {}", printable(value));
    };
    if detail == Detail::Verbose {
        row("file", &explanation.source);
    }
    row("access scope", &explanation.access_scope);
    for (index, port) in explanation.ports.iter().enumerate() {
        row(if index == 0 { "ports" } else { "" }, port);
    }
    if explanation.ports.is_empty() {
        row("ports", "none");
    }
    row("address", &explanation.address);
    row("needs a cloud", &explanation.needs_cloud);
    row("load balancing", &explanation.load_balancing);
    row("use for", &explanation.use_for);
    for (index, note) in explanation.notes.iter().enumerate() {
        row(if index == 0 { "note" } else { "" }, note);
    }
    text
}
