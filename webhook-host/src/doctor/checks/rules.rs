//! Checks of a webhook's rules: resources that are too many, that a cluster depends on, or that are
//! patched and never validated.

use super::{At, quoted};
use crate::doctor::rule::{asks, has_operation, is_broad, is_namespaced, resources};
use crate::doctor::webhook::{Configuration, ConfigurationKind};
use crate::doctor::{Finding, Level};
use crate::webhooks::registration::DELETIONS;
use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;

impl At<'_> {
    /// Reports resources that are patched and never validated.
    pub(super) fn unvalidated(&self, all: &[Configuration]) -> Option<Finding> {
        let judged = |group: &str, resource: &str| {
            let validating = all
                .iter()
                .filter(|other| other.kind == ConfigurationKind::Validating)
                .flat_map(|other| &other.webhooks);
            validating
                .flat_map(|webhook| &webhook.rules)
                .any(|rule| asks(rule, group, resource))
        };
        let unjudged = |rule: &RuleWithOperations| {
            let groups = rule.api_groups.iter().flatten();
            groups.into_iter().find_map(|group| {
                resources(rule)
                    .find(|resource| !judged(group, resource))
                    .map(str::to_owned)
            })
        };
        if self.kind != ConfigurationKind::Mutating {
            return None;
        }
        let resource = self.webhook.rules.iter().find_map(unjudged)?;
        let found =
            format!("{resource} is patched, and judged by no validating webhook among these");
        let why = "a later webhook may undo the patch, and a webhook that fails open does not \
            patch at all";
        let fix = "validate the final state, by a webhook or a ValidatingAdmissionPolicy";
        Some(self.finding(
            Level::Note,
            "rules",
            "validate-mutations",
            (found, why, fix),
        ))
    }

    pub(super) fn rules(&self) -> Vec<Finding> {
        let rules = self.webhook.rules.iter().enumerate();
        rules
            .flat_map(|(index, rule)| self.rule(rule, &format!("rules[{index}]")))
            .collect()
    }

    fn rule(&self, rule: &RuleWithOperations, path: &str) -> Vec<Finding> {
        let critical = || {
            CRITICAL
                .iter()
                .filter(|critical| self.asks_critical(rule, critical))
        };
        let mut findings: Vec<_> = match is_broad(rule) {
            true => vec![self.broad(rule, path, critical())],
            false => critical()
                .map(|critical| self.critical(path, critical))
                .collect(),
        };
        if rule
            .operations
            .iter()
            .flatten()
            .any(|operation| operation == "*")
        {
            let why = "DELETE and CONNECT carry no object, and whatever is wrong with one, \
                removing it must work";
            let texts = (
                "*".to_owned(),
                why,
                "name the operations: CREATE and UPDATE, as a rule",
            );
            findings.push(self.finding(
                Level::Warning,
                &format!("{path}.operations"),
                "webhook-limit-scope",
                texts,
            ));
        }
        findings.extend(self.deletions(rule, path));
        findings
    }

    /// Reports deletions that wait for a webhook which fails closed.
    fn deletions(&self, rule: &RuleWithOperations, path: &str) -> Option<Finding> {
        let operations = || rule.operations.iter().flatten();
        let asks = operations().any(|operation| operation == "DELETE")
            && is_namespaced(rule)
            && self.webhook.fails_closed();
        let level = if self.webhook.name == DELETIONS {
            Level::Error
        } else {
            Level::Warning
        };
        let why = "while it does not answer, nothing that it is asked about can be deleted, and \
            namespaces that hold it are never gone";
        let fix = "ask about DELETE in a webhook of its own, with failurePolicy: Ignore";
        let texts = ("DELETE, and it fails closed".to_owned(), why, fix);
        let field = format!("{path}.operations");
        asks.then(|| self.finding(level, &field, "webhook-limit-scope", texts))
    }

    /// Returns at most one finding for a wildcard, because all resources that it includes have the
    /// same fix.
    fn broad<'a>(
        &self,
        rule: &RuleWithOperations,
        path: &str,
        critical: impl Iterator<Item = &'a CriticalResource>,
    ) -> Finding {
        let mut level = match self.webhook.fails_closed() {
            true => Level::Error,
            false => Level::Warning,
        };
        let mut found = format!(
            "{} of {}",
            shown(rule.resources.as_ref()),
            shown(rule.api_groups.as_ref())
        );
        for (index, critical) in critical.enumerate() {
            found += if index == 0 {
                ", which includes "
            } else {
                ", "
            };
            found += &critical.name();
            level = level.min(self.level(critical));
        }
        let why = "the webhook answers for parts of the cluster that it knows nothing about";
        let texts = (found, why, "name groups and resources");
        self.finding(level, path, "webhook-limit-scope", texts)
    }

    fn asks_critical(&self, rule: &RuleWithOperations, critical: &CriticalResource) -> bool {
        let is_spared = critical
            .namespace
            .is_some_and(|namespace| !self.asks_in(namespace));
        let writes = ["CREATE", "UPDATE"]
            .iter()
            .any(|operation| has_operation(rule, operation));
        !is_spared && (critical.reads || writes) && asks(rule, critical.group, critical.resource)
    }

    /// Returns true if a match condition names it. Only an evaluation could say which requests
    /// pass.
    fn is_named(&self, critical: &CriticalResource) -> bool {
        self.webhook.match_conditions.iter().any(|condition| {
            let names = |word: &str| !word.is_empty() && condition.expression.contains(word);
            names(critical.resource) || names(critical.group) || names("system:nodes")
        })
    }

    fn level(&self, critical: &CriticalResource) -> Level {
        match self.webhook.fails_closed() || critical.reads {
            _ if self.is_named(critical) => Level::Note,
            true => Level::Error,
            false => Level::Warning,
        }
    }

    fn critical(&self, path: &str, critical: &CriticalResource) -> Finding {
        let CriticalResource {
            resource,
            why,
            item,
            namespace,
            ..
        } = critical;
        let fix = match namespace {
            _ if self.is_named(critical) => {
                format!("see that the match condition which names it leaves {resource} out")
            }
            Some(namespace) => {
                format!("leave {resource} out, or exclude {namespace} by its name label")
            }
            None => format!("leave {resource} out"),
        };
        self.finding(
            self.level(critical),
            path,
            item,
            (critical.name(), why, &fix),
        )
    }
}

/// A resource that no webhook should match, or not in this namespace.
struct CriticalResource {
    group: &'static str,
    resource: &'static str,
    why: &'static str,
    item: &'static str,
    namespace: Option<&'static str>,
    /// True when its requests only read.
    reads: bool,
}

impl CriticalResource {
    /// `leases.coordination.k8s.io`.
    fn name(&self) -> String {
        match self.group {
            "" => self.resource.to_owned(),
            group => format!("{}.{group}", self.resource),
        }
    }
}

const fn review(resource: &'static str, group: &'static str) -> CriticalResource {
    CriticalResource {
        group,
        resource,
        why: "such requests ask who somebody is or what they may do; intercepting them may break \
            the cluster",
        item: "webhook-limit-scope",
        namespace: None,
        reads: true,
    }
}

const fn webhook(resource: &'static str) -> CriticalResource {
    CriticalResource {
        group: "admissionregistration.k8s.io",
        resource,
        why: "webhooks that guard webhooks can wait for each other; API servers never ask about \
            them, so the rule is void at best",
        item: "avoid-dependency-loops",
        namespace: None,
        reads: false,
    }
}

const CRITICAL: [CriticalResource; 9] = [
    CriticalResource {
        group: "coordination.k8s.io",
        resource: "leases",
        why: "nodes renew their leases by it: one that can't is taken for dead, and upgrades fail",
        item: "webhook-limit-scope",
        namespace: Some("kube-node-lease"),
        reads: false,
    },
    CriticalResource {
        group: "",
        resource: "nodes",
        why: "kubelets write their Nodes all the time; a webhook that does not answer makes the \
            nodes NotReady",
        item: "ha-deployment",
        namespace: None,
        reads: false,
    },
    review("tokenreviews", "authentication.k8s.io"),
    review("selfsubjectreviews", "authentication.k8s.io"),
    review("subjectaccessreviews", "authorization.k8s.io"),
    review("selfsubjectaccessreviews", "authorization.k8s.io"),
    review("localsubjectaccessreviews", "authorization.k8s.io"),
    webhook("mutatingwebhookconfigurations"),
    webhook("validatingwebhookconfigurations"),
];

fn shown(names: Option<&Vec<String>>) -> String {
    let names: Vec<_> = names
        .into_iter()
        .flatten()
        .map(|name| quoted(name))
        .collect();
    names.join(", ")
}
