//! Restricts the names that an ExternalName Service may be an alias of (S09).
//!
//! DNS follows such an alias for any client in the cluster, and so does an Ingress controller or
//! another proxy that takes the Service for a backend: with its own network, its own credentials
//! and its own search path. So an alias to something internal opens a way around whatever protects
//! that. Only the type ExternalName is judged; an `externalName` that another type leaves unused is
//! dormant (S11), and judged here once the type changes.

use sallyport_facts::aliases::{self, Never};
use sallyport_policy::dns::{Suffix, is_valid, last_label, normal};
use sallyport_policy::prelude::*;

policy!(ExternalNames, "policy.wit", backstop = "backstop.yaml");

/// The policy, with its settings parsed.
pub struct ExternalNames {
    /// Empty: anywhere that is not forbidden.
    allowed: Vec<Suffix>,
    /// In lower case.
    cluster_domains: Vec<String>,
}

impl Policy for ExternalNames {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .about(About::EXTERNAL_NAME)
            .compares_external_name()
    }

    fn defaults() -> Settings {
        Settings {
            allowed_suffixes: vec![],
            cluster_domains: vec!["cluster.local".to_owned()],
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        let mut allowed = Vec::with_capacity(settings.allowed_suffixes.len());
        for (i, text) in settings.allowed_suffixes.iter().enumerate() {
            match parse(text) {
                Ok(suffix) => allowed.push(suffix),
                Err(message) => {
                    errors.push(SettingsError::new(format!("allowedSuffixes[{i}]"), message))
                }
            }
        }
        if settings.cluster_domains.is_empty() {
            const PROBLEM: &str = "an empty list lets aliases lead into this cluster by its \
                domain; name that, such as cluster.local";
            errors.push(SettingsError::new("clusterDomains", PROBLEM));
        }
        let mut cluster_domains = Vec::with_capacity(settings.cluster_domains.len());
        for (i, text) in settings.cluster_domains.iter().enumerate() {
            let domain = normal(text);
            if !is_valid(&domain) {
                let message = format!("{} is no domain; use one like cluster.local", quote(text));
                errors.push(SettingsError::new(format!("clusterDomains[{i}]"), message));
            }
            cluster_domains.push(domain);
        }
        if errors.is_empty() {
            Ok(Self {
                allowed,
                cluster_domains,
            })
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        // The name is in the key. A proxy that follows it takes the ports from the Service.
        const WAYS: Widening = Widening::PORTS.or(Widening::TARGETS);
        Verdict::of_update(
            review,
            Widening::between,
            |_| WAYS,
            |service| self.judge(service),
        )
    }
}

impl ExternalNames {
    fn judge(&self, service: &Service) -> Verdict {
        let found = service.spec.external_name.as_deref();
        let Some(found) = found.filter(|_| service.service_type() == ServiceType::ExternalName)
        else {
            return Verdict::allow();
        };
        let name = normal(found);
        match self.objection(&name) {
            None => Verdict::allow(),
            Some((problem, fix)) => {
                let violation = Violation::new(
                    "S09",
                    "spec.externalName",
                    format!("{} {problem}", quote(found)),
                );
                Verdict::deny(violation.key(format!("externalName:{name}")).fix(fix))
            }
        }
    }

    /// Returns the problem with a normal name and its fix, if there is one.
    fn objection(&self, name: &str) -> Option<(String, String)> {
        let told = |problem: &str, fix: &str| Some((problem.to_owned(), fix.to_owned()));
        if let Some((problem, fix)) = never(name) {
            return told(problem, fix);
        }
        let mut permits = self.allowed.iter().filter(|suffix| suffix.matches(name));
        if self.is_internal(name)
            && !permits.clone().any(|suffix| {
                self.is_internal(&suffix.domain) || aliases::is_of_cluster(&suffix.domain, 0)
            })
        {
            return told(
                "is a name inside the cluster",
                "let clients use that name itself, or ask for it to be allowed",
            );
        }
        if last_label(name).len() == name.len()
            && !permits.clone().any(|suffix| suffix.domain == name)
        {
            return told(
                "has no dot, so that it means what each resolver's search path makes of it",
                "use the full name of a host outside the cluster",
            );
        }
        if self.allowed.is_empty() || permits.next().is_some() {
            return None;
        }
        let mut allowed = String::new();
        for suffix in &self.allowed {
            allowed.push_str(if allowed.is_empty() { "" } else { ", " });
            allowed.push_str(&suffix.text());
        }
        Some((
            format!("is outside the allowed {allowed}"),
            "use a name with an allowed suffix".to_owned(),
        ))
    }

    fn is_internal(&self, name: &str) -> bool {
        aliases::is_internal(name, &self.cluster_domains)
    }
}

/// Returns the problem with a name that no setting allows, and its fix.
fn never(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match aliases::never(name)? {
        Never::Address => ("is an IP address, not a name", "use a DNS name"),
        Never::Localhost => (
            "is whatever machine asks for it",
            "use the name of the host that is meant",
        ),
        Never::Metadata => (
            "is a cloud's metadata service, which hands out credentials",
            "use another name",
        ),
    })
}

/// Parses an allowed suffix.
fn parse(text: &str) -> Result<Suffix, String> {
    let suffix = Suffix::parse(text)?;
    match never(&suffix.domain) {
        Some((problem, _)) => Err(format!(
            "{} {problem}, and never allowed; remove it",
            quote(text)
        )),
        None => Ok(suffix),
    }
}

#[cfg(test)]
mod tests;
