//! `sallyport webhooks --backstop`: its ValidatingAdmissionPolicies, evaluated by the API server
//! alone.
//!
//! They are applied with `failurePolicy: Fail`, so that an expression that the API server can't
//! evaluate is a denial without our message, and fails a test. One policy at a time is applied,
//! since an API server reports only one denial.

use crate::admission::manifests;
use crate::webhook::Feature;
use sallyport_tests::cluster::Cluster;
use sallyport_tests::{SALLYPORT, root, wait_for};
use serde_json::{Value, json};
use std::process::Command;

const NAMESPACE: &str = "backstop";

/// The expectations of one policy's backstop.
struct Expectation {
    policy: &'static str,
    settings: Value,
    /// The `spec` of a denied Service.
    denied: Value,
    message: &'static str,
}

fn expectations() -> [Expectation; 9] {
    let ports = json!([{"port": 80}]);
    let selector = json!({"app": "web"});
    [
        Expectation {
            policy: "nodeport-range",
            settings: json!({}),
            denied: json!({"type": "NodePort", "selector": selector,
                "ports": [{"port": 80, "nodePort": 29990}]}),
            message: "[nodeport-range] spec.ports: node port 29990 is outside 30000-32767",
        },
        Expectation {
            policy: "external-ips",
            settings: json!({"allowedCidrs": ["192.0.2.0/25", "2001:db8::/32"]}),
            denied: json!({"selector": selector, "ports": ports,
                "externalIPs": ["192.0.2.1", "192.0.2.129"]}),
            message: "[external-ips] spec.externalIPs",
        },
        Expectation {
            policy: "external-name",
            settings: json!({}),
            denied: json!({"type": "ExternalName", "externalName": "web.team-a.svc.cluster.local"}),
            message: "[external-name] spec.externalName: \"web.team-a.svc.cluster.local\" is no \
                      name",
        },
        Expectation {
            policy: "loadbalancer-cloud-only",
            settings: json!({"environment": "onPrem"}),
            denied: json!({"type": "LoadBalancer", "selector": selector,
                "ports": [{"port": 80, "nodePort": 30901}]}),
            message: "[loadbalancer-cloud-only] spec.type",
        },
        Expectation {
            policy: "selectorless",
            settings: json!({}),
            denied: json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30902}]}),
            message: "[selectorless] spec.selector",
        },
        Expectation {
            policy: "service-type",
            settings: json!({"allowedTypes": ["ClusterIP", "NodePort", "ExternalName"]}),
            denied: json!({"type": "LoadBalancer", "selector": selector,
                "ports": [{"port": 80, "nodePort": 30903}]}),
            message: "[service-type] spec.type",
        },
        Expectation {
            policy: "ports",
            settings: json!({
                "allowed": [{"types": ["LoadBalancer"], "ports": [{"from": 443, "to": 444}]}],
                "denied": [{"types": ["NodePort"], "protocols": ["TCP"], "ports": [{"from": 22}]}],
                "protocols": [{"protocols": ["TCP", "UDP"]}],
                "mixedProtocols": "deny",
            }),
            denied: json!({"type": "NodePort", "selector": selector,
                "ports": [{"port": 22, "nodePort": 30907}]}),
            message: "[ports] spec.ports: port 22 is denied for type NodePort; use another port",
        },
        Expectation {
            policy: "annotations",
            settings: json!({"required": [
                {"key": "example.com/cost-centre", "types": ["LoadBalancer"]},
                {"key": "example.com/owner", "namespaces": ["elsewhere"]},
            ]}),
            denied: json!({"type": "LoadBalancer", "selector": selector,
                "ports": [{"port": 80, "nodePort": 30909}]}),
            message: "[annotations] metadata.annotations: example.com/cost-centre is required for \
                      type LoadBalancer; set it",
        },
        Expectation {
            policy: "loadbalancer-address",
            settings: json!({
                "allowedCidrs": ["192.0.2.0/25"],
                "perNamespace": {"elsewhere": {"allowedPools": ["any"]}},
            }),
            denied: json!({"type": "LoadBalancer", "selector": selector,
                "loadBalancerIP": "192.0.2.129", "ports": [{"port": 80, "nodePort": 30911}]}),
            message: "[loadbalancer-address] spec.loadBalancerIP: 192.0.2.129 is in none of the \
                      allowed blocks; use an address in 192.0.2.0/25",
        },
    ]
}

/// Services that all of them allow: each field that an expression reads is absent in one of them.
fn allowed() -> [Value; 7] {
    let selector = json!({"app": "web"});
    [
        json!({"ports": [{"port": 80}]}),
        json!({"selector": selector, "clusterIP": "None"}),
        json!({"selector": selector, "ports": [{"port": 80}],
            "externalIPs": ["192.0.2.1", "2001:db8::1"]}),
        json!({"type": "ExternalName", "externalName": "db.example.com"}),
        json!({"type": "NodePort", "selector": selector,
            "ports": [{"port": 80, "nodePort": 30904}]}),
        json!({"type": "NodePort", "selector": selector, "ports": [
            {"name": "a", "port": 53, "nodePort": 30905},
            {"name": "b", "port": 53, "nodePort": 30905, "protocol": "UDP"},
        ]}),
        json!({"type": "NodePort", "selector": selector, "externalTrafficPolicy": "Local",
               "ports": [{"port": 80, "nodePort": 30906}]}),
    ]
}

fn service(name: &str, spec: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

impl Expectation {
    /// Prints this policy's backstop.
    fn printed(&self) -> Value {
        let module = json!({"file": format!("{}.wasm", self.policy.replace('-', "_"))});
        let spec = json!({"module": module, "mode": "Enforce", "settings": self.settings});
        let policies = manifests(&[(self.policy, spec)]);
        let output = Command::new(&*SALLYPORT)
            .current_dir(root())
            .args([
                "webhooks",
                "--backstop",
                "--output=json",
                "--modules=target/policies",
                "--policies",
            ])
            .arg(policies.path())
            .output()
            .expect("the program runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let objects = list["items"].as_array_mut().expect("a list");
        assert_eq!(
            objects.len(),
            2,
            "{}: a policy and its binding",
            self.policy
        );
        for object in objects {
            match object["kind"].as_str() {
                Some("ValidatingAdmissionPolicy") => {
                    object["spec"]["failurePolicy"] = "Fail".into()
                }
                // Other tests use the same cluster.
                _ => {
                    let only = json!({"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}});
                    object["spec"]["matchResources"] = json!({"namespaceSelector": only});
                }
            }
        }
        list
    }

    /// Applies this policy's backstop, and returns it.
    fn apply(&self, cluster: &Cluster) -> String {
        let list = self.printed().to_string();
        cluster
            .kubectl_with(&["apply", "--validate=strict", "-f", "-"], &list)
            .ok();
        list
    }

    fn judge(&self, cluster: &Cluster) {
        let create = |name: &str, spec: &Value| {
            cluster.kubectl_with(
                &["create", "--namespace", NAMESPACE, "-f", "-"],
                &service(name, spec),
            )
        };
        // The API server forgets the policy before this one after a moment.
        wait_for(&format!("{}: a Service before it", self.policy), || {
            create("before", &self.denied).result().map(drop)
        });
        let list = self.apply(cluster);

        let mut denied = self.denied.clone();
        if let Some(port) = denied["ports"][0]["nodePort"].as_u64() {
            denied["ports"][0]["nodePort"] = (port + 1).into();
        }
        let message = self.message.replace("29990", "29991");
        wait_for(&format!("{}: it is denied", self.policy), || {
            match create("after", &denied) {
                ran if ran.err.contains(&message) => Ok(()),
                ran if ran.done => {
                    cluster
                        .kubectl(&["delete", "service", "after", "--namespace", NAMESPACE])
                        .ok();
                    Err("it was created".to_owned())
                }
                ran => Err(ran.err),
            }
        });
        let label = |name: &str| {
            ["label", "service", name, "team=a", "--namespace", NAMESPACE].map(str::to_owned)
        };
        let change = |name: &str| {
            cluster
                .kubectl(&label(name).each_ref().map(String::as_str))
                .ok()
        };
        change("before");
        for (count, spec) in allowed().iter().enumerate() {
            let name = format!("allowed-{count}");
            create(&name, spec)
                .result()
                .unwrap_or_else(|error| panic!("{}: {spec}: {error}", self.policy));
            change(&name);
        }

        cluster.kubectl_with(&["delete", "-f", "-"], &list).ok();
        cluster
            .kubectl(&["delete", "services", "--all", "--namespace", NAMESPACE])
            .ok();
    }
}

#[test]
#[cfg_attr(not(api_server_1_30), ignore = "no kube-apiserver of 1.30 or newer")]
fn the_net_denies_and_allows_without_any_host() {
    let cluster = Cluster::shared();
    if !Feature::ValidatingAdmissionPolicies
        .is_in(&cluster, "the backstop of ValidatingAdmissionPolicies")
    {
        return;
    }
    cluster.namespace(NAMESPACE);
    for expectation in expectations() {
        expectation.judge(&cluster);
    }
    judge_changes(&cluster);
}

/// Tests change-protection, which denies no Service that is created.
fn judge_changes(cluster: &Cluster) {
    const MARK: &str = "example.com/protected";
    let protection = Expectation {
        policy: "change-protection",
        settings: json!({"mark": MARK, "unmarkers": ["network-admins"]}),
        denied: Value::Null,
        message: "[change-protection] spec.type: annotation example.com/protected protects the \
                  Service: its type NodePort may not become ClusterIP",
    };
    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let mut marked: Value = serde_json::from_str(&service("marked", &spec)).expect("JSON");
    marked["metadata"]["annotations"] = json!({MARK: "true"});
    let create = ["create", "--namespace", NAMESPACE, "-f", "-"];
    let before = || cluster.kubectl_with(&create, &marked.to_string());
    wait_for("change-protection: a Service before it", || {
        before().result().map(drop)
    });
    let list = protection.apply(cluster);
    let patch = |patch: Value, dry_run: &str| {
        let patch = format!("--patch={patch}");
        let dry_run = format!("--dry-run={dry_run}");
        let command = [
            "patch",
            "service",
            "marked",
            "--namespace",
            NAMESPACE,
            &patch,
            &dry_run,
        ];
        cluster.kubectl(&command)
    };
    wait_for("change-protection: it is denied", || {
        match patch(json!({"spec": {"type": "ClusterIP"}}), "server") {
            ran if ran.err.contains(protection.message) => Ok(()),
            ran if ran.done => Err("it would be changed".to_owned()),
            ran => Err(ran.err),
        }
    });
    patch(json!({"metadata": {"labels": {"team": "a"}}}), "none").ok();
    let unmarked = patch(json!({"metadata": {"annotations": {MARK: null}}}), "none");
    let says = "may be taken off by members of unmarkers only";
    assert!(
        !unmarked.done && unmarked.err.contains(says),
        "{}",
        unmarked.err
    );
    cluster.kubectl_with(&["delete", "-f", "-"], &list).ok();
    cluster
        .kubectl(&["delete", "services", "--all", "--namespace", NAMESPACE])
        .ok();
}
