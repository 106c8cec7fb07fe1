//! Errors of registries, each one line: which artefact, what happened, and what to do.

use std::fmt;

/// An error: an artefact can't be pulled, pushed or used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RegistryError {
    pub(crate) reason: Reason,
    message: String,
}

/// The reason of an error, which is also a label of the metric `sallyport_registry_pulls_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The connection failed or broke.
    Unreachable,
    /// The registry stopped sending.
    Stalled,
    /// A status of 500 or more.
    Server,
    /// 429.
    Throttled,
    /// 401 or 403, or no usable credentials.
    Unauthorized,
    /// 404.
    NotFound,
    /// A redirect or an address that is not followed.
    Redirect,
    TooLarge,
    /// Content whose digest differs from the requested one.
    Digest,
    /// Content or an answer that can't be decoded.
    Malformed,
    /// A reference that the HostConfig does not allow.
    Source,
    /// No signature that the rules accept.
    Signature,
    /// The file system of this host.
    Local,
}

impl Reason {
    /// All reasons.
    pub(crate) const ALL: [Self; 13] = [
        Self::Unreachable,
        Self::Stalled,
        Self::Server,
        Self::Throttled,
        Self::Unauthorized,
        Self::NotFound,
        Self::Redirect,
        Self::TooLarge,
        Self::Digest,
        Self::Malformed,
        Self::Source,
        Self::Signature,
        Self::Local,
    ];

    /// Returns the metric's label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Stalled => "stalled",
            Self::Server => "server",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not-found",
            Self::Redirect => "redirect",
            Self::TooLarge => "too-large",
            Self::Digest => "digest",
            Self::Malformed => "malformed",
            Self::Source => "source",
            Self::Signature => "signature",
            Self::Local => "local",
        }
    }

    /// Returns true if the same request may succeed later although nobody changes anything.
    pub(crate) fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::Stalled | Self::Server | Self::Throttled
        )
    }

    /// Returns true if the artefact may exist although it could not be read: with other
    /// credentials, or at another time.
    pub(crate) fn is_about_access(self) -> bool {
        self.is_transient() || self == Self::Unauthorized
    }
}

impl RegistryError {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, message)
    }

    /// Returns the error with a subject in front of its message.
    #[must_use]
    pub(super) fn about(self, subject: impl fmt::Display) -> Self {
        Self {
            message: format!("{subject}: {}", self.message),
            ..self
        }
    }
}
