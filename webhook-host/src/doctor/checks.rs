//! The items of the page that a configuration can violate, one function each, named by the item's
//! anchor. This file has the items of a configuration as a whole; the files of `checks/` have those
//! of one webhook, by subject.

mod endpoint;
mod fields;
mod rules;
mod scope;
mod static_manifest;

use super::webhook::{Configuration, ConfigurationKind, Webhook};
use super::{Finding, Level};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Runs every check. `all` are the configurations to compare with.
pub(super) fn run(
    configuration: &Configuration,
    all: &[Configuration],
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = vec![];
    if configuration.webhooks.is_empty() {
        findings.push(no_webhooks());
    }
    findings.extend(same_names(configuration));
    findings.extend(many_webhooks(configuration));
    findings.extend(static_manifest::findings(configuration, all));
    for (index, webhook) in configuration.webhooks.iter().enumerate() {
        let at = At {
            webhook,
            kind: configuration.kind,
            path: format!("webhooks[{index}]"),
        };
        findings.extend(
            [
                at.timeout(),
                at.failure_policy(),
                at.side_effects(),
                at.match_policy(),
            ]
            .into_iter()
            .flatten(),
        );
        findings.extend(
            [
                at.reinvocation(),
                at.versions(),
                at.name(),
                at.object_selector(),
            ]
            .into_iter()
            .flatten(),
        );
        findings.extend(
            [
                at.kube_system(),
                at.own_namespace(),
                at.conditions(),
                at.unvalidated(all),
            ]
            .into_iter()
            .flatten(),
        );
        findings.extend(at.namespace_label());
        findings.extend(at.condition_errors());
        findings.extend(at.endpoint(configuration));
        findings.extend(at.certificate(configuration, now));
        findings.extend(at.rules());
    }
    findings
}

fn no_webhooks() -> Finding {
    Finding {
        level: Level::Warning,
        field: "webhooks".to_owned(),
        message: "an empty list".to_owned(),
        why: "nothing is ever asked",
        item: "identify-admission-webhooks",
        fix: "add a webhook, or delete the configuration".to_owned(),
    }
}

fn same_names(configuration: &Configuration) -> Vec<Finding> {
    let mut seen = BTreeMap::new();
    let mut findings = vec![];
    for (index, webhook) in configuration.webhooks.iter().enumerate() {
        if let Some(first) = seen.insert(webhook.name.as_str(), index) {
            findings.push(Finding {
                level: Level::Error,
                field: format!("webhooks[{index}].name"),
                message: format!("{:?}, as in webhooks[{first}]", webhook.name),
                why: "an API server refuses a configuration with equal names",
                item: "api: ValidatingWebhook.name",
                fix: "give each webhook a name of its own".to_owned(),
            });
        }
    }
    findings
}

/// The most mutating webhooks that a configuration may have without a finding.
const MAX_WEBHOOKS: usize = 3;

fn many_webhooks(configuration: &Configuration) -> Option<Finding> {
    let count = configuration.webhooks.len();
    let calls = configuration.kind == ConfigurationKind::Mutating && count > MAX_WEBHOOKS;
    calls.then(|| Finding {
        level: Level::Note,
        field: "webhooks".to_owned(),
        message: format!("{count} mutating webhooks"),
        why: "mutating webhooks are called one after the other, and each adds its time to a \
            request",
        item: "design-admission-webhooks-low-latency",
        fix: "consolidate those that ask about the same resources".to_owned(),
    })
}

/// A webhook and its path in the configuration.
struct At<'a> {
    webhook: &'a Webhook,
    kind: ConfigurationKind,
    path: String,
}

impl At<'_> {
    fn finding(
        &self,
        level: Level,
        field: &str,
        item: &'static str,
        texts: (String, &'static str, &str),
    ) -> Finding {
        let (found, why, fix) = texts;
        let path = if field.is_empty() {
            self.path.clone()
        } else {
            format!("{}.{field}", self.path)
        };
        Finding {
            level,
            field: path,
            message: found,
            why,
            item,
            fix: fix.to_owned(),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
