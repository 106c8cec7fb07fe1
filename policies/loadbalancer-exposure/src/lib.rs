//! How load balancers are reached: internal (S04), from known addresses (S05), without node ports (S06), without the deprecated
//! `loadBalancerIP` (S13); and what new ones get where their manifest says nothing (M3, M4).

mod create;
mod internal;
mod sources;

use sallyport_policy::facts::Controller;
use sallyport_policy::net::{Cidr, cover_the_world};
use sallyport_policy::prelude::*;
use settings::{LoadBalancerIp, NodePorts, RequireSourceRanges, SetOnCreate};

policy!(LoadBalancerExposure, "policy.wit");

/// Checked settings.
pub struct LoadBalancerExposure {
    settings: Settings,
    /// Who makes load balancers here. Empty: the Nodes tell.
    controllers: Vec<&'static Controller>,
    allowed: Vec<Cidr>,
}

impl Policy for LoadBalancerExposure {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .mutating()
            .with_status_writes()
            .with_cluster()
            .about(About::LOAD_BALANCER)
    }

    fn defaults() -> Settings {
        Settings {
            require_internal: false,
            providers: vec![],
            extra: vec![],
            internal_classes: vec![],
            require_source_ranges: RequireSourceRanges::Never,
            forbid_world: false,
            allowed_cidrs: vec![],
            node_ports: NodePorts::Allow,
            load_balancer_ip: LoadBalancerIp::Warn,
            set_on_create: SetOnCreate {
                internal: false,
                load_balancer_class: None,
                load_balancer_source_ranges: vec![],
                no_node_ports: false,
                local_traffic: false,
            },
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        let controllers = internal::controllers(&settings, &mut errors);
        let allowed = blocks("allowedCidrs", &settings.allowed_cidrs, &mut errors);
        let set = &settings.set_on_create;
        const RANGES: &str = "setOnCreate.loadBalancerSourceRanges";
        let ranges = blocks(RANGES, &set.load_balancer_source_ranges, &mut errors);
        let is_allowed = |range: &Cidr| allowed.is_empty() || allowed.iter().any(|allowed| allowed.covers(range));
        if !ranges.iter().all(is_allowed) || settings.forbid_world && cover_the_world(&ranges) {
            errors.push(SettingsError::new(RANGES, "S05 would deny them; name other blocks"));
        }
        if set.load_balancer_class.as_deref() == Some("") {
            errors.push(SettingsError::new("setOnCreate.loadBalancerClass", "must not be empty; remove it"));
        }
        if set.internal && set.load_balancer_class.is_some() {
            let problem = "excludes loadBalancerClass, which decides by itself; keep one of the two";
            errors.push(SettingsError::new("setOnCreate.internal", problem));
        }
        if errors.is_empty() { Ok(Self { settings, controllers, allowed }) } else { Err(errors) }
    }

    fn validate(&self, review: &Review) -> Verdict {
        let mut verdict = Verdict::allow();
        if review.service.service_type() == ServiceType::LoadBalancer {
            let public = self.public(review);
            self.judge_ranges(&review.service, public.is_some(), &mut verdict);
            self.judge_node_ports(&review.service, &mut verdict);
            self.judge_ip(review, &mut verdict);
            if let (true, Some(public)) = (self.settings.require_internal, public) {
                verdict.violations.push(public.key("LoadBalancer:public"));
            }
        }
        verdict
    }

    fn mutate(&self, review: &Review) -> Mutation {
        create::complete(self, review)
    }
}

impl LoadBalancerExposure {
    /// A node port that is allocated later is told by the field that asks for it.
    fn judge_node_ports(&self, service: &Service, verdict: &mut Verdict) {
        if self.settings.node_ports == NodePorts::Allow {
            return;
        }
        const PROBLEM: &str = "a load balancer must open no node ports here";
        let allocates = service.spec.allocate_load_balancer_node_ports != Some(false);
        if allocates {
            let violation = Violation::new("S06", "spec.allocateLoadBalancerNodePorts", PROBLEM);
            verdict.violations.push(violation.key("LoadBalancer:node ports").fix("set it to false"));
        }
        for (i, port) in service.spec.ports.iter().enumerate() {
            // An allocated port goes with the field; while that is false, each one that stays is open all the same.
            if let Some(number) = port.node_port.filter(|_| port.node_port_by_client || !allocates) {
                let field = text!["spec.ports[", i, "].nodePort"];
                let message = text![PROBLEM, ", but opens ", number];
                let key = text!["NodePort:", port.protocol, ":", number];
                verdict.violations.push(Violation::new("S06", field, message).key(key).fix("remove it"));
            }
        }
    }

    /// Controllers write the status again and again: nobody would read a warning there.
    fn judge_ip(&self, review: &Review, verdict: &mut Verdict) {
        let Some(ip) = &review.service.spec.load_balancer_ip else { return };
        const FIELD: &str = "spec.loadBalancerIP";
        const WHY: &str = "is deprecated since Kubernetes 1.24, and controllers differ in what they make of it";
        const FIX: &str = "remove it and use the controller's annotation, or a loadBalancerClass";
        match self.settings.load_balancer_ip {
            LoadBalancerIp::Warn if review.resource == Resource::Services => {
                verdict.warnings.push(text![FIELD, " ", WHY, "; ", FIX])
            }
            LoadBalancerIp::Warn | LoadBalancerIp::Allow => {}
            LoadBalancerIp::Deny => {
                let violation = Violation::new("S13", FIELD, text![quote(ip), ": the field ", WHY]);
                verdict.violations.push(violation.key(text!["loadBalancerIP:", ip]).fix(FIX));
            }
        }
    }
}

/// Blocks that settings name.
fn blocks(path: &str, texts: &[String], errors: &mut Vec<SettingsError>) -> Vec<Cidr> {
    let mut blocks = vec![];
    for (i, text) in texts.iter().enumerate() {
        match Cidr::parse(text) {
            Some(block) if block.is_exact() => blocks.push(block),
            found => {
                let problem = match found {
                    Some(_) => "has bits beyond its prefix; write the block's first address",
                    None => "is no block of addresses; write it as 10.0.0.0/8 or 2001:db8::/32",
                };
                errors.push(SettingsError::new(text![path, "[", i, "]"], text![quote(text), " ", problem]));
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests;
