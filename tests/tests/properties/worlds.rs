//! Worlds: clusters with every policy of `target/policies` and all rules switched on.
//!
//! Components are compiled once; a world is an inventory around them. A policy without settings
//! here keeps its shipped ones and is enforced, so that a new policy takes part as soon as it is
//! built.

use crate::review::Request;
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Function, Outcome};
use sallyport_core::decode;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::{Deadline, Policy};
use sallyport_core::yaml;
use sallyport_facts::internal::{CONTROLLERS, Controller};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

/// A namespace in which only ClusterIP is allowed.
pub(crate) const RESTRICTED: &str = "restricted";
/// A namespace whose label makes everything in it an internal backend.
pub(crate) const VAULT: &str = "vault";
/// A namespace without a rule of its own.
pub(crate) const TEAM: &str = "team";
/// A namespace that is in no inventory.
pub(crate) const UNKNOWN: &str = "unheard-of";

/// An annotation that settings accept as internal, besides the controllers' own.
pub(crate) const EXTRA: (&str, &str) = ("example.com/reach", "inside");
/// An annotation that settings deny.
pub(crate) const DENIED: (&str, &str) = ("lb.example.com/denied", "x");
/// A port that settings deny where it is exposed.
pub(crate) const DENIED_PORT: u16 = 389;
/// A class that settings accept as internal.
pub(crate) const INTERNAL_CLASS: &str = "example.com/internal";
/// The user who may set the break-glass annotation.
pub(crate) const GRANTER: &str = "root";
/// The user who may write `status.loadBalancer`.
pub(crate) const WRITER: &str = "system:cloud-controller-manager";

/// A timeout that no review reaches on a busy machine: these tests look for wrong answers, not late
/// ones.
const LONG_DEADLINE: Duration = Duration::from_secs(60);

/// 2026-01-01T00:00:00Z, the time of all reviews.
const NOW: Duration = Duration::from_secs(1_767_225_600);

static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| {
    let config = EngineConfig {
        cache: Some(sallyport_tests::compiled()),
        ..EngineConfig::default()
    };
    Arc::new(Engine::new(&config).expect("this machine carries the engine"))
});

/// The settings of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// Every rule denies, nothing patches.
    Strict,
    /// Every rule denies, and every policy that can patch does.
    Patching,
    /// Every rule denies, with the patches that exclude those of `Patching`: a class instead of an
    /// annotation, and coercion of existing values.
    PatchingMore,
}

/// A cluster and its policies.
pub(crate) struct World {
    /// The controller of load balancers; `None` on bare metal.
    pub(crate) controller: Option<&'static Controller>,
    pub(crate) admission: Admission,
    /// The policies in reverse order.
    pub(crate) reversed: Admission,
}

/// One world for each controller, and one without.
pub(crate) static STRICT: LazyLock<Vec<World>> = LazyLock::new(|| World::all(Set::Strict));
pub(crate) static PATCHING: LazyLock<Vec<World>> = LazyLock::new(|| World::all(Set::Patching));
pub(crate) static PATCHING_MORE: LazyLock<Vec<World>> =
    LazyLock::new(|| World::all(Set::PatchingMore));

impl World {
    /// The number of worlds with each settings.
    pub(crate) const COUNT: usize = CONTROLLERS.len() + 1;

    fn all(set: Set) -> Vec<Self> {
        let shared = policies(set, &[]);
        let new = |controller: Option<&'static Controller>| {
            let told_by_nodes =
                controller.is_none_or(|controller| !controller.infrastructure.is_empty());
            let mut policies = shared.clone();
            if let (Some(controller), false) = (controller, told_by_nodes) {
                let own = load(manifest("loadbalancer-exposure"), set, &[controller.name]);
                policies.retain(|policy| &**policy.name() != "loadbalancer-exposure");
                policies.push(own);
            }
            let inventory = Inventory::from(inventory(controller));
            let reversed = policies.iter().rev().cloned().collect();
            let reversed = Admission::new(reversed, inventory.clone(), exemptions());
            Self {
                controller,
                admission: Admission::new(policies, inventory, exemptions()).thorough(),
                reversed,
            }
        };
        CONTROLLERS
            .iter()
            .map(Some)
            .chain([None])
            .map(new)
            .collect()
    }

    /// Returns the world of a controller.
    pub(crate) fn of(worlds: &'static [Self], name: &str) -> &'static Self {
        let is_its = |world: &&Self| {
            world
                .controller
                .is_some_and(|controller| controller.name == name)
        };
        worlds
            .iter()
            .find(is_its)
            .expect("a world for each controller")
    }

    /// Reviews a body; `None` when it is no AdmissionReview, which the server answers by itself.
    pub(crate) fn try_review(&self, function: Function, body: &[u8]) -> Option<Outcome> {
        ask(&self.admission, function, body)
    }

    pub(crate) fn review(&self, function: Function, request: &Request) -> Outcome {
        self.try_review(function, &request.body())
            .expect("an AdmissionReview")
    }
}

pub(crate) fn ask(admission: &Admission, function: Function, body: &[u8]) -> Option<Outcome> {
    let request = AdmissionRequest::parse(body).ok()?;
    let clock = Clock {
        now: SystemTime::UNIX_EPOCH + NOW,
        deadline: Deadline::Each(LONG_DEADLINE),
    };
    Some(admission.review(function, &request, clock))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/policies")
}

fn policies(set: Set, providers: &[&str]) -> Vec<Arc<Policy>> {
    let entries = std::fs::read_dir(directory()).unwrap_or_else(|error| {
        panic!(
            "can't read {}: {error}; run `make policies`",
            directory().display()
        )
    });
    let files = entries.map(|entry| entry.expect("a readable directory").path());
    let names = files.filter(|file| file.extension().is_some_and(|end| end == "yaml"));
    let mut names: Vec<_> = names
        .map(|file| {
            file.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
        .iter()
        .map(|name| load(manifest(name), set, providers))
        .collect()
}

fn manifest(name: &str) -> Value {
    let file = directory().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let documents =
        yaml::documents(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let [manifest] = documents.as_slice() else {
        panic!("{}: expected one manifest", file.display())
    };
    manifest.clone()
}

fn load(mut manifest: Value, set: Set, providers: &[&str]) -> Arc<Policy> {
    let name = manifest["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    manifest["spec"]["mode"] = json!("Enforce");
    // No property is about time, and the machine may be busy.
    manifest["spec"]["limits"]["deadline"] = json!("10s");
    if let Some(settings) = settings(&name, set, providers) {
        manifest["spec"]["settings"] = settings;
    }
    let manifest =
        ServicePolicy::from_value(&manifest).unwrap_or_else(|error| panic!("{name}: {error}"));
    let file = directory().join(manifest.spec.module.to_string());
    let component =
        std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Arc::new(
        evaluator::load(&ENGINE, manifest, &component)
            .unwrap_or_else(|error| panic!("{name}: {error}")),
    )
}

/// Returns a policy's settings; `None` for the shipped ones.
fn settings(name: &str, set: Set, providers: &[&str]) -> Option<Value> {
    let patching = set != Set::Strict;
    Some(match name {
        "service-type" => json!({"perNamespace": {RESTRICTED: ["ClusterIP"]}}),
        "nodeport-range" => json!({
            "ranges": [{"from": 30000, "to": 30099}],
            "reserved": [{"from": 30050, "to": 30050}],
            "staticOnly": true,
        }),
        "loadbalancer-cloud-only" => json!({
            "allowedClasses": [INTERNAL_CLASS, "service.k8s.aws/nlb",
                "networking.gke.io/l4-regional-internal"],
        }),
        "clusterip-internal" => json!({
            "namespaceLabels": {"example.com/exposure": ["internal"]},
            // An explicit class belongs to no cloud, so the cloud's annotations no longer make it
            // internal.
            "allowInternalLB": set != Set::PatchingMore,
            "protectLabels": true,
            "coerce": patching,
            "coerceExisting": set == Set::PatchingMore,
        }),
        "loadbalancer-exposure" => json!({
            "requireInternal": true,
            "providers": providers,
            "extra": [{"key": EXTRA.0, "value": EXTRA.1}],
            "internalClasses": [INTERNAL_CLASS],
            "requireSourceRanges": "always",
            "forbidWorld": true,
            "allowedCidrs": ["10.0.0.0/8", "192.0.2.0/24"],
            "nodePorts": "deny",
            "loadBalancerIP": "deny",
            "setOnCreate": set_on_create(set),
        }),
        "dormant-fields" => json!({"strip": patching}),
        "external-name" => {
            json!({"allowedSuffixes": [".example.com", ".shared.svc.cluster.local"]})
        }
        "status-writes" => json!({"writers": {"users": [WRITER]}}),
        "external-ips" => json!({"allowedCidrs": ["192.0.2.0/24"]}),
        "loadbalancer-address" => json!({
            "allowedCidrs": ["192.0.2.0/24"],
            // The value of switches that name a subnet.
            "allowedPools": ["true"],
            "sharing": "sameNamespace",
        }),
        // A patch may change what is protected; that is for its author to see.
        "change-protection" if set == Set::Strict => json!({"mark": "example.com/x"}),
        "annotations" => json!({
            "required": [{"key": "example.com/approved-by", "types": ["NodePort"]}],
            "denied": [{"key": DENIED.0}],
            "confined": [{"key": "external-dns.alpha.kubernetes.io/hostname",
                "dnsSuffixes": [".example.com"]}],
        }),
        "ports" => json!({
            "denied": [{"types": ["NodePort", "LoadBalancer"], "ports": [{"from": DENIED_PORT}]}],
            "mixedProtocols": "deny",
        }),
        _ => return None,
    })
}

fn set_on_create(set: Set) -> Value {
    let ranges = ["10.0.0.0/8"];
    match set {
        Set::Strict => json!({}),
        Set::Patching => json!({
            "internal": true, "loadBalancerSourceRanges": ranges, "noNodePorts": true,
            "localTraffic": true,
        }),
        Set::PatchingMore => json!({
            "loadBalancerClass": INTERNAL_CLASS, "loadBalancerSourceRanges": ranges,
            "noNodePorts": true, "localTraffic": true,
        }),
    }
}

fn inventory(controller: Option<&Controller>) -> InventoryData {
    let id = match controller {
        None => json!(null),
        // Nodes of a cloud for which settings must name the load balancer's controller.
        Some(controller) if controller.infrastructure.is_empty() => json!("aws:///zone/i-1"),
        Some(Controller {
            infrastructure: "oci",
            ..
        }) => json!("ocid1.instance.oc1..x"),
        Some(Controller {
            infrastructure: "alicloud",
            ..
        }) => json!("cn-hangzhou.i-1"),
        Some(controller) => json!(format!("{}://i-1", controller.infrastructure)),
    };
    let data = json!({
        "cluster": {"nodes": [{"name": "a", "providerID": id}]},
        "namespaces": {TEAM: {}, RESTRICTED: {},
            VAULT: {"labels": {"example.com/exposure": "internal"}}},
        "pods": [
            {"namespace": TEAM, "labels": {"app": "web"},
                "ports": [{"name": "web", "containerPort": 8080}]},
            {"namespace": TEAM, "labels": {"app": "shop"},
                "ports": [{"name": "data", "containerPort": 5432}]},
            {"namespace": TEAM, "labels": {"app": "shop", "tier": "database"}},
        ],
    });
    decode::from_value(&data).unwrap_or_else(|error| panic!("{error}"))
}

fn exemptions() -> Exemptions {
    decode::from_value(&json!({"breakGlass": {"users": [GRANTER]}}))
        .unwrap_or_else(|error| panic!("{error}"))
}
