//! Ports, and the fields that a type needs or excludes.

use super::{NAME_FORM, NONE, Refusals, Spec, cluster_ips};
use crate::api_server::names::{is_port_name, is_qualified, is_subdomain};
use crate::api_server::words;
use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::HashSet;

impl Refusals {
    /// Checks the fields that a type needs, and those that it excludes.
    pub(super) fn presence(&mut self, spec: &Spec<'_>) {
        let (headless, kind) = (spec.is_headless(), spec.kind);
        if spec.ports().is_empty() && !headless && kind != "ExternalName" {
            self.add(
                "spec.ports",
                "a Service needs a port unless it is headless",
                "write one",
            )
            .says(|| words::required(""));
        }
        if headless && matches!(kind, "LoadBalancer" | "NodePort") {
            self.add(
                "spec.clusterIP",
                format!("{kind} Services can't be headless"),
                "remove it",
            )
            .says(|| {
                words::invalid(
                    NONE,
                    &format!("may not be set to 'None' for {kind} services"),
                )
            })
            .at("spec.clusterIPs[0]");
        }
        if kind == "ExternalName" {
            self.external_name(spec.spec);
        }
    }

    fn external_name(&mut self, spec: &ServiceSpec) {
        let problem = "ExternalName Services have none";
        self.require(
            cluster_ips(spec).is_empty(),
            "spec.clusterIP",
            problem,
            "remove it",
        )
        .says(|| words::forbidden("may not be set for ExternalName services"))
        .at("spec.clusterIPs");
        self.require(
            spec.ip_families.iter().flatten().next().is_none(),
            "spec.ipFamilies",
            problem,
            "remove it",
        )
        .says(|| words::forbidden("may not be set for ExternalName services"));
        self.require(
            spec.ip_family_policy.is_none(),
            "spec.ipFamilyPolicy",
            problem,
            "remove it",
        )
        .says(|| words::forbidden("may not be set for ExternalName services"));
        let name = spec.external_name.as_deref().unwrap_or_default();
        let name = name.strip_suffix('.').unwrap_or(name);
        let problem = format!("{name:?} is no DNS name");
        self.require(
            is_subdomain(name),
            "spec.externalName",
            problem,
            "write the name that clients shall get",
        )
        .says(|| words::subdomain(name));
    }

    pub(super) fn ports(&mut self, spec: &Spec<'_>) {
        let (mut names, mut numbers, mut node_ports) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for (index, port) in spec.ports().iter().enumerate() {
            let at = |member: &str| format!("spec.ports[{index}].{member}");
            let name = port.name.as_deref().unwrap_or_default();
            let protocol = port.protocol.as_deref().unwrap_or_default();
            if name.is_empty() {
                let problem = "of several ports each needs a name";
                self.require(spec.ports().len() == 1, &at("name"), problem, "name it")
                    .says(|| words::required(""));
            } else {
                self.label(&at("name"), name);
                self.require(
                    names.insert(name),
                    &at("name"),
                    format!("the name {name:?} stands twice"),
                    "rename it",
                )
                .says(|| words::duplicate(name));
            }
            self.port(port, &at);
            let problem = format!("port {} with protocol {protocol} stands twice", port.port);
            self.require(
                numbers.insert((protocol, port.port)),
                &at("port"),
                problem,
                "remove one",
            )
            .says(|| words::duplicate_port(protocol, port.port))
            .at(format!("spec.ports[{index}]"));
            if let Some(number) = port.node_port.filter(|number| *number != 0) {
                let problem = format!("node port {number} with protocol {protocol} stands twice");
                self.require(
                    node_ports.insert((protocol, number)),
                    &at("nodePort"),
                    problem,
                    "choose another",
                )
                .says(|| words::duplicate(number));
                let problem = "ClusterIP Services have no node ports";
                self.require(
                    spec.kind != "ClusterIP",
                    &at("nodePort"),
                    problem,
                    "remove it, or set type: NodePort",
                )
                .says(|| words::forbidden("may not be used when `type` is 'ClusterIP'"));
            }
        }
    }

    fn port(&mut self, port: &ServicePort, at: &dyn Fn(&str) -> String) {
        self.number(&at("port"), port.port);
        if let Some(number) = port.node_port.filter(|number| *number != 0) {
            self.number(&at("nodePort"), number);
        }
        if let Some(protocol) = port.protocol.as_deref() {
            self.one_of(&at("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        }
        match &port.target_port {
            // The default is the port itself, which was checked above.
            None if self.is_whole => self.number(&at("targetPort"), port.port),
            Some(IntOrString::Int(number))
                if self.is_whole || *number != 0 && *number != port.port =>
            {
                self.number(&at("targetPort"), *number)
            }
            Some(IntOrString::String(name)) if !name.is_empty() => {
                let problem = format!("{name:?} is no name of a container's port");
                let fix = "use at most 15 lower case letters, digits and single hyphens, or a \
                    number without quotes";
                self.require(is_port_name(name), &at("targetPort"), problem, fix)
                    .says(|| words::port_name(name));
            }
            _ => {}
        }
        if let Some(protocol) = &port.app_protocol {
            let problem = format!("{protocol:?} is no name of a protocol");
            self.require(
                is_qualified(protocol),
                &at("appProtocol"),
                problem,
                NAME_FORM,
            )
            .says(|| words::key(protocol));
        }
    }
}
