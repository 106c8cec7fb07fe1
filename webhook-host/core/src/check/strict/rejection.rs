//! The answer of an API server to one Service that it refuses itself, in its own words where they
//! are known.
//!
//! It decodes the request, then asks mutating webhooks, allocates node ports, validates, and asks
//! validating webhooks last. The first of these that fails is the answer.

use crate::api_server::{self, Refusal, Refusals, defaults, words};
use crate::contract::review::PortRange;
use crate::decode;
use crate::yaml::{self, Located};
use k8s_openapi::api::core::v1::Service;
use serde_json::Value;
use std::collections::HashSet;

/// The answer of an API server that refuses a Service before it asks a validating webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The request has no Service in it: a value of a wrong type, or an unknown field (status 400).
    BadRequest(Problem),
    /// Values are not allowed (status 422).
    Invalid(Vec<Problem>),
    /// A port for health checks can't be allocated (status 500).
    InternalError(Problem),
}

/// One problem of a [`Rejection`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON path from the Service's root.
    pub field: String,
    /// The text.
    pub text: String,
    /// True if the text is the API server's own.
    pub is_verbatim: bool,
    /// The line of the field, from 1.
    pub line: usize,
}

impl Rejection {
    /// Returns all problems.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::BadRequest(problem) | Self::InternalError(problem) => {
                std::slice::from_ref(problem)
            }
            Self::Invalid(problems) => problems,
        }
    }
}

/// Returns the refusal of a request whose body is no Service; `None` where it decodes. Such a
/// request reaches no webhook.
pub(in crate::check) fn undecoded(located: &Located) -> Option<Rejection> {
    let mut service = located.value();
    defaults::empty_texts(&mut service);
    if let Err(error) = decode::from_value::<Service>(&service) {
        let found = at(&service, &error.path);
        let words = found.and_then(|found| words::undecodable(&error.path, found));
        return Some(Rejection::BadRequest(Problem {
            line: located.line_of(&error.path),
            field: error.path,
            is_verbatim: words.is_some(),
            text: words.unwrap_or(error.problem),
        }));
    }
    let mut unknown: Vec<_> = api_server::unknown(&service)
        .into_iter()
        .map(|refusal| refusal.field)
        .collect();
    // The decoder meets them in the order of their paths.
    unknown.sort_by_cached_key(|field| order(field));
    let first = unknown.first()?.clone();
    let words: Vec<_> = unknown
        .iter()
        .map(|field| format!("unknown field {field:?}"))
        .collect();
    Some(Rejection::BadRequest(Problem {
        line: located.line_of(&first),
        field: first,
        text: format!("strict decoding error: {}", words.join(", ")),
        is_verbatim: true,
    }))
}

/// Returns the refusal of a Service as the mutating webhooks left it, with the API server's
/// defaults, as a new one or in place of the old one. Addresses are looked at first, and alone;
/// then the node ports that it asks for.
pub(in crate::check) fn invalid(
    service: &Value,
    old: Option<&Value>,
    range: PortRange,
    located: &Located,
) -> Option<Rejection> {
    let verbatim = |field: String, text: String| Problem {
        line: located.line_of(&field),
        field,
        text,
        is_verbatim: true,
    };
    let found = api_server::prepare(service, old);
    let service = &found.service;
    let told = |refusals: Vec<Refusal>| {
        let problems = refusals.into_iter();
        problems.map(|refusal| problem(refusal, located)).collect()
    };
    if !found.families.is_empty() {
        return Some(Rejection::Invalid(told(found.families)));
    }
    if let Some((field, number, why)) = unallocated(service, old, range) {
        let text = words::invalid(number, &why);
        return Some(Rejection::Invalid(vec![verbatim(field, text)]));
    }
    let is_new = |number: &i64| old.and_then(health_check) != Some(*number);
    if let Some(number) = health_check(service)
        .filter(is_new)
        .filter(|number| !contains(range, *number))
    {
        let why = words::out_of_range(range);
        let text = format!("failed to allocate requested HealthCheck NodePort {number}: {why}");
        let field = "spec.healthCheckNodePort".to_owned();
        return Some(Rejection::InternalError(verbatim(field, text)));
    }
    let decoded = decode::from_value::<Service>(service).ok()?;
    let mut problems: Vec<Problem> = told(Refusals::whole(&decoded));
    // Addresses are allocated before the rest is looked at.
    if problems.iter().any(is_of_addresses) {
        problems.retain(is_of_addresses);
    } else {
        problems.splice(..0, told(found.changes));
    }
    (!problems.is_empty()).then_some(Rejection::Invalid(problems))
}

fn is_of_addresses(problem: &Problem) -> bool {
    let field = &problem.field;
    field.starts_with("spec.clusterIP") || field.starts_with("spec.ipFamil")
}

/// Finds the first node port that the API server does not allocate: field, number and reason. What
/// the old Service has is allocated.
fn unallocated(
    service: &Value,
    old: Option<&Value>,
    range: PortRange,
) -> Option<(String, i64, String)> {
    let spec = &service["spec"];
    let kind = spec["type"].as_str().unwrap_or_default();
    if !matches!(kind, "NodePort" | "LoadBalancer") {
        return None;
    }
    let mut taken = HashSet::new();
    let old = old.and_then(|old| old["spec"]["ports"].as_array());
    let is_new = |number: &i64| {
        let mut before = old.into_iter().flatten();
        !before.any(|port| port["nodePort"] == *number)
    };
    let ports = spec["ports"].as_array()?.iter().enumerate();
    let mut asked = ports.filter_map(|(index, port)| {
        let number = port["nodePort"].as_i64().filter(|number| *number != 0);
        let number = number.filter(is_new)?;
        Some((index, number, port["protocol"].as_str().unwrap_or("TCP")))
    });
    asked.find_map(|(index, number, protocol)| {
        let why = if !contains(range, number) {
            words::out_of_range(range)
        } else if !taken.insert((number, protocol)) {
            "provided port is already allocated".to_owned()
        } else {
            return None;
        };
        Some((format!("spec.ports[{index}].nodePort"), number, why))
    })
}

/// Returns the port for health checks that a Service asks for, where it has one.
fn health_check(service: &Value) -> Option<i64> {
    let spec = &service["spec"];
    let has_one = spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local";
    let number = spec["healthCheckNodePort"].as_i64();
    number.filter(|number| has_one && *number != 0)
}

fn contains(range: PortRange, number: i64) -> bool {
    (i64::from(range.from)..=i64::from(range.to)).contains(&number)
}

fn problem(refusal: Refusal, located: &Located) -> Problem {
    Problem {
        line: located.line_of(&refusal.field),
        is_verbatim: refusal.words.is_some(),
        text: refusal.words.unwrap_or(refusal.problem),
        field: refusal.at.unwrap_or(refusal.field),
    }
}

/// Returns the value at a path.
fn at<'a>(service: &'a Value, path: &str) -> Option<&'a Value> {
    let mut steps = yaml::steps(path).into_iter();
    steps.try_fold(service, |value, step| {
        match (value, step.parse::<usize>()) {
            (Value::Array(items), Ok(index)) => items.get(index),
            _ => value.get(step),
        }
    })
}

/// Returns a key by which paths are sorted as a decoder meets them.
fn order(path: &str) -> Vec<(Option<usize>, String)> {
    let steps = yaml::steps(path).into_iter();
    steps.map(|step| (step.parse().ok(), step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_to_its_value() {
        let service = json!({"spec": {"ports": [{"port": 80}], "selector": {"a.b/c": "d"}}});
        assert_eq!(at(&service, "spec.ports[0].port"), Some(&json!(80)));
        assert_eq!(at(&service, "spec.selector[\"a.b/c\"]"), Some(&json!("d")));
        assert_eq!(at(&service, "spec.ports[1]"), None);
        assert_eq!(at(&service, ""), Some(&service));
    }
}
