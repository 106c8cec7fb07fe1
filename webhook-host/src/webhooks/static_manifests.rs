//! Manifests for API servers with manifest-based admission control (KEP-5793, alpha in Kubernetes
//! 1.36): the backstop and, for a host with a URL, the webhooks as files that an API server reads
//! before it serves, and that nobody changes by the API; and a policy that protects the
//! configurations in the API.
//!
//! Invariants: names end in [`SUFFIX`]; nothing refers to an object of the cluster (no parameters,
//! no Service). The protection covers only Sallyport's own objects, and never those who must write
//! them or the group that may switch it off. A Service is never judged twice: with static webhooks,
//! the protection refuses registered ones. Called by `sallyport webhooks --static`.

use super::backstop::{self, Backstop};
use super::cel::{self, text};
use super::defaults::{self, Defaults};
use super::registrar::REGISTRATION;
use super::registration::{Endpoint, Registration, policies_name};
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, MutatingWebhookConfiguration, NamedRuleWithOperations,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
    ValidatingWebhookConfiguration, Validation, Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sallyport_core::manifest::{Group, ServiceAccount, Subject};
use serde_json::{Value, json};

/// The end of the names that an API server reserves for its static manifests.
pub const SUFFIX: &str = ".static.k8s.io";

/// The first minor version of Kubernetes with the feature gate.
pub const SINCE: u32 = 36;

/// The feature gate, off by default in Kubernetes 1.36.
pub const FEATURE_GATE: &str = "ManifestBasedAdmissionControlConfig";

/// The directory of each admission plugin, which may hold only the kinds of that plugin.
pub const VALIDATING_WEBHOOKS: &str = "validating-webhooks";
/// See [`VALIDATING_WEBHOOKS`].
pub const MUTATING_WEBHOOKS: &str = "mutating-webhooks";
/// See [`VALIDATING_WEBHOOKS`].
pub const VALIDATING_POLICIES: &str = "validating-policies";
/// See [`VALIDATING_WEBHOOKS`].
pub const MUTATING_POLICIES: &str = "mutating-policies";

/// Those who may write what is protected.
#[derive(Debug, Clone)]
pub struct Protection {
    /// Its members may do anything.
    pub group: Group,
    /// The account of hosts that register themselves. It may do anything but register beside static
    /// webhooks.
    pub service_account: ServiceAccount,
    /// Users who may write the `caBundle` of a webhook and nothing else, such as cert-manager's CA
    /// injector.
    pub ca_writers: Vec<Subject>,
}

/// The static manifests of an installation.
#[derive(Debug, Clone)]
pub struct StaticManifests {
    /// The backstop of each policy.
    pub backstops: Vec<Backstop>,
    /// The defaults of each policy.
    pub defaults: Vec<Defaults>,
    /// The policy that protects the configurations in the API, and its binding.
    pub protection: (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding),
    /// The webhooks that validate; none where the host is behind a Service.
    pub validating: Vec<ValidatingWebhookConfiguration>,
    /// The webhook that patches.
    pub mutating: Option<MutatingWebhookConfiguration>,
}

impl StaticManifests {
    /// Makes the manifests of a registration.
    pub fn of(registration: &Registration<'_>, protection: &Protection) -> Self {
        let has_webhooks = matches!(registration.options.endpoint, Endpoint::Url(_));
        let validating = [registration.validating(), registration.policies()];
        let mut manifests = Self {
            backstops: backstop::policies(registration),
            defaults: defaults::policies(registration),
            protection: protection.policy(&registration.options.name, has_webhooks),
            validating: validating.into_iter().flatten().collect(),
            mutating: registration.mutating(),
        };
        if !has_webhooks {
            (manifests.validating, manifests.mutating) = (vec![], None);
        }
        for backstop in &mut manifests.backstops {
            rename(&mut backstop.policy.metadata);
            rename(&mut backstop.binding.metadata);
            backstop.binding.spec.policy_name += SUFFIX;
        }
        for defaults in &mut manifests.defaults {
            rename(&mut defaults.policy.metadata);
            rename(&mut defaults.binding.metadata);
            let spec = defaults.binding.spec.iter_mut();
            let names = spec.filter_map(|spec| spec.policy_name.as_mut());
            names.for_each(|name| name.push_str(SUFFIX));
        }
        let validating = manifests.validating.iter_mut().map(|one| &mut one.metadata);
        let mutating = manifests.mutating.iter_mut().map(|one| &mut one.metadata);
        validating.chain(mutating).for_each(rename);
        manifests
    }

    /// Returns the file for `--admission-control-config-file`. `directory` is where the API server
    /// finds the manifests.
    pub fn admission_configuration(&self, directory: &str) -> Value {
        let plugin = |name: &str, kind: &str, folder: &str| {
            json!({"name": name, "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": kind,
                "staticManifestsDir": format!("{directory}/{folder}"),
            }})
        };
        let webhooks = "WebhookAdmissionConfiguration";
        let mut plugins = vec![plugin(
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyConfiguration",
            VALIDATING_POLICIES,
        )];
        if !self.defaults.is_empty() {
            plugins.push(plugin(
                "MutatingAdmissionPolicy",
                "MutatingAdmissionPolicyConfiguration",
                MUTATING_POLICIES,
            ));
        }
        if !self.validating.is_empty() {
            let name = "ValidatingAdmissionWebhook";
            plugins.push(plugin(name, webhooks, VALIDATING_WEBHOOKS));
        }
        if self.mutating.is_some() {
            plugins.push(plugin(
                "MutatingAdmissionWebhook",
                webhooks,
                MUTATING_WEBHOOKS,
            ));
        }
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": plugins,
        })
    }
}

fn rename(metadata: &mut ObjectMeta) {
    metadata.name = metadata.name.take().map(|name| name + SUFFIX);
}

impl Protection {
    fn policy(
        &self,
        name: &str,
        has_webhooks: bool,
    ) -> (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding) {
        let metadata = ObjectMeta {
            name: Some(format!("{name}-protection{SUFFIX}")),
            ..ObjectMeta::default()
        };
        let is_ours = MatchCondition {
            name: "is-ours".to_owned(),
            expression: is_ours(name),
        };
        let spec = ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            match_conditions: Some(vec![is_ours]),
            match_constraints: Some(constraints(has_webhooks)),
            variables: Some(self.variables()),
            validations: Some(self.validations(has_webhooks)),
            ..ValidatingAdmissionPolicySpec::default()
        };
        let binding = ValidatingAdmissionPolicyBindingSpec {
            policy_name: metadata.name.clone().unwrap_or_default(),
            validation_actions: vec!["Deny".to_owned()],
            ..ValidatingAdmissionPolicyBindingSpec::default()
        };
        (
            ValidatingAdmissionPolicy {
                metadata: metadata.clone(),
                spec: Some(spec),
                status: None,
            },
            ValidatingAdmissionPolicyBinding {
                metadata,
                spec: binding,
            },
        )
    }

    fn variables(&self) -> Vec<Variable> {
        let nobody = || "false".to_owned();
        let group = std::slice::from_ref(&self.group);
        let account = std::slice::from_ref(&self.service_account);
        let of_group = cel::named(&[], group, &[]).unwrap_or_else(nobody);
        let of_host = cel::named(&[], &[], account).unwrap_or_else(nobody);
        let of_writer = cel::named(&self.ca_writers, &[], &[]).unwrap_or_else(nobody);
        let writes_bundle = format!("request.operation == 'UPDATE' && ({of_writer}) && {SAME}");
        let all = [
            ("isOfGroup", of_group),
            ("isHost", of_host),
            ("writesBundle", writes_bundle),
        ];
        let variable = |(name, expression): (&str, String)| Variable {
            name: name.to_owned(),
            expression,
        };
        all.into_iter().map(variable).collect()
    }

    fn validations(&self, has_webhooks: bool) -> Vec<Validation> {
        let group = self.group.as_str();
        let protected = Validation {
            expression: "request.operation == 'CREATE' || variables.isOfGroup || \
                variables.isHost || variables.writesBundle"
                .to_owned(),
            message: Some(format!(
                "[sallyport] is protected by a static manifest: only members of the group \
                 {group:?} may change or delete it"
            )),
            reason: Some("Forbidden".to_owned()),
            ..Validation::default()
        };
        let twice = Validation {
            expression: "request.operation != 'CREATE' || variables.isOfGroup".to_owned(),
            message: Some(format!(
                "[sallyport] is a static webhook already, so that Services would be judged twice: \
                 run hosts without --register and apply no webhook configuration, or remove the \
                 static one. Only members of the group {group:?} may create it"
            )),
            reason: Some("Forbidden".to_owned()),
            ..Validation::default()
        };
        let twice = has_webhooks.then_some(twice);
        [Some(protected), twice].into_iter().flatten().collect()
    }
}

/// Returns the condition for Sallyport's own objects: the registration's configurations by name,
/// everything else by its label. The old object counts, since a deletion of a collection has no
/// name, and a label may be removed.
fn is_ours(name: &str) -> String {
    const OBJECT: &str = "(request.operation == 'CREATE' ? object : oldObject)";
    let names = format!("[{}, {}]", text(name), text(&policies_name(name)));
    let (label, name) = (text(REGISTRATION), text(name));
    let by_name = format!(
        "request.resource.resource.endsWith('webhookconfigurations') && \
         has({OBJECT}.metadata.name) && {OBJECT}.metadata.name in {names}"
    );
    let by_label = format!(
        "has({OBJECT}.metadata.labels) && {label} in {OBJECT}.metadata.labels && \
         {OBJECT}.metadata.labels[{label}] == {name}"
    );
    format!("({by_name}) || ({by_label})")
}

/// Holds when an update of a webhook configuration changes no more than `caBundle`, timeouts and
/// metadata.
const SAME: &str = "has(object.webhooks) && has(oldObject.webhooks) && size(object.webhooks) == \
    size(oldObject.webhooks) && object.webhooks.all(w, oldObject.webhooks.exists(o, o.name == \
    w.name && o.failurePolicy == w.failurePolicy && o.rules == w.rules && o.namespaceSelector == \
    w.namespaceSelector && o.objectSelector == w.objectSelector && (has(o.matchConditions) ? \
    has(w.matchConditions) && o.matchConditions == w.matchConditions : !has(w.matchConditions)) \
    && (has(o.clientConfig.service) ? has(w.clientConfig.service) && o.clientConfig.service == \
    w.clientConfig.service : has(o.clientConfig.url) && has(w.clientConfig.url) && \
    o.clientConfig.url == w.clientConfig.url)))";

fn constraints(has_webhooks: bool) -> MatchResources {
    let rule = |operations: &[&str], resources: &[&str]| {
        let owned = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
        NamedRuleWithOperations {
            api_groups: owned(&["admissionregistration.k8s.io"]),
            api_versions: owned(&["*"]),
            operations: owned(operations),
            resources: owned(resources),
            scope: Some("Cluster".to_owned()),
            ..NamedRuleWithOperations::default()
        }
    };
    const WEBHOOKS: &[&str] = &[
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
    ];
    const POLICIES: &[&str] = &[
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ];
    let mut rules = vec![rule(&["UPDATE", "DELETE"], &[WEBHOOKS, POLICIES].concat())];
    if has_webhooks {
        rules.push(rule(&["CREATE"], WEBHOOKS));
    }
    MatchResources {
        match_policy: Some("Equivalent".to_owned()),
        resource_rules: Some(rules),
        ..MatchResources::default()
    }
}
