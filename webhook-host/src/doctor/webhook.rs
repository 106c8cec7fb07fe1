//! Both kinds of webhook configuration as one type, with the API's defaults filled in.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Serialize;
use serde_json::Value;

/// The kind of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ConfigurationKind {
    /// Calls webhooks that may patch objects.
    #[serde(rename = "MutatingWebhookConfiguration")]
    Mutating,
    /// Calls webhooks that allow or deny.
    #[serde(rename = "ValidatingWebhookConfiguration")]
    Validating,
}

impl ConfigurationKind {
    /// Returns the kind's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }
}

/// A webhook configuration of either kind.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The kind.
    pub kind: ConfigurationKind,
    /// `metadata.name`.
    pub name: String,
    pub(super) metadata: ObjectMeta,
    pub(super) webhooks: Vec<Webhook>,
}

/// One webhook of either kind.
#[derive(Debug, Clone)]
pub(super) struct Webhook {
    pub(super) name: String,
    pub(super) admission_review_versions: Vec<String>,
    pub(super) client_config: WebhookClientConfig,
    pub(super) failure_policy: String,
    pub(super) match_conditions: Vec<MatchCondition>,
    pub(super) match_policy: String,
    pub(super) namespace_selector: LabelSelector,
    pub(super) object_selector: LabelSelector,
    /// `None` for a validating webhook.
    pub(super) reinvocation_policy: Option<String>,
    pub(super) rules: Vec<RuleWithOperations>,
    pub(super) side_effects: String,
    pub(super) timeout_seconds: i32,
}

impl Webhook {
    /// Returns true when a failing webhook refuses requests.
    pub(super) fn fails_closed(&self) -> bool {
        self.failure_policy == "Fail"
    }
}

/// The reason why an object can't be checked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unreadable {
    /// The object is of another kind.
    #[error("{0} is no webhook configuration of admissionregistration.k8s.io/v1")]
    Kind(String),
    /// The object does not decode.
    #[error("{0}: {1}")]
    Malformed(&'static str, String),
}

impl TryFrom<&Value> for Configuration {
    type Error = Unreadable;

    fn try_from(object: &Value) -> Result<Self, Unreadable> {
        let text = |key: &str| {
            object
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or("nothing")
                .to_owned()
        };
        let (version, kind) = (text("apiVersion"), text("kind"));
        match (version.as_str(), kind.as_str()) {
            ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration") => {
                read::<MutatingWebhookConfiguration>(object, ConfigurationKind::Mutating)
                    .map(Self::from)
            }
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration") => {
                read::<ValidatingWebhookConfiguration>(object, ConfigurationKind::Validating)
                    .map(Self::from)
            }
            _ => Err(Unreadable::Kind(format!("{version} {kind}"))),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(
    object: &Value,
    kind: ConfigurationKind,
) -> Result<T, Unreadable> {
    sallyport_core::decode::from_value::<Owned<T>>(object)
        .map(|Owned(read)| read)
        .map_err(|error| Unreadable::Malformed(kind.name(), error.to_string()))
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Owned<T>(T);

impl From<MutatingWebhookConfiguration> for Configuration {
    fn from(configuration: MutatingWebhookConfiguration) -> Self {
        let MutatingWebhookConfiguration { metadata, webhooks } = configuration;
        let webhooks = webhooks
            .unwrap_or_default()
            .into_iter()
            .map(Webhook::from)
            .collect();
        Self {
            kind: ConfigurationKind::Mutating,
            name: metadata.name.clone().unwrap_or_default(),
            metadata,
            webhooks,
        }
    }
}

impl From<ValidatingWebhookConfiguration> for Configuration {
    fn from(configuration: ValidatingWebhookConfiguration) -> Self {
        let ValidatingWebhookConfiguration { metadata, webhooks } = configuration;
        let webhooks = webhooks
            .unwrap_or_default()
            .into_iter()
            .map(Webhook::from)
            .collect();
        Self {
            kind: ConfigurationKind::Validating,
            name: metadata.name.clone().unwrap_or_default(),
            metadata,
            webhooks,
        }
    }
}

/// Converts a webhook of either kind; the two API types differ in `reinvocationPolicy` alone.
macro_rules! from_webhook {
    ($type:ident, $reinvocation:expr) => {
        impl From<$type> for Webhook {
            fn from(webhook: $type) -> Self {
                Self {
                    reinvocation_policy: $reinvocation(&webhook),
                    name: webhook.name,
                    admission_review_versions: webhook.admission_review_versions,
                    client_config: webhook.client_config,
                    failure_policy: webhook.failure_policy.unwrap_or_else(|| "Fail".to_owned()),
                    match_conditions: webhook.match_conditions.unwrap_or_default(),
                    match_policy: webhook
                        .match_policy
                        .unwrap_or_else(|| "Equivalent".to_owned()),
                    namespace_selector: webhook.namespace_selector.unwrap_or_default(),
                    object_selector: webhook.object_selector.unwrap_or_default(),
                    rules: webhook.rules.unwrap_or_default(),
                    side_effects: webhook.side_effects,
                    timeout_seconds: webhook.timeout_seconds.unwrap_or(10),
                }
            }
        }
    };
}

from_webhook!(MutatingWebhook, |webhook: &MutatingWebhook| {
    Some(
        webhook
            .reinvocation_policy
            .clone()
            .unwrap_or_else(|| "Never".to_owned()),
    )
});
from_webhook!(ValidatingWebhook, |_: &ValidatingWebhook| None);
