//! The state of the host as JSON: what `/policies` says, with counters, reloads, denials and the
//! exposure map's summary.
//!
//! It is for the page of the same version, and may change with it.

use super::App;
use crate::audit::MapSummary;
use crate::metrics::EvaluationCounts;
use crate::observers::DenialCounts;
use crate::status::{LastReload, Status};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    #[serde(flatten)]
    status: Status,
    /// The Pod's name.
    replica: String,
    /// The counters of each policy since the start.
    counts: BTreeMap<String, PolicyCounts>,
    /// The last reloads, the oldest first.
    reloads: Vec<Reloaded>,
    denials: DenialCounts,
    /// Absent on a host that doesn't audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    exposures: Option<MapSummary>,
    /// True if the playground is served, too.
    playground: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyCounts {
    evaluations: u64,
    violating: u64,
    failed: u64,
    /// True while the policy is not asked, because it missed its deadline again and again.
    short_circuited: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reloaded {
    /// The generation that serves after it.
    generation: u64,
    #[serde(flatten)]
    result: LastReload,
}

/// Returns the present state.
pub(super) fn state(app: &App) -> String {
    let sources = &app.sources;
    let live = &sources.live;
    let admission = live.admission();
    let counts = admission.policies().iter().map(|policy| {
        let EvaluationCounts {
            total,
            violating,
            failed,
        } = live.counts(policy.name()).unwrap_or_default();
        let counts = PolicyCounts {
            evaluations: total,
            violating,
            failed,
            short_circuited: policy.is_short_circuited(),
        };
        (policy.name().to_string(), counts)
    });
    let reloads = live.reloads();
    let reloads = reloads.iter().map(|reload| Reloaded {
        generation: reload.generation,
        result: reload.into(),
    });
    let state = State {
        status: live.status(),
        replica: std::env::var("HOSTNAME").unwrap_or_default(),
        counts: counts.collect(),
        reloads: reloads.collect(),
        denials: sources.recent.counts(),
        exposures: sources.exposures.as_ref().map(|map| map.summary()),
        playground: app.assets.has_playground(),
    };
    serde_json::to_string(&state).expect("it is made of texts and numbers")
}
