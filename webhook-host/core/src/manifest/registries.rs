//! `spec.registries` and `spec.verification` of a HostConfig: which registries components may come
//! from, by which way, and whose signatures they need.
//!
//! Invariant: nothing is allowed by default. A pattern matches only what its author can see in it:
//! `*` stands only at the end, for everything below a repository's path.

use super::names::checked_text;
use super::public_key::PublicKey;
use super::reference::{Host, Repository};
use crate::excerpt::excerpt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The registries that components may come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Registries {
    /// The repositories that `spec.module.oci` may name. Empty: a serving host pulls nothing.
    pub sources: Vec<RepositoryPattern>,
    /// Copies that are asked before the registry itself.
    pub mirrors: Vec<Mirror>,
}

/// A place that has copies of repositories. References, signatures and digests stay those of the
/// original.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// A registry, or a path in one: `ghcr.io`, `ghcr.io/acme`.
    pub of: RepositoryPrefix,
    /// Its place in the mirror: `mirror.internal:5000/ghcr`.
    pub at: RepositoryPrefix,
}

impl Mirror {
    /// Returns where the mirror has a repository; `None` when it has no copy of it.
    pub fn location(&self, repository: &Repository) -> Option<Repository> {
        let rest = self.of.strip(repository)?;
        let path = match &self.at.path {
            Some(path) if rest.is_empty() => path.clone(),
            Some(path) => format!("{path}/{rest}"),
            None => rest.to_owned(),
        };
        Repository::new(self.at.registry.clone(), &path).ok()
    }
}

/// The signatures that components of some repositories need.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// The repositories that this is about.
    #[serde(deserialize_with = "repositories")]
    #[schemars(length(min = 1))]
    pub repositories: Vec<RepositoryPattern>,
    /// Public keys, one of which must have signed.
    #[serde(deserialize_with = "keys")]
    #[schemars(length(min = 1))]
    pub keys: Vec<PublicKey>,
    /// The effect of a component without such a signature.
    #[serde(default)]
    pub mode: VerificationMode,
}

impl Verification {
    /// Returns whether components of a repository need this signature.
    pub fn is_about(&self, repository: &Repository) -> bool {
        let matches = |pattern: &RepositoryPattern| pattern.matches(repository);
        self.repositories.iter().any(matches)
    }
}

/// The effect of a component that no key of a [`Verification`] has signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum VerificationMode {
    /// The policy can't be loaded.
    #[default]
    Require,
    /// A log line.
    Warn,
}

fn repositories<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<RepositoryPattern>, D::Error> {
    not_empty(
        from,
        "it is about no repository; name one, such as ghcr.io/acme/*",
    )
}

fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PublicKey>, D::Error> {
    not_empty(
        from,
        "it has no key, so that nothing could be signed; add one",
    )
}

fn not_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
    problem: &str,
) -> Result<Vec<T>, D::Error> {
    let items = Vec::deserialize(from)?;
    if items.is_empty() {
        return Err(D::Error::custom(problem));
    }
    Ok(items)
}

/// One repository, `ghcr.io/acme/policy`, or everything below a path, `ghcr.io/acme/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPattern {
    prefix: RepositoryPrefix,
    below: bool,
}

impl RepositoryPattern {
    /// Returns whether the pattern matches a repository.
    pub fn matches(&self, repository: &Repository) -> bool {
        let rest = self.prefix.strip(repository);
        rest.is_some_and(|rest| rest.is_empty() != self.below)
    }
}

impl FromStr for RepositoryPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |why: &str| Err(format!("{:?} {why}", excerpt(text)));
        let (prefix, below) = match text.strip_suffix("/*") {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if prefix.contains('*') {
            return fail("has a * that is not a whole last part; write ghcr.io/acme/*");
        }
        match prefix.parse::<RepositoryPrefix>() {
            Ok(RepositoryPrefix { path: None, .. }) if !below => {
                fail("names a registry and no repository; add /* for all that it has")
            }
            Ok(prefix) => Ok(Self { prefix, below }),
            Err(problem) => Err(problem),
        }
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)?;
        f.write_str(if self.below { "/*" } else { "" })
    }
}

checked_text!(RepositoryPattern, "^[^/*]*[^/*](/[a-z0-9._-]+)*(/[*])?$");

/// A registry, or a path in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPrefix {
    registry: Host,
    path: Option<String>,
}

impl RepositoryPrefix {
    /// Returns the repository of this path and `name`.
    ///
    /// # Errors
    ///
    /// When that is no repository's path.
    pub fn join(&self, name: &str) -> Result<Repository, String> {
        let path = self.path.iter().map(String::as_str).chain([name]);
        Repository::new(self.registry.clone(), &path.collect::<Vec<_>>().join("/"))
    }

    /// Returns the path of a repository below this prefix, empty for the prefix itself; `None`
    /// when it lies elsewhere.
    fn strip<'a>(&self, repository: &'a Repository) -> Option<&'a str> {
        if self.registry != *repository.registry() {
            return None;
        }
        let Some(path) = &self.path else {
            return Some(repository.path());
        };
        match repository.path().strip_prefix(path.as_str())? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }
}

impl FromStr for RepositoryPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |problem: String| format!("{:?} {problem}", excerpt(text));
        let (registry, path) = match text.split_once('/') {
            Some((registry, path)) => (registry, Some(path)),
            None => (text, None),
        };
        let registry: Host = registry.parse().map_err(fail)?;
        let path = path.map(|path| Repository::new(registry.clone(), path).map_err(fail));
        Ok(Self {
            path: path
                .transpose()?
                .map(|repository| repository.path().to_owned()),
            registry,
        })
    }
}

impl fmt::Display for RepositoryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.registry.fmt(f)?;
        self.path.iter().try_for_each(|path| write!(f, "/{path}"))
    }
}

checked_text!(RepositoryPrefix, "^[^/*]+(/[a-z0-9._-]+)*$");

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        text.parse().expect("a repository")
    }

    #[test]
    fn a_pattern_matches_one_repository_or_all_below_a_path() {
        let matches = |pattern: &str, text: &str| {
            let pattern: RepositoryPattern = pattern.parse().expect("a pattern");
            pattern.matches(&repository(text))
        };
        assert!(matches("ghcr.io/acme/p", "ghcr.io/acme/p"));
        assert!(matches("ghcr.io/acme/*", "ghcr.io/acme/p"));
        assert!(matches("ghcr.io/acme/*", "ghcr.io/acme/a/b"));
        assert!(matches("ghcr.io/*", "ghcr.io/acme/p"));
        assert!(matches("ghcr.io:5000/*", "ghcr.io:5000/p"));
        for (pattern, text) in [
            ("ghcr.io/acme/p", "ghcr.io/acme/p/q"),
            ("ghcr.io/acme/*", "ghcr.io/acme"),
            ("ghcr.io/acme/*", "ghcr.io/acmes/p"),
            ("ghcr.io/*", "ghcr.io:5000/acme/p"),
            ("ghcr.io/*", "ghcr.io.evil.com/acme/p"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_that_would_match_too_much_is_refused() {
        for (text, why) in [
            ("*", "has a *"),
            ("*/*", "has a *"),
            ("*.io/*", "has a *"),
            ("ghcr.io/acme*", "has a *"),
            ("ghcr.io/*/p", "has a *"),
            ("ghcr.io", "names a registry and no repository; add /*"),
            ("acme/*", "names no registry"),
            ("ghcr.io/acme/p:1", "has no repository"),
        ] {
            let problem = text.parse::<RepositoryPattern>().expect_err(text);
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn a_mirror_has_a_repository_under_its_own_path() {
        let at = |of: &str, at: &str, text: &str| {
            let mirror = Mirror {
                of: of.parse().expect("a prefix"),
                at: at.parse().expect("a prefix"),
            };
            mirror
                .location(&repository(text))
                .map(|found| found.to_string())
        };
        let found = at("ghcr.io", "m.internal:5000/ghcr", "ghcr.io/acme/p");
        assert_eq!(found.as_deref(), Some("m.internal:5000/ghcr/acme/p"));
        let found = at("ghcr.io/acme", "m.internal", "ghcr.io/acme/p");
        assert_eq!(found.as_deref(), Some("m.internal/p"));
        assert_eq!(at("ghcr.io/acme", "m.internal", "ghcr.io/acmes/p"), None);
    }
}
