//! Prints objects for `kubectl apply`, each under a comment that explains it.

use crate::webhooks::backstop::Backstop;
use crate::webhooks::defaults::{self, Defaults};
use crate::webhooks::registrar::{REGISTRATION, owner_reference};
use crate::webhooks::registration::{OnFailure, Registration, VALIDATING};
use crate::webhooks::static_manifests::{
    MUTATING_POLICIES, MUTATING_WEBHOOKS, StaticManifests, VALIDATING_POLICIES, VALIDATING_WEBHOOKS,
};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use sallyport_core::yaml;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// An object with remarks for its reader.
#[derive(Debug, Clone)]
pub struct Document {
    /// Sentences; each becomes a comment line.
    pub remarks: Vec<String>,
    /// The object in the API's form.
    pub object: Value,
}

impl Document {
    /// Serializes an object of Kubernetes.
    ///
    /// # Panics
    ///
    /// Never: every object of Kubernetes has a JSON form.
    pub fn new(object: &impl Serialize, remarks: Vec<String>) -> Self {
        Self {
            remarks,
            object: serde_json::to_value(object).expect("an object of Kubernetes has a JSON form"),
        }
    }
}

impl Document {
    /// Makes an installation's ClusterRole the owner of the object.
    pub fn owned_by(&mut self, installation: &str, uid: &str) {
        let owner = owner_reference(installation.to_owned(), uid.to_owned());
        self.object["metadata"]["ownerReferences"] = json!([owner]);
    }

    /// Labels the object as part of the registration with this name.
    pub fn belongs_to(&mut self, registration: &str) {
        self.object["metadata"]["labels"][REGISTRATION] = registration.into();
    }
}

/// Prints several YAML documents, after a comment for all of them.
pub fn yaml(head: &[String], documents: &[Document]) -> String {
    let mut text = comment(head);
    for (index, document) in documents.iter().enumerate() {
        if index > 0 || !head.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(&comment(&document.remarks));
        text.push_str(&yaml::to_string(&document.object));
    }
    text
}

/// Prints a `List` as JSON.
pub fn json(documents: &[Document]) -> String {
    let items: Vec<&Value> = documents.iter().map(|document| &document.object).collect();
    format!(
        "{:#}\n",
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    )
}

/// Writes lines as YAML comments.
pub(super) fn comment(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines.iter().flat_map(|line| line.lines()) {
        let _ = writeln!(text, "# {}", sallyport_core::printable::printable(line));
    }
    text
}

/// Returns the webhook configurations that the policies need.
pub fn webhooks(registration: &Registration<'_>) -> Vec<Document> {
    let mutating = registration
        .mutating()
        .map(|configuration: MutatingWebhookConfiguration| {
            let remarks =
                ["Fails open: without its patches the validating webhook still has the last word."];
            Document::new(&configuration, remarks.map(str::to_owned).to_vec())
        });
    let validating =
        registration
            .validating()
            .map(|configuration: ValidatingWebhookConfiguration| {
                let remarks = validating_remarks(registration, &configuration);
                Document::new(&configuration, remarks)
            });
    let policies = registration
        .policies()
        .map(|configuration: ValidatingWebhookConfiguration| {
            let remarks = [
                "Refuses ServicePolicies that could not be loaded. Fails open: what gets \
            past it is a broken policy, and reported as one.",
            ];
            Document::new(&configuration, remarks.map(str::to_owned).to_vec())
        });
    mutating
        .into_iter()
        .chain(validating)
        .chain(policies)
        .collect()
}

fn validating_remarks(
    registration: &Registration<'_>,
    configuration: &ValidatingWebhookConfiguration,
) -> Vec<String> {
    let remark = match registration.options.on_failure {
        OnFailure::Fail => {
            "Fails closed: while no replica answers, Services outside the excluded namespaces \
             can't change. If it ever stands in the way,\n`kubectl delete \
             validatingwebhookconfiguration` it: webhook configurations are not subject to \
             webhooks."
        }
        OnFailure::Ignore => {
            "Fails open: while no replica answers, nothing is judged. `sallyport webhooks \
             --backstop` prints what the API server itself can judge."
        }
    };
    let deletions = if registration.asks_of_deletions() {
        "Deletions of Services are asked about, by a webhook of their own that fails open: they \
         work while no replica answers."
    } else if registration.options.policies_from_cluster {
        "Deletions are not asked about. A policy of the cluster that judges them needs \
         --deletions."
    } else {
        "Deletions are not asked about: no policy judges them."
    };
    let mut webhooks = configuration.webhooks.iter().flatten();
    let judges_writes = webhooks.any(|webhook| webhook.name == VALIDATING);
    let remarks = judges_writes.then_some(remark).into_iter();
    remarks.chain([deletions]).map(str::to_owned).collect()
}

/// Returns the remarks for all configurations.
pub fn head(registration: &Registration<'_>) -> Vec<String> {
    let names: Vec<&str> = registration
        .policies
        .iter()
        .map(|policy| &**policy.name())
        .collect();
    let mut lines =
        vec![
        if registration.options.policies_from_cluster {
            "Made by `sallyport webhooks --policies-from-cluster`, for whatever ServicePolicies \
             may come.".to_owned()
        } else {
            format!("Made by `sallyport webhooks`, for the policies {}.", names.join(", "))
        },
        "Make it anew when policies or exemptions change: what is exempt here never reaches the \
         host.".to_owned(),
    ];
    if registration.options.match_conditions {
        lines.push(
            "Match conditions need Kubernetes 1.28 or later; for older ones: --kubernetes 1.27."
                .to_owned(),
        );
    } else {
        lines.push(
            "Without match conditions, which this Kubernetes doesn't know: the host itself lets \
             the same requests pass while it answers."
                .to_owned(),
        );
    }
    lines
}

/// Returns the remarks for the whole backstop: the policies without one, and the defaults that the
/// cluster is too old for.
pub fn backstop_head(gaps: &[String], left_out: &[Defaults]) -> Vec<String> {
    let mut lines = vec![
        "Made by `sallyport webhooks --backstop`. It holds while no host answers, and denies less \
         than the policies do."
            .to_owned(),
        "Print and apply it again when policies, settings or exemptions change.".to_owned(),
    ];
    lines.extend(gaps.iter().map(|gap| format!("Not covered: {gap}")));
    lines.extend(left_out.iter().map(|defaults| {
        let name = defaults.policy.metadata.name.as_deref().unwrap_or_default();
        format!(
            "Not covered: {name}: the defaults {}; with Kubernetes 1.{} or later: --kubernetes \
             1.{}",
            defaults.rules.join(", "),
            defaults::SINCE,
            defaults::SINCE
        )
    }));
    lines
}

/// Returns the files of manifest-based admission control, each with its text. `directory` is where
/// the API server finds them.
pub fn static_files(
    registration: &Registration<'_>,
    manifests: &StaticManifests,
    directory: &str,
) -> Vec<(String, String)> {
    let head = [
        "Made by `sallyport webhooks --static`. Make it anew when policies, settings or exemptions \
         change."
            .to_owned(),
        "An API server does not start with a file that it can't use; a running one keeps what it \
         has."
            .to_owned(),
    ];
    let (protection, binding) = &manifests.protection;
    let remark = "Protects the registered webhook configurations and backstop against everybody \
        else. To switch it off, remove this document from the file.";
    let mut policies = vec![
        Document::new(protection, vec![remark.to_owned()]),
        Document::new(binding, vec![]),
    ];
    policies.extend(manifests.backstops.iter().flat_map(backstop));
    let file = |folder: &str| format!("{folder}/{}.yaml", registration.options.name);
    // An API server takes a document of comments alone for an object without a kind.
    let text = |mut documents: Vec<Document>| {
        if let Some(first) = documents.first_mut() {
            first.remarks.splice(0..0, head.iter().cloned());
        }
        yaml(&[], &documents)
    };
    let configuration = Document {
        remarks: vec![],
        object: manifests.admission_configuration(directory),
    };
    let mut files = vec![
        ("admission.yaml".to_owned(), text(vec![configuration])),
        (file(VALIDATING_POLICIES), text(policies)),
    ];
    let defaults: Vec<_> = manifests
        .defaults
        .iter()
        .flat_map(defaults_documents)
        .collect();
    if !defaults.is_empty() {
        files.push((file(MUTATING_POLICIES), text(defaults)));
    }
    let document = |configuration: &ValidatingWebhookConfiguration| {
        Document::new(
            configuration,
            validating_remarks(registration, configuration),
        )
    };
    let validating: Vec<_> = manifests.validating.iter().map(document).collect();
    if !validating.is_empty() {
        files.push((file(VALIDATING_WEBHOOKS), text(validating)));
    }
    if let Some(mutating) = &manifests.mutating {
        let document = Document::new(mutating, vec![]);
        files.push((file(MUTATING_WEBHOOKS), text(vec![document])));
    }
    files
}

/// Returns the ValidatingAdmissionPolicy of a backstop and its binding.
pub fn backstop(backstop: &Backstop) -> [Document; 2] {
    let rules = format!("Denies: {}.", backstop.rules.join(", "));
    let gaps = backstop
        .gaps
        .iter()
        .map(|gap| format!("Not covered: {gap}."));
    let head = [rules].into_iter().chain(gaps).collect();
    [
        Document::new(&backstop.policy, head),
        Document::new(&backstop.binding, vec![]),
    ]
}

/// Returns the MutatingAdmissionPolicy of a policy's defaults and its binding.
pub fn defaults_documents(defaults: &Defaults) -> [Document; 2] {
    let remark = format!(
        "Sets on new Services: {}. The host does so too, and finds it done.",
        defaults.rules.join(", ")
    );
    [
        Document::new(&defaults.policy, vec![remark]),
        Document::new(&defaults.binding, vec![]),
    ]
}
