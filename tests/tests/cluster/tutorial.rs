//! `docs/tutorial.md`, all of it: from nothing to a policy that an API server asks.

use sallyport_tests::cluster::{Cluster, free_port};
use sallyport_tests::walkthrough::{Reader, Step, steps};
use sallyport_tests::{root, tutorial};

/// The ports of the page, which may be taken here.
const PORTS: [&str; 2] = ["8443", "8081"];

/// The first version with what `sallyport webhooks` prints unless it is told otherwise.
const MATCH_CONDITIONS: u32 = 28;

#[test]
#[cfg_attr(
    not(all(api_server_1_30, wasm_target)),
    ignore = "no kube-apiserver of 1.30 or newer, or no standard library for wasm32"
)]
fn the_tutorial_ends_with_a_policy_in_a_cluster() {
    let page = std::fs::read_to_string(root().join("docs/tutorial.md")).expect("it is there");
    let cluster = Cluster::new("tutorial");
    let ports = PORTS.map(|port| (port, free_port().to_string()));
    let here = |step: Step| {
        let mut command = step.command;
        for (port, free) in &ports {
            command = command.replace(port, free);
        }
        if cluster.minor < MATCH_CONDITIONS {
            let version = format!("webhooks --kubernetes 1.{} --policies", cluster.minor);
            command = command.replace("webhooks --policies", &version);
        }
        Step { command, ..step }
    };
    let steps: Vec<_> = steps(&page).into_iter().map(here).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let mut reader = Reader::new(directory.path());
    reader.set("KUBECONFIG", &cluster.kubeconfig());
    reader.add_programs(&cluster.programs());
    tutorial::run(&mut reader, "tutorial-in-a-cluster", &steps);
}
