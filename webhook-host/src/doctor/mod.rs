//! Doctor: findings about webhook configurations, by the items of Kubernetes' page "Admission
//! Webhook Good Practices"; about files of static manifests and what an API server says of them;
//! and about a deprecated field of Services. Called by `sallyport doctor`.
//!
//! Any configuration is checked, not only Sallyport's. Pure functions from values to findings. The
//! page also asks for properties of a server (small patches, idempotence, no side effects); a
//! configuration does not show them, so they are reported only where the configuration itself
//! denies them.

mod api_server;
mod certificate;
mod checks;
mod deletions;
mod rule;
mod service;
mod static_files;
mod webhook;

pub use api_server::ApiServer;
pub use deletions::compare_deletions;
pub use service::external_ips;
pub use static_files::{StaticFile, StaticFiles};
pub use webhook::{Configuration, ConfigurationKind, Unreadable};

use crate::webhooks::registration;
use jiff::Timestamp;
use serde::Serialize;

/// The address of the page.
pub const PAGE: &str =
    "https://kubernetes.io/docs/concepts/cluster-administration/admission-webhooks-good-practices/";

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It breaks, or can lock a cluster out.
    Error,
    /// Works until something else fails.
    Warning,
    /// An improvement to consider.
    Note,
}

/// One deviation from the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The weight.
    pub level: Level,
    /// Where, such as `webhooks[0].timeoutSeconds`.
    pub field: String,
    /// The value found there.
    pub message: String,
    /// Why that is bad.
    pub why: &'static str,
    /// The item: an anchor of the page, or of the API's reference.
    pub item: &'static str,
    /// The fix.
    pub fix: String,
}

/// The findings about one object, most often a webhook configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// The object's kind; `Static` for a file of static manifests.
    pub kind: &'static str,
    /// `metadata.name`, `namespace/name`, or the path of the file.
    pub name: String,
    /// True when it registers a Sallyport.
    pub ours: bool,
    /// Sorted by severity, the worst first.
    pub findings: Vec<Finding>,
}

/// Checks configurations together, since some faults involve several. `now` is the time for which
/// certificates are checked.
pub fn diagnose(configurations: &[Configuration], now: Timestamp) -> Vec<Diagnosis> {
    let one = |configuration: &Configuration| {
        let mut findings = checks::run(configuration, configurations, now);
        findings.sort_by(|a, b| (a.level, &a.field).cmp(&(b.level, &b.field)));
        Diagnosis {
            kind: configuration.kind.name(),
            name: configuration.name.clone(),
            ours: is_ours(configuration),
            findings,
        }
    };
    configurations.iter().map(one).collect()
}

/// Recognizes Sallyport by the webhook names that `sallyport webhooks` uses.
fn is_ours(configuration: &Configuration) -> bool {
    configuration
        .webhooks
        .iter()
        .any(|webhook| registration::WEBHOOKS.contains(&webhook.name.as_str()))
}
