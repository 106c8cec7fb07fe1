//! The API server's validation of a new Service with its defaults (`ValidateServiceCreate` in
//! Kubernetes' `pkg/apis/core/validation`).
//!
//! Left out is what depends on the cluster (address families, the node port range, names that begin
//! with a digit) and what the server fills in itself.

mod addresses;
mod choices;
mod metadata;
mod ports;
#[cfg(test)]
mod tests;

use super::names::is_label;
use super::{Refusal, TYPES, words};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

const NONE: &str = "None";
/// An API server looks for the namespace first, and finds none with an odd name.
const NAMESPACE: &str = "metadata.namespace";

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
