//! Addresses that a Service shares with others.

use crate::annotation;
use crate::settings::Sharing;
use sallyport_facts::sharing::{Shared, With, shared};
use sallyport_policy::prelude::*;

/// Returns the violations of a Service that shares its address with more Services than it may.
pub(crate) fn violations(service: &Service, namespace: &str, allowed: Sharing) -> Vec<Violation> {
    let mut violations: Vec<Violation> = vec![];
    if allowed == Sharing::Allow {
        return violations;
    }
    for shared in shared(service) {
        let found = match allowed {
            Sharing::Deny => vec![of_key(
                shared,
                "may share its address with no other",
                REMOVE,
            )],
            _ => beyond(service, shared, namespace),
        };
        for violation in found {
            // The older key of a controller beside the newer one says the same.
            if violations.iter().all(|other| other.key != violation.key) {
                violations.push(violation);
            }
        }
    }
    violations
}

const REMOVE: &str = "remove it";

/// Returns the violations of sharing beyond the Service's namespace.
fn beyond(service: &Service, shared: Shared<'_>, namespace: &str) -> Vec<Violation> {
    const SHARES: &str = "may share its address inside its namespace only";
    let prefix = format!("{namespace}/");
    let is_own = shared.value == namespace || shared.value.starts_with(&prefix);
    match shared.row.with {
        With::SameValue if is_own => vec![],
        With::SameValue => {
            let problem = format!("{SHARES}, but every namespace may use this key");
            let fix = format!("use a key that begins with {}", quote(&prefix));
            vec![of_key(shared, &problem, &fix)]
        }
        With::Everybody => {
            let problem = format!("{SHARES}, but this shares it with every namespace");
            vec![of_key(shared, &problem, REMOVE)]
        }
        With::Named if shared.value.starts_with(&prefix) => vec![],
        With::Named => vec![of_key(shared, SHARES, "name a Service of its namespace")],
        With::Namespace => vec![],
        With::NamespaceUnless(across) => others(service, across, namespace, SHARES),
    }
}

fn of_key(shared: Shared<'_>, problem: &str, fix: &str) -> Violation {
    let message = format!("{}: the Service {problem}", quote(shared.value));
    Violation::new("S17", annotation(shared.key), message)
        .key(format!("sharing:{}:{}", shared.row.by, shared.value))
        .fix(fix)
}

/// Returns one violation for each other namespace that an annotation lists.
fn others(service: &Service, across: &[&str], namespace: &str, problem: &str) -> Vec<Violation> {
    let mut violations = vec![];
    for (key, value) in &service.metadata.annotations {
        if !across.iter().any(|one| one.eq_ignore_ascii_case(key)) {
            continue;
        }
        let names = value.split(',').map(str::trim_ascii);
        for name in names.filter(|name| !name.is_empty() && *name != namespace) {
            let message = format!("{}: the Service {problem}", quote(name));
            violations.push(
                Violation::new("S17", annotation(key), message)
                    .key(format!("sharing across namespaces:{name}"))
                    .fix("remove it"),
            );
            if violations.len() > sallyport_policy::MAX_VIOLATIONS {
                return violations;
            }
        }
    }
    violations
}
