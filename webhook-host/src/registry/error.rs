//! Errors of registries, each one line: which artefact, what happened, and what to do.

use std::fmt;

/// An error: an artefact can't be pulled, pushed or used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RegistryError {
    pub(crate) reason: Reason,
    message: String,
}

/// Why, as the metric `sallyport_registry_pulls_total` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No connection, or one that broke.
    Unreachable,
    /// A registry that does not go on.
    Stalled,
    /// A status from 500.
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
    /// Content with another digest than it was asked for.
    Digest,
    /// Content or an answer of another form.
    Malformed,
    /// A reference that the HostConfig does not allow.
    Source,
    /// No signature that counts.
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

    /// The metric's label.
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

    /// Returns whether the same request may work a little later, with nobody changing anything.
    pub(crate) fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::Stalled | Self::Server | Self::Throttled
        )
    }

    /// Returns whether the artefact may be there all the same, for somebody else or at another
    /// time.
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

    /// Says what the error is about.
    #[must_use]
    pub(super) fn about(self, subject: impl fmt::Display) -> Self {
        Self {
            message: format!("{subject}: {}", self.message),
            ..self
        }
    }
}
