//! Checks of static manifests (KEP-5793): configurations that API servers load from their own disk,
//! known by the end of their names.

use crate::doctor::webhook::{Configuration, Webhook};
use crate::doctor::{Finding, Level};
use crate::webhooks::static_manifests::SUFFIX;

const ITEM: &str = "api: AdmissionConfiguration staticManifestsDir";

pub(super) fn is_static(configuration: &Configuration) -> bool {
    configuration.name.ends_with(SUFFIX)
}

/// Checks one static configuration, with the registered ones among `all`.
pub(super) fn findings(configuration: &Configuration, all: &[Configuration]) -> Vec<Finding> {
    if !is_static(configuration) {
        return vec![];
    }
    let webhooks = configuration.webhooks.iter().enumerate();
    webhooks
        .flat_map(|(index, webhook)| {
            let path = format!("webhooks[{index}]");
            let findings = [
                service(webhook, &path),
                fails_closed(webhook, &path),
                asked_twice(configuration, webhook, &path, all),
            ];
            findings.into_iter().flatten()
        })
        .collect()
}

fn service(webhook: &Webhook, path: &str) -> Option<Finding> {
    webhook.client_config.service.as_ref().map(|_| Finding {
        level: Level::Error,
        field: format!("{path}.clientConfig.service"),
        message: "a Service".to_owned(),
        why: "an API server does not start with a static manifest that refers to a Service",
        item: ITEM,
        fix: "give a url that the API server's machine reaches, such as https://127.0.0.1:8443"
            .to_owned(),
    })
}

fn fails_closed(webhook: &Webhook, path: &str) -> Option<Finding> {
    webhook.fails_closed().then(|| Finding {
        level: Level::Warning,
        field: format!("{path}.failurePolicy"),
        message: "Fail".to_owned(),
        why: "it holds from the first request of an API server on, and can't be removed by the \
            API: until the host answers, nobody can change what it is asked about",
        item: ITEM,
        fix: "set Ignore, and put static ValidatingAdmissionPolicies beside it".to_owned(),
    })
}

/// Finds a registered webhook by the same name, which is asked about the same requests.
fn asked_twice(
    configuration: &Configuration,
    webhook: &Webhook,
    path: &str,
    all: &[Configuration],
) -> Option<Finding> {
    let registered = all
        .iter()
        .filter(|other| other.kind == configuration.kind && !is_static(other));
    let mut twins = registered.filter(|other| {
        let mut names = other.webhooks.iter().map(|other| &other.name);
        names.any(|name| *name == webhook.name)
    });
    twins.next().map(|twin| Finding {
        level: Level::Warning,
        field: format!("{path}.name"),
        message: format!(
            "{:?}, which {} has registered, too",
            webhook.name, twin.name
        ),
        why: "the host is asked twice about each request",
        item: ITEM,
        fix: format!(
            "run hosts without --register and delete the {} {}, or remove the static one",
            twin.kind.name(),
            twin.name
        ),
    })
}
