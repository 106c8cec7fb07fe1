//! Writes into the status of ServicePolicies what the host made of them.
//!
//! By server-side apply with a field manager of its own. Every replica writes the same of the same,
//! so it does not matter which one does: what stands there already is not written again, and a time
//! changes only with its condition. Replicas that differ, as in a rolling update, take turns, and
//! the last that lives is right. What can't be written is tried again, and holds up nothing.

use super::policies::{self, Found, Policies};
use crate::{kube_error, timestamp};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use sallyport_core::manifest::{
    API_VERSION, ComponentStatus, Condition, ConditionStatus, ConditionType, ServicePolicy,
    ServicePolicyStatus,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Who writes, in `metadata.managedFields`.
const MANAGER: &str = "sallyport";

/// For one write.
const WRITE: Duration = Duration::from_secs(5);

/// How often it looks what stands there. Nothing is sent for that: the watcher knows.
const EVERY: Duration = Duration::from_secs(10);

/// What a host made of one ServicePolicy.
#[derive(Debug, Clone)]
pub struct Report {
    /// The generation that this is about.
    pub generation: Option<i64>,
    /// What serves.
    pub component: Option<ComponentStatus>,
    /// How far what serves is what is written.
    pub serves: Serves,
    /// Why its candidate can't be tried, if that is so.
    pub candidate: Option<String>,
}

/// How far what serves is what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serves {
    /// As written.
    AsWritten,
    /// As written before, since what is written now can't be loaded.
    AsBefore(String),
    /// Nothing: it can't be loaded, and each review is an evaluation error.
    Nothing(String),
    /// Nothing of it: a file has its name, and serves.
    Taken,
}

/// What is wrong with a ServicePolicy that is [`Serves::Taken`].
pub const TAKEN: &str = "metadata.name: a file of --policies has a ServicePolicy of this name, and \
    the file's judges; rename one, \
                          or take the file away (in deploy/: PRESET=none, see docs/operations.md)";

/// By name.
pub type Reports = BTreeMap<String, Report>;

impl Report {
    /// The status, with the times of the one before where nothing changed.
    fn status(&self, before: Option<&ServicePolicyStatus>, now: Timestamp) -> ServicePolicyStatus {
        let as_written = match &self.candidate {
            None => ("Loaded", "it judges requests as it is written".to_owned()),
            Some(error) => (
                "CandidateNotLoaded",
                format!("it judges requests as it is written, but {error}"),
            ),
        };
        let (ready, degraded) = match &self.serves {
            Serves::AsWritten => {
                (
                    ("True", as_written.0, as_written.1.as_str()),
                    // Not empty: API servers of old take that for null in what is applied, and
                    // refuse it.
                    ("False", "AsWritten", "nothing else serves in its place"),
                )
            }
            Serves::AsBefore(error) => (
                ("False", "NotLoaded", error.as_str()),
                (
                    "True",
                    "LastGoodServes",
                    "what was written before judges requests until this is mended",
                ),
            ),
            Serves::Nothing(error) => (
                ("False", "NotLoaded", error.as_str()),
                (
                    "True",
                    "NothingServes",
                    "each review is an evaluation error, under its failurePolicy",
                ),
            ),
            Serves::Taken => (
                ("False", "NameTaken", TAKEN),
                (
                    "True",
                    "FileServes",
                    "the file's ServicePolicy judges requests",
                ),
            ),
        };
        let condition = |r#type, (status, reason, message): (&str, &str, &str)| {
            let status = if status == "True" {
                ConditionStatus::True
            } else {
                ConditionStatus::False
            };
            let old = before.iter().flat_map(|before| &before.conditions);
            let since = old
                .filter(|old| old.r#type == r#type && old.status == status)
                .map(|old| old.last_transition_time);
            Condition {
                r#type,
                status,
                reason: reason.to_owned(),
                message: message.to_owned(),
                observed_generation: self.generation,
                last_transition_time: since.max().unwrap_or(now),
            }
        };
        ServicePolicyStatus {
            observed_generation: self.generation,
            conditions: vec![
                condition(ConditionType::Ready, ready),
                condition(ConditionType::Degraded, degraded),
            ],
            component: self.component.clone(),
            evaluations: vec![],
        }
    }
}

/// Writes reports as they come, until the host ends; and again where somebody else wrote last, such
/// as a replica that is gone and judged differently.
pub(super) async fn run(
    client: Client,
    policies: Arc<Policies>,
    mut reports: watch::Receiver<Reports>,
) {
    let api = policies::api(client);
    // What can't be written, and why: told when it is new.
    let mut told = BTreeMap::new();
    loop {
        let now = reports.borrow_and_update().clone();
        let all = policies.all();
        let mut problems = BTreeMap::new();
        for (name, report) in &now {
            let Some(patch) = all.get(name).and_then(|found| patch(name, report, found)) else {
                continue;
            };
            let Err(problem) = write(&api, name, &patch).await else {
                continue;
            };
            if told.get(name) != Some(&problem) {
                tracing::warn!(policy = name, "can't write its status: {problem}");
            }
            problems.insert(name.clone(), problem);
        }
        told = problems;
        if let Ok(Err(_)) = tokio::time::timeout(EVERY, reports.changed()).await {
            return;
        }
    }
}

/// The manifest that grants the right to write a status.
const RBAC: &str = "deploy/base/rbac.yaml";

async fn write(api: &Api<DynamicObject>, name: &str, status: &Value) -> Result<(), String> {
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(status);
    match tokio::time::timeout(WRITE, api.patch_status(name, &params, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(kube_error::explain(&error, RBAC).1),
        Err(_) => Err(format!("no answer within {WRITE:?}")),
    }
}

/// What to write, unless it stands there or is about a generation that is past.
fn patch(name: &str, report: &Report, found: &Found) -> Option<Value> {
    let status = report.status(found.status.as_ref(), timestamp::now());
    // Counts are `counts`' own.
    let stands = found.status.clone().map(|found| ServicePolicyStatus {
        evaluations: vec![],
        ..found
    });
    let news = report.generation == found.generation && stands.as_ref() != Some(&status);
    news.then(|| {
        json!({"apiVersion": API_VERSION, "kind": ServicePolicy::KIND, "metadata": {"name": name},
            "status": status})
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(generation: i64, serves: Serves) -> Report {
        Report {
            generation: Some(generation),
            component: None,
            serves,
            candidate: None,
        }
    }

    fn found(generation: i64, status: Option<ServicePolicyStatus>) -> Found {
        Found {
            manifest: json!({}),
            generation: Some(generation),
            status,
        }
    }

    #[test]
    fn what_stands_there_already_or_is_past_is_not_written() {
        let report = report(2, Serves::AsWritten);
        assert!(
            patch("p", &report, &found(3, None)).is_none(),
            "a newer generation is being loaded"
        );
        let patch_of = |status| patch("p", &report, &found(2, status));
        let first = patch_of(None).expect("news");
        let status: ServicePolicyStatus =
            serde_json::from_value(first["status"].clone()).expect("a status");
        assert!(patch_of(Some(status)).is_none());
    }

    #[test]
    fn a_time_changes_only_with_its_condition() {
        let (then, now) = (
            Timestamp::UNIX_EPOCH,
            Timestamp::from_second(9).expect("a time"),
        );
        let before = report(1, Serves::AsWritten).status(None, then);
        let same = report(2, Serves::AsWritten).status(Some(&before), now);
        assert!(
            same.conditions
                .iter()
                .all(|condition| condition.last_transition_time == then)
        );
        let worse = report(2, Serves::AsBefore("a typo".into())).status(Some(&before), now);
        assert!(
            worse
                .conditions
                .iter()
                .all(|condition| condition.last_transition_time == now)
        );
        assert_eq!(
            (
                worse.conditions[0].message.as_str(),
                worse.conditions[1].status
            ),
            ("a typo", ConditionStatus::True)
        );
    }
}
