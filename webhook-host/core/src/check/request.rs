//! The Service of one manifest on its way through the API server: which one it replaces, which name
//! it gets, and what is allocated for it.

use super::allocation::{self, Allocation, Choice};
use crate::api_server::update;
use crate::contract::review::PortRange;
use crate::yaml::Located;
use serde_json::Value;
use std::sync::Arc;

/// Namespace and name.
pub(super) type Key = (String, String);

/// The Service of one manifest on its way through the API server.
#[derive(Clone)]
pub(super) struct Request<'a> {
    pub(super) namespace: String,
    /// Empty while the API server has yet to generate it.
    pub(super) name: String,
    pub(super) service: Value,
    pub(super) old: Option<Arc<Value>>,
    pub(super) sub_resource: Option<&'static str>,
    pub(super) located: &'a Located,
}

/// Namespace and name of a Service; one without a name has the prefix of the name that it will get.
pub(super) fn key(service: &Value, default_namespace: &str) -> Key {
    let text = |pointer: &str| {
        service
            .pointer(pointer)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let namespace = text("/metadata/namespace")
        .unwrap_or(default_namespace)
        .to_owned();
    let name = text("/metadata/name")
        .or_else(|| text("/metadata/generateName"))
        .unwrap_or_default()
        .to_owned();
    (namespace, name)
}

/// An example of the letters that the API server appends to `generateName`.
const GENERATED: &str = "x7k2p";

/// Stands for these letters where exemptions are looked up. No pattern can name it, so that one
/// matches only if it matches whatever the API server appends.
const ANY_GENERATED: &str = "?????";

/// Bytes of `generateName` that go into a name.
const MAX_PREFIX: usize = 58;

/// Returns the name; empty for a Service whose name is generated.
pub(super) fn name(service: &Value) -> String {
    let name = service.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

impl Request<'_> {
    /// Returns the request after the API server's choice, which it made first for the old object,
    /// when that was stored. Also returns the choice that is left for the new one.
    pub(super) fn complete(&self, choice: Choice, range: PortRange) -> (Allocation, Self) {
        let mut world = self.clone();
        let Some(old) = &self.old else {
            world.take_generated_name();
            let (allocation, _) = create(&mut world.service, choice, range);
            return (allocation, world);
        };
        let mut old = Value::clone(old);
        let before = &old["spec"];
        // A Service of a file that prefers two families has those of the cluster that is tried.
        let is_tried =
            before["ipFamilyPolicy"] == "PreferDualStack" && before["ipFamilies"].is_null();
        let families = match is_tried {
            true => choice.families,
            false => choice.of_update,
        };
        let (_, choice) = create(&mut old, choice, range);
        let service = &mut world.service;
        update::carry_over(service, &old);
        let allocation = Allocation::of_update(service);
        update::families(service, Some(&old), families);
        update::addresses(service, Some(&old));
        allocation.fill(service, choice, range);
        update::wipe(service, &old);
        world.old = Some(Arc::new(old));
        (allocation, world)
    }

    /// Generates the name, as the API server does after the mutating phase.
    fn take_generated_name(&mut self) {
        let meta = &mut self.service["metadata"];
        let Some(prefix) = meta["generateName"].as_str().map(str::to_owned) else {
            return;
        };
        if self.name.is_empty() && !prefix.is_empty() {
            let prefix = &prefix[..prefix.floor_char_boundary(MAX_PREFIX)];
            self.name = format!("{prefix}{ANY_GENERATED}");
            meta["name"] = format!("{prefix}{GENERATED}").into();
        }
    }

    /// Returns true if a dual-stack cluster adds a family to the Service, and another one does not.
    pub(super) fn depends_on_families(&self) -> bool {
        self.old.is_some() && self.service["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    }
}

/// Allocates what a new Service lacks. Returns it, and the choice that is left for another one.
fn create(service: &mut Value, choice: Choice, range: PortRange) -> (Allocation, Choice) {
    allocation::share(service);
    let allocation = Allocation::of(service);
    update::families(service, None, choice.families);
    update::addresses(service, None);
    let choice = allocation.fill(service, choice, range);
    (allocation, choice)
}
