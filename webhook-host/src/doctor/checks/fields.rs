//! Checks of single fields of a webhook: timeout, failure policy, side effects and the like.

use super::{At, quoted};
use crate::doctor::webhook::ConfigurationKind;
use crate::doctor::{Finding, Level};

/// The longest recommended timeout in seconds. Mutating webhooks are called one after the other, so
/// their timeouts add up.
const MAX_TIMEOUT: i32 = 5;
/// The API server's default in seconds.
const DEFAULT_TIMEOUT: i32 = 10;

impl At<'_> {
    pub(super) fn timeout(&self) -> Option<Finding> {
        let seconds = self.webhook.timeout_seconds;
        if !(1..=30).contains(&seconds) {
            let texts = (
                seconds.to_string(),
                "an API server refuses it",
                "use a number from 1 to 30, best 1 to 5",
            );
            return Some(self.finding(Level::Error, "timeoutSeconds", "small-timeout", texts));
        }
        let level = if self.webhook.fails_closed() || seconds > DEFAULT_TIMEOUT {
            Level::Warning
        } else {
            Level::Note
        };
        (seconds > MAX_TIMEOUT).then(|| {
            let found = if seconds == DEFAULT_TIMEOUT {
                "10, the \
                default"
                    .to_owned()
            } else {
                seconds.to_string()
            };
            let why = "while the webhook does not answer, each request that it is asked about \
                waits that long";
            self.finding(
                level,
                "timeoutSeconds",
                "small-timeout",
                (
                    found,
                    why,
                    "use 1 to 5 \
                seconds",
                ),
            )
        })
    }

    pub(super) fn failure_policy(&self) -> Option<Finding> {
        let why = "while it does not answer, requests fail that comply with every rule; what it \
            patches can be checked by a validating webhook";
        let texts = (
            "Fail".to_owned(),
            why,
            "set failurePolicy: Ignore, and validate the final state",
        );
        (self.kind == ConfigurationKind::Mutating && self.webhook.fails_closed()).then(|| {
            self.finding(
                Level::Warning,
                "failurePolicy",
                "fail-open-validate-final-state",
                texts,
            )
        })
    }

    pub(super) fn side_effects(&self) -> Option<Finding> {
        let (level, why, fix) = match self.webhook.side_effects.as_str() {
            "None" => return None,
            "NoneOnDryRun" => (
                Level::Note,
                "what it changes elsewhere stays changed when the request fails later",
                "make sure that something reconciles its side effects; without any, say None",
            ),
            _ => (
                Level::Error,
                "an API server refuses it, or every dry run that the webhook is asked about",
                "set sideEffects: None, or NoneOnDryRun where there are some",
            ),
        };
        let texts = (quoted(&self.webhook.side_effects), why, fix);
        Some(self.finding(level, "sideEffects", "avoid-side-effects", texts))
    }

    pub(super) fn match_policy(&self) -> Option<Finding> {
        let why =
            "a request for the same object in another version of its API gets around the webhook";
        let texts = ("Exact".to_owned(), why, "set matchPolicy: Equivalent");
        (self.webhook.match_policy == "Exact")
            .then(|| self.finding(Level::Warning, "matchPolicy", "match-all-versions", texts))
    }

    pub(super) fn reinvocation(&self) -> Option<Finding> {
        let why =
            "mutating webhooks have no order: what another one changes afterwards, it never sees";
        let texts = (
            "Never".to_owned(),
            why,
            "set reinvocationPolicy: IfNeeded, when its patches are idempotent",
        );
        (self.webhook.reinvocation_policy.as_deref() == Some("Never")).then(|| {
            self.finding(
                Level::Note,
                "reinvocationPolicy",
                "dont-rely-webhook-order",
                texts,
            )
        })
    }

    pub(super) fn versions(&self) -> Option<Finding> {
        let versions = &self.webhook.admission_review_versions;
        let why = "API servers speak AdmissionReview v1; one that finds none of its versions fails \
            the webhook";
        let texts = (
            quoted(&versions.join(", ")),
            why,
            "add v1, first, and let the server answer it",
        );
        (!versions.iter().any(|version| version == "v1")).then(|| {
            self.finding(
                Level::Error,
                "admissionReviewVersions",
                "api: ValidatingWebhook.admissionReviewVersions",
                texts,
            )
        })
    }

    pub(super) fn name(&self) -> Option<Finding> {
        let name = &self.webhook.name;
        let label = |part: &str| sallyport_core::manifest::is_label(part);
        let qualified = name.split('.').count() >= 3 && name.split('.').all(label);
        let texts = (
            quoted(name),
            "an API server refuses it",
            "use at least three parts, such as validate.sallyport.dev",
        );
        (!qualified)
            .then(|| self.finding(Level::Error, "name", "api: ValidatingWebhook.name", texts))
    }
}
