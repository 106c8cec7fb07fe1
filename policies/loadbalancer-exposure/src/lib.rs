//! Restricts how load balancers are reached: internal (S04), from known addresses (S05), without
//! node ports (S06), without an address that the Service names (S13). Gives new ones safe values
//! where their manifest has none (M3, M4).

mod address;
mod create;
mod internal;
mod sources;

use sallyport_facts::{Controller, keys, reach};
use sallyport_policy::net::{Cidr, cover_the_world};
use sallyport_policy::prelude::*;
use settings::{LoadBalancerIp, NodePorts, RequireSourceRanges, SetOnCreate};
use std::collections::BinaryHeap;

policy!(
    LoadBalancerExposure,
    "policy.wit",
    backstop = "backstop.yaml"
);

/// Checked settings.
pub struct LoadBalancerExposure {
    settings: Settings,
    /// The controllers that serve this cluster. Empty: the Nodes decide.
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

    fn describe_configured(&self) -> Description {
        Self::describe()
            .compares_annotations(keys::of_load_balancers())
            .compares_annotations(self.settings.extra.iter().map(|extra| &extra.key))
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
        let is_allowed = |range: &Cidr| {
            allowed.is_empty() || allowed.iter().any(|allowed| allowed.covers(range))
        };
        if !ranges.iter().all(is_allowed) || settings.forbid_world && cover_the_world(&ranges) {
            errors.push(SettingsError::new(
                RANGES,
                "S05 would deny them; name other blocks",
            ));
        }
        if let Some(class) = &set.load_balancer_class {
            names::class(
                "setOnCreate.loadBalancerClass".to_owned(),
                class,
                &mut errors,
            );
        }
        if set.internal && set.load_balancer_class.is_some() {
            let problem =
                "excludes loadBalancerClass, which decides by itself; keep one of the two";
            errors.push(SettingsError::new("setOnCreate.internal", problem));
        }
        if errors.is_empty() {
            Ok(Self {
                settings,
                controllers,
                allowed,
            })
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        let verdict = Verdict::of_update(review, reach::widening, widening, |service| {
            self.judge(review, service)
        });
        self.renewed_by_reach(review, self.lessened(review, verdict))
    }

    fn mutate(&self, review: &Review) -> Mutation {
        create::complete(self, review)
    }
}

/// Returns the ways of exposing more that make a kept violation a new offence.
fn widening(violation: &Violation) -> Widening {
    const ANY_RULE: Widening = Widening::LEADS.or(Widening::SOURCES).or(Widening::FAMILIES);
    match violation.rule.as_str() {
        // Their own keys tell how public it is.
        "S04" | "S05" => ANY_RULE.or(Widening::LOAD_BALANCER),
        "S06" => ANY_RULE
            .or(Widening::LOAD_BALANCER)
            .or(Widening::NODE_PORTS)
            .or(Widening::NODES),
        _ => ANY_RULE.or(Widening::PUBLIC),
    }
}

impl LoadBalancerExposure {
    /// Judges a state of the Service under review: the new one, or the old one.
    fn judge(&self, review: &Review, service: &Service) -> Verdict {
        let mut verdict = Verdict::allow();
        if service.service_type() != ServiceType::LoadBalancer {
            return verdict;
        }
        let settings = &self.settings;
        let asks_reach = settings.require_internal
            || settings.require_source_ranges == RequireSourceRanges::UnlessInternal;
        let public = if asks_reach {
            self.public(review, service)
        } else {
            vec![]
        };
        self.judge_ranges(review, service, !public.is_empty(), &mut verdict);
        self.judge_node_ports(service, &mut verdict);
        self.judge_addresses(review, service, &mut verdict);
        if settings.require_internal {
            verdict.violations.extend(public);
        }
        verdict
    }

    /// An update that makes an offence a lesser one keeps it: it gets the key of the greater one
    /// that stood.
    fn lessened(&self, review: &Review, mut verdict: Verdict) -> Verdict {
        let Some(old) = review
            .old_service
            .as_ref()
            .filter(|_| !verdict.violations.is_empty())
        else {
            return verdict;
        };
        let before = self.judge(review, old).violations;
        let too_many = before
            .iter()
            .find(|violation| sources::admits_too_many(violation));
        let too_many = too_many.filter(|_| {
            Widening::between(old, &review.service)
                .and(Widening::SOURCES.or(Widening::FAMILIES))
                .is_none()
        });
        let keys: BinaryHeap<_> = before
            .iter()
            .map(|violation| violation.key.as_str())
            .collect();
        let keys = keys.into_sorted_vec();
        let stood = |key: &str| keys.binary_search(&key).is_ok();
        for violation in &mut verdict.violations {
            if violation.key.is_empty() || stood(&violation.key) {
                continue;
            }
            let greater = match too_many {
                Some(old) if sources::admits_too_many(violation) => Some(old.key.clone()),
                _ if violation.rule == "S04" => internal::more_public(&violation.key)
                    .into_iter()
                    .find(|key| stood(key)),
                _ => None,
            };
            if let Some(key) = greater {
                violation.key = key;
            }
        }
        verdict
    }

    /// A load balancer without ranges, or with node ports, offends more once it is less certainly
    /// an internal one.
    fn renewed_by_reach(&self, review: &Review, mut verdict: Verdict) -> Verdict {
        let concerns = |violation: &Violation| matches!(violation.rule.as_str(), "S05" | "S06");
        let Some(old) = review
            .old_service
            .as_ref()
            .filter(|_| verdict.violations.iter().any(concerns))
        else {
            return verdict;
        };
        let before = self.public(review, old);
        let stood = |reason: &Violation| {
            let greater = internal::more_public(&reason.key);
            before
                .iter()
                .any(|old| old.key == reason.key || greater.contains(&old.key))
        };
        if !self.public(review, &review.service).iter().all(stood) {
            for violation in verdict
                .violations
                .iter_mut()
                .filter(|violation| concerns(violation))
            {
                violation.key.clear();
            }
        }
        verdict
    }

    /// A node port that is allocated later is told by the field that asks for it.
    fn judge_node_ports(&self, service: &Service, verdict: &mut Verdict) {
        if self.settings.node_ports == NodePorts::Allow {
            return;
        }
        const PROBLEM: &str = "a load balancer must open no node ports here";
        let allocates = service.spec.allocate_load_balancer_node_ports != Some(false);
        if allocates {
            let violation = Violation::new("S06", "spec.allocateLoadBalancerNodePorts", PROBLEM);
            verdict.violations.push(
                violation
                    .key("LoadBalancer:node ports")
                    .fix("set it to false"),
            );
        }
        for (i, port) in service.spec.ports.iter().enumerate() {
            // An allocated port goes with the field; while that is false, each one that stays is
            // open all the same.
            if let Some(number) = port
                .node_port
                .filter(|_| port.node_port_by_client || !allocates)
            {
                let field = format!("spec.ports[{i}].nodePort");
                let message = format!("{PROBLEM}, but opens {number}");
                let key = format!("NodePort:{}:{number}", port.protocol);
                verdict.violations.push(
                    Violation::new("S06", field, message)
                        .key(key)
                        .fix("remove it"),
                );
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
                errors.push(SettingsError::new(
                    format!("{path}[{i}]"),
                    format!("{} {problem}", quote(text)),
                ));
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests;
