//! `make bench-cluster`: measures the create of a Service on a real API server, by the way it is
//! reviewed.
//!
//! The ways are no webhook, a webhook in Go that allows everything, Sallyport, and the API server's
//! own CEL. Each has a namespace of its own, so that all are registered at once and rounds are
//! interleaved; the webhooks are registered alike. One client creates one Service after the other
//! over one connection, and deletes it again outside of the measurement. API server, etcd, webhooks
//! and client share the machine, so only ratios count. Nothing is asserted except that each webhook
//! was called. The last table is a host's memory beside clusters of several sizes.

mod memory;
mod table;
mod ways;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sallyport::cli::Cli;
use sallyport_tests::cluster::Cluster;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::Table;
use ways::{Way, Ways};

/// The number of Services that each way creates in a round. About three minutes in all.
const ROUNDS: usize = 20;
const CREATES: usize = 50;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if arguments.first().is_some_and(|word| word == "sallyport") {
        return Ok(Cli::parse_from(&arguments).run());
    }
    measure(&Cluster::new("latency"))?;
    Ok(ExitCode::SUCCESS)
}

fn measure(cluster: &Cluster) -> Result<()> {
    let ways = Ways::register(cluster)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let client = runtime.block_on(client(cluster))?;
    println!(
        "Kubernetes 1.{}; {ROUNDS} rounds of {CREATES} creates; all on this machine\n",
        cluster.minor
    );
    let shapes = [
        ("ClusterIP", json!({"port": 80})),
        ("NodePort", json!({"port": 80, "nodePort": 30911})),
    ];
    for (kind, port) in shapes {
        let service = service(kind, &port)?;
        let before = ways.calls(cluster)?;
        let table = runtime.block_on(rounds(&client, &ways, &service))?;
        println!(
            "{}",
            table.text(kind, &ways.calls_since(cluster, &before)?)?
        );
    }
    drop(ways);
    runtime.block_on(memory::measure(cluster, &client))
}

async fn client(cluster: &Cluster) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn service(kind: &str, port: &Value) -> Result<Service> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"type": kind, "selector": {"app": "web"}, "ports": [port]},
    }))?)
}

async fn rounds<'a>(client: &Client, ways: &'a Ways, service: &Service) -> Result<Table<'a>> {
    let mut table = Table::new(ways);
    for round in 0..=ROUNDS {
        for way in ways.all() {
            let api = Api::namespaced(client.clone(), way.namespace);
            for _ in 0..CREATES {
                let took = create(&api, service, way).await?;
                // The first round fills caches and opens connections.
                if round > 0 {
                    table.add(way, took);
                }
            }
        }
    }
    Ok(table)
}

async fn create(api: &Api<Service>, service: &Service, way: &Way) -> Result<Duration> {
    let began = Instant::now();
    let created = api
        .create(&PostParams::default(), service)
        .await
        .with_context(|| way.what.clone());
    let took = began.elapsed();
    created?;
    api.delete("web", &DeleteParams::default()).await?;
    Ok(took)
}
