//! `serve --register`: the host maintains its webhook configurations, whoever changes them.

use crate::admission::manifests;
use crate::replicas::create_service;
use crate::webhook::Host;
use sallyport_tests::cluster::{Cluster, free_port};
use sallyport_tests::wait_for;
use serde_json::{Value, json};

const VALIDATING: &str = "validatingwebhookconfiguration";
const MUTATING: &str = "mutatingwebhookconfiguration";

fn configuration(cluster: &Cluster, kind: &str) -> Result<Value, String> {
    let text = cluster
        .kubectl(&["get", kind, "sallyport", "-o=json"])
        .result()?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

pub(crate) fn wait_until_denied(cluster: &Cluster) {
    wait_for("it is asked", || {
        let ran = cluster.kubectl(&[
            "create",
            "--dry-run=server",
            "-f",
            "docs/examples/out-of-range.yaml",
        ]);
        if ran.err.contains("[nodeport-range]") {
            Ok(())
        } else {
            Err(format!("{ran:?}"))
        }
    });
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_host_registers_itself_and_keeps_it_so() {
    let cluster = Cluster::new("registered");
    let port = free_port();
    let ip = create_service(&cluster, port);
    cluster
        .kubectl(&[
            "apply",
            "-f",
            "deploy/overlays/self-managed/secret.yaml",
            "--namespace=sallyport-system",
        ])
        .ok();
    cluster
        .kubectl(&["apply", "-f", "deploy/base/installation.yaml"])
        .ok();
    // The second policy patches, and the third one judges deletions.
    let policies = manifests(&[
        (
            "nodeport-range",
            json!({"module": {"file": "nodeport_range.wasm"}}),
        ),
        (
            "service-type",
            json!({"module": {"file": "service_type.wasm"}}),
        ),
        (
            "marked",
            json!({"module": {"file": "change_protection.wasm"},
                "settings": {"mark": "example.com/keep"}}),
        ),
    ]);
    let host = Host::serve(
        &cluster,
        policies.path(),
        &format!(
            "--listen {ip}:{port} --self-managed-certificate --register --service-port {port} \
             --watch-interval 100ms \
             --namespace sallyport-system --kubeconfig {}",
            cluster.kubeconfig().display()
        ),
    );
    wait_until_denied(&cluster);
    configuration(&cluster, MUTATING).expect("a policy patches");
    let deletions = || {
        let found = configuration(&cluster, VALIDATING)?;
        Ok::<_, String>(found["webhooks"][1].clone())
    };
    let webhook = deletions().expect("it is there");
    assert_eq!(
        (&webhook["name"], &webhook["failurePolicy"]),
        (&json!("delete.sallyport.dev"), &json!("Ignore"))
    );

    // Labels are anybody's; the webhooks are the host's.
    cluster
        .kubectl(&["label", VALIDATING, "sallyport", "team=a"])
        .ok();
    let open = r#"[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]"#;
    cluster
        .kubectl(&["patch", VALIDATING, "sallyport", "--type=json", "-p", open])
        .ok();
    wait_for("it fails closed again", || {
        let found = configuration(&cluster, VALIDATING)?;
        assert_eq!(found["metadata"]["labels"]["team"], "a");
        if found["webhooks"][0]["failurePolicy"] == "Fail" {
            Ok(())
        } else {
            Err(host.log())
        }
    });

    std::fs::remove_file(policies.path().join("service-type.yaml")).expect("it is there");
    wait_for("nobody patches any more", || {
        match configuration(&cluster, MUTATING) {
            Ok(_) => Err(host.log()),
            Err(error) if error.contains("not found") => Ok(()),
            Err(error) => Err(error),
        }
    });
    std::fs::remove_file(policies.path().join("marked.yaml")).expect("it is there");
    wait_for("nobody asks about deletions any more", || {
        let webhook = deletions()?;
        if webhook.is_null() {
            Ok(())
        } else {
            Err(host.log())
        }
    });
    wait_until_denied(&cluster);
    drop(host);
    configuration(&cluster, VALIDATING).expect("failing closed outlives the host");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_host_that_may_not_register_says_so_and_serves() {
    let cluster = Cluster::shared();
    let files = tempfile::tempdir().expect("a directory");
    let ca = files.path().join("ca.crt");
    std::fs::write(
        &ca,
        sallyport_tests::cluster::Signed::new(&["localhost"]).ca,
    )
    .expect("written");
    let flags = format!(
        "--policies target/policies --register --namespace unknown --ca-bundle {} --kubeconfig {}",
        ca.display(),
        cluster.powerless().display()
    );
    let host = Host::start(&cluster, &flags);
    wait_for("which right is missing", || {
        let log = host.log();
        let is_logged = log.contains(r#"User "nobody" cannot get resource "clusterroles""#)
            && log.contains("deploy/overlays/registered/rbac.yaml");
        if is_logged { Ok(()) } else { Err(log) }
    });
}
