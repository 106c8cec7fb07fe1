//! Writes the `caBundle` of the webhook configurations, and no other field. Called by the keeper of
//! the self-managed certificate.

use super::registration::policies_name;
use super::write_backoff::WriteBackoff;
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

/// The host as webhook configurations refer to it.
pub(crate) struct HostReference<'a> {
    /// The Service's namespace.
    pub(crate) namespace: &'a str,
    /// The Service that API servers call.
    pub(crate) service: &'a str,
    /// The name of the webhook configurations, validating and mutating.
    pub(crate) webhooks: &'a str,
    /// True when the host creates missing configurations itself, once it serves.
    pub(crate) registers: bool,
}

/// One webhook configuration that calls the host.
pub(crate) struct Configuration {
    api: Api<DynamicObject>,
    kind: String,
    name: String,
    service: Value,
    /// True when a host may work without it.
    optional: bool,
    backoff: WriteBackoff<String>,
}

impl Configuration {
    /// Returns the configurations that `sallyport webhooks` prints under a name.
    pub(crate) fn all(client: &Client, called: &HostReference<'_>) -> [Self; 3] {
        let validating = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let mutating = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        // A set without mutating policies needs no mutating one, and not every host serves
        // ServicePolicies of the cluster.
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
            backoff: WriteBackoff::new(),
        })
    }

    /// Writes this bundle into the configuration where it differs. An absent configuration calls no
    /// host and needs none.
    ///
    /// # Errors
    ///
    /// The reason why API servers may trust other authorities.
    pub(crate) async fn ensure_bundle(
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
        self.backoff.may_write(&bundle, Instant::now()).map_err(|wait| CertificateTrouble {
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
        self.backoff.record(&bundle, Instant::now());
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

    /// Returns index and bundle of the webhooks that call the host.
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
