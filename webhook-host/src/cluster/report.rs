//! Writes the load results of ServicePolicies into their status.
//!
//! The writes are server-side applies with a field manager of their own. Equal replicas write equal
//! statuses, so it does not matter which one writes: a status that is already there is not written
//! again, and a time changes only with its condition. Replicas that differ, as in a rolling update,
//! overwrite each other until one of them is gone. A failed write is tried again and blocks
//! nothing.

use super::policies::{self, ClusterPolicy, Policies};
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

/// The field manager in `metadata.managedFields`.
const FIELD_MANAGER: &str = "sallyport";

/// The timeout of one write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval at which stored statuses are compared. That sends no request: the watcher has them.
const COMPARE_INTERVAL: Duration = Duration::from_secs(10);

/// The load result of one ServicePolicy.
#[derive(Debug, Clone)]
pub struct Report {
    /// The generation of the manifest that was loaded.
    pub generation: Option<i64>,
    /// The component that serves.
    pub component: Option<ComponentStatus>,
    /// The version that serves.
    pub serves: Serves,
    /// The reason why its candidate can't be loaded, if it can't.
    pub candidate: Option<String>,
}

/// The version of a ServicePolicy that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serves {
    /// The current manifest.
    AsWritten,
    /// The previous manifest, since the current one can't be loaded.
    AsBefore(String),
    /// None: it can't be loaded, and each review is an evaluation error.
    Nothing(String),
    /// None: a file has the same name, and its policy serves.
    Taken,
}

/// The message of a ServicePolicy that is [`Serves::Taken`].
pub const TAKEN: &str = "metadata.name: a file of --policies has a ServicePolicy of this name, and \
    the file's judges; rename one, \
                          or take the file away (in deploy/: PRESET=none, see docs/operations.md)";

/// Reports by the policy's name.
pub type Reports = BTreeMap<String, Report>;

impl Report {
    /// Builds the status. A condition that did not change keeps its `lastTransitionTime`.
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
                    // Never empty: old API servers treat an empty message in an apply as null, and
                    // reject it.
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

/// Writes reports as they arrive, until the host ends. Also rewrites a status that another replica
/// has overwritten, such as one that is gone and had a different result.
pub(super) async fn run(
    client: Client,
    policies: Arc<Policies>,
    mut reports: watch::Receiver<Reports>,
) {
    let api = policies::api(client);
    // The failed writes and their errors. Only new ones are logged.
    let mut reported = BTreeMap::new();
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
            if reported.get(name) != Some(&problem) {
                tracing::warn!(policy = name, "can't write its status: {problem}");
            }
            problems.insert(name.clone(), problem);
        }
        reported = problems;
        if let Ok(Err(_)) = tokio::time::timeout(COMPARE_INTERVAL, reports.changed()).await {
            return;
        }
    }
}

/// The manifest that grants the right to write a status.
const RBAC: &str = "deploy/base/rbac.yaml";

async fn write(api: &Api<DynamicObject>, name: &str, status: &Value) -> Result<(), String> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(status);
    match tokio::time::timeout(WRITE_TIMEOUT, api.patch_status(name, &params, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(kube_error::explain(&error, RBAC).1),
        Err(_) => Err(format!("no answer within {WRITE_TIMEOUT:?}")),
    }
}

/// Returns the status to write. Returns `None` if it is stored already, or if the report is about
/// an earlier generation.
fn patch(name: &str, report: &Report, found: &ClusterPolicy) -> Option<Value> {
    let status = report.status(found.status.as_ref(), timestamp::now());
    // The field manager of `counts` writes the counts.
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

    fn found(generation: i64, status: Option<ServicePolicyStatus>) -> ClusterPolicy {
        ClusterPolicy {
            manifest: json!({}),
            uid: None,
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
