//! Runs the commands of `docs/operations.md`, "Switch it off in an emergency".

use crate::webhook::{Host, Registration};
use sallyport_tests::cluster::Cluster;
use sallyport_tests::root;
use sallyport_tests::wait_for;

const HEADING: &str = "## Switch it off in an emergency";

/// Returns the commands of the block after the paragraph with this beginning.
fn commands(beginning: &str) -> Vec<String> {
    let document = std::fs::read_to_string(root().join("docs/operations.md")).expect("it is there");
    let (_, section) = document.split_once(HEADING).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let (_, rest) = section
        .split_once(&format!("\n{beginning}"))
        .unwrap_or_else(|| panic!("no paragraph {beginning:?}"));
    let (_, block) = rest.split_once("```console\n").expect("a block");
    let (block, _) = block.split_once("```").expect("the block's end");
    block
        .lines()
        .map(|line| line.strip_prefix("$ ").expect("only commands").to_owned())
        .collect()
}

pub(crate) fn run(cluster: &Cluster, beginning: &str) {
    for command in commands(beginning) {
        let ran = cluster.shell(&command);
        assert!(ran.done, "{command}: {}", ran.err);
    }
}

/// Waits until a Service can be created, or can't. That changes a moment after a configuration
/// does.
pub(crate) fn wait_until_created(cluster: &Cluster, namespace: &str, expected: bool) {
    let create = [
        "create",
        "service",
        "clusterip",
        "probe",
        "--tcp=80",
        "--dry-run=server",
        "--namespace",
        namespace,
    ];
    wait_for(&format!("created in {namespace}: {expected}"), || {
        let ran = cluster.kubectl(&create);
        let refused = ran.err.contains("failed calling webhook");
        if ran.done == expected && refused != expected {
            Ok(())
        } else {
            Err(format!("{ran:?}"))
        }
    });
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn the_emergency_commands_do_what_the_document_says() {
    let cluster = Cluster::new("runbook");
    cluster.namespace("sallyport-system");
    cluster.namespace("team-a");
    // Not the one of deploy/base, since 1.20 does not know its sleep hook. No controller starts its
    // Pods.
    let deploy = [
        "create",
        "deployment",
        "sallyport",
        "--image=sallyport",
        "--namespace=sallyport-system",
    ];
    cluster.kubectl(&deploy).ok();
    let host = Host::shipped(&cluster);
    Registration::of(&host).apply(&cluster);
    drop(host);
    wait_until_created(&cluster, "default", false);

    run(&cluster, "Let pass what no replica can judge");
    wait_until_created(&cluster, "default", true);
    run(&cluster, "And refuse it again");
    wait_until_created(&cluster, "default", false);

    run(&cluster, "Leave one namespace alone");
    wait_until_created(&cluster, "team-a", true);
    wait_until_created(&cluster, "default", false);
    run(&cluster, "And judge it again");
    wait_until_created(&cluster, "team-a", false);

    run(&cluster, "Everything off");
    wait_until_created(&cluster, "default", true);
    assert_eq!(replicas(&cluster), "0");
    run(&cluster, "Everything on again");
    wait_until_created(&cluster, "default", false);
    assert_eq!(replicas(&cluster), "2");
}

fn replicas(cluster: &Cluster) -> String {
    let get = [
        "get",
        "deployment/sallyport",
        "--namespace=sallyport-system",
        "--output=jsonpath={.spec.replicas}",
    ];
    cluster.kubectl(&get).ok()
}
