//! Internal backends stay inside the cluster: type ClusterIP, no external IPs (S07). Optionally
//! they are put back there (M2).

mod defaults;
mod elsewhere;
mod internal_lb;
mod signals;

use elsewhere::Elsewhere;
use sallyport_facts::exports::EXPORTING_LABELS;
use sallyport_facts::exposing::EXPOSING;
use sallyport_facts::forwarding::FORWARDING;
use sallyport_facts::{keys, reach};
use sallyport_policy::MAX_VIOLATIONS;
use sallyport_policy::description::Context;
use sallyport_policy::prelude::*;
use sallyport_policy::service::Port;
use signals::{PortSignal, Signal};

policy!(ClusterIpInternal, "policy.wit");

/// The policy, with its settings.
pub struct ClusterIpInternal(Settings);

/// Properties by which a Service is exposed.
const EXPOSED: About = About::NODE_PORT
    .union(About::LOAD_BALANCER)
    .union(About::EXTERNAL_IPS);

impl Policy for ClusterIpInternal {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .mutating()
            .with_status_writes()
            .with_namespace()
            .with_cluster()
            .with_pods()
            .about(EXPOSED.union(About::CHANGED_LABELS))
    }

    fn describe_configured(&self) -> Description {
        let Settings {
            labels,
            selectors,
            namespace_labels,
            ..
        } = &self.0;
        let mut description = Self::describe()
            .compares_labels(labels.iter().chain(selectors).map(|(key, _)| key))
            .compares_labels(EXPORTING_LABELS.iter().map(|row| row.key))
            .compares_namespace_labels(namespace_labels.iter().map(|(key, _)| key))
            .compares_annotations(FORWARDING.iter().map(|row| row.key))
            .compares_annotations(EXPOSING.iter().map(|row| row.key))
            .compares_annotations(keys::of_load_balancers());
        if !self.0.protect_labels {
            description.about = EXPOSED;
        }
        if self.0.namespace_labels.is_empty() {
            description
                .context
                .retain(|context| *context != Context::Namespace);
        }
        if self.0.coerce {
            description
        } else {
            description.not_mutating()
        }
    }

    fn defaults() -> Settings {
        defaults::settings()
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        let mut refuse =
            |path: String, message: &str| errors.push(SettingsError::new(path, message));
        for (list, ports) in [
            ("strict", &settings.ports.strict),
            ("ambiguous", &settings.ports.ambiguous),
        ] {
            if let Some(i) = ports.iter().position(|port| *port == 0) {
                refuse(format!("ports.{list}[{i}]"), "0 is no port; use 1 to 65535");
            }
        }
        if settings.coerce_existing && !settings.coerce {
            refuse(
                "coerceExisting".to_owned(),
                "has no effect without coerce: true; set both or none",
            );
        }
        let is_empty = settings.labels.is_empty()
            && settings.selectors.is_empty()
            && settings.namespace_labels.is_empty()
            && settings.names.is_empty()
            && settings.ports.strict.is_empty()
            && settings.ports.ambiguous.is_empty();
        if is_empty {
            const PROBLEM: &str = "no label, selector, namespace label, port or name marks a \
                backend; add one, or remove the policy";
            errors.push(SettingsError::new("labels", PROBLEM));
        }
        names::labels("labels", &settings.labels, &mut errors);
        names::labels("selectors", &settings.selectors, &mut errors);
        names::labels("namespaceLabels", &settings.namespace_labels, &mut errors);
        names::exact("names", &settings.names, &mut errors);
        for (i, name) in settings.names.iter().enumerate() {
            let is_of_word = |byte: u8| byte.is_ascii_graphic();
            if !name.bytes().all(is_of_word) && name.trim_ascii() == name {
                let problem = format!(
                    "{} is no word that a port's name can have, so that it has no effect; use \
                     letters, digits and `-`",
                    quote(name)
                );
                errors.push(SettingsError::new(format!("names[{i}]"), problem));
            }
        }
        if errors.is_empty() {
            Ok(Self(settings))
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        let mut verdict = Verdict::of_update(review, reach::widening, ways, |service| {
            self.exposures(service, review)
        });
        self.changed_labels(review, &mut verdict);
        verdict
    }

    fn mutate(&self, review: &Review) -> Mutation {
        let mut patch = Patch::new(&review.service);
        if self.coerces(review) {
            patch.make_cluster_ip().remove(SpecField::ExternalIps);
            // Some controllers expose a ClusterIP by its annotations or labels.
            for (key, value) in &review.service.metadata.annotations {
                if EXPOSING.iter().any(|row| row.exposes(key, value)) {
                    patch.remove_annotation(key);
                }
            }
            for (key, value) in &review.service.metadata.labels {
                if EXPORTING_LABELS.iter().any(|row| row.exposes(key, value)) {
                    patch.remove_label(key);
                }
            }
        }
        patch.finish()
    }
}

impl ClusterIpInternal {
    /// The exposure of an internal backend: by every signal of the Service, and by every port.
    fn exposures(&self, service: &Service, review: &Review) -> Verdict {
        let mut verdict = Verdict::allow();
        let exposures = self.forbidden(service, review);
        if exposures.is_empty() {
            return verdict;
        }
        for signal in Signal::all(&self.0, service, review) {
            for exposure in &exposures {
                if !verdict.add(exposure.by_signal(&signal)) {
                    return verdict;
                }
            }
        }
        for (i, port) in service.spec.ports.iter().enumerate() {
            if let Some(signal) = PortSignal::of(&self.0, port, review) {
                judge_port(&exposures, i, port, &signal, &mut verdict);
            }
        }
        for elsewhere in Elsewhere::all(&self.0, service) {
            judge_elsewhere(&exposures, &elsewhere, &mut verdict);
        }
        verdict
    }

    /// Returns the ways in which the Service is exposed, which an internal backend must not be: its
    /// type, and each external IP.
    fn forbidden<'a>(&self, service: &'a Service, review: &Review) -> Vec<Exposure<'a>> {
        let allowed = self.0.allow_internal_lb
            && service.service_type() == ServiceType::LoadBalancer
            && internal_lb::is_internal(service, review.old_service.as_ref(), &review.cluster);
        let mut exposures = vec![];
        if service.uses_node_ports() && !allowed {
            exposures.push(Exposure::by_type(service.service_type()));
        }
        for (i, ip) in service
            .live_external_ips()
            .iter()
            .enumerate()
            .take(MAX_VIOLATIONS + 1)
        {
            exposures.push(Exposure::by_ip(i, ip));
        }
        exposures
    }

    /// Labels that mark a backend, taken off or changed. The offence is the change itself, so that
    /// it has no key.
    fn changed_labels(&self, review: &Review, verdict: &mut Verdict) {
        let Some(old) = review
            .old_service
            .as_ref()
            .filter(|_| self.0.protect_labels)
        else {
            return;
        };
        for (key, value) in &old.metadata.labels {
            if pairs::is_wanted(key, value, &self.0.labels)
                && review.service.label(key) != Some(value.as_str())
            {
                let message = format!(
                    "the label marks an internal backend and must stay {}",
                    quote(value)
                );
                let violation =
                    Violation::new("S07", format!("metadata.labels[{}]", quote(key)), message);
                verdict.violations.push(violation.fix("put it back"));
            }
        }
    }

    /// On a create, or an update that brings the exposure; an exposure that stands only when that
    /// is wanted, since coercing it deletes a live load balancer.
    fn coerces(&self, review: &Review) -> bool {
        let stands = review.old_service.as_ref().is_some_and(Service::is_exposed);
        self.0.coerce
            && review.resource == Resource::Services
            && (!stands || self.0.coerce_existing)
            && !self
                .exposures(&review.service, review)
                .violations
                .is_empty()
    }
}

/// API servers show about 4,096 characters of warnings; there may be a port for each of them.
const MAX_WARNINGS: usize = 64;

fn judge_port(
    exposures: &[Exposure<'_>],
    i: usize,
    port: &Port,
    signal: &PortSignal,
    verdict: &mut Verdict,
) {
    let found = &signal.found;
    let field = format!("spec.ports[{i}].{}", signal.field);
    if !signal.is_certain {
        if verdict.warnings.len() < MAX_WARNINGS {
            verdict.warnings.push(format!(
                "{field}: {found} is often an internal backend's; should it be exposed?"
            ));
        }
        return;
    }
    for exposure in exposures {
        if exposure.is_first {
            verdict.add(exposure.by_port(&field, port, found));
        }
    }
}

fn judge_elsewhere(exposures: &[Exposure<'_>], elsewhere: &Elsewhere<'_>, verdict: &mut Verdict) {
    let field = elsewhere.field();
    let Some(found) = &elsewhere.found else {
        if verdict.warnings.len() < MAX_WARNINGS {
            let problem =
                " leads to other Services than the selector; are they no internal backends?";
            verdict.warnings.push(format!("{field}{problem}"));
        }
        return;
    };
    for exposure in exposures {
        if exposure.is_first {
            verdict.add(exposure.by_annotation(&field, elsewhere, found));
        }
    }
}

/// Returns the ways of exposing more that make a kept exposure a new offence. Each external IP has
/// a key of its own, so that another one is an offence anyway; only an offence found by a port has
/// one key for all external IPs.
fn ways(violation: &Violation) -> Widening {
    const BY_IP: Widening = Widening::LEADS
        .or(Widening::TYPE)
        .or(Widening::NODES)
        .or(Widening::FAMILIES);
    let by = |prefix: &str| violation.key.starts_with(prefix);
    match () {
        () if by(EXTERNAL_IPS) => BY_IP.or(Widening::EXTERNAL_IPS),
        () if by(ServiceType::NodePort.as_str()) || by(ServiceType::LoadBalancer.as_str()) => {
            Widening::ANY.without(Widening::EXTERNAL_IPS)
        }
        () => BY_IP,
    }
}

/// The beginning of the key that a port's offence has for all external IPs.
const EXTERNAL_IPS: &str = "externalIPs";

/// One way in which a Service is exposed.
struct Exposure<'a> {
    field: String,
    what: &'static str,
    /// The type, or the external IP.
    key: &'a str,
    /// The only one, or the first one, of its kind. Ports are told once for all external IPs: there
    /// may be thousands of both.
    is_first: bool,
    fix: &'static str,
}

impl<'a> Exposure<'a> {
    fn by_type(service_type: ServiceType) -> Self {
        let what = service_type.as_str();
        Self {
            field: "spec.type".to_owned(),
            what,
            key: what,
            is_first: true,
            fix: "use type ClusterIP",
        }
    }

    fn by_ip(index: usize, ip: &'a str) -> Self {
        let field = format!("spec.externalIPs[{index}]");
        Self {
            field,
            what: "an external IP",
            key: ip,
            is_first: index == 0,
            fix: "remove externalIPs",
        }
    }

    fn by_signal(&self, signal: &Signal<'_>) -> Violation {
        self.violation(&self.field, &signal.text())
            .key(format!("{}:{}", self.key, signal.key()))
    }

    fn by_port(&self, field: &str, port: &Port, found: &str) -> Violation {
        self.violation(field, found).key(format!(
            "{}:{}:{}:{found}",
            self.way(),
            port.protocol,
            port.port
        ))
    }

    fn by_annotation(&self, field: &str, elsewhere: &Elsewhere<'_>, found: &str) -> Violation {
        let key = format!("{}:{}={}", self.way(), elsewhere.key, elsewhere.value);
        self.violation(field, found).key(key).fix("remove it")
    }

    /// The type, or all external IPs.
    fn way(&self) -> &'a str {
        if self.what == self.key {
            self.key
        } else {
            EXTERNAL_IPS
        }
    }

    fn violation(&self, field: &str, why: &str) -> Violation {
        let message = format!("{} would expose an internal backend ({why})", self.what);
        Violation::new("S07", field, message).fix(self.fix)
    }
}

#[cfg(test)]
mod tests;
