//! The digest of a set: replicas with equal digests decide alike, given the same host and the same
//! state of the cluster.

use super::Admission;
use crate::component::PolicyComponent;
use crate::policy::Policy;
use serde_json::{Value, json};

impl Admission {
    /// Returns `sha256:…` of everything that was configured and decides: the policies' names, specs
    /// and components, the exemptions, and an operator's statements about the cluster. Candidates
    /// decide nothing and are left out. A policy that could not be loaded counts as another one.
    pub fn digest(&self) -> String {
        let policies: Vec<_> = self
            .policies
            .iter()
            .map(|policy| of_policy(policy))
            .collect();
        let set = json!({
            "policies": policies,
            "exemptions": self.exemptions,
            "cluster": self.inventory.stated(),
        });
        PolicyComponent::digest(set.to_string().as_bytes())
    }
}

fn of_policy(policy: &Policy) -> Value {
    let mut spec = policy.manifest().spec.clone();
    spec.candidate = None;
    json!({"name": **policy.name(), "spec": spec, "component": policy.digest()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Inventory, InventoryData};
    use crate::manifest::{Exemptions, ServicePolicy};
    use crate::policy::LoadError;

    fn digest(name: &str, inventory: &Value, exemptions: &Value) -> String {
        let manifest = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": name}, "spec": {"module": {"file": "p.wasm"}},
        });
        let manifest = ServicePolicy::from_value(&manifest).expect("valid");
        let policy = Policy::broken(manifest, LoadError::component("is empty"));
        let inventory: InventoryData = serde_json::from_value(inventory.clone()).expect("valid");
        let exemptions: Exemptions = serde_json::from_value(exemptions.clone()).expect("valid");
        Admission::new(vec![policy], Inventory::from(inventory), exemptions).digest()
    }

    #[test]
    fn what_an_operator_states_is_part_of_it_and_what_is_seen_is_not() {
        let (cluster, seen, none) = (
            json!({"cluster": {"environment": "cloud"}}),
            json!({"namespaces": {"a": {"labels": {"b": "c"}}}}),
            json!({}),
        );
        let first = digest("p", &none, &none);
        assert_eq!(digest("p", &seen, &none), first);
        assert_ne!(digest("q", &none, &none), first);
        assert_ne!(digest("p", &cluster, &none), first);
        assert_ne!(digest("p", &none, &json!({"users": ["u"]})), first);
    }
}
