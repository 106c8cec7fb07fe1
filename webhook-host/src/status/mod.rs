//! The status of the set that serves, of certificates and of the registration: `/policies` as JSON,
//! `/readyz?verbose` as lines.
//!
//! Made by `live`. `sallyport inspect --live` reads the JSON back, so fields are added and never
//! renamed.

mod certificate;
mod registration;

pub use certificate::{CertificateStatus, CertificateTrouble, SelfManagedStatus, TroubleReason};
pub use registration::RegistrationStatus;

use crate::timestamp;
use crate::watchers::Watched;
use crate::watchers::{Feed, State};
use sallyport_core::admission::Admission;
use sallyport_core::manifest::FailurePolicy;
use sallyport_core::manifest::Mode;
use sallyport_core::policy::Policy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

/// The status of a host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The version of the host.
    pub version: String,
    /// 1 for the set that the host started with, one more for each set that replaced it.
    pub generation: u64,
    /// The time when this set began to serve (RFC 3339).
    pub since: String,
    /// `sha256:…` of the set: replicas that serve the same policies, exemptions and statements
    /// about the cluster have the same.
    #[serde(default)]
    pub digest: String,
    /// The result of the last reload; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<LastReload>,
    /// The certificate that the host shows; absent before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// The state of the webhook configurations; absent when the host doesn't maintain them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationStatus>,
    /// The watchers of the cluster; empty when nothing is watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<FeedStatus>,
    /// The policies in the order in which they are asked.
    pub policies: Vec<PolicyStatus>,
}

/// The result of a reload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastReload {
    /// The time when it ended (RFC 3339).
    pub at: String,
    /// The error of a failed reload, or of a broken policy; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A policy of the set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `metadata.name`.
    pub name: String,
    /// The effect of a violation.
    pub mode: Mode,
    /// The effect of an evaluation error.
    pub failure_policy: FailurePolicy,
    /// `spec.module`: the file's name, or the reference.
    pub module: String,
    /// `sha256:…` of the component; absent when it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The component's own name; absent when the policy is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The component's version; absent when it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// True if it judges deletions, so that the webhook configurations need
    /// `delete.sallyport.dev`.
    #[serde(default)]
    pub judges_deletions: bool,
    /// The load error of a broken policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its next version, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,
}

/// A candidate: the next version of a policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// The parts that differ from the live policy: `module`, `settings`.
    pub changes: Vec<String>,
    /// The file of its component.
    pub module: String,
    /// `sha256:…` of the component; absent when it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The component's version; absent when it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The load error of a broken candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its reviews by result (`same`, `stricter`, `looser`, `different`, `error`, `skipped`) since
    /// it became a candidate.
    #[serde(default)]
    pub reviews: BTreeMap<String, u64>,
}

/// The state of the watcher of one kind of object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedStatus {
    /// `namespaces`, `nodes`, `pods` or `servicepolicies`.
    pub kind: String,
    /// `waiting` for the first list, `synced`, or `stale`.
    pub state: String,
    /// The number of known objects.
    pub objects: usize,
    /// The time when the loss of contact was noticed (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The time of the last contact with the API server (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// The reason of the current failure, one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The current failure, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A finished reload.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    /// The generation that serves after it.
    pub(crate) generation: u64,
    pub(crate) at: SystemTime,
    pub(crate) error: Option<String>,
}

/// The set of policies that serves.
pub(crate) struct Serving<'a> {
    pub(crate) admission: &'a Admission,
    /// The watchers that keep the inventory up to date, if any.
    pub(crate) watched: Option<&'a Watched>,
    /// 1 for the set that the host started with.
    pub(crate) generation: u64,
    pub(crate) since: SystemTime,
    pub(crate) digest: &'a str,
    /// Counts the reviews of a policy's candidate, by result.
    pub(crate) candidate_reviews: &'a dyn Fn(&str) -> BTreeMap<String, u64>,
}

impl From<&Reload> for LastReload {
    fn from(reload: &Reload) -> Self {
        Self {
            at: timestamp::whole_second(reload.at).to_string(),
            error: reload.error.clone(),
        }
    }
}

impl Status {
    pub(crate) fn new(set: &Serving<'_>, last: Option<&Reload>) -> Self {
        Self {
            certificate: None,
            registration: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: set.generation,
            since: timestamp::whole_second(set.since).to_string(),
            digest: set.digest.to_owned(),
            last_reload: last.map(LastReload::from),
            inventory: feeds(set.watched),
            policies: set
                .admission
                .policies()
                .iter()
                .map(|policy| PolicyStatus::of(set, policy))
                .collect(),
        }
    }

    /// Returns the lines of `/readyz?verbose`: one for each policy and watcher, then the
    /// generation, a failed reload, the registration and the certificate.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for policy in &self.policies {
            let PolicyStatus { name, mode, .. } = policy;
            let _ = match &policy.error {
                Some(error) => writeln!(text, "[-] {name} broken: {error}"),
                None => {
                    let or_empty = |part: &Option<String>| part.clone().unwrap_or_default();
                    let (component, version, digest) = (
                        or_empty(&policy.component),
                        or_empty(&policy.version),
                        or_empty(&policy.digest),
                    );
                    writeln!(text, "[+] {name} {component} {version} {mode:?} {digest}")
                }
            };
            if let Some(candidate) = &policy.candidate {
                let _ = writeln!(
                    text,
                    "{} {name} candidate {}",
                    candidate.mark(),
                    candidate.line()
                );
            }
        }
        for feed in &self.inventory {
            let mark = if feed.state == State::Synced.name() {
                '+'
            } else {
                '-'
            };
            let _ = writeln!(text, "[{mark}] inventory {}", feed.text());
        }
        let (generation, since, digest) = (self.generation, &self.since, &self.digest);
        let _ = writeln!(text, "[+] generation {generation} since {since} {digest}");
        if let Some(LastReload {
            at,
            error: Some(error),
        }) = &self.last_reload
        {
            let _ = writeln!(
                text,
                "[-] reload failed at {at}, generation {generation} serves on: {error}"
            );
        }
        text.push_str(
            &self
                .registration
                .as_ref()
                .map(RegistrationStatus::lines)
                .unwrap_or_default(),
        );
        text + &self
            .certificate
            .as_ref()
            .map(CertificateStatus::lines)
            .unwrap_or_default()
    }
}

fn feeds(watched: Option<&Watched>) -> Vec<FeedStatus> {
    let feeds = watched.map(Watched::feeds).unwrap_or_default();
    feeds
        .iter()
        .map(|(resource, feed)| FeedStatus::of(resource, feed))
        .collect()
}

impl FeedStatus {
    fn of(resource: &str, feed: &Feed) -> Self {
        let since = match feed.state {
            State::Stale { since, .. } => Some(timestamp::whole_second(since).to_string()),
            State::Waiting(_) | State::Synced => None,
        };
        let trouble = feed.state.trouble();
        Self {
            kind: resource.to_owned(),
            state: feed.state.name().to_owned(),
            objects: feed.objects,
            since,
            contact: feed
                .contact
                .map(|time| timestamp::whole_second(time).to_string()),
            reason: trouble.map(|trouble| trouble.reason.to_owned()),
            error: trouble.map(|trouble| trouble.message.clone()),
        }
    }

    /// Formats the state for people.
    pub fn text(&self) -> String {
        let Self {
            kind,
            state,
            objects,
            ..
        } = self;
        let since = self
            .since
            .as_ref()
            .map(|since| format!(" since {since}"))
            .unwrap_or_default();
        let error = self
            .error
            .as_ref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default();
        format!("{kind} {state}{since}, {objects} known{error}")
    }
}

impl PolicyStatus {
    fn of(set: &Serving<'_>, policy: &Policy) -> Self {
        let spec = &policy.manifest().spec;
        let description = policy.description();
        Self {
            name: policy.name().to_string(),
            mode: spec.mode,
            failure_policy: spec.failure_policy,
            module: spec.module.to_string(),
            digest: policy.digest().map(str::to_owned),
            component: description.map(|description| description.name.clone()),
            version: description.map(|description| description.version.clone()),
            judges_deletions: policy.asks_of_deletions(),
            error: policy.load_error().map(ToString::to_string),
            candidate: set
                .admission
                .candidate(policy.name())
                .map(|next| CandidateStatus::of(set, policy, next)),
        }
    }
}

impl CandidateStatus {
    fn of(set: &Serving<'_>, live: &Policy, next: &Policy) -> Self {
        let (was, is) = (&live.manifest().spec, &next.manifest().spec);
        let differs = [
            (
                "module",
                live.digest() != next.digest() || was.module != is.module,
            ),
            ("settings", was.settings != is.settings),
        ];
        Self {
            changes: differs
                .into_iter()
                .filter(|(_, differs)| *differs)
                .map(|(part, _)| part.to_owned())
                .collect(),
            module: is.module.to_string(),
            digest: next.digest().map(str::to_owned),
            version: next
                .description()
                .map(|description| description.version.clone()),
            error: next.load_error().map(ToString::to_string),
            reviews: (set.candidate_reviews)(live.name()),
        }
    }

    fn mark(&self) -> &'static str {
        if self.error.is_some() { "[-]" } else { "[+]" }
    }

    /// Formats its changes and results, or the error of a broken candidate.
    pub fn line(&self) -> String {
        if let Some(error) = &self.error {
            return format!("broken: {error}");
        }
        let or_empty = |part: &Option<String>| part.clone().unwrap_or_default();
        let changes = if self.changes.is_empty() {
            "nothing".to_owned()
        } else {
            self.changes.join(", ")
        };
        let count =
            |(result, count): (&String, &u64)| (*count > 0).then(|| format!("{count} {result}"));
        let reviews: Vec<_> = self.reviews.iter().filter_map(count).collect();
        let reviews = if reviews.is_empty() {
            "no reviews yet".to_owned()
        } else {
            reviews.join(", ")
        };
        format!(
            "{} {} changes {changes}: {reviews}",
            or_empty(&self.version),
            or_empty(&self.digest)
        )
    }
}
