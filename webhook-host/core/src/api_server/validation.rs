//! The API server's validation of a new Service with its defaults (`ValidateServiceCreate` in
//! Kubernetes' `pkg/apis/core/validation`).
//!
//! Left out is what depends on the cluster (address families, the node port range, names that begin
//! with a digit) and what the server fills in itself.

use super::names::{
    ip, is_cidr, is_label, is_label_value, is_port_name, is_qualified, is_subdomain, special,
};
use super::{Refusal, TYPES, words};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const NONE: &str = "None";
/// An API server looks for the namespace first, and finds none with an odd name.
const NAMESPACE: &str = "metadata.namespace";
/// Bytes of all annotations together.
const MAX_ANNOTATIONS: usize = 256 << 10;
const MAX_AFFINITY_SECONDS: i32 = 86_400;

/// The refusal that a check has added, if it did.
struct Added<'a>(Option<&'a mut Refusal>);

impl Added<'_> {
    /// States the API server's words.
    fn says<W: Into<Option<String>>>(mut self, words: impl FnOnce() -> W) -> Self {
        if let Self(Some(refusal)) = &mut self {
            refusal.words = words().into();
        }
        self
    }

    /// States the path that the API server names.
    fn at(self, path: impl Into<String>) {
        if let Self(Some(refusal)) = self {
            refusal.at = Some(path.into());
        }
    }
}

/// The problems for which the API server refuses a Service, in the order of its fields.
#[derive(Default)]
pub(crate) struct Refusals {
    found: Vec<Refusal>,
    /// True if problems count that follow from others, or that rule S16 reports.
    is_whole: bool,
}

impl Refusals {
    pub(crate) fn into_inner(self) -> Vec<Refusal> {
        self.found
    }

    /// Returns everything that an API server names in its answer.
    pub(crate) fn whole(service: &Service) -> Vec<Refusal> {
        let mut whole = Self {
            is_whole: true,
            ..Self::default()
        };
        whole.service(service);
        if let Some(kind) = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) {
            whole.one_of("spec.type", kind, &TYPES);
        }
        whole.found
    }

    /// Checks a whole Service.
    pub(crate) fn service(&mut self, service: &Service) {
        self.metadata(&service.metadata);
        let Some(spec) = &service.spec else {
            self.add("spec", "a Service needs a spec with ports", "write one")
                .says(|| words::required(""))
                .at("spec.ports");
            return;
        };
        let spec = Spec {
            spec,
            kind: spec.type_.as_deref().unwrap_or_default(),
        };
        self.presence(&spec);
        self.ports(&spec);
        self.pairs("spec.selector", spec.spec.selector.as_ref());
        self.cluster_ips(&spec);
        self.external_ips(&spec);
        self.load_balancer(&spec);
        self.source_ranges(&spec, service.metadata.annotations.as_ref());
        self.choices(&spec);
        self.affinity(&spec);
        self.traffic(&spec);
    }

    fn add(
        &mut self,
        field: impl Into<String>,
        problem: impl Into<String>,
        fix: &str,
    ) -> Added<'_> {
        self.found.push(Refusal {
            field: field.into(),
            problem: problem.into(),
            fix: fix.to_owned(),
            words: None,
            at: None,
        });
        Added(self.found.last_mut())
    }

    fn require(
        &mut self,
        holds: bool,
        field: &str,
        problem: impl Into<String>,
        fix: &str,
    ) -> Added<'_> {
        if holds {
            Added(None)
        } else {
            self.add(field, problem, fix)
        }
    }

    fn metadata(&mut self, meta: &ObjectMeta) {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (text(&meta.name), text(&meta.generate_name)) {
            (Some(name), _) => self.label("metadata.name", &name),
            // The server appends letters, so a hyphen may end it.
            (None, Some(prefix)) => self.label(
                "metadata.generateName",
                &format!("{}a", prefix.trim_end_matches('-')),
            ),
            (None, None) => {
                self.add("metadata.name", "a Service needs a name", "write one");
            }
        }
        if let Some(namespace) = text(&meta.namespace) {
            self.label(NAMESPACE, &namespace);
        }
        self.pairs("metadata.labels", meta.labels.as_ref());
        let annotations = meta.annotations.iter().flatten();
        for (key, _) in annotations
            .clone()
            .filter(|(key, _)| !is_qualified(&key.to_lowercase()))
        {
            self.add(
                format!("metadata.annotations[{key:?}]"),
                "not a valid key of an annotation",
                KEY_FORM,
            )
            .says(|| words::key(&key.to_lowercase()).filter(|_| *key == key.to_lowercase()))
            .at("metadata.annotations");
        }
        let size: usize = annotations
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let problem = format!("{size} bytes; annotations have at most {MAX_ANNOTATIONS}");
        self.require(size <= MAX_ANNOTATIONS, "metadata.annotations", problem, "");
        self.topology(meta.annotations.as_ref());
    }

    fn topology(&mut self, annotations: Option<&BTreeMap<String, String>>) {
        let value = |key: &str| annotations.and_then(|annotations| annotations.get(key));
        if let (Some(mode), Some(hints)) = (value(TOPOLOGY_MODE), value(TOPOLOGY_HINTS)) {
            let field = format!("metadata.annotations[{TOPOLOGY_MODE:?}]");
            let problem = format!("{mode:?} differs from {hints:?} in {TOPOLOGY_HINTS}");
            self.require(
                mode == hints,
                &field,
                problem,
                "keep one of the two annotations",
            );
        }
    }

    fn label(&mut self, field: &str, text: &str) {
        let problem = format!("{text:?} is not a valid name");
        self.require(
            is_label(text),
            field,
            problem,
            "use at most 63 lower case letters, digits and hyphens",
        )
        .says(|| words::label(text).filter(|_| field != NAMESPACE));
    }

    /// Checks labels, of the Service or in its selector.
    fn pairs(&mut self, map: &str, pairs: Option<&BTreeMap<String, String>>) {
        for (key, value) in pairs.into_iter().flatten() {
            let field = format!("{map}[{key:?}]");
            self.require(
                is_qualified(key),
                &field,
                "not a valid key of a label",
                KEY_FORM,
            )
            .says(|| words::key(key))
            .at(map);
            let problem = format!("{value:?} is not a valid value of a label");
            self.require(is_label_value(value), &field, problem, NAME_FORM)
                .says(|| words::label_value(value))
                .at(map);
        }
    }

    /// Checks the fields that a type needs, and those that it excludes.
    fn presence(&mut self, spec: &Spec<'_>) {
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

    fn ports(&mut self, spec: &Spec<'_>) {
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

    fn number(&mut self, field: &str, number: i32) {
        let problem = format!("{number} is no port");
        self.require(
            (1..=65_535).contains(&number),
            field,
            problem,
            "use a number between 1 and 65535",
        )
        .says(|| words::invalid(number, words::PORT));
    }

    fn one_of(&mut self, field: &str, found: &str, allowed: &[&str]) {
        let fix = format!("use {}", allowed.join(", "));
        self.require(
            allowed.contains(&found),
            field,
            format!("{found:?} is not allowed"),
            &fix,
        )
        .says(|| words::unsupported(found, allowed));
    }

    fn cluster_ips(&mut self, spec: &Spec<'_>) {
        let ips = cluster_ips(spec.spec);
        if spec.kind == "ExternalName" || ips == [NONE] {
            return;
        }
        let field = if spec.spec.cluster_ips.is_some() {
            "spec.clusterIPs"
        } else {
            "spec.clusterIP"
        };
        if let (Some(one), Some(first)) = (
            spec.spec.cluster_ip.as_deref(),
            spec.spec.cluster_ips.iter().flatten().next(),
        ) {
            let problem = format!("{one:?} differs from {first:?} in spec.clusterIPs");
            self.require(
                one == first || one.is_empty(),
                "spec.clusterIP",
                problem,
                "write one of them",
            )
            .says(|| words::invalid(json!(ips), "first value must match `clusterIP`"))
            .at("spec.clusterIPs");
        }
        for (index, text) in ips.iter().enumerate() {
            let problem = format!("{text:?} is no address");
            self.require(
                ip(text).is_some(),
                field,
                problem,
                "write an IPv4 or IPv6 address, None alone, or nothing",
            )
            .says(|| Some(words::invalid(*text, words::IP)).filter(|_| *text != NONE))
            .at(format!("spec.clusterIPs[{index}]"));
        }
        // Texts that are no addresses are named above.
        let addresses: Vec<_> = ips.iter().filter_map(|text| ip(text)).collect();
        let families: HashSet<bool> = addresses.iter().map(|ip| ip.is_ipv4()).collect();
        let problem = "at most one IPv4 and one IPv6 address";
        self.require(
            addresses.len() <= families.len(),
            field,
            problem,
            "remove the others",
        );
    }

    fn external_ips(&mut self, spec: &Spec<'_>) {
        for (index, text) in spec.spec.external_ips.iter().flatten().enumerate() {
            let field = format!("spec.externalIPs[{index}]");
            match ip(text).map(special) {
                None => {
                    self.add(
                        field,
                        format!("{text:?} is no address"),
                        "write an IPv4 or IPv6 address",
                    )
                    .says(|| words::invalid(text.as_str(), words::IP));
                }
                Some(Some(what)) => {
                    self.add(
                        field,
                        format!("{text} is {what}"),
                        "use an address of a node or network",
                    )
                    .says(|| words::special(text, what));
                }
                Some(None) => {}
            }
        }
    }

    fn load_balancer(&mut self, spec: &Spec<'_>) {
        let balancer = spec.kind == "LoadBalancer";
        let problem = "only LoadBalancer Services may have it";
        let allocate = spec.spec.allocate_load_balancer_node_ports;
        self.require(
            balancer || allocate.is_none(),
            "spec.allocateLoadBalancerNodePorts",
            problem,
            "remove it",
        )
        .says(|| words::forbidden(words::OF_LOAD_BALANCERS));
        // The admission refuses an empty class.
        let Some(class) = spec
            .spec
            .load_balancer_class
            .as_deref()
            .filter(|class| !class.is_empty())
        else {
            return;
        };
        self.require(balancer, "spec.loadBalancerClass", problem, "remove it")
            .says(|| words::forbidden(words::OF_LOAD_BALANCERS));
        let problem = format!("{class:?} is no name of a class");
        self.require(
            is_qualified(class),
            "spec.loadBalancerClass",
            problem,
            KEY_FORM,
        )
        .says(|| words::key(class));
    }

    fn source_ranges(&mut self, spec: &Spec<'_>, annotations: Option<&BTreeMap<String, String>>) {
        let listed = spec
            .spec
            .load_balancer_source_ranges
            .as_deref()
            .unwrap_or_default();
        let annotation = annotations.and_then(|annotations| annotations.get(SOURCE_RANGES));
        let (field, ranges): (_, Vec<&str>) = match annotation {
            _ if !listed.is_empty() => (
                "spec.loadBalancerSourceRanges".to_owned(),
                listed.iter().map(|s| s.trim()).collect(),
            ),
            Some(text) if text.trim().is_empty() => {
                (format!("metadata.annotations[{SOURCE_RANGES:?}]"), vec![])
            }
            Some(text) => (
                format!("metadata.annotations[{SOURCE_RANGES:?}]"),
                text.split(',').map(str::trim).collect(),
            ),
            None => return,
        };
        let problem = "only LoadBalancer Services may have source ranges";
        let is_listed = !listed.is_empty();
        // The API server writes the field this way.
        const NAMED: &str = "spec.LoadBalancerSourceRanges";
        let forbidden = || words::forbidden(words::OF_LOAD_BALANCERS);
        let at = if is_listed { NAMED } else { &field };
        self.require(spec.kind == "LoadBalancer", &field, problem, "remove them")
            .says(|| is_listed.then(forbidden))
            .at(at);
        let ranges = ranges.iter().enumerate();
        for (index, range) in ranges.filter(|(_, range)| !is_cidr(range)) {
            let at = match is_listed {
                true => format!("{NAMED}[{index}]"),
                false => field.clone(),
            };
            self.add(
                field.clone(),
                format!("{range:?} is no range"),
                "write an address and a length, such as 10.0.0.0/8",
            )
            .says(|| is_listed.then(|| words::invalid(*range, words::CIDR)))
            .at(at);
        }
    }

    fn choices(&mut self, spec: &Spec<'_>) {
        let spec = spec.spec;
        let choices: [(&str, Option<&String>, &[&str]); 4] = [
            (
                "spec.sessionAffinity",
                spec.session_affinity.as_ref(),
                &["ClientIP", "None"],
            ),
            (
                "spec.internalTrafficPolicy",
                spec.internal_traffic_policy.as_ref(),
                &["Cluster", "Local"],
            ),
            (
                "spec.ipFamilyPolicy",
                spec.ip_family_policy.as_ref(),
                &["PreferDualStack", "RequireDualStack", "SingleStack"],
            ),
            (
                "spec.trafficDistribution",
                spec.traffic_distribution.as_ref(),
                &["PreferClose", "PreferSameZone", "PreferSameNode"],
            ),
        ];
        for (field, found, allowed) in choices {
            if let Some(found) = found {
                self.one_of(field, found, allowed);
            }
        }
        let mut families = HashSet::new();
        for (index, family) in spec.ip_families.iter().flatten().enumerate() {
            let field = format!("spec.ipFamilies[{index}]");
            self.one_of(&field, family, &["IPv4", "IPv6"]);
            self.require(
                families.insert(family),
                &field,
                format!("{family:?} stands twice"),
                "remove one",
            )
            .says(|| words::duplicate(family.as_str()));
        }
    }

    fn affinity(&mut self, spec: &Spec<'_>) {
        let config = spec
            .spec
            .session_affinity_config
            .as_ref()
            .and_then(|config| config.client_ip.as_ref());
        let Some(seconds) = config.and_then(|client| client.timeout_seconds) else {
            return;
        };
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        // With "None" the defaults remove it.
        let client_ip = spec.spec.session_affinity.as_deref() == Some("ClientIP");
        let fix = format!("use a number between 1 and {MAX_AFFINITY_SECONDS}");
        let within = (1..=MAX_AFFINITY_SECONDS).contains(&seconds);
        self.require(
            !client_ip || within,
            field,
            format!("{seconds} seconds"),
            &fix,
        )
        .says(|| words::invalid(seconds, "must be greater than 0 and less than 86400"));
    }

    fn traffic(&mut self, spec: &Spec<'_>) {
        let policy = spec
            .spec
            .external_traffic_policy
            .as_deref()
            .filter(|policy| !policy.is_empty());
        if let Some(policy) = policy {
            let problem = "only Services that are reached from outside may have it";
            self.require(
                spec.is_external(),
                "spec.externalTrafficPolicy",
                problem,
                "remove it",
            )
            .says(|| words::invalid(policy, "may only be set for externally-accessible services"));
            self.one_of("spec.externalTrafficPolicy", policy, &["Cluster", "Local"]);
        }
        if let Some(number) = spec
            .spec
            .health_check_node_port
            .filter(|number| *number != 0)
        {
            let needed = spec.kind == "LoadBalancer" && policy == Some("Local");
            let problem = "only LoadBalancer Services with externalTrafficPolicy: Local have it";
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` \
                       is 'Local'";
            self.require(needed, "spec.healthCheckNodePort", problem, "remove it")
                .says(|| words::invalid(number, why));
            self.number("spec.healthCheckNodePort", number);
        }
    }
}

const NAME_FORM: &str =
    "use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
const KEY_FORM: &str =
    "use a name of letters, digits, '-', '_' and '.', after a DNS name and a slash if need be";

/// A spec and its type.
struct Spec<'a> {
    spec: &'a ServiceSpec,
    kind: &'a str,
}

impl Spec<'_> {
    fn ports(&self) -> &[ServicePort] {
        self.spec.ports.as_deref().unwrap_or_default()
    }

    fn is_headless(&self) -> bool {
        cluster_ips(self.spec) == [NONE]
    }

    fn is_external(&self) -> bool {
        let external_ips = self
            .spec
            .external_ips
            .as_ref()
            .is_some_and(|ips| !ips.is_empty());
        matches!(self.kind, "LoadBalancer" | "NodePort") || self.kind == "ClusterIP" && external_ips
    }
}

/// `clusterIPs`, or `clusterIP` alone, from which the server makes it.
fn cluster_ips(spec: &ServiceSpec) -> Vec<&str> {
    let listed: Vec<&str> = spec
        .cluster_ips
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let one = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty());
    if listed.is_empty() {
        one.into_iter().collect()
    } else {
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::Refusals;
    use crate::api_server::{defaults, unknown};
    use crate::{decode, yaml};
    use k8s_openapi::api::core::v1::Service;

    /// The fields that the API server refuses in a Service with this metadata and spec.
    fn fields(text: &str) -> Vec<String> {
        let text = format!("apiVersion: v1\nkind: Service\n{text}\n");
        let mut value = yaml::located_documents(&text).expect("valid")[0].value();
        let unknown = unknown(&value);
        defaults::apply(&mut value);
        let mut refusals = Refusals::default();
        refusals.service(&decode::from_value::<Service>(&value).expect("a Service"));
        let all = unknown.into_iter().chain(refusals.into_inner());
        all.map(|refusal| refusal.field).collect()
    }

    #[test]
    fn what_the_api_server_refuses_is_found() {
        for (spec, expected) in [
            ("{}", "spec.ports"),
            ("{type: NodePort}", "spec.ports"),
            ("{ports: [{port: 70000}]}", "spec.ports[0].port"),
            ("{ports: [{port: 0}]}", "spec.ports[0].port"),
            (
                "{ports: [{name: Bad_Name, port: 80}]}",
                "spec.ports[0].name",
            ),
            (
                "{ports: [{name: a, port: 80}, {port: 81}]}",
                "spec.ports[1].name",
            ),
            (
                "{ports: [{name: a, port: 80}, {name: a, port: 81}]}",
                "spec.ports[1].name",
            ),
            (
                "{ports: [{name: a, port: 80}, {name: b, port: 80}]}",
                "spec.ports[1].port",
            ),
            (
                "{ports: [{port: 80, protocol: tcp}]}",
                "spec.ports[0].protocol",
            ),
            (
                "{ports: [{port: 80, targetPort: 70000}]}",
                "spec.ports[0].targetPort",
            ),
            (
                "{ports: [{port: 80, targetPort: \"8080\"}]}",
                "spec.ports[0].targetPort",
            ),
            (
                "{ports: [{port: 80, appProtocol: a/b/c}]}",
                "spec.ports[0].appProtocol",
            ),
            (
                "{ports: [{port: 80, nodePort: 30080}]}",
                "spec.ports[0].nodePort",
            ),
            (
                "{type: NodePort, ports: [{port: 80, nodePort: 70000}]}",
                "spec.ports[0].nodePort",
            ),
            (
                "{type: NodePort, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: \
                 81, nodePort: 30080}]}",
                "spec.ports[1].nodePort",
            ),
            (
                "{type: NodePort, clusterIP: None, ports: [{port: 80}]}",
                "spec.clusterIP",
            ),
            ("{clusterIP: x, ports: [{port: 80}]}", "spec.clusterIP"),
            (
                "{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2], ports: [{port: 80}]}",
                "spec.clusterIP",
            ),
            (
                "{clusterIPs: [10.0.0.1, 10.0.0.2], ports: [{port: 80}]}",
                "spec.clusterIPs",
            ),
            (
                "{clusterIPs: [None, 10.0.0.2], ports: [{port: 80}]}",
                "spec.clusterIPs",
            ),
            (
                "{selector: {\"a b\": c}, ports: [{port: 80}]}",
                "spec.selector[\"a b\"]",
            ),
            (
                "{selector: {a: \"b c\"}, ports: [{port: 80}]}",
                "spec.selector[\"a\"]",
            ),
            (
                "{externalIPs: [x], ports: [{port: 80}]}",
                "spec.externalIPs[0]",
            ),
            (
                "{externalIPs: [127.0.0.1], ports: [{port: 80}]}",
                "spec.externalIPs[0]",
            ),
            (
                "{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1], ports: [{port: 80}]}",
                "spec.loadBalancerSourceRanges",
            ),
            (
                "{loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 80}]}",
                "spec.loadBalancerSourceRanges",
            ),
            (
                "{type: NodePort, loadBalancerClass: a.b/c, ports: [{port: 80}]}",
                "spec.loadBalancerClass",
            ),
            (
                "{type: LoadBalancer, loadBalancerClass: a b, ports: [{port: 80}]}",
                "spec.loadBalancerClass",
            ),
            (
                "{allocateLoadBalancerNodePorts: false, ports: [{port: 80}]}",
                "spec.allocateLoadBalancerNodePorts",
            ),
            (
                "{sessionAffinity: clientIP, ports: [{port: 80}]}",
                "spec.sessionAffinity",
            ),
            (
                "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: \
                 0}}, ports: [{port: 80}]}",
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            ),
            (
                "{internalTrafficPolicy: local, ports: [{port: 80}]}",
                "spec.internalTrafficPolicy",
            ),
            (
                "{ipFamilyPolicy: DualStack, ports: [{port: 80}]}",
                "spec.ipFamilyPolicy",
            ),
            (
                "{ipFamilies: [IPv4, IPv4], ports: [{port: 80}]}",
                "spec.ipFamilies[1]",
            ),
            (
                "{ipFamilies: [ipv4], ports: [{port: 80}]}",
                "spec.ipFamilies[0]",
            ),
            (
                "{trafficDistribution: Close, ports: [{port: 80}]}",
                "spec.trafficDistribution",
            ),
            (
                "{externalTrafficPolicy: Local, ports: [{port: 80}]}",
                "spec.externalTrafficPolicy",
            ),
            (
                "{type: NodePort, externalTrafficPolicy: local, ports: [{port: 80}]}",
                "spec.externalTrafficPolicy",
            ),
            (
                "{type: LoadBalancer, healthCheckNodePort: 30081, ports: [{port: 80}]}",
                "spec.healthCheckNodePort",
            ),
            ("{type: ExternalName}", "spec.externalName"),
            (
                "{type: ExternalName, externalName: a_b}",
                "spec.externalName",
            ),
            (
                "{type: ExternalName, externalName: a.b, clusterIP: None}",
                "spec.clusterIP",
            ),
        ] {
            assert_eq!(
                fields(&format!("metadata: {{name: web}}\nspec: {spec}")),
                [expected],
                "{spec}"
            );
        }
    }

    #[test]
    fn metadata_is_looked_at_too() {
        let annotation = format!(
            "{{name: web, annotations: {{\"{}\": 10.0.0.0/8}}}}",
            super::SOURCE_RANGES
        );
        for (metadata, expected) in [
            ("{}", "metadata.name".to_owned()),
            ("{name: Web}", "metadata.name".to_owned()),
            ("{name: a.b}", "metadata.name".to_owned()),
            ("{generateName: Web-}", "metadata.generateName".to_owned()),
            (
                "{name: web, namespace: a_b}",
                "metadata.namespace".to_owned(),
            ),
            (
                "{name: web, labels: {a: \"-\"}}",
                "metadata.labels[\"a\"]".to_owned(),
            ),
            (
                "{name: web, annotations: {a b: c}}",
                "metadata.annotations[\"a b\"]".to_owned(),
            ),
            (
                &annotation,
                format!("metadata.annotations[{:?}]", super::SOURCE_RANGES),
            ),
        ] {
            assert_eq!(
                fields(&format!(
                    "metadata: {metadata}\nspec: {{ports: [{{port: 80}}]}}"
                )),
                [expected],
                "{metadata}"
            );
        }
    }

    #[test]
    fn what_the_api_server_takes_is_not_found() {
        for spec in [
            "{ports: [{port: 80}]}",
            "{clusterIP: None}",
            "{clusterIP: \"\", ports: [{port: 80, targetPort: 0}]}",
            "{type: NodePort, ports: [{name: a, port: 53, nodePort: 30053}, {name: b, port: 53, \
             nodePort: 30053, protocol: UDP}]}",
            "{type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30081, ports: \
             [{port: 80}]}",
            "{type: LoadBalancer, loadBalancerSourceRanges: [\" 10.0.0.0/8 \"], loadBalancerClass: \
             a.b/c, ports: [{port: 80}]}",
            "{externalIPs: [192.0.2.1], externalTrafficPolicy: Local, ports: [{port: 80}]}",
            "{clusterIPs: [10.0.0.1, \"2001:db8::1\"], clusterIP: 10.0.0.1, ports: [{port: 80}]}",
            "{type: ExternalName, externalName: db.example.com.}",
            "{sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, ports: [{port: 80}]}",
            "{selector: {app.kubernetes.io/name: \"\"}, ports: [{port: 80, name: 1-a, appProtocol: \
             kubernetes.io/h2c}]}",
        ] {
            assert_eq!(
                fields(&format!("metadata: {{name: web}}\nspec: {spec}")),
                Vec::<String>::new(),
                "{spec}"
            );
        }
        assert!(fields("metadata: {generateName: web-}\nspec: {ports: [{port: 80}]}").is_empty());
    }
}
