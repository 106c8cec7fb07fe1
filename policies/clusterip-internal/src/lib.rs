//! Internal backends stay inside the cluster: type ClusterIP, no external IPs (S07). Optionally they are put back there (M2).

mod defaults;
mod internal_lb;
mod signals;

use sallyport_policy::prelude::*;
use signals::{PortSignal, Signal};

policy!(ClusterIpInternal, "policy.wit");

/// What marks an internal backend, and what may become of it.
pub struct ClusterIpInternal(Settings);

/// Forbidden on anything but a LoadBalancer: the API server answers 422.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

impl Policy for ClusterIpInternal {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .mutating()
            .with_status_writes()
            .with_namespace()
            .with_cluster()
            .with_pods()
    }

    fn defaults() -> Settings {
        defaults::settings()
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        for (list, ports) in [("strict", &settings.ports.strict), ("ambiguous", &settings.ports.ambiguous)] {
            if let Some(i) = ports.iter().position(|port| *port == 0) {
                errors.push(SettingsError::new(format!("ports.{list}[{i}]"), "0 is no port; use 1 to 65535"));
            }
        }
        if settings.coerce_existing && !settings.coerce {
            errors.push(SettingsError::new("coerceExisting", "has no effect without coerce: true; set both or none"));
        }
        if errors.is_empty() { Ok(Self(settings)) } else { Err(errors) }
    }

    fn validate(&self, review: &Review) -> Verdict {
        let mut verdict = self.exposures(review);
        self.changed_labels(review, &mut verdict);
        verdict
    }

    fn mutate(&self, review: &Review) -> Mutation {
        let mut patch = Patch::new(&review.service);
        if self.coerces(review) {
            put_inside(&mut patch);
        }
        patch.finish()
    }
}

impl ClusterIpInternal {
    /// Whether the Service is exposed in a way that an internal backend must not be.
    fn is_reviewed(&self, review: &Review) -> bool {
        let allowed = self.0.allow_internal_lb
            && review.service.service_type() == ServiceType::LoadBalancer
            && review.service.spec.external_ips.is_empty()
            && internal_lb::is_internal(&review.service, &review.cluster);
        review.service.is_exposed() && !allowed
    }

    /// The exposure of an internal backend: by the strongest signal of the Service, and by every port.
    fn exposures(&self, review: &Review) -> Verdict {
        let mut verdict = Verdict::allow();
        if !self.is_reviewed(review) {
            return verdict;
        }
        let exposure = Exposure::of(&review.service);
        if let Some(signal) = Signal::strongest(&self.0, review) {
            verdict.violations.push(exposure.by_signal(&signal));
        }
        for (i, port) in review.service.spec.ports.iter().enumerate() {
            let Some(signal) = PortSignal::of(&self.0, port, review) else { continue };
            let field = format!("spec.ports[{i}].{}", signal.field);
            if signal.is_certain {
                verdict.violations.push(exposure.by_port(field, port, &signal.found));
            } else {
                let found = signal.found;
                verdict.warnings.push(format!("{field}: {found} is often an internal backend's; should it be exposed?"));
            }
        }
        verdict
    }

    /// Labels that mark a backend, taken off or changed. The offence is the change itself, so that it has no key.
    fn changed_labels(&self, review: &Review, verdict: &mut Verdict) {
        let Some(old) = review.old_service.as_ref().filter(|_| self.0.protect_labels) else { return };
        for (key, value) in &old.metadata.labels {
            if pairs::is_wanted(key, value, &self.0.labels) && review.service.label(key) != Some(value.as_str()) {
                let message = format!("the label marks an internal backend and must stay {}", quote(value));
                let violation = Violation::new("S07", format!("metadata.labels[{}]", quote(key)), message);
                verdict.violations.push(violation.fix("put it back"));
            }
        }
    }

    /// On a create, or an update that brings the exposure; an exposure that stands only when that is wanted, since coercing
    /// it deletes a live load balancer.
    fn coerces(&self, review: &Review) -> bool {
        let stands = review.old_service.as_ref().is_some_and(Service::is_exposed);
        self.0.coerce
            && review.resource == Resource::Services
            && (!stands || self.0.coerce_existing)
            && !self.exposures(review).violations.is_empty()
    }
}

/// How a Service is exposed.
struct Exposure {
    field: &'static str,
    what: String,
    key: String,
    fix: &'static str,
}

impl Exposure {
    fn of(service: &Service) -> Self {
        if service.uses_node_ports() {
            let what = service.service_type().as_str().to_owned();
            return Self { field: "spec.type", key: what.clone(), what, fix: "use type ClusterIP" };
        }
        let mut key = "externalIPs".to_owned();
        for ip in &service.spec.external_ips {
            key.push(':');
            key.push_str(ip);
        }
        Self {
            field: "spec.externalIPs",
            what: "an external IP".to_owned(),
            key,
            fix: "remove externalIPs",
        }
    }

    fn by_signal(&self, signal: &Signal) -> Violation {
        Violation::new("S07", self.field, format!("{} would expose an internal backend ({})", self.what, signal.text))
            .key(format!("{}:{}", self.key, signal.key))
            .fix(self.fix)
    }

    fn by_port(&self, field: String, port: &sallyport_policy::service::Port, found: &str) -> Violation {
        Violation::new("S07", field, format!("{} would expose an internal backend ({found})", self.what))
            .key(format!("{}:{}:{}:{found}", self.key, port.protocol, port.port))
            .fix(self.fix)
    }
}

/// Everything that the API server refuses on a ClusterIP, or that would keep it reachable from outside.
fn put_inside(patch: &mut Patch<'_>) {
    patch.set_type(ServiceType::ClusterIp).remove_node_ports();
    for field in [
        SpecField::HealthCheckNodePort,
        SpecField::ExternalTrafficPolicy,
        SpecField::AllocateLoadBalancerNodePorts,
        SpecField::LoadBalancerClass,
        SpecField::LoadBalancerSourceRanges,
        SpecField::LoadBalancerIp,
        SpecField::ExternalIps,
    ] {
        patch.remove(field);
    }
    patch.remove_annotation(SOURCE_RANGES);
}

#[cfg(test)]
mod tests;
