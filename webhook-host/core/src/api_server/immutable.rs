//! The fields that an update may not change (`ValidateServiceUpdate` in Kubernetes'
//! `pkg/apis/core/validation`).
//!
//! The old Service is stored, so that it has all of them. One that comes from a file may lack what
//! the API server allocated: nothing is said about such a field.

use super::update::{forwards, is_set};
use super::{Refusal, words};
use serde_json::Value;

const ONCE: &str = "may not change once set";
const KEEP: &str = "keep it, or delete the Service and create it anew";

/// Returns what an update changes and may not, after the steps of `update`.
pub(crate) fn changes(new: &Value, old: &Value) -> Vec<Refusal> {
    let mut refusals = vec![];
    metadata(&new["metadata"], &old["metadata"], &mut refusals);
    let (new, old) = (&new["spec"], &old["spec"]);
    if forwards(new) && forwards(old) {
        let is_headless = |spec: &Value| spec["clusterIPs"][0] == "None";
        let (was, is) = (is_headless(old), is_headless(new));
        if !(was && is) {
            list(ADDRESSES, new, old, &mut refusals);
        }
        if !was && !is {
            list(FAMILIES, new, old, &mut refusals);
        }
    }
    let is_balanced = |spec: &Value| spec["type"] == "LoadBalancer";
    let checks = |spec: &Value| is_balanced(spec) && spec["externalTrafficPolicy"] == "Local";
    let (class, before) = (&new["loadBalancerClass"], &old["loadBalancerClass"]);
    if is_balanced(new) && is_balanced(old) && class != before {
        refusals.push(Refusal {
            field: "spec.loadBalancerClass".to_owned(),
            problem: format!("{ONCE}; it was {}", or_none(before)),
            fix: KEEP.to_owned(),
            words: Some(words::invalid(class.clone(), ONCE)),
            at: None,
        });
    }
    let (port, before) = (&new["healthCheckNodePort"], &old["healthCheckNodePort"]);
    if checks(new) && checks(old) && is_set(before) && port != before {
        refusals.push(Refusal {
            field: "spec.healthCheckNodePort".to_owned(),
            problem: format!("field is immutable; it was {before}"),
            fix: "keep it, or leave it out".to_owned(),
            words: Some(words::forbidden("field is immutable")),
            at: None,
        });
    }
    refusals
}

/// Only the API server begins a deletion.
fn metadata(new: &Value, old: &Value, refusals: &mut Vec<Refusal>) {
    let (after, before) = (&new["deletionTimestamp"], &old["deletionTimestamp"]);
    if !after.is_null() && before.is_null() {
        refusals.push(Refusal {
            field: "metadata.deletionTimestamp".to_owned(),
            problem: "field is immutable; the old Service is not in deletion".to_owned(),
            fix: "leave it out".to_owned(),
            words: Some(words::invalid(after.clone(), "field is immutable")),
            at: None,
        });
    }
}

/// A list whose first entry stays, and whose second one may be added or released.
struct List {
    key: &'static str,
    /// The field that people write for the first entry.
    one: &'static str,
    unset: &'static str,
    release: &'static str,
    problem: &'static str,
}

const ADDRESSES: List = List {
    key: "clusterIPs",
    one: "clusterIP",
    unset: "primary clusterIP can not be unset",
    release: "`ipFamilyPolicy` must be set to 'SingleStack' when releasing the secondary clusterIP",
    problem: "the update releases the second address",
};

const FAMILIES: List = List {
    key: "ipFamilies",
    one: "ipFamilies",
    unset: "primary ipFamily can not be unset",
    release: "`ipFamilyPolicy` must be set to 'SingleStack' when releasing the secondary ipFamily",
    problem: "the update releases the second family",
};

fn list(list: List, new: &Value, old: &Value, refusals: &mut Vec<Refusal>) {
    let items = |spec: &Value| spec[list.key].as_array().cloned().unwrap_or_default();
    let (before, after) = (items(old), items(new));
    if before.is_empty() {
        return;
    }
    let mut refuse = |index: usize, problem: String, fix: &str, why: &str| {
        refusals.push(Refusal {
            field: match index {
                0 => format!("spec.{}", list.one),
                _ => format!("spec.{}", list.key),
            },
            problem,
            fix: fix.to_owned(),
            words: Some(words::invalid(Value::from(after.clone()), why)),
            at: Some(format!("spec.{}[{index}]", list.key)),
        });
    };
    if after.is_empty() {
        refuse(0, list.unset.to_owned(), KEEP, list.unset);
        return;
    }
    let compared = if after.len() == before.len() {
        after.len()
    } else {
        1
    };
    for index in (0..compared).filter(|index| after[*index] != before[*index]) {
        let problem = format!("{} {ONCE}; it was {}", after[index], before[index]);
        // The API server names the first family, whichever changed.
        let named = if list.key == "ipFamilies" { 0 } else { index };
        refuse(named, problem, KEEP, ONCE);
    }
    if after.len() < before.len() && new["ipFamilyPolicy"] != "SingleStack" {
        let fix = "set ipFamilyPolicy: SingleStack";
        refuse(0, list.problem.to_owned(), fix, list.release);
    }
}

fn or_none(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        value => value.to_string(),
    }
}
