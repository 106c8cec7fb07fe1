//! The defaults of `sallyport webhooks --backstop`: the MutatingAdmissionPolicies of a real API
//! server make the same Services as the host does, alone and with a host behind them.

use crate::admission::manifests;
use crate::webhook::{Feature, Host, Registration};
use sallyport_tests::cluster::Cluster;
use sallyport_tests::{SALLYPORT, root, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const INTERNAL: &str = "service.beta.kubernetes.io/azure-load-balancer-internal";
const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// One Service, and the kubectl command that creates it.
struct Case {
    name: &'static str,
    apply: bool,
    annotations: Value,
    spec: Value,
}

fn case(name: &'static str, annotations: Value, spec: Value) -> Case {
    Case {
        name,
        apply: false,
        annotations,
        spec,
    }
}

fn cases() -> Vec<Case> {
    let balancer = || json!({"type": "LoadBalancer"});
    let explicit = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": true,
        "externalTrafficPolicy": "Cluster"});
    vec![
        case("open", json!({}), balancer()),
        case("annotated", json!({"example.com/a": "b"}), balancer()),
        case("public", json!({INTERNAL: "false"}), balancer()),
        case("ranges", json!({RANGES: "192.0.2.0/24"}), balancer()),
        case(
            "own-ranges",
            json!({}),
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"]}),
        ),
        case(
            "private-link",
            json!({"service.beta.kubernetes.io/azure-pls-create": "true"}),
            balancer(),
        ),
        case(
            "class",
            json!({}),
            json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/lb"}),
        ),
        // Taken for the API server's default: managedFields don't tell them apart.
        case("created-explicitly", json!({}), explicit.clone()),
        Case {
            apply: true,
            ..case("applied-explicitly", json!({}), explicit)
        },
        case(
            "dormant",
            json!({RANGES: "192.0.2.0/24"}),
            json!({"type": "ClusterIP", "externalName": "a.example.com",
                "loadBalancerIP": "192.0.2.1", "loadBalancerSourceRanges": ["192.0.2.0/24"],
                "loadBalancerClass": "example.com/lb", "allocateLoadBalancerNodePorts": true}),
        ),
        case("node-port", json!({}), json!({"type": "NodePort"})),
        case("plain", json!({}), json!({})),
    ]
}

/// Returns a directory with the policies that set defaults, and one that tells when the webhook is
/// asked.
fn policies() -> tempfile::TempDir {
    let set = json!({"internal": true, "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "noNodePorts": true, "localTraffic": true});
    let balancers = json!({"module": {"file": "loadbalancer_exposure.wasm"},
        "settings": {"providers": ["azure"], "setOnCreate": set}});
    let dormant = json!({"module": {"file": "dormant_fields.wasm"}, "settings": {"strip": true}});
    manifests(&[
        ("loadbalancer-exposure", balancers),
        ("dormant-fields", dormant),
        (
            "nodeport-range",
            json!({"module": {"file": "nodeport_range.wasm"}}),
        ),
    ])
}

fn printed(policies: &Path) -> String {
    let output = Command::new(&*SALLYPORT)
        .current_dir(root())
        .args(["webhooks", "--backstop", "--kubernetes=1.36"])
        .args(["--modules=target/policies", "--policies"])
        .arg(policies)
        .output()
        .expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

impl Case {
    fn object(&self) -> Value {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.name, "annotations": self.annotations},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]},
        });
        for (key, value) in self.spec.as_object().expect("an object") {
            service["spec"][key] = value.clone();
        }
        service
    }

    fn create(&self, cluster: &Cluster, namespace: &str) -> Value {
        let verb = match self.apply {
            true => &["apply", "--server-side"][..],
            false => &["create"],
        };
        let more = ["--namespace", namespace, "--output=json", "-f", "-"];
        let arguments = [verb, &more].concat();
        let ran = cluster.kubectl_with(&arguments, &self.object().to_string());
        let created = ran
            .result()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        comparable(serde_json::from_str(&created).expect("JSON"))
    }
}

/// Removes what differs between two Services of one manifest.
fn comparable(mut service: Value) -> Value {
    let metadata = json!({"annotations": service["metadata"]["annotations"]});
    service["metadata"] = metadata;
    let spec = service["spec"].as_object_mut().expect("a spec");
    for name in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
        if let Some(allocated) = spec.get_mut(name) {
            *allocated = "allocated".into();
        }
    }
    for port in spec["ports"].as_array_mut().expect("ports") {
        if let Some(allocated) = port.get_mut("nodePort") {
            *allocated = "allocated".into();
        }
    }
    service
}

/// Creates all Services in a namespace.
fn created(cluster: &Cluster, namespace: &str) -> BTreeMap<&'static str, Value> {
    let cases = cases();
    let created = cases
        .iter()
        .map(|case| (case.name, case.create(cluster, namespace)));
    created.collect()
}

/// Waits until a new load balancer opens node ports, or no longer does.
fn wait_until_node_ports_are(cluster: &Cluster, opened: bool) {
    let object = case("probe", json!({}), json!({"type": "LoadBalancer"})).object();
    let arguments = ["create", "--dry-run=server", "--output=json", "-f", "-"];
    wait_for("the defaults of the API server", || {
        let created = cluster
            .kubectl_with(&arguments, &object.to_string())
            .result()?;
        let created: Value = serde_json::from_str(&created).map_err(|error| error.to_string())?;
        let found = created["spec"]["allocateLoadBalancerNodePorts"] == true;
        (found == opened).then_some(()).ok_or(created.to_string())
    });
}

#[test]
#[cfg_attr(not(api_server_1_30), ignore = "no kube-apiserver of 1.30 or newer")]
fn the_net_sets_what_the_host_sets() {
    let about = "the defaults of the backstop";
    if !Feature::MutatingAdmissionPolicies.is_since(Cluster::minor_here(), about) {
        return;
    }
    let cluster = Cluster::new("defaults");
    for namespace in ["untouched", "by-net", "by-both", "by-host"] {
        cluster.namespace(namespace);
    }
    let untouched = created_without_dormant(&cluster);
    let policies = policies();
    let net = printed(policies.path());
    let apply = ["apply", "--server-side", "--validate=strict", "-f", "-"];
    cluster.kubectl_with(&apply, &net).ok();
    wait_until_node_ports_are(&cluster, false);
    let by_net = created(&cluster, "by-net");

    let host = Host::serve(&cluster, policies.path(), "");
    Registration::of(&host).apply(&cluster);
    let by_both = created(&cluster, "by-both");
    cluster.kubectl_with(&["delete", "-f", "-"], &net).ok();
    let by_host = created(&cluster, "by-host");
    for (name, service) in &by_host {
        assert_eq!(&by_net[name], service, "{name}: the net alone");
        assert_eq!(&by_both[name], service, "{name}: the net and the host");
    }
    let changed = untouched
        .iter()
        .filter(|(name, service)| by_host[*name] != **service);
    assert_eq!(changed.count(), 9, "{by_host:#?}");
    host.terminate();
}

/// Creates the Services without a policy. The API server itself refuses one with fields that its
/// type may not have.
fn created_without_dormant(cluster: &Cluster) -> BTreeMap<&'static str, Value> {
    let cases = cases();
    let others = cases.iter().filter(|case| case.name != "dormant");
    let created = others.map(|case| (case.name, case.create(cluster, "untouched")));
    created.collect()
}
