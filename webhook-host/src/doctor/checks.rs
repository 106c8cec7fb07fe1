//! The items of the page that a configuration shows, one function each. An item is named by its anchor there.

use super::certificate::{self, Fault};
use super::rule::{asks, has_operation, is_broad, is_namespaced, is_needed_to_start, resources};
use super::webhook::{Configuration, Kind, Webhook};
use super::{Finding, Severity};
use crate::registration::NAME_LABEL;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Every check; those of `all` look at the other configurations, too.
pub(super) fn of(configuration: &Configuration, all: &[Configuration], now: Timestamp) -> Vec<Finding> {
    let mut findings = vec![];
    if configuration.webhooks.is_empty() {
        findings.push(no_webhooks());
    }
    findings.extend(same_names(configuration));
    findings.extend(many_webhooks(configuration));
    for (index, webhook) in configuration.webhooks.iter().enumerate() {
        let at = At { webhook, kind: configuration.kind, path: format!("webhooks[{index}]") };
        findings
            .extend([at.timeout(), at.failure_policy(), at.side_effects(), at.match_policy()].into_iter().flatten());
        findings.extend([at.reinvocation(), at.versions(), at.name(), at.object_selector()].into_iter().flatten());
        findings
            .extend([at.kube_system(), at.own_namespace(), at.conditions(), at.unvalidated(all)].into_iter().flatten());
        findings.extend(at.namespace_label());
        findings.extend(at.condition_errors());
        findings.extend(at.endpoint());
        findings.extend(at.certificate(configuration, now));
        findings.extend(at.rules());
    }
    findings
}

fn no_webhooks() -> Finding {
    Finding {
        severity: Severity::Warning,
        path: "webhooks".to_owned(),
        found: "an empty list".to_owned(),
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
                severity: Severity::Error,
                path: format!("webhooks[{index}].name"),
                found: format!("{:?}, as in webhooks[{first}]", webhook.name),
                why: "an API server refuses a configuration with equal names",
                item: "api: ValidatingWebhook.name",
                fix: "give each webhook a name of its own".to_owned(),
            });
        }
    }
    findings
}

/// More calls that each request may cost.
const MANY: usize = 3;

fn many_webhooks(configuration: &Configuration) -> Option<Finding> {
    let count = configuration.webhooks.len();
    let calls = configuration.kind == Kind::Mutating && count > MANY;
    calls.then(|| Finding {
        severity: Severity::Note,
        path: "webhooks".to_owned(),
        found: format!("{count} mutating webhooks"),
        why: "mutating webhooks are called one after the other, and each adds its time to a request",
        item: "design-admission-webhooks-low-latency",
        fix: "consolidate those that ask about the same resources".to_owned(),
    })
}

/// A webhook and where it stands.
struct At<'a> {
    webhook: &'a Webhook,
    kind: Kind,
    path: String,
}

/// The order of mutating webhooks is nobody's to rely on; their timeouts add up.
const LONG: i32 = 5;
/// What an API server takes when nothing is written.
const DEFAULT_TIMEOUT: i32 = 10;

impl At<'_> {
    fn finding(
        &self,
        severity: Severity,
        field: &str,
        item: &'static str,
        texts: (String, &'static str, &str),
    ) -> Finding {
        let (found, why, fix) = texts;
        let path = if field.is_empty() { self.path.clone() } else { format!("{}.{field}", self.path) };
        Finding { severity, path, found, why, item, fix: fix.to_owned() }
    }

    fn timeout(&self) -> Option<Finding> {
        let seconds = self.webhook.timeout_seconds;
        if !(1..=30).contains(&seconds) {
            let texts = (seconds.to_string(), "an API server refuses it", "use a number from 1 to 30, best 1 to 5");
            return Some(self.finding(Severity::Error, "timeoutSeconds", "small-timeout", texts));
        }
        let severity =
            if self.webhook.fails_closed() || seconds > DEFAULT_TIMEOUT { Severity::Warning } else { Severity::Note };
        (seconds > LONG).then(|| {
            let found = if seconds == DEFAULT_TIMEOUT { "10, the default".to_owned() } else { seconds.to_string() };
            let why = "while the webhook does not answer, each request that it is asked about waits that long";
            self.finding(severity, "timeoutSeconds", "small-timeout", (found, why, "use 1 to 5 seconds"))
        })
    }

    fn failure_policy(&self) -> Option<Finding> {
        let why = "while it does not answer, requests fail that comply with every rule; what it patches can be checked by a validating webhook";
        let texts = ("Fail".to_owned(), why, "set failurePolicy: Ignore, and validate the final state");
        (self.kind == Kind::Mutating && self.webhook.fails_closed())
            .then(|| self.finding(Severity::Warning, "failurePolicy", "fail-open-validate-final-state", texts))
    }

    fn side_effects(&self) -> Option<Finding> {
        let (severity, why, fix) = match self.webhook.side_effects.as_str() {
            "None" => return None,
            "NoneOnDryRun" => (
                Severity::Note,
                "what it changes elsewhere stays changed when the request fails later",
                "make sure that something reconciles its side effects; without any, say None",
            ),
            _ => (
                Severity::Error,
                "an API server refuses it, or every dry run that the webhook is asked about",
                "set sideEffects: None, or NoneOnDryRun where there are some",
            ),
        };
        let texts = (quoted(&self.webhook.side_effects), why, fix);
        Some(self.finding(severity, "sideEffects", "avoid-side-effects", texts))
    }

    fn match_policy(&self) -> Option<Finding> {
        let why = "a request for the same object in another version of its API gets around the webhook";
        let texts = ("Exact".to_owned(), why, "set matchPolicy: Equivalent");
        (self.webhook.match_policy == "Exact")
            .then(|| self.finding(Severity::Warning, "matchPolicy", "match-all-versions", texts))
    }

    fn reinvocation(&self) -> Option<Finding> {
        let why = "mutating webhooks have no order: what another one changes afterwards, it never sees";
        let texts = ("Never".to_owned(), why, "set reinvocationPolicy: IfNeeded, when its patches are idempotent");
        (self.webhook.reinvocation_policy.as_deref() == Some("Never"))
            .then(|| self.finding(Severity::Note, "reinvocationPolicy", "dont-rely-webhook-order", texts))
    }

    fn versions(&self) -> Option<Finding> {
        let versions = &self.webhook.admission_review_versions;
        let why = "API servers speak AdmissionReview v1; one that finds none of its versions fails the webhook";
        let texts = (quoted(&versions.join(", ")), why, "add v1, first, and let the server answer it");
        (!versions.iter().any(|version| version == "v1")).then(|| {
            self.finding(
                Severity::Error,
                "admissionReviewVersions",
                "api: ValidatingWebhook.admissionReviewVersions",
                texts,
            )
        })
    }

    fn name(&self) -> Option<Finding> {
        let name = &self.webhook.name;
        let label = |part: &str| crate::manifest::is_label(part);
        let qualified = name.split('.').count() >= 3 && name.split('.').all(label);
        let texts =
            (quoted(name), "an API server refuses it", "use at least three parts, such as validate.sallyport.dev");
        (!qualified).then(|| self.finding(Severity::Error, "name", "api: ValidatingWebhook.name", texts))
    }

    fn object_selector(&self) -> Option<Finding> {
        let selector = &self.webhook.object_selector;
        let labels = selector.match_labels.iter().flatten().map(|(key, _)| key.as_str());
        let keys: BTreeSet<&str> =
            labels.chain(selector.match_expressions.iter().flatten().map(|e| e.key.as_str())).collect();
        if self.kind != Kind::Validating || keys.is_empty() {
            return None;
        }
        let found = format!("a selector by {}", keys.into_iter().collect::<Vec<_>>().join(", "));
        let why = "who writes the object writes its labels, and so decides whether it is judged";
        let fix = "select by namespace, or exempt users by matchConditions";
        Some(self.finding(Severity::Warning, "objectSelector", "webhook-limit-scope", (found, why, fix)))
    }

    /// Whether a namespace's objects are asked about, as far as its name label tells.
    fn asks_in(&self, namespace: &str) -> bool {
        let selector = &self.webhook.namespace_selector;
        let by_label =
            selector.match_labels.iter().flatten().all(|(key, value)| key != NAME_LABEL || value == namespace);
        let by_expression = selector.match_expressions.iter().flatten().all(|requirement| {
            let listed = requirement.values.iter().flatten().any(|value| value == namespace);
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
            condition.expression.contains("namespace") && named.iter().any(|name| condition.expression.contains(name))
        });
        by_label && by_expression && (by_condition || namespace == "default")
    }

    /// A selector by other labels may leave it out; that can't be seen.
    fn selects_by_other_labels(&self) -> bool {
        let selector = &self.webhook.namespace_selector;
        selector.match_labels.iter().flatten().any(|(key, _)| key != NAME_LABEL)
            || selector.match_expressions.iter().flatten().any(|requirement| requirement.key != NAME_LABEL)
    }

    fn asks_about_namespaced(&self) -> bool {
        self.webhook.rules.iter().any(is_namespaced)
    }

    /// That a namespace is asked about which has to come back to life without the webhook.
    fn of_namespace(&self) -> Severity {
        let needed = self.webhook.rules.iter().any(is_needed_to_start);
        match (self.webhook.fails_closed(), needed && !self.selects_by_other_labels()) {
            (true, true) => Severity::Error,
            (false, true) => Severity::Warning,
            (_, false) => Severity::Note,
        }
    }

    fn kube_system(&self) -> Option<Finding> {
        if !self.asks_about_namespaced() || !self.asks_in("kube-system") {
            return None;
        }
        let severity = self.of_namespace();
        let why =
            "what the cluster itself runs can't be mended while the webhook does not answer, or by what it patches";
        let fix = format!("exclude it: namespaceSelector with {NAME_LABEL} NotIn [kube-system]");
        let texts = ("kube-system is asked about".to_owned(), why, fix.as_str());
        Some(self.finding(severity, "namespaceSelector", "webhook-limit-scope", texts))
    }

    fn own_namespace(&self) -> Option<Finding> {
        let service = self.webhook.client_config.service.as_ref()?;
        if !self.asks_about_namespaced() || !self.asks_in(&service.namespace) {
            return None;
        }
        let severity = self.of_namespace();
        let found = format!("{}, its own namespace, is asked about", service.namespace);
        let why = "once it is down, what it needs to start again waits for its answer";
        let fix = format!("exclude it: namespaceSelector with {NAME_LABEL} NotIn [{}]", service.namespace);
        Some(self.finding(severity, "namespaceSelector", "avoid-self-mutation", (found, why, &fix)))
    }

    /// A label that somebody may take off or put on.
    fn namespace_label(&self) -> Option<Finding> {
        let why = "whoever may label a namespace switches the webhook off for it";
        let found = "a selector by labels other than the namespace's name".to_owned();
        let fix = format!("select by {NAME_LABEL}, which the API server itself writes, or guard the label");
        (self.kind == Kind::Validating && self.selects_by_other_labels())
            .then(|| self.finding(Severity::Note, "namespaceSelector", "webhook-limit-scope", (found, why, &fix)))
    }

    fn conditions(&self) -> Option<Finding> {
        let broad = self.webhook.rules.iter().any(is_broad);
        let why = "every request that matches the rules costs a call";
        let fix =
            "say by CEL which requests matter, e.g. not those of nodes: !('system:nodes' in request.userInfo.groups)";
        let texts = ("none, with rules that match by '*'".to_owned(), why, fix);
        (broad && self.webhook.match_conditions.is_empty())
            .then(|| self.finding(Severity::Note, "matchConditions", "filter-match-conditions", texts))
    }

    /// An optional field that is read without asking for it makes an expression fail.
    fn condition_errors(&self) -> Vec<Finding> {
        const OPTIONAL: [&str; 4] =
            ["metadata.labels", "metadata.annotations", "metadata.deletionTimestamp", "oldObject.metadata"];
        let conditions = self.webhook.match_conditions.iter().enumerate();
        let careless = conditions.filter_map(|(index, condition)| {
            let expression = &condition.expression;
            let guarded = ["has(", "?", "request.operation", "orValue"].iter().any(|guard| expression.contains(guard));
            let field = OPTIONAL.iter().find(|field| expression.contains(**field)).filter(|_| !guarded)?;
            let why = "where the field is missing the expression ends in an error, and an error counts as a webhook that failed";
            let texts = (format!("{field} without has()"), why, "ask for the field first: has(object.metadata.labels) && …");
            let severity = if self.webhook.fails_closed() { Severity::Warning } else { Severity::Note };
            let path = format!("matchConditions[{index}].expression");
            Some(self.finding(severity, &path, "filter-match-conditions", texts))
        });
        careless.collect()
    }

    /// What is patched and never checked.
    fn unvalidated(&self, all: &[Configuration]) -> Option<Finding> {
        let judged = |group: &str, resource: &str| {
            let validating =
                all.iter().filter(|other| other.kind == Kind::Validating).flat_map(|other| &other.webhooks);
            validating.flat_map(|webhook| &webhook.rules).any(|rule| asks(rule, group, resource))
        };
        let unjudged = |rule: &RuleWithOperations| {
            let groups = rule.api_groups.iter().flatten();
            groups
                .into_iter()
                .find_map(|group| resources(rule).find(|resource| !judged(group, resource)).map(str::to_owned))
        };
        if self.kind != Kind::Mutating {
            return None;
        }
        let resource = self.webhook.rules.iter().find_map(unjudged)?;
        let found = format!("{resource} is patched, and judged by no validating webhook among these");
        let why = "a later webhook may undo the patch, and a webhook that fails open does not patch at all";
        let fix = "validate the final state, by a webhook or a ValidatingAdmissionPolicy";
        Some(self.finding(Severity::Note, "rules", "validate-mutations", (found, why, fix)))
    }

    fn endpoint(&self) -> Vec<Finding> {
        let config = &self.webhook.client_config;
        let (severity, field, found, why, fix) = match (&config.service, &config.url) {
            (Some(_), None) => return vec![],
            (None, Some(url)) if !url.starts_with("https://") => (
                Severity::Error,
                "url",
                quoted(url),
                "an API server refuses it: it calls nothing but https",
                "use https",
            ),
            (None, Some(url)) if is_loopback(url) => (
                Severity::Warning,
                "url",
                quoted(url),
                "every machine with an API server would have to run the webhook",
                "run it in the cluster, behind a Service",
            ),
            (None, Some(url)) => (
                Severity::Note,
                "url",
                quoted(url),
                "whether more than one replica answers can't be seen, and the name must resolve from the API server's machine",
                "put a load balancer in front of several replicas, or run it in the cluster behind a Service",
            ),
            (Some(_), Some(_)) | (None, None) => (
                Severity::Error,
                "",
                "service and url, or neither".to_owned(),
                "an API server refuses it",
                "name exactly one of the two",
            ),
        };
        let field = if field.is_empty() { "clientConfig".to_owned() } else { format!("clientConfig.{field}") };
        vec![self.finding(severity, &field, "load-balancer-webhook", (found, why, fix))]
    }

    fn certificate(&self, configuration: &Configuration, now: Timestamp) -> Option<Finding> {
        const ITEM: &str = "api: WebhookClientConfig.caBundle";
        const FIELD: &str = "clientConfig.caBundle";
        let config = &self.webhook.client_config;
        let annotations = configuration.metadata.annotations.iter().flatten();
        let injected = annotations.into_iter().any(|(key, _)| key.contains("inject") && key.contains("ca"));
        let Some(bundle) = config.ca_bundle.as_ref().filter(|bundle| !bundle.0.is_empty()) else {
            let texts = (
                "none".to_owned(),
                "the API server then trusts only its own system's roots, which sign no certificate for a name ending in .svc",
                "give the authority's certificate in PEM, or let cert-manager inject it (cert-manager.io/inject-ca-from)",
            );
            let needed = config.service.is_some() && !injected;
            return needed.then(|| self.finding(Severity::Warning, FIELD, ITEM, texts));
        };
        let (severity, found, why, fix) = match certificate::fault(&bundle.0, now)? {
            Fault::Unreadable(why) if injected => (
                Severity::Note,
                why,
                "until somebody injects one, as an annotation asks for, each call fails",
                "in a cluster, see whether that works",
            ),
            Fault::Unreadable(why) => (
                Severity::Error,
                why,
                "no connection to the webhook can be trusted: each call fails",
                "give the authority's certificate in PEM",
            ),
            Fault::Expired(end) => (
                Severity::Error,
                format!("expired at {end}"),
                "no connection to the webhook can be trusted: each call fails",
                "renew the authority, and the webhook's certificate",
            ),
            Fault::Expiring(end) => (
                Severity::Warning,
                format!("ends at {end}"),
                "from then on each call fails",
                "renew the authority before; put the new certificate beside the old one first",
            ),
        };
        Some(self.finding(severity, FIELD, ITEM, (found, why, fix)))
    }

    fn rules(&self) -> Vec<Finding> {
        let rules = self.webhook.rules.iter().enumerate();
        rules.flat_map(|(index, rule)| self.rule(rule, &format!("rules[{index}]"))).collect()
    }

    fn rule(&self, rule: &RuleWithOperations, path: &str) -> Vec<Finding> {
        let mut findings = vec![];
        if is_broad(rule) {
            let found = format!("{} of {}", shown(rule.resources.as_ref()), shown(rule.api_groups.as_ref()));
            let why = "the webhook answers for parts of the cluster that it knows nothing about";
            let severity = if self.webhook.fails_closed() { Severity::Error } else { Severity::Warning };
            let fix = "name groups and resources";
            findings.push(self.finding(severity, path, "webhook-limit-scope", (found, why, fix)));
        }
        findings.extend(CRITICAL.iter().filter_map(|critical| self.critical(rule, path, critical)));
        if rule.operations.iter().flatten().any(|operation| operation == "*") {
            let why = "DELETE and CONNECT carry no object, and whatever is wrong with one, removing it must work";
            let texts = ("*".to_owned(), why, "name the operations: CREATE and UPDATE, as a rule");
            findings.push(self.finding(Severity::Warning, &format!("{path}.operations"), "webhook-limit-scope", texts));
        }
        findings
    }

    fn critical(&self, rule: &RuleWithOperations, path: &str, critical: &Critical) -> Option<Finding> {
        let Critical { group, resource, why, item, namespace, reads } = critical;
        let spared = namespace.is_some_and(|namespace| !self.asks_in(namespace));
        let writes = *reads || ["CREATE", "UPDATE"].iter().any(|operation| has_operation(rule, operation));
        if spared || !writes || !asks(rule, group, resource) {
            return None;
        }
        // What exactly it lets pass, only an evaluation would tell.
        let is_named = self.webhook.match_conditions.iter().any(|condition| {
            let names = |word: &str| !word.is_empty() && condition.expression.contains(word);
            names(resource) || names(group) || names("system:nodes")
        });
        let severity = match self.webhook.fails_closed() || *reads {
            _ if is_named => Severity::Note,
            true => Severity::Error,
            false => Severity::Warning,
        };
        let fix = match namespace {
            _ if is_named => format!("see that the match condition which names it leaves {resource} out"),
            Some(namespace) => format!("leave {resource} out, or exclude {namespace} by its name label"),
            None => format!("leave {resource} out"),
        };
        let found = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
        Some(self.finding(severity, path, item, (found, why, &fix)))
    }
}

/// A resource that no webhook should be asked about, or not in this namespace.
struct Critical {
    group: &'static str,
    resource: &'static str,
    why: &'static str,
    item: &'static str,
    namespace: Option<&'static str>,
    /// Requests for it only read.
    reads: bool,
}

const fn review(resource: &'static str, group: &'static str) -> Critical {
    Critical {
        group,
        resource,
        why: "such requests ask who somebody is or what they may do; intercepting them may break the cluster",
        item: "webhook-limit-scope",
        namespace: None,
        reads: true,
    }
}

const fn webhook(resource: &'static str) -> Critical {
    Critical {
        group: "admissionregistration.k8s.io",
        resource,
        why: "webhooks that guard webhooks can wait for each other; API servers never ask about them, so the rule is void at best",
        item: "avoid-dependency-loops",
        namespace: None,
        reads: false,
    }
}

const CRITICAL: [Critical; 9] = [
    Critical {
        group: "coordination.k8s.io",
        resource: "leases",
        why: "nodes renew their leases by it: one that can't is taken for dead, and upgrades fail",
        item: "webhook-limit-scope",
        namespace: Some("kube-node-lease"),
        reads: false,
    },
    Critical {
        group: "",
        resource: "nodes",
        why: "kubelets write their Nodes all the time; a webhook that does not answer makes the nodes NotReady",
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

/// Whether a URL leads to the machine that calls it.
fn is_loopback(url: &str) -> bool {
    let authority = url.trim_start_matches("https://").split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(':').unwrap_or(authority);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn shown(names: Option<&Vec<String>>) -> String {
    let names: Vec<_> = names.into_iter().flatten().map(|name| quoted(name)).collect();
    names.join(", ")
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
