//! Removes a registration for good. It sets the hold first, so that no running host creates again
//! what is deleted. Called by `sallyport webhooks --delete`.

use super::installation::Installation;
use super::{describe, shape};
use crate::webhooks::registration::policies_name;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::{Client, ResourceExt as _};
use std::time::{Duration, Instant};

/// The label of a backstop's objects. Its value is the name of their registration.
pub const REGISTRATION: &str = "sallyport.dev/registration";

/// The time without a new object after which the removal is complete. It is longer than
/// [`super::WRITE_TIMEOUT`], in which a host that has not read the hold may still write.
const QUIET_PERIOD: Duration = Duration::from_secs(6);

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The time after which the removal fails if another program still creates deleted objects again.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// All objects of the registration with one name.
pub struct Removal {
    installation: Installation,
    configurations: Vec<(ApiResource, Api<DynamicObject>, String)>,
    backstops: Vec<(ApiResource, Api<DynamicObject>)>,
    /// The label selector of the backstop's objects.
    selector: String,
}

impl Removal {
    /// Returns the removal of the configurations with this name, and of the backstop that was
    /// printed for it.
    pub fn new(client: &Client, installation: Installation, name: &str) -> Self {
        let api = |resource: &ApiResource| Api::all_with(client.clone(), resource);
        let validating = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let mutating = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        let configurations = [
            (validating.clone(), name.to_owned()),
            (mutating, name.to_owned()),
            (validating, policies_name(name)),
        ];
        // Bindings first, since a binding is what puts a policy into effect.
        let backstops = [
            ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&()),
            ApiResource::erase::<ValidatingAdmissionPolicy>(&()),
            ApiResource::erase::<MutatingAdmissionPolicyBinding>(&()),
            ApiResource::erase::<MutatingAdmissionPolicy>(&()),
        ];
        Self {
            installation,
            configurations: configurations
                .map(|(resource, name)| (resource.clone(), api(&resource), name))
                .into(),
            backstops: backstops
                .map(|resource| (resource.clone(), api(&resource)))
                .into(),
            selector: format!("{REGISTRATION}={name}"),
        }
    }

    /// Sets the hold, deletes the objects, and waits until none comes back. Reports each step.
    ///
    /// # Errors
    ///
    /// When the hold can't be set (nothing is deleted then) or an object can't be deleted.
    pub async fn run(&self, report: impl Fn(&str)) -> Result<(), String> {
        let role = self.installation.name();
        let held = self.installation.hold("sallyport webhooks --delete").await;
        match held.map_err(|error| {
            format!(
                "nothing was deleted: can't hold ClusterRole {role}: {}",
                describe(&error)
            )
        })? {
            true => report(&format!(
                "ClusterRole {role} is annotated with the hold: no host writes webhook \
                 configurations any more"
            )),
            false => report(&format!(
                "ClusterRole {role} is not there: no host writes webhook configurations"
            )),
        }
        let began = Instant::now();
        let mut quiet = began;
        while quiet.elapsed() < QUIET_PERIOD {
            if self.delete_all(&report).await? {
                quiet = Instant::now();
            }
            if began.elapsed() > MAX_WAIT {
                return Err(format!(
                    "something made the objects again for {MAX_WAIT:?}: a host before 0.1.0, \
                     another --installation, or a \
                     controller that applies them (Argo CD, Flux); stop it first"
                ));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Deletes the objects that exist. Returns true when there were any.
    async fn delete_all(&self, report: &impl Fn(&str)) -> Result<bool, String> {
        let mut deleted = false;
        for (resource, api, name) in &self.configurations {
            let what = format!("{} {name}", resource.kind);
            let failed = |error| format!("{what}: {}", describe(&error));
            let Some(found) = api.get_opt(name).await.map_err(failed)? else {
                continue;
            };
            if !shape::is_all_ours(&found.data["webhooks"]) {
                return Err(format!(
                    "{what} has webhooks that are not Sallyport's; take out those whose name ends \
                     in .sallyport.dev by hand"
                ));
            }
            deleted |= delete(api, name).await.map_err(failed)?;
            report(&format!("{what} is deleted"));
        }
        for (resource, api) in &self.backstops {
            let failed = |error| format!("{}: {}", resource.plural, describe(&error));
            for found in self.labelled(api).await.map_err(failed)? {
                let name = found.name_any();
                deleted |= delete(api, &name).await.map_err(failed)?;
                report(&format!("{} {name} is deleted", resource.kind));
            }
        }
        Ok(deleted)
    }

    /// Lists the labelled objects; none where the resource does not exist: API servers before 1.30
    /// lack the validating policies, and before 1.36 the mutating ones.
    async fn labelled(&self, api: &Api<DynamicObject>) -> kube::Result<Vec<DynamicObject>> {
        match api
            .list(&ListParams::default().labels(&self.selector))
            .await
        {
            Ok(list) => Ok(list.items),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(vec![]),
            Err(error) => Err(error),
        }
    }
}

/// Deletes an object. Returns false when it did not exist.
async fn delete(api: &Api<DynamicObject>, name: &str) -> kube::Result<bool> {
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}
