//! Measures the memory of a host with all shipped policies beside clusters of several sizes, with
//! and without watching them.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use sallyport_tests::cluster::{Cluster, Process};
use serde_json::{Value, json};

const NAMESPACES: usize = 1_000;
const NODES: usize = 500;
const PODS: usize = 5_000;

/// Fills the cluster step by step, and prints a row for each step.
pub(crate) async fn measure(cluster: &Cluster, client: &Client) -> Result<()> {
    println!(
        "{:<58}{:>13}{:>8}",
        "all policies, from the cache", "resident, MiB", "ratio"
    );
    let alone = resident(cluster, "")?;
    row("not watching a cluster", alone, alone);
    let watching = format!("--cluster --kubeconfig {}", cluster.kubeconfig().display());
    let mut what = "watching this cluster".to_owned();
    row(&what, resident(cluster, &watching)?, alone);
    let namespaces = Api::all_with(client.clone(), &ApiResource::erase::<Namespace>(&()));
    for number in 0..NAMESPACES {
        create(&namespaces, namespace(number)).await?;
    }
    let nodes = Api::all_with(client.clone(), &ApiResource::erase::<Node>(&()));
    for number in 0..NODES {
        create(&nodes, node(number)).await?;
    }
    what = format!("with {NAMESPACES} namespaces and {NODES} Nodes more");
    row(&what, resident(cluster, &watching)?, alone);
    for number in 0..PODS {
        let namespace = format!("n{}", number % NAMESPACES);
        let pods =
            Api::namespaced_with(client.clone(), &namespace, &ApiResource::erase::<Pod>(&()));
        create(&pods, pod(number)).await?;
    }
    row(
        &format!("{what}, and {PODS} Pods"),
        resident(cluster, &watching)?,
        alone,
    );
    println!();
    Ok(())
}

fn row(what: &str, resident: u64, alone: u64) {
    println!(
        "{what:<58}{:>13.1}{:>8.2}",
        resident as f64 / 1024.0,
        resident as f64 / alone as f64
    );
}

/// Returns the resident memory of a host once it serves, which it does not before everything was
/// listed.
fn resident(cluster: &Cluster, flags: &str) -> Result<u64> {
    let arguments = format!(
        "sallyport serve --strict --no-watch --self-signed --ca-out {} --listen 127.0.0.1:0 \
         --admin-listen 127.0.0.1:0 \
         --policies target/policies {flags}",
        cluster.log("ca").display()
    );
    let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
    let host = Process::start(
        &std::env::current_exe()?,
        cluster.log("resident"),
        &arguments,
    );
    host.logged("serving on https://");
    host.resident().context("no VmRSS")
}

async fn create(api: &Api<DynamicObject>, object: Value) -> Result<()> {
    api.create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?;
    Ok(())
}

fn namespace(number: usize) -> Value {
    let labels =
        json!({"team": format!("t{}", number % 50), "stage": "production", "exposure": "closed"});
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": format!("n{number}"), "labels": labels}})
}

fn node(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": format!("node-{number}"), "labels": {"kubernetes.io/os": "linux"}},
        "spec": {"providerID": format!("aws:///eu-central-1a/i-{number}")},
    })
}

/// Returns a Pod: five in each namespace, each of its own application, so that the labels of no two
/// are equal.
fn pod(number: usize) -> Value {
    let labels = json!({"app": format!("app-{number}"), "app.kubernetes.io/name": "web"});
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("pod-{number}"), "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "web",
            "ports": [{"name": "http", "containerPort": 8080}]}]},
    })
}
