//! Writes evaluation counts into the status of ServicePolicies.
//!
//! Each replica has its own entry and its own field manager, so that none overwrites another's. An
//! entry is written every few minutes, and only when it changed or would look stale. The other
//! replicas remove the entries of replicas that are gone. The counts are a hint for people; metrics
//! are the record.

use super::policies::{self, ClusterPolicy, Policies};
use crate::metrics::EvaluationCounts;
use crate::{kube_error, timestamp};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use sallyport_core::manifest::{API_VERSION, Evaluations, ServicePolicy};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The timeout of one write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The age of an entry, in intervals, at which it is written again although nothing changed, and
/// after which its replica counts as gone.
const MAX_AGE: i32 = 6;
const DEAD: i32 = 18;

/// The longest name that fits beside `sallyport-` into a field manager's 128 bytes.
const MAX_REPLICA_NAME: usize = 100;

/// Returns the counts of a serving policy since the start, by its name.
pub type CountsOf = dyn Fn(&str) -> Option<EvaluationCounts> + Send + Sync;

/// The source of the counts.
#[derive(Clone)]
pub struct Counting {
    /// The replica: its Pod's name.
    pub replica: String,
    /// The interval between two writes.
    pub every: Duration,
    /// The counts by the policy's name.
    pub of: Arc<CountsOf>,
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counting")
            .field("replica", &self.replica)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

impl Counting {
    fn entry(&self, policy: &str, now: Timestamp) -> Option<Evaluations> {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let EvaluationCounts {
            total,
            violating,
            failed,
        } = (self.of)(policy)?;
        Some(Evaluations {
            replica: self.replica.chars().take(MAX_REPLICA_NAME).collect(),
            total: count(total),
            violating: count(violating),
            failed: count(failed),
            at: now,
        })
    }

    fn times(&self, times: i32) -> SignedDuration {
        SignedDuration::try_from(self.every)
            .unwrap_or(SignedDuration::MAX)
            .saturating_mul(times)
    }

    /// Returns this replica's entry, unless the status has the same one already.
    fn changed_entry(
        &self,
        policy: &str,
        found: &ClusterPolicy,
        now: Timestamp,
    ) -> Option<Evaluations> {
        let entry = self.entry(policy, now)?;
        let entries = found.status.iter().flat_map(|status| &status.evaluations);
        let old = entries.into_iter().find(|old| old.replica == entry.replica);
        let stands = old.is_some_and(|old| {
            let same = Evaluations {
                at: entry.at,
                ..old.clone()
            } == entry;
            same && now.duration_since(old.at) < self.times(MAX_AGE)
        });
        (!stands).then_some(entry)
    }

    /// Returns a JSON Patch that removes the entries of replicas that are gone, if there are any.
    fn removal(&self, found: &ClusterPolicy, now: Timestamp) -> Option<Value> {
        let entries = found
            .status
            .iter()
            .flat_map(|status| &status.evaluations)
            .enumerate();
        let dead = entries.filter(|(_, entry)| now.duration_since(entry.at) > self.times(DEAD));
        let mut dead: Vec<_> = dead.collect();
        // From the end, so that the remaining indices stay valid.
        dead.reverse();
        let operations = dead.into_iter().flat_map(|(index, entry)| {
            let path = format!("/status/evaluations/{index}");
            [
                json!({"op": "test", "path": format!("{path}/replica"), "value": entry.replica}),
                json!({"op": "remove", "path": path}),
            ]
        });
        Some(operations.collect::<Vec<_>>())
            .filter(|operations| !operations.is_empty())
            .map(Value::from)
    }
}

/// Writes counts, once there are some, until the host ends.
pub(super) async fn run(
    client: Client,
    policies: Arc<Policies>,
    mut counting: watch::Receiver<Option<Counting>>,
) {
    let api = policies::api(client);
    let Ok(counting) = counting
        .wait_for(Option::is_some)
        .await
        .map(|counting| counting.clone())
    else {
        return;
    };
    let Some(counting) = counting else { return };
    loop {
        tokio::time::sleep(counting.every).await;
        for (name, found) in policies.all() {
            let now = timestamp::now();
            // First, since the list may be full of them.
            if let Some(operations) = counting.removal(&found, now) {
                remove(&api, &name, operations).await;
            }
            if let Some(entry) = counting.changed_entry(&name, &found, now) {
                write(&api, &name, &entry).await;
            }
        }
    }
}

async fn write(api: &Api<DynamicObject>, name: &str, entry: &Evaluations) {
    let params = PatchParams::apply(&format!("sallyport-{}", entry.replica)).force();
    let patch = json!({
        "apiVersion": API_VERSION, "kind": ServicePolicy::KIND, "metadata": {"name": name},
        "status": {"evaluations": [entry]},
    });
    send(api, name, &params, &Patch::Apply(patch)).await;
}

/// Removes entries. Another replica may have removed them already, which is no failure.
async fn remove(api: &Api<DynamicObject>, name: &str, operations: Value) {
    let patch = serde_json::from_value(operations).expect("these are operations of a JSON patch");
    send(
        api,
        name,
        &PatchParams::default(),
        &Patch::<Value>::Json(patch),
    )
    .await;
}

/// Sends a patch. Failures are logged at debug level only: the next round tries again, and missing
/// rights show up in the conditions, which matter more.
async fn send(api: &Api<DynamicObject>, name: &str, params: &PatchParams, patch: &Patch<Value>) {
    match tokio::time::timeout(WRITE_TIMEOUT, api.patch_status(name, params, patch)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(
            policy = name,
            "can't write its counts: {}",
            kube_error::causes(&error)
        ),
        Err(_) => tracing::debug!(
            policy = name,
            "can't write its counts: no answer within {WRITE_TIMEOUT:?}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::manifest::ServicePolicyStatus;

    fn counting(total: u64) -> Counting {
        let counts = EvaluationCounts {
            total,
            ..EvaluationCounts::default()
        };
        let of = Arc::new(move |name: &str| (name == "p").then_some(counts));
        Counting {
            replica: "a".into(),
            every: Duration::from_secs(10),
            of,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn found(evaluations: Vec<Evaluations>) -> ClusterPolicy {
        let status = ServicePolicyStatus {
            evaluations,
            ..ServicePolicyStatus::default()
        };
        ClusterPolicy {
            uid: None,
            manifest: Value::Null,
            generation: None,
            status: Some(status),
        }
    }

    fn entry(replica: &str, total: i64, second: i64) -> Evaluations {
        Evaluations {
            replica: replica.into(),
            total,
            violating: 0,
            failed: 0,
            at: at(second),
        }
    }

    #[test]
    fn an_entry_is_written_when_it_changed_or_would_look_dead() {
        let news =
            |found: &ClusterPolicy, second| counting(5).changed_entry("p", found, at(second));
        assert_eq!(news(&found(vec![]), 0), Some(entry("a", 5, 0)));
        assert_eq!(
            news(&found(vec![entry("b", 5, 0)]), 0),
            Some(entry("a", 5, 0))
        );
        assert_eq!(
            news(&found(vec![entry("a", 4, 0)]), 1),
            Some(entry("a", 5, 1))
        );
        assert_eq!(news(&found(vec![entry("a", 5, 0)]), 59), None);
        assert_eq!(
            news(&found(vec![entry("a", 5, 0)]), 60),
            Some(entry("a", 5, 60))
        );
        assert_eq!(
            counting(5).changed_entry("other", &found(vec![]), at(0)),
            None,
            "it does not serve"
        );
    }

    #[test]
    fn entries_of_replicas_that_are_gone_are_removed() {
        let both = found(vec![entry("a", 5, 180), entry("b", 5, 0)]);
        assert_eq!(counting(5).removal(&both, at(180)), None);
        let gone = found(vec![entry("b", 5, 0), entry("a", 5, 180), entry("c", 5, 0)]);
        let removal = json!([
            {"op": "test", "path": "/status/evaluations/2/replica", "value": "c"},
            {"op": "remove", "path": "/status/evaluations/2"},
            {"op": "test", "path": "/status/evaluations/0/replica", "value": "b"},
            {"op": "remove", "path": "/status/evaluations/0"},
        ]);
        assert_eq!(counting(5).removal(&gone, at(181)), Some(removal));
    }
}
