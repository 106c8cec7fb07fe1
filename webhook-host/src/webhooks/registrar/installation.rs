//! The ClusterRole without rules that stands for an installation in the cluster. `deploy/base`
//! creates it.
//!
//! It owns the webhook configurations, so that the garbage collector deletes them with it: `kubectl
//! delete -k` leaves none behind that would refuse every change to a Service. The Namespace of the
//! hosts owns the ClusterRole in turn, so `kubectl delete namespace` has the same effect once the
//! Namespace is gone. The ClusterRole also carries the hold, by which an operator stops all
//! replicas from writing the configurations.
//!
//! It is a ClusterRole for three reasons. Owners of cluster-scoped objects must be cluster-scoped.
//! It is deleted at once, whereas a Namespace waits for its Pods and may hang, and deleting the
//! CustomResourceDefinition would delete every policy. And a ClusterRole without rules grants
//! nothing, so permission to annotate it can't be turned into more rights.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

/// The ClusterRole's name in `deploy/base`.
pub const INSTALLATION: &str = "sallyport-installation";

/// The annotation that holds the installation. Any value sets the hold; the value is the reason
/// that people read.
pub const HOLD: &str = "sallyport.dev/hold";

/// The ClusterRole of one installation.
#[derive(Clone)]
pub struct Installation {
    api: Api<ClusterRole>,
    namespaces: Api<Namespace>,
    name: String,
}

/// The reason why no webhook configuration may be written.
#[derive(Debug, thiserror::Error)]
pub enum Withheld {
    /// The installation carries the hold.
    #[error(
        "ClusterRole {name} has the annotation {HOLD} ({why:?}), so the webhook configurations are \
         left as they are; \
         `sallyport webhooks --resume` takes it away"
    )]
    Held {
        /// The ClusterRole's name.
        name: String,
        /// The annotation's value.
        why: String,
    },
    /// The installation is not there, or is being deleted.
    #[error(
        "ClusterRole {name} is not there, so Sallyport counts as not installed and no webhook \
         configuration is written; \
         apply deploy/base/installation.yaml, or name another ClusterRole with --installation"
    )]
    Gone {
        /// The ClusterRole's name.
        name: String,
    },
    /// The ClusterRole can't be read.
    #[error("ClusterRole {name}: {}", super::describe(error))]
    Unreadable {
        /// The ClusterRole's name.
        name: String,
        /// The API server's error.
        error: kube::Error,
    },
}

impl Installation {
    /// Returns the installation of the ClusterRole with this name.
    pub fn new(client: Client, name: String) -> Self {
        Self {
            api: Api::all(client.clone()),
            namespaces: Api::all(client),
            name,
        }
    }

    /// Returns the ClusterRole's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the owner reference by which a webhook configuration is deleted with the
    /// installation.
    ///
    /// # Errors
    ///
    /// [`Withheld`] when no configuration may be written now.
    pub async fn owner(&self) -> Result<OwnerReference, Withheld> {
        self.role()
            .await
            .map(|role| owner_reference(self.name.clone(), role.uid().unwrap_or_default()))
    }

    /// Makes a namespace the owner of the installation, so that both are deleted together. Does
    /// nothing when the namespace does not exist.
    ///
    /// # Errors
    ///
    /// The reason why the namespace is no owner, in one sentence.
    pub async fn belong_to(&self, namespace: &str) -> Result<(), String> {
        let failed = |error: kube::Error| {
            format!(
                "can't make Namespace {namespace} the owner of ClusterRole {}, so the webhook \
                 configurations outlive it: {}",
                self.name,
                super::describe(&error)
            )
        };
        let Some(found) = self.namespaces.get_opt(namespace).await.map_err(failed)? else {
            return Ok(());
        };
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            name: namespace.to_owned(),
            uid: found.uid().unwrap_or_default(),
            ..OwnerReference::default()
        };
        let mut role = self.role().await.map_err(|withheld| withheld.to_string())?;
        if role.owner_references().contains(&owner) {
            return Ok(());
        }
        adopt(role.owner_references_mut(), &owner);
        let (version, owners) = (role.resource_version(), role.owner_references());
        let patch = Patch::Merge(
            json!({"metadata": {"resourceVersion": version, "ownerReferences": owners}}),
        );
        match self
            .api
            .patch(&self.name, &PatchParams::default(), &patch)
            .await
        {
            Ok(_) => Ok(()),
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads the ClusterRole, and fails when it is gone or held.
    async fn role(&self) -> Result<ClusterRole, Withheld> {
        let name = self.name.clone();
        let found = self.api.get_opt(&self.name).await;
        let found = found.map_err(|error| Withheld::Unreadable {
            name: name.clone(),
            error,
        })?;
        let Some(role) = found.filter(|role| role.metadata.deletion_timestamp.is_none()) else {
            return Err(Withheld::Gone { name });
        };
        match role.annotations().get(HOLD) {
            Some(why) => Err(Withheld::Held {
                name,
                why: why.clone(),
            }),
            None => Ok(role),
        }
    }

    /// Stops all replicas from writing webhook configurations; `false` when the installation is not
    /// there.
    ///
    /// # Errors
    ///
    /// When the API server refuses or does not answer.
    pub async fn hold(&self, why: &str) -> kube::Result<bool> {
        self.annotate(json!(why)).await
    }

    /// Takes the hold away; `false` when the installation is not there.
    ///
    /// # Errors
    ///
    /// When the API server refuses or does not answer.
    pub async fn resume(&self) -> kube::Result<bool> {
        self.annotate(Value::Null).await
    }

    async fn annotate(&self, value: Value) -> kube::Result<bool> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {HOLD: value}}}));
        match self
            .api
            .patch(&self.name, &PatchParams::default(), &patch)
            .await
        {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Adds an owner. Replaces an owner of the same kind and name, which is gone.
pub(super) fn adopt(owners: &mut Vec<OwnerReference>, owner: &OwnerReference) {
    owners.retain(|other| (&other.kind, &other.name) != (&owner.kind, &owner.name));
    owners.push(owner.clone());
}

/// Returns an owner reference to the ClusterRole of an installation.
pub fn owner_reference(name: String, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: "rbac.authorization.k8s.io/v1".to_owned(),
        kind: "ClusterRole".to_owned(),
        name,
        uid,
        ..OwnerReference::default()
    }
}
