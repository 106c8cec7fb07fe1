//! References to artefacts in OCI registries: `registry/repository:tag@sha256:…`.
//!
//! The grammar is that of the distribution specification, with Docker's form of a complete
//! reference but without its defaults: a reference names its registry, and a tag or a digest.
//! Invariant: a registry can be asked for every value as it stands.

use super::names::checked_text;
use crate::excerpt::excerpt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// An artefact in a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The repository, with its registry.
    pub repository: Repository,
    /// A name that its author may move.
    pub tag: Option<Tag>,
    /// The digest of the artefact's manifest. It decides, when there is a tag too.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The most bytes of a reference: registry, repository, tag and digest at their longest.
    pub const MAX_LENGTH: usize = 750;

    /// A regular expression that each reference matches, for the schema of a custom resource. The
    /// parser is stricter.
    pub const PATTERN: &str = "^(localhost|[^/@]*[.:\\]][^/@]*)/[a-z0-9._/-]+(:[A-Za-z0-9_.-]+)?\
        (@sha256:[0-9a-f]{64})?$";

    /// Returns a reference to this repository by a digest, without a tag.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |why: &str| Err(format!("{:?} {why}", excerpt(text)));
        if text.len() > Self::MAX_LENGTH {
            return fail("is too long for a reference");
        }
        if text.contains("://") {
            return fail("has a scheme; write registry/repository:tag@sha256:… without it");
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => match digest.parse::<Digest>() {
                Ok(digest) => (rest, Some(digest)),
                Err(problem) => return fail(&format!("has a bad digest: {problem}")),
            },
        };
        // A colon before the last slash is that of a port.
        let colon = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
        let (rest, tag) = match colon {
            None => (rest, None),
            Some(at) => match rest[at + 1..].parse::<Tag>() {
                Ok(tag) => (&rest[..at], Some(tag)),
                Err(problem) => return fail(&problem),
            },
        };
        let repository: Repository = match rest.parse() {
            Ok(repository) => repository,
            Err(problem) => return fail(&problem),
        };
        if tag.is_none() && digest.is_none() {
            return fail("has neither tag nor digest; add :tag, or better @sha256:…");
        }
        Ok(Self {
            repository,
            tag,
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(Tag(tag)) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest
            .iter()
            .try_for_each(|digest| write!(f, "@{digest}"))
    }
}

checked_text!(Reference, Reference::PATTERN);

/// A repository with its registry: `registry.example.com:5000/policies/nodeport-range`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: Host,
    path: String,
}

impl Repository {
    /// Joins a registry and a path below it.
    ///
    /// # Errors
    ///
    /// When the path is none of a repository.
    pub fn new(registry: Host, path: &str) -> Result<Self, String> {
        if is_path(path) {
            let path = path.to_owned();
            return Ok(Self { registry, path });
        }
        Err(format!(
            "has no repository of a registry's form ({:?}); use lower-case letters, digits, '.', \
             '_' and '-', with '/' between the parts",
            excerpt(path)
        ))
    }

    /// Returns the registry.
    pub fn registry(&self) -> &Host {
        &self.registry
    }

    /// Returns the name within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Repository {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((registry, path)) = text.split_once('/') else {
            return Err("names no registry; write registry/repository:tag, such as \
                 ghcr.io/acme/policy:1.0"
                .to_owned());
        };
        Self::new(registry.parse()?, path)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// The most bytes of a repository's path, with its registry, that registries accept.
const MAX_PATH: usize = 255;

/// Returns whether a text is a repository's path: components of lower-case letters and digits,
/// with `.`, `_`, `__` or any number of `-` between them.
fn is_path(path: &str) -> bool {
    let component = |text: &str| {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let ends = |byte: Option<&u8>| byte.is_some_and(|byte| alphanumeric(*byte));
        let separators = text.split(|c: char| alphanumeric(c as u8) && c.is_ascii());
        ends(bytes.first())
            && ends(bytes.last())
            && separators.into_iter().all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
    };
    path.len() <= MAX_PATH && path.split('/').all(component)
}

/// A registry: a name or an address, and a port where it is not that of https. In lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Returns the name, or the address; an address of IPv6 in brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
            None => (text, None),
            Some(at) => {
                let port = text[at + 1..].parse::<u16>().ok().filter(|port| *port > 0);
                let problem = || format!("has the port {:?}; use 1 to 65535", &text[at + 1..]);
                (&text[..at], Some(port.ok_or_else(problem)?))
            }
        };
        // As Docker tells a registry from the first part of a repository.
        let is_registry = name.contains(['.', '[']) || port.is_some() || name == "localhost";
        if !is_registry {
            return Err(format!(
                "names no registry: {:?} is none; write it out, such as ghcr.io/acme/policy:1.0 or \
                 docker.io/acme/policy:1.0",
                excerpt(text)
            ));
        }
        if !is_host(name) {
            return Err(format!(
                "names no registry: {:?} is no host's name",
                excerpt(name)
            ));
        }
        let name = name.to_ascii_lowercase();
        Ok(Self { name, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.iter().try_for_each(|port| write!(f, ":{port}"))
    }
}

fn is_host(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let inner = !label.starts_with('-') && !label.ends_with('-');
        (1..=63).contains(&label.len()) && inner && label.bytes().all(allowed)
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let first = text.bytes().next();
        let begins = first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if begins && text.len() <= 128 && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "has the tag {:?}; use at most 128 letters, digits, '.', '_' and '-'",
            excerpt(text)
        ))
    }
}

/// The SHA-256 of some content: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    const PREFIX: &str = "sha256:";

    /// Computes the digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        use std::fmt::Write as _;
        let mut text = Self::PREFIX.to_owned();
        for byte in sha2::Sha256::digest(bytes) {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        Self(text)
    }

    /// `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the 64 digits alone.
    pub fn hex(&self) -> &str {
        &self.0[Self::PREFIX.len()..]
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hex = |hex: &str| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        match text.strip_prefix(Self::PREFIX) {
            Some(hex) if is_hex(hex) => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "{:?} is no digest; write sha256: and 64 lower-case hexadecimal digits",
                excerpt(text)
            )),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked_text!(Digest, "^sha256:[0-9a-f]{64}$");

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn a_reference_is_written_as_it_was_read() {
        for text in [
            "ghcr.io/acme/policy:1.0",
            "localhost/policy:latest",
            "localhost:5000/a/b__c/d--e.f:v1_2.3-x",
            "[::1]:5000/policy:1",
            &format!("registry.example.com:8443/policies/p@{DIGEST}"),
            &format!("registry.example.com/policies/p:1.0@{DIGEST}"),
        ] {
            let reference: Reference = text.parse().expect(text);
            assert_eq!(reference.to_string(), text);
        }
        let reference: Reference = "GHCR.io/acme/policy:A".parse().expect("valid");
        assert_eq!(reference.to_string(), "ghcr.io/acme/policy:A");
        assert_eq!(Digest::of(b"test").as_str(), DIGEST);
    }

    #[test]
    fn a_reference_that_no_registry_has_is_refused_with_the_fix() {
        for (text, why) in [
            ("", "names no registry"),
            (
                "policy:1.0",
                "names no registry; write registry/repository:tag",
            ),
            (
                "acme/policy:1.0",
                "names no registry: \"acme\" is none; write it out",
            ),
            ("oci://ghcr.io/acme/p:1", "has a scheme"),
            ("ghcr.io/acme/p", "has neither tag nor digest; add :tag"),
            ("ghcr.io/Acme/p:1", "has no repository of a registry's form"),
            (
                "ghcr.io/acme//p:1",
                "has no repository of a registry's form",
            ),
            ("ghcr.io/../p:1", "has no repository of a registry's form"),
            ("ghcr.io/p?x:1", "has no repository of a registry's form"),
            ("ghcr.io/p:", "has the tag \"\""),
            ("ghcr.io/p:-a", "has the tag \"-a\""),
            ("ghcr.io:0/p:1", "has the port \"0\""),
            ("ghcr.io:99999/p:1", "has the port \"99999\""),
            ("user@ghcr.io/p:1", "has a bad digest"),
            (
                "ghcr.io/p@sha256:ABC",
                "has a bad digest: \"sha256:ABC\" is no digest",
            ),
            ("ghcr.io/p@sha512:00", "has a bad digest"),
            (
                "a_b.io/p:1",
                "names no registry: \"a_b.io\" is no host's name",
            ),
            ("[fe80::zz]/p:1", "is no host's name"),
        ] {
            let problem = text.parse::<Reference>().expect_err(text);
            assert!(problem.contains(why), "{problem}\n{why}");
        }
        let long = format!("ghcr.io/{}:1", "a".repeat(9999));
        let problem = long.parse::<Reference>().expect_err("too long");
        assert!(problem.len() < 600, "{problem}");
    }
}
