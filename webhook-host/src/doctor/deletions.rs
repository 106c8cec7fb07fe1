//! Compares a registration with the policies that judge deletions.

use super::rule::{asks, has_operation};
use super::webhook::{Configuration, ConfigurationKind, Webhook};
use super::{Diagnosis, Finding, Level};
use crate::webhooks::registration::{DELETIONS, VALIDATING};

/// Adds a finding to each registration of Sallyport that sends no deletions although one of these
/// policies judges them, or sends deletions that none judges. `diagnoses` are those of
/// `configurations`, in the same order.
pub fn compare_deletions(
    diagnoses: &mut [Diagnosis],
    configurations: &[Configuration],
    judging: &[String],
) {
    for (diagnosis, configuration) in diagnoses.iter_mut().zip(configurations) {
        diagnosis.findings.extend(compare(configuration, judging));
        diagnosis
            .findings
            .sort_by(|a, b| (a.level, &a.field).cmp(&(b.level, &b.field)));
    }
}

fn compare(configuration: &Configuration, judging: &[String]) -> Option<Finding> {
    let ours = |webhook: &Webhook| [VALIDATING, DELETIONS].contains(&webhook.name.as_str());
    let webhooks = &configuration.webhooks;
    if configuration.kind != ConfigurationKind::Validating || !webhooks.iter().any(ours) {
        return None;
    }
    let place = webhooks.iter().position(|webhook| {
        let mut rules = webhook.rules.iter();
        ours(webhook)
            && rules.any(|rule| asks(rule, "", "services") && has_operation(rule, "DELETE"))
    });
    match (place, judging) {
        (None, [_, ..]) => Some(Finding {
            level: Level::Warning,
            field: "webhooks".to_owned(),
            message: format!("no {DELETIONS}, for {}", judging.join(", ")),
            why: "these policies judge deletions of Services, and the API server asks about none",
            item: "identify-admission-webhooks",
            fix: "apply what `sallyport webhooks --policies` prints for these policies, or \
                  `--policies-from-cluster --deletions`; a host with --register does it itself"
                .to_owned(),
        }),
        (Some(place), []) => Some(Finding {
            level: Level::Note,
            field: format!("webhooks[{place}].rules"),
            message: "deletions of Services, which none of the policies judges".to_owned(),
            why: "each deletion costs a call, and up to the timeout while no replica answers",
            item: "webhook-limit-scope",
            fix: format!(
                "remove {DELETIONS}, or print the configuration again without --deletions"
            ),
        }),
        _ => None,
    }
}
