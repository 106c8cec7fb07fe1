//! Fields with a few values, session affinity, and the traffic from outside.

use super::{Refusals, Spec};
use crate::api_server::words;
use std::collections::HashSet;

const MAX_AFFINITY_SECONDS: i32 = 86_400;

impl Refusals {
    pub(super) fn choices(&mut self, spec: &Spec<'_>) {
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

    pub(super) fn affinity(&mut self, spec: &Spec<'_>) {
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

    pub(super) fn traffic(&mut self, spec: &Spec<'_>) {
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
