//! From `helm install` to `helm uninstall` in each mode, with hosts that have the chart's arguments
//! and rights.

use super::node::Pod;
use super::release::Release;
use crate::monitoring;
use sallyport_tests::{root, wait_for};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

/// The denial by the baseline, and by the upgrade below.
const BASELINE: &str = "29999 is outside 30000-32767";
const UPGRADED: &str = "29999 is outside 30100-30199";
const UPGRADE: &str = "upgrade sallyport {chart} --reuse-values --set-json \
    'policies={\"nodeport-range\":{\"settings\":{\"ranges\":[{\"from\":30100,\"to\":30199}]}}}'";

fn jobs(release: &Release) -> Vec<String> {
    let ran = release.jobs.take();
    ran.into_iter()
        .map(|job| {
            assert!(job.said.is_ok(), "{job:?}");
            job.name
        })
        .collect()
}

/// Upgrades, rolls back and uninstalls a release that serves.
fn upgrade_and_uninstall(release: &Release, pod: Pod) {
    assert_eq!(jobs(release), ["sallyport-check"]);
    release.ask_the_doctor();
    release.helm(UPGRADE).ok();
    assert_eq!(jobs(release), ["sallyport-check"]);
    drop(pod);
    let pod = release.pod();
    release.wait_until_denied(UPGRADED);
    release.ask_the_doctor();
    release.helm("rollback sallyport").ok();
    assert_eq!(jobs(release), ["sallyport-check"]);
    drop(pod);
    let pod = release.pod();
    release.wait_until_denied(BASELINE);
    // The CustomResourceDefinition stays, and Helm says so.
    let said = release.helm("uninstall sallyport").ok();
    assert!(
        said.contains("[CustomResourceDefinition] servicepolicies.sallyport.dev"),
        "{said}"
    );
    assert_eq!(jobs(release), ["sallyport-removal"]);
    release.assert_nothing_is_left("helm uninstall");
    let log = pod.process.log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn registered_from_installation_to_removal_and_again() {
    let Some(release) = Release::new("registered") else {
        return;
    };
    let began = Instant::now();
    let notes = release.install("").ok();
    let installed = began.elapsed();
    assert!(
        release.configurations().is_empty(),
        "nothing asks before a replica serves"
    );
    let pod = release.pod();
    let serving = began.elapsed();
    release.wait_until_denied(BASELINE);
    let denied = began.elapsed();
    let line = format!(
        "from `helm install` to the first denied Service (aim: 15 s): {denied:.1?}; Helm with its \
         check {installed:.1?}, the start of a host {:.1?}, registration and the API server {:.1?}",
        serving - installed,
        denied - serving
    );
    writeln!(std::io::stderr(), "{line}").expect("standard error is open");
    assert!(
        notes.contains("mode registered, preset baseline."),
        "{notes}"
    );
    metrics_are_explained(&pod);
    upgrade_and_uninstall(&release, pod);

    // The definition that was kept does not stand in the way of the next installation.
    release.install("").ok();
    let _pod = release.pod();
    release.wait_until_denied(BASELINE);
    // A cluster in trouble: the Job of the hook would never end.
    release.helm("uninstall sallyport --no-hooks").ok();
    release.collect_garbage();
    release.assert_nothing_is_left("helm uninstall --no-hooks");
}

#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn self_managed_from_installation_to_removal() {
    let Some(release) = Release::new("self-managed") else {
        return;
    };
    release.install("--set mode=self-managed").ok();
    assert_eq!(release.configurations().len(), 3);
    let pod = release.pod();
    release.wait_until_denied(BASELINE);
    upgrade_and_uninstall(&release, pod);
}

#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn cert_manager_from_installation_to_removal() {
    let Some(release) = Release::new("cert-manager") else {
        return;
    };
    release.define_foreign_kinds();
    release.install("--set mode=cert-manager").ok();
    release.issue();
    let pod = release.pod();
    release.wait_until_denied(BASELINE);
    upgrade_and_uninstall(&release, pod);
}

/// Helm refuses to take over what a host made, unless it is told to.
#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn a_release_changes_its_mode() {
    let Some(release) = Release::new("modes") else {
        return;
    };
    release.install("").ok();
    let pod = release.pod();
    release.wait_until_denied(BASELINE);
    let change = "upgrade sallyport {chart} --set mode=self-managed";
    let refused = release.helm(change).error();
    assert!(
        refused.contains(r#"WebhookConfiguration "sallyport""#)
            && refused.contains("cannot be imported into the current release"),
        "{refused}"
    );
    release.wait_until_denied(BASELINE);
    release.helm(&format!("{change} --take-ownership")).ok();
    drop(pod);
    let pod = release.pod();
    release.wait_until_denied(BASELINE);
    release.ask_the_doctor();

    // Back. Helm deletes its configurations, and hosts make theirs.
    release
        .helm("upgrade sallyport {chart} --set mode=registered")
        .ok();
    drop(pod);
    let _pod = release.pod();
    release.wait_until_denied(BASELINE);
    wait_for("configurations of the hosts", || {
        let found = release.configurations();
        let owned = |configuration: &serde_json::Value| {
            configuration["metadata"]["ownerReferences"][0]["name"] == "sallyport-installation"
        };
        if found.len() == 3 && found.iter().all(owned) {
            Ok(())
        } else {
            Err(format!("{found:#?}"))
        }
    });
    release.helm("uninstall sallyport").ok();
    release.assert_nothing_is_left("a change of the mode");
}

/// Fails if an alert or a panel names a metric that docs/operations.md doesn't explain, or if that
/// lacks one of the host's. (A host shows no metric before it has a value.)
fn metrics_are_explained(pod: &Pod) {
    let document = std::fs::read_to_string(root().join("docs/operations.md")).expect("readable");
    let explained = |metric: &str| document.contains(&format!("\n| `{metric}` | "));
    for metric in monitoring::metrics() {
        let metric = metric.strip_suffix("_bucket").unwrap_or(&metric);
        assert!(explained(metric), "{metric}");
    }
    let admin = pod.process.logged("probes and metrics on http://");
    let mut stream = TcpStream::connect(admin).expect("the admin port");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let types: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    assert!(types.len() > 20, "{text}");
    for (family, kind) in types {
        let metric = match kind {
            "counter" => format!("{family}_total"),
            "info" => format!("{family}_info"),
            _ => family.to_owned(),
        };
        assert!(explained(&metric), "{metric} is not in docs/operations.md");
    }
}
