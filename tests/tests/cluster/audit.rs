//! `sallyport audit` and `exposures` on a real API server.

use sallyport_tests::cluster::Cluster;
use sallyport_tests::{SALLYPORT, root, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Six Services that open a door, each in another way.
fn doors(node_port: u16) -> [(&'static str, Value, Value); 6] {
    [
        (
            "port",
            json!({}),
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": node_port}]}),
        ),
        ("balancer", json!({}), json!({"type": "LoadBalancer"})),
        ("ips", json!({}), json!({"externalIPs": ["192.0.2.7"]})),
        (
            "exported",
            json!({"tailscale.com/expose": "true"}),
            json!({}),
        ),
        (
            "shared",
            json!({"metallb.io/allow-shared-ip": "key"}),
            json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false}),
        ),
        (
            "alias",
            json!({}),
            json!({"type": "ExternalName", "externalName": "kubernetes.default.svc"}),
        ),
    ]
}

fn create(cluster: &Cluster, namespace: &str, node_port: u16) {
    create_as(cluster, namespace, node_port, "kubernetes-admin");
}

/// Opens the doors as a user, who may do everything.
pub(crate) fn create_as(cluster: &Cluster, namespace: &str, node_port: u16, user: &str) {
    let user = format!("--as={user}");
    for (name, annotations, spec) in doors(node_port) {
        let mut service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]}});
        for (key, value) in spec.as_object().expect("an object") {
            service["spec"][key] = value.clone();
        }
        if name == "alias" {
            service["spec"] = spec;
        }
        let create = [&user, "--as-group=system:masters", "create", "-f", "-"];
        cluster.kubectl_with(&create, &service.to_string()).ok();
    }
}

fn sallyport(kubeconfig: &Path, arguments: &[&str]) -> Output {
    command(kubeconfig, arguments).output().expect("it runs")
}

fn command(kubeconfig: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(&*SALLYPORT);
    command
        .args(arguments)
        .args(["--policies", "target/policies", "--kubeconfig"])
        .arg(kubeconfig)
        .current_dir(root());
    command
}

fn json_of(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn six_doors_opened_in_six_ways_are_named_with_their_reasons() {
    let cluster = Cluster::shared();
    cluster.namespace("doors");
    create(&cluster, "doors", 29950);
    assert_doors_are_named(&cluster, "doors");
}

/// Checks what `audit` and `exposures` say about the doors of a namespace.
pub(crate) fn assert_doors_are_named(cluster: &Cluster, namespace: &str) {
    let admin = cluster.kubeconfig();
    let audit = sallyport(&admin, &["audit", "-n", namespace, "--output", "json"]);
    let report = json_of(&audit);
    assert_eq!(audit.status.code(), Some(1), "{report:#}");
    assert_eq!(report["services"], 6);
    let found: Vec<_> = report["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| format!("{} {}", row["service"], row["findings"][0]["rule"]).replace('"', ""))
        .collect();
    let expected = [
        "alias S09",
        "balancer S03",
        "exported S10",
        "ips S08",
        "port S02",
        "shared S03",
    ]
    .map(|found| format!("{namespace}/{found}"));
    assert_eq!(found, expected);
    let exposures = sallyport(&admin, &["exposures", "-n", namespace, "--output", "json"]);
    let report = json_of(&exposures);
    let door = |service: &str, kind: &str| {
        let all = report["exposures"].as_array().expect("doors");
        let name = format!("{namespace}/{service}");
        all.iter()
            .find(|door| door["service"] == name.as_str() && door["kind"] == kind)
            .unwrap_or_else(|| panic!("no {kind} of {name}: {report:#}"))
            .clone()
    };
    for (service, kind, rule) in [
        ("port", "nodePort", "S02"),
        ("balancer", "loadBalancer", "S03"),
        ("ips", "externalIp", "S08"),
        ("exported", "exported", "S10"),
        ("shared", "shared", "S03"),
        ("alias", "alias", "S09"),
    ] {
        let door = door(service, kind);
        assert_eq!(door["policy"]["refusedBy"][0]["rule"], rule, "{door:#}");
        assert_eq!(door["policy"]["refusedBy"][0]["keptOnUpdate"], true);
        if cluster.minor >= 22 {
            let manager = door["writtenBy"]["manager"].as_str().expect("a manager");
            assert!(manager.starts_with("kubectl"), "{door:#}");
        }
    }
    assert_eq!(door("port", "nodePort")["allocated"], Value::Null);
    assert_eq!(door("balancer", "nodePort")["allocated"], true);
    assert_eq!(
        report["exposures"][0]["opens"], "perhapsPublic",
        "the widest comes first"
    );
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn namespaces_that_a_user_may_not_read_are_said() {
    let cluster = Cluster::shared();
    cluster.namespace("seen");
    cluster.namespace("hidden");
    create(&cluster, "seen", 29951);
    for arguments in [
        "create serviceaccount auditor -n seen",
        "create role reader --verb=list --resource=services -n seen",
        "create rolebinding reader --role=reader --serviceaccount=seen:auditor -n seen",
    ] {
        cluster
            .kubectl(&arguments.split(' ').collect::<Vec<_>>())
            .ok();
    }
    let auditor = cluster.service_account("seen", "auditor");
    let refused = sallyport(&auditor, &["audit"]);
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("may read with --namespace"), "{error}");
    for arguments in [
        "create clusterrole audit-namespaces --verb=list --resource=namespaces",
        "create clusterrolebinding audit-namespaces --clusterrole=audit-namespaces \
         --serviceaccount=seen:auditor",
    ] {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        cluster.kubectl(&arguments).ok();
    }
    let partial = wait_for("the right to list namespaces", || {
        let output = sallyport(&auditor, &["audit", "--output", "json"]);
        match output.stdout.is_empty() {
            true => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            false => Ok(output),
        }
    });
    assert_eq!(partial.status.code(), Some(2));
    let report = json_of(&partial);
    assert_eq!(report["counts"]["denied"], 6, "{report:#}");
    let gaps = report["gaps"].to_string();
    assert!(gaps.contains("are hidden from this user"), "{gaps}");
    assert!(
        gaps.contains("hidden") && gaps.contains("kube-system"),
        "{gaps}"
    );
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_watch_prints_what_is_opened_and_mended() {
    let cluster = Cluster::shared();
    cluster.namespace("watched");
    let mut child = command(
        &cluster.kubeconfig(),
        &["audit", "--watch", "-n", "watched"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = |part: &str| {
        let line = lines.next().expect("a line").expect("UTF-8");
        assert!(line.contains(part), "{part}: {line}");
    };
    next("0 Services, ");
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "w", "namespace": "watched"},
        "spec": {"externalIPs": ["192.0.2.9"], "selector": {"a": "b"}, "ports": [{"port": 80}]}});
    cluster
        .kubectl_with(&["create", "-f", "-"], &service.to_string())
        .ok();
    next("+ DENY watched/w external-ips S08");
    let patch = r#"{"spec":{"externalIPs":null}}"#;
    cluster
        .kubectl(&[
            "patch",
            "service",
            "w",
            "-n",
            "watched",
            "--type=merge",
            "-p",
            patch,
        ])
        .ok();
    next("- DENY watched/w external-ips S08");
    child.kill().expect("it runs");
    child.wait().expect("it ended");
}
