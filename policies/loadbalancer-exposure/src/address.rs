//! S13: the addresses that a Service asks for, by the deprecated `loadBalancerIP` or by an
//! annotation of its controller.
//!
//! One address gives one violation, wherever it stands. An address that nothing bounds is rule
//! S08's, of policy external-ips.

use super::LoadBalancerExposure;
use super::internal::annotation;
use super::settings::LoadBalancerIp;
use sallyport_facts::addresses::{Checked, asked};
use sallyport_policy::net::Address;
use sallyport_policy::prelude::*;

const FIELD: &str = "spec.loadBalancerIP";
const WHY: &str =
    "is deprecated since Kubernetes 1.24, and controllers differ in what they make of it";
const FIX: &str = "remove it, so that the controller chooses an address";

/// The most addresses of one Service that are told apart. No load balancer has more.
const MAX_ADDRESSES: usize = 64;

impl LoadBalancerExposure {
    pub(crate) fn judge_addresses(
        &self,
        review: &Review,
        service: &Service,
        verdict: &mut Verdict,
    ) {
        if self.settings.load_balancer_ip == LoadBalancerIp::Allow {
            return;
        }
        let mut named: Vec<&str> = vec![];
        if let Some(ip) = &service.spec.load_balancer_ip {
            named.push(ip);
            self.tell(review, verdict, FIELD, ip, format!("the field {WHY}"));
        }
        for asked in asked(service, Checked::Pool) {
            if named.iter().any(|other| is_same(other, asked.text)) {
                continue;
            }
            named.push(asked.text);
            let field = annotation(asked.key);
            if named.len() > MAX_ADDRESSES {
                let message = format!("the Service asks for more than {MAX_ADDRESSES} addresses");
                verdict
                    .violations
                    .push(Violation::new("S13", field, message).fix("name fewer"));
                return;
            }
            let why = "the annotation asks for an address, as spec.loadBalancerIP does";
            self.tell(review, verdict, &field, asked.text, why.to_owned());
        }
    }

    /// Controllers write the status again and again: nobody would read a warning there.
    fn tell(&self, review: &Review, verdict: &mut Verdict, field: &str, ip: &str, why: String) {
        match self.settings.load_balancer_ip {
            LoadBalancerIp::Deny => {
                let violation = Violation::new("S13", field, format!("{}: {why}", quote(ip)));
                verdict
                    .violations
                    .push(violation.key(format!("loadBalancerIP:{ip}")).fix(FIX));
            }
            LoadBalancerIp::Warn if review.resource == Resource::Services => {
                let what = if field == FIELD {
                    format!("{field} {WHY}")
                } else {
                    format!("{field}: {why}")
                };
                verdict.warnings.push(format!("{what}; {FIX}"));
            }
            LoadBalancerIp::Warn | LoadBalancerIp::Allow => {}
        }
    }
}

/// Returns true if two texts are the same address, or the same text that is no address.
fn is_same(one: &str, other: &str) -> bool {
    one == other
        || Address::parse(one).is_some_and(|address| Some(address) == Address::parse(other))
}
