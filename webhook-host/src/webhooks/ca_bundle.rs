//! Tells API servers which authorities to trust: the `caBundle` of the webhook configurations, and
//! nothing else of them.

use super::contest::Contest;
use super::registration::policies_name;
use crate::kube_error;
use crate::status::{CertificateTrouble, TroubleReason};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use std::time::Instant;

/// The manifest that grants the rights of a host which makes its own certificates.
const RBAC: &str = "deploy/overlays/self-managed/rbac.yaml";

/// The host as webhook configurations call it.
pub(crate) struct Called<'a> {
    /// Of the Service.
    pub(crate) namespace: &'a str,
    /// The Service that API servers call.
    pub(crate) service: &'a str,
    /// The name of the webhook configurations, of both kinds.
    pub(crate) webhooks: &'a str,
    /// Whether the host makes those that it needs itself, once it serves.
    pub(crate) registers: bool,
}

/// One configuration that calls the host.
pub(crate) struct Configuration {
    api: Api<DynamicObject>,
    kind: String,
    name: String,
    service: Value,
    /// Whether a host may do without it.
    optional: bool,
    contest: Contest<String>,
}

impl Configuration {
    /// Those that `sallyport webhooks` prints under a name.
    pub(crate) fn all(client: &Client, called: &Called<'_>) -> [Self; 3] {
        let validating = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let mutating = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        // Few policies patch, and not every host serves the cluster's own.
        let all = [
            (
                validating.clone(),
                called.webhooks.to_owned(),
                called.registers,
            ),
            (mutating, called.webhooks.to_owned(), true),
            (validating, policies_name(called.webhooks), true),
        ];
        all.map(|(kind, name, optional)| Self {
            api: Api::all_with(client.clone(), &kind),
            kind: kind.kind,
            name,
            optional,
            service: json!({"namespace": called.namespace, "name": called.service}),
            contest: Contest::new(),
        })
    }

    /// Makes sure that the configuration has this bundle. One that is not there asks nobody, so
    /// there is nothing to tell it.
    ///
    /// # Errors
    ///
    /// Why API servers may trust something else.
    pub(crate) async fn tell(
        &mut self,
        bundle: &str,
    ) -> Result<Option<CertificateTrouble>, CertificateTrouble> {
        let what = format!("{} {}", self.kind, self.name);
        let found = self
            .api
            .get_opt(&self.name)
            .await
            .map_err(|error| trouble(&what, &error))?;
        let absent = |message: String| {
            Some(CertificateTrouble {
                reason: TroubleReason::Absent,
                message,
            })
        };
        let Some(found) = found else {
            let message = || {
                format!(
                    "{what} is not there, so nobody asks this host; apply what `sallyport \
                     webhooks` prints"
                )
            };
            return Ok(if self.optional {
                None
            } else {
                absent(message())
            });
        };
        let bundle = STANDARD.encode(bundle);
        let ours = self.ours(&found);
        if ours.is_empty() {
            let service = &self.service;
            return Ok(absent(format!(
                "{what}: none of its webhooks calls the Service {service}; see --service and \
                 --namespace"
            )));
        }
        let wrong: Vec<_> = ours
            .into_iter()
            .filter(|(_, has)| has != &bundle)
            .map(|(index, _)| index)
            .collect();
        if wrong.is_empty() {
            return Ok(None);
        }
        self.contest.may_write(&bundle, Instant::now()).map_err(|wait| CertificateTrouble {
            reason: TroubleReason::Contested,
            message: format!(
                "{what}: somebody changed the caBundle back; it is written again {wait:?} after \
                 the last time: remove \
                 cert-manager.io/inject-ca-from, or don't apply a caBundle of your own"
            ),
        })?;
        let version = found.resource_version().unwrap_or_default();
        let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
        let add = |index| {
            json!({"op": "add",
            "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle})
        };
        let operations: Value = [test]
            .into_iter()
            .chain(wrong.into_iter().map(add))
            .collect();
        let patch =
            serde_json::from_value(operations).expect("these are operations of a JSON patch");
        let patched = self
            .api
            .patch(
                &self.name,
                &PatchParams::default(),
                &Patch::<()>::Json(patch),
            )
            .await;
        let patched = patched.map_err(|error| trouble(&what, &error))?;
        self.contest.wrote(&bundle, Instant::now());
        if self.ours(&patched).iter().any(|(_, has)| has != &bundle) {
            let message = format!(
                "{what}: something changes the caBundle as it is written; remove what injects it"
            );
            return Err(CertificateTrouble {
                reason: TroubleReason::Contested,
                message,
            });
        }
        tracing::info!("{what} trusts the self-managed certificate");
        Ok(None)
    }

    /// Index and bundle of the webhooks that call the host.
    fn ours(&self, found: &DynamicObject) -> Vec<(usize, String)> {
        let webhooks = found.data["webhooks"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let calls = |webhook: &Value| {
            let service = &webhook["clientConfig"]["service"];
            service["namespace"] == self.service["namespace"]
                && service["name"] == self.service["name"]
        };
        let ours = webhooks
            .iter()
            .enumerate()
            .filter(|(_, webhook)| calls(webhook));
        let bundle = |webhook: &Value| {
            webhook["clientConfig"]["caBundle"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        ours.map(|(index, webhook)| (index, bundle(webhook)))
            .collect()
    }
}

fn trouble(what: &str, error: &kube::Error) -> CertificateTrouble {
    let (reason, message) = kube_error::explain(error, RBAC);
    CertificateTrouble {
        reason,
        message: format!("{what}: {message}"),
    }
}
