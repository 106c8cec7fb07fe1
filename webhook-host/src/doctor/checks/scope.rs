//! Checks of a webhook's selectors and match conditions: objects that it should not be called for,
//! above all those that the cluster needs to recover.

use super::At;
use crate::doctor::Finding;
use crate::doctor::Level;
use crate::doctor::rule::{is_broad, is_namespaced, is_needed_to_start};
use crate::doctor::webhook::ConfigurationKind;
use sallyport_core::inventory::NAME_LABEL;
use std::collections::BTreeSet;

impl At<'_> {
    pub(super) fn object_selector(&self) -> Option<Finding> {
        let selector = &self.webhook.object_selector;
        let labels = selector
            .match_labels
            .iter()
            .flatten()
            .map(|(key, _)| key.as_str());
        let keys: BTreeSet<&str> = labels
            .chain(
                selector
                    .match_expressions
                    .iter()
                    .flatten()
                    .map(|e| e.key.as_str()),
            )
            .collect();
        if self.kind != ConfigurationKind::Validating || keys.is_empty() {
            return None;
        }
        let found = format!(
            "a selector by {}",
            keys.into_iter().collect::<Vec<_>>().join(", ")
        );
        let why = "who writes the object writes its labels, and so decides whether it is judged";
        let fix = "select by namespace, or exempt users by matchConditions";
        Some(self.finding(
            Level::Warning,
            "objectSelector",
            "webhook-limit-scope",
            (found, why, fix),
        ))
    }

    /// Returns true when objects of a namespace match, judged by its name label alone.
    pub(super) fn asks_in(&self, namespace: &str) -> bool {
        let selector = &self.webhook.namespace_selector;
        let by_label = selector
            .match_labels
            .iter()
            .flatten()
            .all(|(key, value)| key != NAME_LABEL || value == namespace);
        let by_expression = selector
            .match_expressions
            .iter()
            .flatten()
            .all(|requirement| {
                let listed = requirement
                    .values
                    .iter()
                    .flatten()
                    .any(|value| value == namespace);
                match requirement.operator.as_str() {
                    _ if requirement.key != NAME_LABEL => true,
                    "In" => listed,
                    "NotIn" => !listed,
                    operator => operator == "Exists",
                }
            });
        let conditions = &self.webhook.match_conditions;
        let named = [format!("'{namespace}'"), format!("\"{namespace}\"")];
        let by_condition = !conditions.iter().any(|condition| {
            condition.expression.contains("namespace")
                && named.iter().any(|name| condition.expression.contains(name))
        });
        by_label && by_expression && (by_condition || namespace == "default")
    }

    /// Returns true for a selector by other labels. It may exclude the namespace, which the
    /// configuration does not show.
    fn selects_by_other_labels(&self) -> bool {
        let selector = &self.webhook.namespace_selector;
        selector
            .match_labels
            .iter()
            .flatten()
            .any(|(key, _)| key != NAME_LABEL)
            || selector
                .match_expressions
                .iter()
                .flatten()
                .any(|requirement| requirement.key != NAME_LABEL)
    }

    fn asks_about_namespaced(&self) -> bool {
        self.webhook.rules.iter().any(is_namespaced)
    }

    /// Finds namespaces that must come back to life without the webhook, and that it is asked
    /// about.
    fn of_namespace(&self) -> Level {
        let needed = self.webhook.rules.iter().any(is_needed_to_start);
        match (
            self.webhook.fails_closed(),
            needed && !self.selects_by_other_labels(),
        ) {
            (true, true) => Level::Error,
            (false, true) => Level::Warning,
            (_, false) => Level::Note,
        }
    }

    pub(super) fn kube_system(&self) -> Option<Finding> {
        if !self.asks_about_namespaced() || !self.asks_in("kube-system") {
            return None;
        }
        let level = self.of_namespace();
        let why = "what the cluster itself runs can't be mended while the webhook does not answer, \
            or by what it patches";
        let fix = format!("exclude it: namespaceSelector with {NAME_LABEL} NotIn [kube-system]");
        let texts = ("kube-system is asked about".to_owned(), why, fix.as_str());
        Some(self.finding(level, "namespaceSelector", "webhook-limit-scope", texts))
    }

    pub(super) fn own_namespace(&self) -> Option<Finding> {
        let service = self.webhook.client_config.service.as_ref()?;
        if !self.asks_about_namespaced() || !self.asks_in(&service.namespace) {
            return None;
        }
        let level = self.of_namespace();
        let found = format!("{}, its own namespace, is asked about", service.namespace);
        let why = "once it is down, what it needs to start again waits for its answer";
        let fix = format!(
            "exclude it: namespaceSelector with {NAME_LABEL} NotIn [{}]",
            service.namespace
        );
        Some(self.finding(
            level,
            "namespaceSelector",
            "avoid-self-mutation",
            (found, why, &fix),
        ))
    }

    /// Reports a selector by a label that somebody may add or remove.
    pub(super) fn namespace_label(&self) -> Option<Finding> {
        let why = "every user who may label a namespace can switch the webhook off for it";
        let found = "a selector by labels other than the namespace's name".to_owned();
        let fix = format!(
            "select by {NAME_LABEL}, which the API server itself writes, or guard the label"
        );
        (self.kind == ConfigurationKind::Validating && self.selects_by_other_labels()).then(|| {
            self.finding(
                Level::Note,
                "namespaceSelector",
                "webhook-limit-scope",
                (found, why, &fix),
            )
        })
    }

    pub(super) fn conditions(&self) -> Option<Finding> {
        let broad = self.webhook.rules.iter().any(is_broad);
        let why = "every request that matches the rules costs a call";
        let fix = "say by CEL which requests matter, e.g. not those of nodes: !('system:nodes' in \
            request.userInfo.groups)";
        let texts = ("none, with rules that match by '*'".to_owned(), why, fix);
        (broad && self.webhook.match_conditions.is_empty()).then(|| {
            self.finding(
                Level::Note,
                "matchConditions",
                "filter-match-conditions",
                texts,
            )
        })
    }

    /// Reports conditions that read an optional field unguarded, which makes the expression fail.
    pub(super) fn condition_errors(&self) -> Vec<Finding> {
        const OPTIONAL: [&str; 4] = [
            "metadata.labels",
            "metadata.annotations",
            "metadata.deletionTimestamp",
            "oldObject.metadata",
        ];
        let conditions = self.webhook.match_conditions.iter().enumerate();
        let careless = conditions.filter_map(|(index, condition)| {
            let expression = &condition.expression;
            let guarded = ["has(", "?", "request.operation", "orValue"]
                .iter()
                .any(|guard| expression.contains(guard));
            let field = OPTIONAL
                .iter()
                .find(|field| expression.contains(**field))
                .filter(|_| !guarded)?;
            let why = "where the field is missing the expression ends in an error, and an error \
                counts as a webhook that failed";
            let texts = (
                format!("{field} without has()"),
                why,
                "ask for the field first: \
                has(object.metadata.labels) && …",
            );
            let level = if self.webhook.fails_closed() {
                Level::Warning
            } else {
                Level::Note
            };
            let path = format!("matchConditions[{index}].expression");
            Some(self.finding(level, &path, "filter-match-conditions", texts))
        });
        careless.collect()
    }
}
