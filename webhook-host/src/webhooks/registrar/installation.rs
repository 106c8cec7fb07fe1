//! The object that stands for an installation in the cluster: a ClusterRole without rules, made by
//! `deploy/base`.
//!
//! It owns the webhook configurations, so that the garbage collector takes them away with it:
//! `kubectl delete -k` leaves none behind that would refuse every change to a Service. The
//! Namespace of the hosts owns it in turn, so `kubectl delete namespace` ends the same way, once
//! the Namespace is gone. And it carries the hold, by which an operator stops all replicas from
//! writing the configurations. A ClusterRole, because the object has to be cluster-scoped (owners
//! of cluster-scoped objects are), has to go at once (a Namespace ends only after its Pods, and may
//! hang; deleting the CustomResourceDefinition deletes every policy), and because one without rules
//! gives nobody a right: whoever may annotate it can't widen a role.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

/// The ClusterRole's name in `deploy/base`.
pub const INSTALLATION: &str = "sallyport-installation";

/// The annotation that holds; its value says why, and any value holds.
pub const HOLD: &str = "sallyport.dev/hold";

/// The ClusterRole of one installation.
#[derive(Clone)]
pub struct Installation {
    api: Api<ClusterRole>,
    namespaces: Api<Namespace>,
    name: String,
}

/// Why no webhook configuration may be written.
#[derive(Debug, thiserror::Error)]
pub enum Withheld {
    /// Somebody put the hold on the installation.
    #[error(
        "ClusterRole {name} has the annotation {HOLD} ({why:?}), so the webhook configurations are \
         left as they are; \
         `sallyport webhooks --resume` takes it away"
    )]
    Held {
        /// The installation.
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
        /// The installation.
        name: String,
    },
    /// It can't be read.
    #[error("ClusterRole {name}: {}", super::describe(error))]
    Unreadable {
        /// The installation.
        name: String,
        /// What the API server says.
        error: kube::Error,
    },
}

impl Installation {
    /// The installation that a ClusterRole of this name stands for.
    pub fn new(client: Client, name: String) -> Self {
        Self {
            api: Api::all(client.clone()),
            namespaces: Api::all(client),
            name,
        }
    }

    /// The ClusterRole's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reference that a webhook configuration needs to be deleted with the installation.
    ///
    /// # Errors
    ///
    /// Why no configuration may be written now.
    pub async fn owner(&self) -> Result<OwnerReference, Withheld> {
        self.role()
            .await
            .map(|role| owner_reference(self.name.clone(), role.uid().unwrap_or_default()))
    }

    /// Makes a namespace an owner of the installation, so that both are deleted together. One that
    /// is not there owns nothing.
    ///
    /// # Errors
    ///
    /// Why the installation outlives the namespace.
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
            // Another replica was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// The ClusterRole, when it allows writes.
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

/// Makes somebody an owner, in place of one of the same kind and name that is gone.
pub(super) fn adopt(owners: &mut Vec<OwnerReference>, owner: &OwnerReference) {
    owners.retain(|other| (&other.kind, &other.name) != (&owner.kind, &owner.name));
    owners.push(owner.clone());
}

/// A reference to the ClusterRole of an installation, as owner.
pub fn owner_reference(name: String, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: "rbac.authorization.k8s.io/v1".to_owned(),
        kind: "ClusterRole".to_owned(),
        name,
        uid,
        ..OwnerReference::default()
    }
}
