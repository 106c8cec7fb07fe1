//! Makes webhook configurations from the loaded policies: the requests that API servers send to the
//! host, and those that they never send. Pure functions; the registrar and `sallyport webhooks`
//! call them.
//!
//! Invariants:
//!
//! - A failing host never blocks what a cluster needs to come back. Its own namespace, kube-system
//!   and kube-node-lease are excluded by the namespace's name label, which the API server itself
//!   writes.
//! - Deletions have a webhook of their own, which fails open and exists only while a known policy
//!   asks about them: a deletion must work, whatever else does not.
//! - No match condition ends in an error, since the API server treats an error as a failure of the
//!   webhook: every optional field is guarded by `has`.

mod endpoint;

pub use super::cel::Condition;
pub use endpoint::{BadEndpoint, BaseUrl, CaBundle, Endpoint};

use super::cel;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
    ValidatingWebhook, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use sallyport_core::contract::review::{Operation, Phase, Resource};
use sallyport_core::inventory::NAME_LABEL;
use sallyport_core::manifest::{API_VERSION, Exemptions, Mode};
use sallyport_core::policy::Policy;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The timeouts in seconds. An evaluation takes well under a millisecond. When a call takes
/// seconds, the connection is lost, and every write to a Service waits for the timeout. Mutating
/// webhooks are called one after the other, so theirs is shorter.
const MUTATING_TIMEOUT: i32 = 2;
const VALIDATING_TIMEOUT: i32 = 3;

/// In seconds. ServicePolicies are written rarely, and the component may have to be compiled first.
/// A call that takes longer lets the object pass.
const POLICIES_TIMEOUT: i32 = 5;

/// The default name of the configurations.
pub const NAME: &str = "sallyport";

/// The names of the webhooks in every configuration, by which a registration is recognized.
pub const WEBHOOKS: [&str; 4] = [MUTATING, VALIDATING, DELETIONS, POLICIES];
/// The name of the webhook for deletions.
pub const DELETIONS: &str = "delete.sallyport.dev";
/// The name of the webhook that validates creations and updates.
pub const VALIDATING: &str = "validate.sallyport.dev";
const MUTATING: &str = "mutate.sallyport.dev";
const POLICIES: &str = "policies.sallyport.dev";

/// The options of a registration.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the validating and the mutating configuration.
    pub name: String,
    /// The address of the host.
    pub endpoint: Endpoint,
    /// The authorities of the host's certificate; `None` when somebody else writes them, or the
    /// system's roots apply.
    pub ca_bundle: Option<CaBundle>,
    /// The `failurePolicy` of the validating webhook for creations and updates.
    pub on_failure: OnFailure,
    /// True when kube-system is reviewed, too, unless the exemptions say otherwise.
    pub include_kube_system: bool,
    /// True when the host serves ServicePolicies of the cluster, too. Any policy may come then, so
    /// all writes that a policy can match are sent. Deletions are sent for known policies only.
    pub policies_from_cluster: bool,
    /// True when deletions are sent, whatever the known policies ask for.
    pub deletions: bool,
    /// True when the API server supports match conditions (1.28 and later).
    pub match_conditions: bool,
}

/// The `failurePolicy` of the webhook for creations and updates; all others are `Ignore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The request is refused.
    Fail,
    /// The request is allowed.
    Ignore,
}

impl OnFailure {
    fn name(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Ignore => "Ignore",
        }
    }
}

/// The policies and exemptions that a registration is made from.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// The loaded policies. A broken one matches every request.
    pub policies: &'a [Arc<Policy>],
    /// Their candidates. The requests that they match are sent, too, or else they would be tried on
    /// fewer requests than they will review.
    pub candidates: &'a [Arc<Policy>],
    /// The exemptions of the HostConfig.
    pub exemptions: &'a Exemptions,
    /// Everything else.
    pub options: &'a Options,
}

impl Registration<'_> {
    /// Returns the mutating configuration; `None` when no policy patches.
    pub fn mutating(&self) -> Option<MutatingWebhookConfiguration> {
        let rules = self.rules(Phase::Mutating);
        let webhook = MutatingWebhook {
            name: MUTATING.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self
                .options
                .endpoint
                .client_config("mutate", self.options.ca_bundle.as_ref()),
            failure_policy: Some(OnFailure::Ignore.name().to_owned()),
            match_conditions: conditions(self.conditions()),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(self.namespace_selector()),
            reinvocation_policy: Some("IfNeeded".to_owned()),
            rules: Some(rules),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(MUTATING_TIMEOUT),
            ..MutatingWebhook::default()
        };
        let asks = webhook
            .rules
            .as_ref()
            .is_some_and(|rules| !rules.is_empty());
        asks.then(|| MutatingWebhookConfiguration {
            metadata: self.metadata(),
            webhooks: Some(vec![webhook]),
        })
    }

    /// Returns the validating configuration; `None` when no policy validates.
    pub fn validating(&self) -> Option<ValidatingWebhookConfiguration> {
        let writes = self.rules(Phase::Validating);
        let deletions = self.asks_of_deletions().then(|| self.of_deletions());
        let webhooks: Vec<_> = (!writes.is_empty())
            .then(|| self.of_writes(writes))
            .into_iter()
            .chain(deletions)
            .collect();
        (!webhooks.is_empty()).then(|| ValidatingWebhookConfiguration {
            metadata: self.metadata(),
            webhooks: Some(webhooks),
        })
    }

    /// Returns true when the validating configuration has a webhook for deletions: a known policy
    /// or candidate asks about them, or the options say so.
    pub fn asks_of_deletions(&self) -> bool {
        let mut all = self.policies.iter().chain(self.candidates);
        self.options.deletions || all.any(|policy| policy.asks_of_deletions())
    }

    fn of_writes(&self, rules: Vec<RuleWithOperations>) -> ValidatingWebhook {
        ValidatingWebhook {
            name: VALIDATING.to_owned(),
            failure_policy: Some(self.options.on_failure.name().to_owned()),
            match_conditions: conditions(self.conditions()),
            rules: Some(rules),
            ..self.calling_validate()
        }
    }

    /// Returns the webhook for deletions. It fails open. Where the API server supports match
    /// conditions, requests that only finish a deletion are not sent.
    fn of_deletions(&self) -> ValidatingWebhook {
        ValidatingWebhook {
            name: DELETIONS.to_owned(),
            failure_policy: Some(OnFailure::Ignore.name().to_owned()),
            match_conditions: conditions(self.conditions_of_deletions()),
            rules: Some(vec![rule("services", vec!["DELETE".to_owned()])]),
            ..self.calling_validate()
        }
    }

    /// Returns the fields that the webhooks for writes and for deletions have in common.
    fn calling_validate(&self) -> ValidatingWebhook {
        ValidatingWebhook {
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self
                .options
                .endpoint
                .client_config("validate", self.options.ca_bundle.as_ref()),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(self.namespace_selector()),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(VALIDATING_TIMEOUT),
            ..ValidatingWebhook::default()
        }
    }

    /// Returns the configuration that refuses ServicePolicies which can't be loaded; `None` when
    /// those of the cluster are not served. It is an object of its own, so that it can be deleted
    /// alone. It helps authors and protects nothing, so it fails open and never blocks a deletion.
    pub fn policies(&self) -> Option<ValidatingWebhookConfiguration> {
        let (group, version) = API_VERSION.split_once('/').unwrap_or_default();
        let rule = RuleWithOperations {
            api_groups: Some(vec![group.to_owned()]),
            api_versions: Some(vec![version.to_owned()]),
            operations: Some(vec!["CREATE".to_owned(), "UPDATE".to_owned()]),
            resources: Some(vec!["servicepolicies".to_owned()]),
            scope: Some("Cluster".to_owned()),
        };
        let webhook = ValidatingWebhook {
            name: POLICIES.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self
                .options
                .endpoint
                .client_config("validate-policies", self.options.ca_bundle.as_ref()),
            failure_policy: Some(OnFailure::Ignore.name().to_owned()),
            match_policy: Some("Equivalent".to_owned()),
            rules: Some(vec![rule]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(POLICIES_TIMEOUT),
            ..ValidatingWebhook::default()
        };
        let metadata = ObjectMeta {
            name: Some(policies_name(&self.options.name)),
            ..ObjectMeta::default()
        };
        let configuration = ValidatingWebhookConfiguration {
            metadata,
            webhooks: Some(vec![webhook]),
        };
        self.options.policies_from_cluster.then_some(configuration)
    }

    /// Returns the namespaces whose requests API servers never send.
    pub fn excluded_namespaces(&self) -> BTreeSet<String> {
        let mut excluded: BTreeSet<_> = self
            .exemptions
            .namespaces
            .iter()
            .map(|namespace| namespace.as_str().to_owned())
            .collect();
        excluded.insert("kube-node-lease".to_owned());
        if !self.options.include_kube_system {
            excluded.insert("kube-system".to_owned());
        }
        if let Endpoint::Service { namespace, .. } = &self.options.endpoint {
            excluded.insert(namespace.clone());
        }
        excluded
    }

    /// Returns the match conditions for writes: requests that fail one are never sent, where the
    /// API server supports match conditions.
    pub fn conditions(&self) -> Vec<Condition> {
        if self.options.match_conditions {
            cel::conditions(self.exemptions)
        } else {
            vec![]
        }
    }

    /// Returns the match conditions for deletions.
    fn conditions_of_deletions(&self) -> Vec<Condition> {
        if self.options.match_conditions {
            cel::conditions_of_deletions(self.exemptions)
        } else {
            vec![]
        }
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.options.name.clone()),
            ..ObjectMeta::default()
        }
    }

    fn namespace_selector(&self) -> LabelSelector {
        let not_in = LabelSelectorRequirement {
            key: NAME_LABEL.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(self.excluded_namespaces().into_iter().collect()),
        };
        LabelSelector {
            match_expressions: Some(vec![not_in]),
            ..LabelSelector::default()
        }
    }

    /// Returns the rules for one phase. Resources with the same operations share a rule.
    fn rules(&self, phase: Phase) -> Vec<RuleWithOperations> {
        let mut rules: Vec<RuleWithOperations> = vec![];
        for (resource, name) in [
            (Resource::Services, "services"),
            (Resource::ServicesStatus, "services/status"),
        ] {
            let operations = self.operations(phase, resource);
            let same = rules
                .iter_mut()
                .find(|rule| rule.operations.as_ref() == Some(&operations));
            match same.and_then(|rule| rule.resources.as_mut()) {
                _ if operations.is_empty() => {}
                Some(resources) => resources.push(name.to_owned()),
                None => rules.push(rule(name, operations)),
            }
        }
        rules
    }

    fn operations(&self, phase: Phase, resource: Resource) -> Vec<String> {
        let wanted = |operation| {
            // Only some users may set the break-glass annotation, whatever the policies' `about`
            // covers.
            let guards = phase == Phase::Validating
                && self.exemptions.break_glass.is_some()
                && !self.policies.is_empty();
            let any =
                (self.options.policies_from_cluster || guards) && happens(operation, resource);
            let mut all = self.policies.iter().chain(self.candidates);
            any || all.any(|policy| has_a_say(policy, phase, operation, resource))
        };
        let operations = [(Operation::Create, "CREATE"), (Operation::Update, "UPDATE")];
        operations
            .into_iter()
            .filter(|(operation, _)| wanted(*operation))
            .map(|(_, name)| name.to_owned())
            .collect()
    }
}

/// Returns the name of the configuration for ServicePolicies that belongs to a registration.
pub fn policies_name(name: &str) -> String {
    format!("{name}-policies")
}

fn conditions(conditions: Vec<Condition>) -> Option<Vec<MatchCondition>> {
    let conditions: Vec<_> = conditions
        .into_iter()
        .map(Condition::into_match_condition)
        .collect();
    (!conditions.is_empty()).then_some(conditions)
}

/// Returns false for operations that never happen: a status is only updated.
fn happens(operation: Operation, resource: Resource) -> bool {
    !(resource == Resource::ServicesStatus && operation == Operation::Create)
}

/// Returns true when a policy matches, by the rule of `admission` that the mutating phase asks
/// Enforce policies only.
fn has_a_say(policy: &Policy, phase: Phase, operation: Operation, resource: Resource) -> bool {
    let enforced = policy.manifest().spec.mode == Mode::Enforce;
    happens(operation, resource)
        && policy.wants(phase, operation, resource)
        && (phase != Phase::Mutating || enforced)
}

fn rule(resource: &str, operations: Vec<String>) -> RuleWithOperations {
    RuleWithOperations {
        api_groups: Some(vec![String::new()]),
        api_versions: Some(vec!["v1".to_owned()]),
        operations: Some(operations),
        resources: Some(vec![resource.to_owned()]),
        scope: Some("Namespaced".to_owned()),
    }
}
