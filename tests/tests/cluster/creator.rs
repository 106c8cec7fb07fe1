//! Clients that write Services all the time, while a test replaces certificates or replicas.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sallyport_tests::cluster::Cluster;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The number of concurrent clients.
const CLIENTS: usize = 4;

/// The pause between two Services of a client, since other tests share the machine.
const PAUSE: Duration = Duration::from_millis(25);

/// Creates and deletes Services in namespace `default` until it is stopped.
pub(crate) struct Creator {
    thread: JoinHandle<Vec<Result<u32, String>>>,
    stop: Arc<AtomicBool>,
}

impl Creator {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (kubeconfig, stopped) = (cluster.kubeconfig(), Arc::clone(&stop));
        Self {
            thread: std::thread::spawn(move || run(kubeconfig, &stopped)),
            stop,
        }
    }

    /// Stops the clients, and returns the number of created Services. Fails when one was refused.
    #[track_caller]
    pub(crate) fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        let created = self.thread.join().expect("no panic");
        created
            .into_iter()
            .map(|created| created.unwrap_or_else(|error| panic!("a Service was refused: {error}")))
            .sum()
    }
}

fn run(kubeconfig: PathBuf, stop: &AtomicBool) -> Vec<Result<u32, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the cluster wrote it");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("whole");
        let client = Client::try_from(config).expect("a client");
        join_all((0..CLIENTS).map(|number| create(client.clone(), number, stop))).await
    })
}

async fn create(client: Client, number: usize, stop: &AtomicBool) -> Result<u32, String> {
    let api: Api<Service> = Api::namespaced(client, "default");
    let name = format!("created-{number}");
    let service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let service: Service = serde_json::from_value(service).expect("a Service");
    let mut created = 0;
    while !stop.load(Ordering::Relaxed) {
        api.create(&PostParams::default(), &service)
            .await
            .map_err(|error| format!("after {created}: {error}"))?;
        api.delete(&name, &DeleteParams::default())
            .await
            .map_err(|error| error.to_string())?;
        created += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(created)
}
