//! An API server's changes to addresses, families and type-dependent fields of a Service before it
//! validates it and asks validating webhooks.
//!
//! The steps are those of Kubernetes' `pkg/registry/core/service`, in their order: [`carry_over`]
//! (`patchAllocatedValues`, `normalizeClusterIPs`), [`families`] (`initIPFamilyFields`),
//! [`addresses`] (`allocClusterIPs`, `updateClusterIPs`), [`wipe`] (`dropTypeDependentFields`).
//! Objects are JSON, since they may be malformed; a value of a wrong type is left as it is.

use super::{Refusal, words};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const NONE: &str = "None";
const SINGLE_STACK: &str = "SingleStack";
const PREFER_DUAL_STACK: &str = "PreferDualStack";
const REQUIRE_DUAL_STACK: &str = "RequireDualStack";

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// The families of cluster IPs that a cluster gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Families {
    /// The family of a Service that asks for none.
    pub(crate) primary: Family,
    /// True if the cluster has both.
    pub(crate) is_dual: bool,
}

impl Family {
    /// The family of an address or a block.
    pub(crate) fn of(address: &str) -> Self {
        match address.contains(':') {
            true => Self::V6,
            false => Self::V4,
        }
    }

    /// The family of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::V4, Self::V6]
            .into_iter()
            .find(|family| family.word() == name)
    }

    fn word(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// An address of a cluster's range, as an example: ranges differ from cluster to cluster.
    fn address(self) -> &'static str {
        match self {
            Self::V4 => "10.96.0.10",
            Self::V6 => "fd00:10:96::a",
        }
    }
}

/// Adds to a stored Service that was read from a file what its other fields say: addresses in both
/// forms, and their families.
pub(crate) fn restore(service: &mut Value) {
    let Some(spec) = spec_mut(service) else {
        return;
    };
    let written = Value::Object(spec.clone());
    if is_absent(&written["clusterIPs"]) && !is_absent(&written["clusterIP"]) {
        spec.insert("clusterIPs".to_owned(), json!([written["clusterIP"]]));
    }
    let addresses = texts(spec.get("clusterIPs").unwrap_or(&Value::Null));
    let is_headless = addresses.iter().any(|address| address == NONE);
    if is_absent(&written["ipFamilies"]) && !addresses.is_empty() && !is_headless {
        let families = addresses.iter().map(|address| Family::of(address).word());
        spec.insert("ipFamilies".to_owned(), families.collect());
    }
}

/// Returns true if the type has a cluster IP, be it `None`.
pub(crate) fn forwards(spec: &Value) -> bool {
    matches!(kind(spec), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Returns true if the type has node ports.
fn opens(spec: &Value) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

/// Returns true if a load balancer checks nodes by a port.
fn checks_health(spec: &Value) -> bool {
    kind(spec) == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

/// Returns true if the type has an `externalTrafficPolicy`.
fn is_reached_from_outside(spec: &Value) -> bool {
    let has_external_ips = spec["externalIPs"]
        .as_array()
        .is_some_and(|ips| !ips.is_empty());
    opens(spec) || kind(spec) == "ClusterIP" && has_external_ips
}

fn kind(spec: &Value) -> &str {
    spec["type"].as_str().unwrap_or_default()
}

/// Takes over from the old Service what an update leaves out, and what no client may change.
pub(crate) fn carry_over(service: &mut Value, old: &Value) {
    let deleted = old["metadata"]
        .get("deletionTimestamp")
        .filter(|time| !time.is_null());
    let meta = service.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(meta), Some(deleted)) = (meta, deleted) {
        meta.insert("deletionTimestamp".to_owned(), deleted.clone());
    }
    let old = &old["spec"];
    let new = service["spec"].clone();
    let Some(spec) = spec_mut(service) else {
        return;
    };
    if forwards(&new) && forwards(old) {
        for key in ["clusterIP", "clusterIPs"] {
            if is_absent(&new[key]) && !is_absent(&old[key]) {
                spec.insert(key.to_owned(), old[key].clone());
            }
        }
    }
    if opens(&new) && opens(old) {
        carry_node_ports(spec, old);
    }
    let check = &old["healthCheckNodePort"];
    if checks_health(&new)
        && checks_health(old)
        && !is_set(&new["healthCheckNodePort"])
        && is_set(check)
    {
        spec.insert("healthCheckNodePort".to_owned(), check.clone());
    }
    agree(spec, old);
}

/// Gives each port without a node port the one that it had. The API server finds it by the name of
/// the port, and `kubectl apply` by number and protocol, before it sends the update.
fn carry_node_ports(spec: &mut Map<String, Value>, old: &Value) {
    let Some(new_ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else {
        return;
    };
    let used: Vec<Value> = new_ports
        .iter()
        .map(|port| port["nodePort"].clone())
        .collect();
    let name = |port: &Value| port["name"].as_str().unwrap_or_default().to_owned();
    for port in new_ports
        .iter_mut()
        .filter(|port| port.is_object() && !is_set(&port["nodePort"]))
    {
        let key = |port: &Value| (port["port"].clone(), port["protocol"].clone());
        let same = ports(old).find(|old| key(old) == key(port));
        // The last one of several ports of one name counts.
        let same = same.or_else(|| ports(old).rfind(|old| name(old) == name(port)));
        if let Some(number) = same
            .map(|old| &old["nodePort"])
            .filter(|old| is_set(old) && !used.contains(old))
        {
            port["nodePort"] = number.clone();
        }
    }
}

/// Makes `clusterIPs` agree with a `clusterIP` that was changed alone.
fn agree(spec: &mut Map<String, Value>, old: &Value) {
    let one = |spec: &Value| spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    let new = Value::Object(spec.clone());
    let is_changed = one(&new) != one(old);
    if is_changed && !is_absent(&old["clusterIPs"]) && new["clusterIPs"] == old["clusterIPs"] {
        match one(&new).as_str() {
            "" => spec.remove("clusterIPs"),
            address => spec.insert("clusterIPs".to_owned(), json!([address])),
        };
    }
}

/// Fills in the families and their policy, by the old Service of an update and by the cluster.
/// Returns what the API server refuses in them, before it looks at anything else.
pub(crate) fn families(
    service: &mut Value,
    old: Option<&Value>,
    cluster: Families,
) -> Vec<Refusal> {
    let old = old.map(|old| &old["spec"]);
    let Some(spec) = spec_mut(service) else {
        return vec![];
    };
    let mut new = Value::Object(spec.clone());
    if !forwards(&new) {
        return vec![];
    }
    if old.is_none() && is_absent(&new["clusterIPs"]) && !is_absent(&new["clusterIP"]) {
        new["clusterIPs"] = json!([new["clusterIP"]]);
    }
    let stays = old.is_some_and(|old| stays_as_it_is(&new, old));
    let mut refusals = vec![];
    if !stays {
        let is_selectorless = new["selector"]
            .as_object()
            .is_none_or(|selector| selector.is_empty());
        let is_free = new["clusterIP"] == NONE && is_selectorless;
        if is_absent(&new["ipFamilyPolicy"]) {
            let before = old
                .map(|old| &old["ipFamilyPolicy"])
                .filter(|policy| !is_absent(policy));
            new["ipFamilyPolicy"] = match before {
                Some(policy) => policy.clone(),
                None if is_free => REQUIRE_DUAL_STACK.into(),
                None => SINGLE_STACK.into(),
            };
        }
        refusals = mismatches(&new);
        if refusals.is_empty() {
            refusals = reduce(&mut new, old);
        }
        infer(&mut new, cluster, is_free);
    }
    for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !new[key].is_null() {
            spec.insert(key.to_owned(), new[key].clone());
        }
    }
    refusals
}

/// Returns true if a Service with PreferDualStack keeps its families whatever the cluster has.
fn stays_as_it_is(new: &Value, old: &Value) -> bool {
    let prefers = |spec: &Value| spec["ipFamilyPolicy"] == PREFER_DUAL_STACK;
    prefers(new)
        && (prefers(old) || is_absent(&old["ipFamilyPolicy"]))
        && new["type"] == old["type"]
        && !is_absent(&old["ipFamilies"])
        && ["clusterIP", "clusterIPs", "ipFamilies"]
            .iter()
            .all(|key| same(new, old, key))
}

/// Refuses an address of another family than that of its place.
fn mismatches(spec: &Value) -> Vec<Refusal> {
    let (addresses, families) = (texts(&spec["clusterIPs"]), texts(&spec["ipFamilies"]));
    let is_other = |address: &str, family: &str| {
        address != NONE && !address.is_empty() && Family::of(address).word() != family
    };
    let pairs = addresses.iter().zip(&families).enumerate();
    pairs
        .filter(|(_, (address, family))| is_other(address, family))
        .map(|(index, (address, family))| Refusal {
            field: format!("spec.ipFamilies[{index}]"),
            problem: format!("{family:?} is not the family of the cluster IP {address}"),
            fix: "write the families in the order of the cluster IPs; the first can't change"
                .to_owned(),
            words: Some(words::invalid(
                address.as_str(),
                &format!("expected an {family} value as indicated by `ipFamilies[{index}]`"),
            )),
            at: Some(format!("spec.clusterIPs[{index}]")),
        })
        .collect()
}

/// Releases the second address and family under SingleStack, and refuses to release them
/// otherwise.
fn reduce(new: &mut Value, old: Option<&Value>) -> Vec<Refusal> {
    let policy = new["ipFamilyPolicy"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let is_single = policy == SINGLE_STACK;
    let mut refusals = vec![];
    let mut refuse = |problem: String, why: &str, fix: &str| {
        refusals.push(Refusal {
            field: "spec.ipFamilyPolicy".to_owned(),
            problem,
            fix: fix.to_owned(),
            words: Some(words::invalid(policy.as_str(), why)),
            at: None,
        });
    };
    if let Some(old) = old {
        let kept = is_single
            && ["clusterIP", "clusterIPs"]
                .iter()
                .all(|key| same(new, old, key));
        for (key, is_kept, what, whose) in [
            ("clusterIPs", kept, "cluster IP", "secondary cluster IP"),
            (
                "ipFamilies",
                is_single && same(new, old, "ipFamilies"),
                "family",
                "secondary IP family",
            ),
        ] {
            let (before, after) = (texts(&old[key]), texts(&new[key]));
            if is_kept && after.len() > 1 {
                new[key] = json!([after[0]]);
            }
            let is_reduced = !after.is_empty() && after.len() < before.len();
            if !is_single && is_reduced {
                refuse(
                    format!("{policy:?} keeps both, but the update releases the second {what}"),
                    &format!("must be 'SingleStack' to release the {whose}"),
                    "set SingleStack to release it, or write both",
                );
            }
        }
    }
    // Two of one family are refused as such.
    let addresses = texts(&new["clusterIPs"]);
    let two_addresses = addresses.len() == 2
        && !addresses.iter().any(|address| address == NONE)
        && !is_absent(&new["clusterIP"])
        && Family::of(&addresses[0]) != Family::of(&addresses[1]);
    let families = texts(&new["ipFamilies"]);
    let two_families = families.len() == 2 && families[0] != families[1];
    for (are_two, what, whose) in [
        (two_addresses, "cluster IPs", "cluster IPs"),
        (two_families, "families", "IP families"),
    ] {
        if is_single && are_two {
            refuse(
                format!("{policy:?} has one family, but there are two {what}"),
                &format!(
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple {whose} are \
                     specified"
                ),
                "set PreferDualStack or RequireDualStack, or leave one",
            );
        }
    }
    refusals
}

/// Fills in the families: those of the addresses, else the cluster's, and the second one under a
/// policy for two.
fn infer(new: &mut Value, cluster: Families, is_free: bool) {
    let mut families = texts(&new["ipFamilies"]);
    let addresses = texts(&new["clusterIPs"]);
    for address in addresses.iter().skip(families.len()) {
        if address == NONE || address.is_empty() {
            break;
        }
        families.push(Family::of(address).word().to_owned());
    }
    if families.is_empty() {
        families.push(cluster.primary.word().to_owned());
    }
    let wants_two = new["ipFamilyPolicy"] != SINGLE_STACK;
    if wants_two && families.len() == 1 && (cluster.is_dual || is_free) {
        let first = match families[0].as_str() {
            "IPv6" => Family::V6,
            _ => Family::V4,
        };
        families.push(first.other().word().to_owned());
    }
    new["ipFamilies"] = json!(families);
}

/// Allocates the cluster IPs that a Service with these families lacks.
pub(crate) fn addresses(service: &mut Value, old: Option<&Value>) {
    let old = old.map(|old| &old["spec"]);
    let Some(spec) = spec_mut(service) else {
        return;
    };
    let new = Value::Object(spec.clone());
    let is_headless = |spec: &Value| {
        texts(&spec["clusterIPs"])
            .first()
            .is_some_and(|ip| ip == NONE)
    };
    let was_headless = old.is_some_and(|old| forwards(old) && is_headless(old));
    if !forwards(&new) || is_headless(&new) || was_headless {
        return;
    }
    let mut addresses = texts(&new["clusterIPs"]);
    for (index, family) in texts(&new["ipFamilies"]).iter().enumerate() {
        let family = match family.as_str() {
            "IPv6" => Family::V6,
            _ => Family::V4,
        };
        match addresses.get_mut(index) {
            None => addresses.push(family.address().to_owned()),
            Some(address) if address.is_empty() => family.address().clone_into(address),
            Some(_) => {}
        }
    }
    if let Some(first) = addresses.first() {
        spec.insert("clusterIP".to_owned(), first.as_str().into());
        spec.insert("clusterIPs".to_owned(), json!(addresses));
    }
}

/// Removes fields that the new type has no use for, where the update repeats the old value. One
/// that the update changes stays, and is refused.
pub(crate) fn wipe(service: &mut Value, old: &Value) {
    let old = &old["spec"];
    let new = service["spec"].clone();
    let Some(spec) = spec_mut(service) else {
        return;
    };
    if forwards(old) && !forwards(&new) {
        if ["clusterIP", "clusterIPs"]
            .iter()
            .all(|key| same(&new, old, key))
        {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if same(&new, old, key) {
                spec.remove(key);
            }
        }
        spec.remove("internalTrafficPolicy");
    }
    if opens(old) && !opens(&new) && node_ports(old).is_superset(&node_ports(&new)) {
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
            port.remove("nodePort");
        }
    }
    let has_no_more = |has: fn(&Value) -> bool| has(old) && !has(&new);
    let mut remove = |key: &str, is_unused: bool| {
        if is_unused && same(&new, old, key) {
            spec.remove(key);
        }
    };
    let is_balanced = |spec: &Value| kind(spec) == "LoadBalancer";
    remove("healthCheckNodePort", has_no_more(checks_health));
    remove("allocateLoadBalancerNodePorts", has_no_more(is_balanced));
    remove("loadBalancerClass", has_no_more(is_balanced));
    remove(
        "externalTrafficPolicy",
        has_no_more(is_reached_from_outside),
    );
    let balancer = service.pointer_mut("/status/loadBalancer");
    if let Some(balancer) = balancer.filter(|_| !is_balanced(&new)) {
        *balancer = json!({});
    }
}

fn node_ports(spec: &Value) -> BTreeSet<i64> {
    let numbers = ports(spec).filter_map(|port| port["nodePort"].as_i64());
    numbers.filter(|number| *number != 0).collect()
}

/// Returns true if both have the same value, or none.
fn same(new: &Value, old: &Value, key: &str) -> bool {
    let nothing = |value: &Value| is_absent(value) || *value == 0;
    new[key] == old[key] || nothing(&new[key]) && nothing(&old[key])
}

fn spec_mut(service: &mut Value) -> Option<&mut Map<String, Value>> {
    service.get_mut("spec").and_then(Value::as_object_mut)
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The ports of a spec.
pub(crate) fn ports(spec: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    spec["ports"].as_array().into_iter().flatten()
}

/// Returns true if a port has a number.
pub(crate) fn is_set(node_port: &Value) -> bool {
    !node_port.is_null() && *node_port != 0
}

/// Returns true for what the API server treats like an absent key.
pub(crate) fn is_absent(value: &Value) -> bool {
    value.is_null() || *value == "" || value.as_array().is_some_and(Vec::is_empty)
}
