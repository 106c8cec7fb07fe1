//! Cluster IPs, external IPs, and who may reach a load balancer.

use super::{KEY_FORM, NONE, Refusals, Spec, cluster_ips};
use crate::api_server::names::{ip, is_cidr, is_qualified, special};
use crate::api_server::words;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

pub(super) const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

impl Refusals {
    pub(super) fn cluster_ips(&mut self, spec: &Spec<'_>) {
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

    pub(super) fn external_ips(&mut self, spec: &Spec<'_>) {
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

    pub(super) fn load_balancer(&mut self, spec: &Spec<'_>) {
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

    pub(super) fn source_ranges(
        &mut self,
        spec: &Spec<'_>,
        annotations: Option<&BTreeMap<String, String>>,
    ) {
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
}
