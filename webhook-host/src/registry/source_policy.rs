//! Rules for references: which ones may be pulled, and which must be pinned or signed. They come
//! from the HostConfig's `registries` and `verification`.
//!
//! A serving host pulls only listed references, and in mode Enforce only references with a digest.
//! Commands pull any reference that their user names, unless the HostConfig lists sources.

use super::error::{Reason, RegistryError};
use crate::signature::{self, Material, Signed};
use sallyport_core::manifest::{
    HostConfigSpec, Mode, Reference, Registries, Repository, Verification, VerificationMode,
};

/// The rules for references, of one HostConfig.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourcePolicy {
    registries: Registries,
    verification: Vec<Verification>,
    is_serving: bool,
}

impl SourcePolicy {
    /// Returns the rules for a serving host.
    pub(crate) fn of_host(config: &HostConfigSpec) -> Self {
        Self {
            is_serving: true,
            ..Self::of_command(config)
        }
    }

    /// Returns the rules for a command.
    pub(crate) fn of_command(config: &HostConfigSpec) -> Self {
        Self {
            registries: config.registries.clone(),
            verification: config.verification.clone(),
            is_serving: false,
        }
    }

    /// Checks a reference before any request is sent for it.
    pub(crate) fn check(&self, reference: &Reference, mode: Mode) -> Result<(), RegistryError> {
        let sources = &self.registries.sources;
        let refuse = |why: String| {
            let message = format!("{reference} {why}");
            Err(RegistryError::new(Reason::Source, message))
        };
        let is_listed = sources
            .iter()
            .any(|pattern| pattern.matches(&reference.repository));
        let is_open = sources.is_empty() && !self.is_serving;
        if !is_listed && !is_open {
            let repository = &reference.repository;
            return refuse(format!(
                "is of no allowed source; add {repository} to spec.registries.sources of the \
                 HostConfig, or use spec.module.file"
            ));
        }
        if self.is_serving && mode == Mode::Enforce && reference.digest.is_none() {
            return refuse(
                "has no digest, and mode Enforce needs one, because a tag can be moved; add \
                 @sha256:… (sallyport pull prints it)"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Returns the places to pull a repository from: its mirrors, then itself.
    pub(super) fn places(&self, repository: &Repository) -> Vec<Repository> {
        let mirrors = self.registries.mirrors.iter();
        let mut places: Vec<_> = mirrors
            .filter_map(|mirror| mirror.location(repository))
            .collect();
        places.push(repository.clone());
        places
    }

    /// Returns true if a rule of `verification` covers the repository, in any mode.
    pub(super) fn is_verified(&self, repository: &Repository) -> bool {
        self.verification
            .iter()
            .any(|rule| rule.is_about(repository))
    }

    /// Verifies an artefact by all rules about its repository.
    pub(super) fn verify(
        &self,
        signed: Signed<'_>,
        found: &[Material],
        mode: VerificationMode,
    ) -> Result<(), String> {
        let rules = self.verification.iter();
        let mut rules = rules.filter(|rule| rule.is_about(signed.repository) && rule.mode == mode);
        rules.try_for_each(|rule| signature::verify_any(found, signed, &rule.keys).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::decode;
    use serde_json::json;

    fn problem(policy: &SourcePolicy, reference: &str, mode: Mode) -> Option<String> {
        let reference = reference.parse().expect("a reference");
        policy
            .check(&reference, mode)
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn a_host_pulls_what_is_listed_and_enforces_what_is_pinned() {
        let config = json!({"registries": {"sources": ["ghcr.io/acme/*"]}});
        let config: HostConfigSpec = decode::from_value(&config).expect("valid");
        let pinned = format!("ghcr.io/acme/p@sha256:{}", "0".repeat(64));
        let host = SourcePolicy::of_host(&config);
        assert_eq!(problem(&host, &pinned, Mode::Enforce), None);
        assert_eq!(problem(&host, "ghcr.io/acme/p:1", Mode::Warn), None);
        let tag = problem(&host, "ghcr.io/acme/p:1", Mode::Enforce).expect("it can move");
        assert!(
            tag.contains("has no digest, and mode Enforce needs one"),
            "{tag}"
        );
        let other = problem(&host, "ghcr.io/evil/p:1", Mode::Warn).expect("not listed");
        assert!(
            other.contains("add ghcr.io/evil/p to spec.registries.sources"),
            "{other}"
        );
        let none = SourcePolicy::of_host(&HostConfigSpec::default());
        assert!(problem(&none, &pinned, Mode::Enforce).is_some());
    }

    #[test]
    fn a_command_pulls_what_its_user_names_unless_sources_are_listed() {
        let open = SourcePolicy::of_command(&HostConfigSpec::default());
        assert_eq!(problem(&open, "ghcr.io/acme/p:1", Mode::Enforce), None);
        let config = json!({"registries": {"sources": ["ghcr.io/acme/*"]}});
        let config: HostConfigSpec = decode::from_value(&config).expect("valid");
        let listed = SourcePolicy::of_command(&config);
        assert!(problem(&listed, "ghcr.io/evil/p:1", Mode::Enforce).is_some());
    }
}
