//! Prints the status of a running host for `sallyport inspect --live`.

use crate::status::{LastReload, Status};
use sallyport_core::printable::printable;

/// Prints a line for each policy that is broken, and for a reload that failed.
pub fn broken(status: &Status) -> String {
    let reload = status.last_reload.as_ref();
    let reload = reload
        .and_then(|reload| reload.error.as_ref())
        .map(|error| format!("last reload: {error}"));
    let policies = status.policies.iter().filter_map(|policy| {
        let error = policy.error.as_ref()?;
        Some(format!("policy {}: {error}", policy.name))
    });
    let lines = reload.into_iter().chain(policies);
    lines
        .map(|line| format!("{}\n", printable(&line)))
        .collect()
}

/// Prints the host, its last reload, and a block for each policy.
pub fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut row =
        |name: &str, value: &str| text.push_str(&format!("{name:<16} {}\n", printable(value)));
    row("version", &status.version);
    row(
        "generation",
        &format!("{} since {}", status.generation, status.since),
    );
    row("set", &status.digest);
    let reload = match &status.last_reload {
        None => "none yet".to_owned(),
        Some(LastReload { at, error: None }) => format!("at {at}, successful"),
        Some(LastReload {
            at,
            error: Some(error),
        }) => format!("at {at}, failed: {error}"),
    };
    row("last reload", &reload);
    if let Some(certificate) = &status.certificate {
        for line in certificate.lines().lines() {
            row(
                "certificate",
                line.get(4..)
                    .unwrap_or(line)
                    .trim_start_matches("certificate "),
            );
        }
    }
    for feed in &status.inventory {
        row("inventory", &feed.text());
    }
    for policy in &status.policies {
        let or_unknown =
            |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".to_owned());
        row("policy", &policy.name);
        row(
            "  mode",
            &format!(
                "{:?}, failurePolicy {:?}",
                policy.mode, policy.failure_policy
            ),
        );
        if policy.judges_deletions {
            row("  judges", "deletions, too");
        }
        row(
            "  module",
            &format!("{} {}", policy.module, or_unknown(&policy.digest)),
        );
        match &policy.error {
            Some(error) => row("  broken", error),
            None => row(
                "  component",
                &format!(
                    "{} {}",
                    or_unknown(&policy.component),
                    or_unknown(&policy.version)
                ),
            ),
        }
        if let Some(candidate) = &policy.candidate {
            row("  candidate", &candidate.line());
        }
    }
    text
}
