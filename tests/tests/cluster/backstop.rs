//! `sallyport webhooks --backstop`: its ValidatingAdmissionPolicies, judged by the API server
//! alone.
//!
//! They are applied with `failurePolicy: Fail`, so that an expression that the API server can't
//! evaluate is a denial without our message, and fails a test. One policy at a time: an API server
//! tells of one denial only.

use crate::admission::manifests;
use crate::webhook::Feature;
use sallyport_tests::cluster::Cluster;
use sallyport_tests::{SALLYPORT, root, wait_for};
use serde_json::{Value, json};
use std::process::Command;

const NAMESPACE: &str = "backstop";

/// What one policy's net lets through and what not.
struct Net {
    policy: &'static str,
    settings: Value,
    /// The `spec` of a Service.
    denied: Value,
    told: &'static str,
}

fn nets() -> [Net; 6] {
    let ports = json!([{"port": 80}]);
    let selector = json!({"app": "web"});
    [
        Net {
            policy: "nodeport-range",
            settings: json!({}),
            denied: json!({"type": "NodePort", "selector": selector,
                "ports": [{"port": 80, "nodePort": 29990}]}),
            told: "[nodeport-range] spec.ports: node port 29990 is outside 30000-32767",
        },
        Net {
            policy: "external-ips",
            settings: json!({"allowedCidrs": ["192.0.2.0/25", "2001:db8::/32"]}),
            denied: json!({"selector": selector, "ports": ports,
                "externalIPs": ["192.0.2.1", "192.0.2.129"]}),
            told: "[external-ips] spec.externalIPs",
        },
        Net {
            policy: "external-name",
            settings: json!({}),
            denied: json!({"type": "ExternalName", "externalName": "web.team-a.svc.cluster.local"}),
            told: "[external-name] spec.externalName: \"web.team-a.svc.cluster.local\" is no name",
        },
        Net {
            policy: "loadbalancer-cloud-only",
            settings: json!({"environment": "onPrem"}),
            denied: json!({"type": "LoadBalancer", "selector": selector,
                "ports": [{"port": 80, "nodePort": 30901}]}),
            told: "[loadbalancer-cloud-only] spec.type",
        },
        Net {
            policy: "selectorless",
            settings: json!({}),
            denied: json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30902}]}),
            told: "[selectorless] spec.selector",
        },
        Net {
            policy: "service-type",
            settings: json!({"allowedTypes": ["ClusterIP", "NodePort", "ExternalName"]}),
            denied: json!({"type": "LoadBalancer", "selector": selector,
                "ports": [{"port": 80, "nodePort": 30903}]}),
            told: "[service-type] spec.type",
        },
    ]
}

/// Services that all of them allow: each field that an expression asks for is absent somewhere.
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

impl Net {
    /// What the program prints of this policy.
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

    fn judge(&self, cluster: &Cluster) {
        let create = |name: &str, spec: &Value| {
            cluster.kubectl_with(
                &["create", "--namespace", NAMESPACE, "-f", "-"],
                &service(name, spec),
            )
        };
        create("before", &self.denied).ok();
        let list = self.printed().to_string();
        cluster
            .kubectl_with(&["apply", "--validate=strict", "-f", "-"], &list)
            .ok();

        let mut denied = self.denied.clone();
        if let Some(port) = denied["ports"][0]["nodePort"].as_u64() {
            denied["ports"][0]["nodePort"] = (port + 1).into();
        }
        let told = self.told.replace("29990", "29991");
        wait_for(&format!("{}: it is denied", self.policy), || {
            match create("after", &denied) {
                ran if ran.err.contains(&told) => Ok(()),
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
        .is_in(&cluster, "the net of ValidatingAdmissionPolicies")
    {
        return;
    }
    cluster.namespace(NAMESPACE);
    for net in nets() {
        net.judge(&cluster);
    }
}
