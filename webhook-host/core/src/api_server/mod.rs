//! The work of an API server on a Service by itself: it fills in defaults, completes an update from
//! the old Service, and refuses unknown fields, values of a wrong form and changes of fixed fields.
//!
//! Role: `check` and `suite` report what a cluster would refuse whatever the policies say. Objects
//! are JSON where they may be malformed, else Kubernetes' own types. Only refusals of every
//! supported version of Kubernetes are found, in words of our own and in those of Kubernetes 1.36.

pub mod defaults;
mod fields;
pub(crate) mod immutable;
mod names;
pub(crate) mod update;
mod validation;
pub(crate) mod words;

pub(crate) use fields::unknown;
pub(crate) use validation::Refusals;

use crate::decode;
use k8s_openapi::api::core::v1::Service;
use serde_json::Value;
use update::{Families, Family};

/// The types of Services.
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// A field that the API server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// JSON path from the Service's root.
    pub(crate) field: String,
    /// The value found and what is allowed.
    pub(crate) problem: String,
    /// The fix; may be empty.
    pub(crate) fix: String,
    /// The API server's words, where they are known.
    pub(crate) words: Option<String>,
    /// The path that the API server names, where it is another.
    pub(crate) at: Option<String>,
}

impl Refusal {
    /// Returns true if the API server says both by one sentence.
    fn is_like(&self, other: &Self) -> bool {
        let place = |refusal: &Self| refusal.at.as_ref().unwrap_or(&refusal.field).clone();
        place(self) == place(other)
            && match (&self.words, &other.words) {
                (Some(words), Some(others)) => words == others,
                _ => self.problem == other.problem,
            }
    }

    /// Returns true if the API server would say it beside others already.
    pub(crate) fn is_among(&self, others: &[Self]) -> bool {
        others.iter().any(|other| self.is_like(other))
    }
}

/// Refusals, in the order in which the API server looks for them.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Those about addresses and families, which it tells alone.
    pub(crate) families: Vec<Refusal>,
    /// Those about fields that an update may not change.
    pub(crate) changes: Vec<Refusal>,
    /// The Service as it is validated.
    pub(crate) service: Value,
}

/// Returns what the API server refuses in a Service with its defaults, as it would create it or,
/// with an old Service, update that one.
pub(crate) fn refusals(service: &Value, old: Option<&Value>) -> Vec<Refusal> {
    let found = prepare(service, old);
    let mut refusals = Refusals::default();
    if let Ok(service) = decode::from_value::<Service>(&found.service) {
        refusals.service(&service);
    }
    let all = found.families.into_iter().chain(found.changes);
    all.chain(refusals.into_inner()).collect()
}

/// Brings a Service into the form in which it is validated, but for what is allocated.
pub(crate) fn prepare(service: &Value, old: Option<&Value>) -> Found {
    // The refusals are the same in every cluster.
    let cluster = Families {
        primary: Family::V4,
        is_dual: true,
    };
    let mut completed = service.clone();
    let Some(old) = old else {
        return Found {
            families: update::families(&mut completed, None, cluster),
            changes: vec![],
            service: service.clone(),
        };
    };
    update::carry_over(&mut completed, old);
    let families = update::families(&mut completed, Some(old), cluster);
    update::wipe(&mut completed, old);
    Found {
        families,
        changes: immutable::changes(&completed, old),
        service: completed,
    }
}
