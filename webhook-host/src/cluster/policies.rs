//! The ServicePolicies of the cluster, which the reload reads beside the files.
//!
//! Only a change of the manifest counts as one: a new status, label or resourceVersion does not.

use super::Resource;
use super::follow::Follower;
use crate::watchers::Watched;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{Event, watcher};
use kube::{Api, Client};
use sallyport_core::manifest::{API_VERSION, ServicePolicy, ServicePolicyStatus};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The resource, as API paths and RBAC rules name it.
pub(super) const RESOURCE: Resource = Resource {
    group: "sallyport.dev",
    plural: "servicepolicies",
};

/// All ServicePolicies of the cluster, shared by the watcher and its readers.
#[derive(Debug, Default)]
pub struct Policies(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    policies: BTreeMap<String, ClusterPolicy>,
    /// The objects of a list that has not ended yet.
    listing: BTreeMap<String, ClusterPolicy>,
    revision: u64,
}

/// One ServicePolicy of the cluster.
#[derive(Debug, Clone)]
pub struct ClusterPolicy {
    /// The manifest as a file would contain it, not validated yet.
    pub manifest: Value,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// The status that was written last, by this replica or another.
    pub status: Option<ServicePolicyStatus>,
}

impl From<DynamicObject> for ClusterPolicy {
    fn from(object: DynamicObject) -> Self {
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let metadata = json!({"name": object.metadata.name});
        let manifest = json!({"apiVersion": API_VERSION, "kind": ServicePolicy::KIND,
            "metadata": metadata, "spec": spec});
        let status = object
            .data
            .get("status")
            .and_then(|status| serde_json::from_value(status.clone()).ok());
        Self {
            manifest,
            uid: object.metadata.uid,
            generation: object.metadata.generation,
            status,
        }
    }
}

impl Policies {
    /// Returns a number that changes whenever a manifest is added, changed or removed.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Returns all ServicePolicies by name.
    pub fn all(&self) -> BTreeMap<String, ClusterPolicy> {
        self.lock().policies.clone()
    }

    fn apply(&self, event: Event<DynamicObject>) {
        let mut known = self.lock();
        match event {
            Event::Init => known.listing = BTreeMap::new(),
            Event::InitApply(object) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                known.listing.insert(name, object.into());
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut known.listing);
                let written = |(name, found): (&String, &ClusterPolicy)| {
                    (name.clone(), found.manifest.clone())
                };
                let before: BTreeMap<_, _> = known.policies.iter().map(written).collect();
                known.revision += u64::from(before != listed.iter().map(written).collect());
                known.policies = listed;
            }
            Event::Apply(object) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                let found = ClusterPolicy::from(object);
                let changed = known
                    .policies
                    .get(&name)
                    .is_none_or(|before| before.manifest != found.manifest);
                known.policies.insert(name, found);
                known.revision += u64::from(changed);
            }
            Event::Delete(object) => {
                let name = object.metadata.name.unwrap_or_default();
                known.revision += u64::from(known.policies.remove(&name).is_some());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the API of ServicePolicies.
pub(super) fn api(client: Client) -> Api<DynamicObject> {
    let (group, version) = API_VERSION.split_once('/').expect("a group and a version");
    let kind = GroupVersionKind::gvk(group, version, ServicePolicy::KIND);
    Api::all_with(
        client,
        &ApiResource::from_gvk_with_plural(&kind, RESOURCE.plural),
    )
}

/// Keeps the ServicePolicies up to date until the host ends.
pub(super) async fn run(client: Client, policies: Arc<Policies>, watched: Arc<Watched>) {
    let api = api(client);
    watched.begin(RESOURCE.plural);
    let follower = Follower {
        resource: RESOURCE,
        watched: Arc::clone(&watched),
    };
    let take = async |event: Event<DynamicObject>| {
        let listed = matches!(event, Event::InitDone);
        policies.apply(event);
        watched.took(RESOURCE.plural, 1);
        watched.set_objects(RESOURCE.plural, policies.lock().policies.len());
        if listed && watched.listed(RESOURCE.plural) {
            tracing::info!(resource = RESOURCE.plural, "listed");
        }
        true
    };
    follower
        .follow(|config| watcher(api.clone(), config), take)
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, spec: &Value, status: &Value) -> DynamicObject {
        let kind = GroupVersionKind::gvk("sallyport.dev", "v1alpha1", "ServicePolicy");
        let object = DynamicObject::new(name, &ApiResource::from_gvk(&kind));
        object.data(json!({"spec": spec, "status": status}))
    }

    #[test]
    fn only_what_users_write_changes_the_revision() {
        let policies = Policies::default();
        let mut last = policies.revision();
        let mut changes = |event| {
            policies.apply(event);
            let now = policies.revision();
            std::mem::replace(&mut last, now) != now
        };
        let (one, two) = (json!({"mode": "Warn"}), json!({"mode": "Audit"}));
        changes(Event::Init);
        changes(Event::InitApply(policy("p", &one, &Value::Null)));
        assert!(changes(Event::InitDone));
        assert!(!changes(Event::Apply(policy(
            "p",
            &one,
            &json!({"conditions": []})
        ))));
        assert!(changes(Event::Apply(policy("p", &two, &Value::Null))));
        assert!(!changes(Event::Delete(policy("q", &two, &Value::Null))));
        changes(Event::Init);
        changes(Event::InitApply(policy("p", &two, &Value::Null)));
        assert!(!changes(Event::InitDone), "the same list again");
        changes(Event::Init);
        assert!(changes(Event::InitDone), "gone while nobody looked");
    }
}
