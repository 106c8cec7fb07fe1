//! The self-managed certificate, with an API server that trusts the `caBundle` of the webhook
//! configurations.

use crate::admission::manifests;
use crate::creator::Creator;
use crate::replicas::create_service;
use crate::webhook::{At, Host, Registration};
use sallyport_tests::cluster::{Cluster, Signed, free_port};
use sallyport_tests::wait_for;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// A certificate turns over every 8 s, the authority every 24 s; API servers have 2 s to notice.
const LIVES: &str = "--certificate-lifetime 12s --authority-lifetime 36s";

/// The first authority, both, the next one.
const BUNDLES: usize = 3;

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn no_service_is_refused_while_certificates_are_replaced() {
    let cluster = Cluster::new("certificates");
    let port = free_port();
    let ip = create_service(&cluster, port);
    let namespace = ["--namespace", "sallyport-system"];
    cluster
        .kubectl(
            &[
                &["apply", "-f", "deploy/overlays/self-managed/secret.yaml"],
                &namespace[..],
            ]
            .concat(),
        )
        .ok();
    let kubeconfig = cluster.kubeconfig();
    let host = Host::start(
        &cluster,
        &format!(
            "--strict --policies target/policies --listen {ip}:{port} --self-managed-certificate \
             {LIVES} \
             --namespace sallyport-system --kubeconfig {}",
            kubeconfig.display()
        ),
    );
    Registration {
        at: At::Service("sallyport-system", "sallyport", port),
        ..Registration::of(&host)
    }
    .apply(&cluster);

    let creator = Creator::start(&cluster);
    let mut bundles = BTreeSet::new();
    wait_for("another authority alone", || {
        let get = "jsonpath={.webhooks[0].clientConfig.caBundle}";
        bundles.insert(
            cluster
                .kubectl(&[
                    "get",
                    "validatingwebhookconfiguration",
                    "sallyport",
                    "-o",
                    get,
                ])
                .ok(),
        );
        if bundles.len() >= BUNDLES {
            Ok(())
        } else {
            Err(format!("{} bundles:\n{}", bundles.len(), host.log()))
        }
    });
    let created = creator.stop();
    assert!(created > 100, "only {created} Services were created");
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn only_the_api_server_has_the_required_client_certificate() {
    let cluster = Cluster::new("clients");
    let policies = manifests(&[(
        "nodeport-range",
        json!({"module": {"file": "nodeport_range.wasm"}}),
    )]);
    let serve = |authority: &Path| {
        let flags = format!(
            "--client-ca {} --client-name kube-apiserver",
            authority.display()
        );
        Host::serve(&cluster, policies.path(), &flags)
    };
    let host = serve(&cluster.client_authority());
    // `apply` waits until the policy denies.
    Registration::of(&host).apply(&cluster);
    drop(host);

    let other = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(other.path(), Signed::new(&["somebody-else"]).ca).expect("written");
    let host = serve(other.path());
    Registration::of(&host).configure(&cluster);
    wait_for("a refusal in the handshake", || {
        let create = [
            "create",
            "service",
            "clusterip",
            "probe",
            "--tcp=80",
            "--dry-run=server",
        ];
        match cluster.kubectl(&create) {
            ran if ran.err.contains("failed calling webhook")
                && ran.err.contains("tls: unknown certificate authority") =>
            {
                Ok(())
            }
            ran => Err(format!("{ran:?}")),
        }
    });
}
