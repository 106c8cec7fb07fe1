//! What is wrong with a webhook configuration, and what to do: Kubernetes' page "Admission Webhook
//! Good Practices", item by item.
//!
//! Any configuration is looked at, not only ours; values in, findings out. What the page asks of a
//! server (small patches, idempotence, no side effects) can't be seen in a configuration and is no
//! finding, unless the configuration itself says that it is so.

mod certificate;
mod checks;
mod rule;
mod webhook;

pub use webhook::{Configuration, Kind, Unreadable};

use crate::webhooks::registration;
use jiff::Timestamp;
use serde::Serialize;

/// The page.
pub const PAGE: &str =
    "https://kubernetes.io/docs/concepts/cluster-administration/admission-webhooks-good-practices/";

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It breaks, or can lock a cluster out.
    Error,
    /// It goes well until something else fails.
    Warning,
    /// Worth a thought.
    Note,
}

/// One thing that is not as the page has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it means.
    pub level: Level,
    /// Where, such as `webhooks[0].timeoutSeconds`.
    pub field: String,
    /// The value found there.
    pub message: String,
    /// Why that is bad.
    pub why: &'static str,
    /// The item: an anchor of the page, or of the API's reference.
    pub item: &'static str,
    /// What to do.
    pub fix: String,
}

/// What there is to say about one configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// The kind.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: String,
    /// Whether it registers a Sallyport.
    pub ours: bool,
    /// The worst first.
    pub findings: Vec<Finding>,
}

/// Looks at configurations together: some faults lie between them. `now` judges certificates.
pub fn diagnose(configurations: &[Configuration], now: Timestamp) -> Vec<Diagnosis> {
    let one = |configuration: &Configuration| {
        let mut findings = checks::of(configuration, configurations, now);
        findings.sort_by(|a, b| (a.level, &a.field).cmp(&(b.level, &b.field)));
        Diagnosis {
            kind: configuration.kind,
            name: configuration.name.clone(),
            ours: is_ours(configuration),
            findings,
        }
    };
    configurations.iter().map(one).collect()
}

/// By the names of the webhooks, which `sallyport webhooks` gives them.
fn is_ours(configuration: &Configuration) -> bool {
    configuration
        .webhooks
        .iter()
        .any(|webhook| registration::WEBHOOKS.contains(&webhook.name.as_str()))
}
