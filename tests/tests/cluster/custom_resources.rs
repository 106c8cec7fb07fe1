//! ServicePolicies as custom resources, and the host's inventory, on a real API server.

use crate::admission::{load_balancer, manifests};
use crate::runbook;
use crate::webhook::{Feature, Host, Registration};
use sallyport_tests::cluster::{Cluster, Ran};
use sallyport_tests::wait_for;
use serde_json::{Value, json};

fn policy(name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "sallyport.dev/v1alpha1",
        "kind": "ServicePolicy",
        "metadata": {"name": name},
        "spec": spec,
    })
    .to_string()
}

/// Applies the CustomResourceDefinition. Where the API server does not know CEL rules, it drops
/// them, and kubectl's own check must be off.
pub(crate) fn define(cluster: &Cluster) {
    cluster
        .kubectl(&["apply", "--validate=false", "-f", "deploy/base/crd.yaml"])
        .ok();
    wait_for("the custom resource", || {
        cluster.kubectl(&["get", "servicepolicies"]).result()
    });
}

fn serve(cluster: &Cluster) -> Host {
    let kubeconfig = cluster.kubeconfig();
    let flags = "--cluster --policies-from-cluster --watch-interval 100ms --counts-interval 500ms";
    Host::start(
        cluster,
        &format!("{flags} --kubeconfig {}", kubeconfig.display()),
    )
}

fn out_of_range(cluster: &Cluster) -> Ran {
    cluster.kubectl(&[
        "create",
        "--dry-run=server",
        "-f",
        "docs/examples/out-of-range.yaml",
    ])
}

/// Waits until the condition Ready of this generation is `status reason`.
pub(crate) fn wait_until_ready_is(cluster: &Cluster, name: &str, expected: &str) {
    wait_for(&format!("{name}: {expected}"), || {
        let object: Value = serde_json::from_str(
            &cluster
                .kubectl(&["get", "servicepolicy", name, "-o=json"])
                .ok(),
        )
        .map_err(|error| error.to_string())?;
        let status = &object["status"];
        let condition = &status["conditions"][0];
        let status_and_reason = format!(
            "{} {}",
            condition["status"].as_str().unwrap_or("?"),
            condition["reason"].as_str().unwrap_or("?")
        );
        let is_current = status["observedGeneration"] == object["metadata"]["generation"];
        if is_current && condition["type"] == "Ready" && status_and_reason == expected {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn the_api_server_enforces_the_cel_rules_of_the_crd() {
    let cluster = Cluster::shared();
    if !Feature::ValidationRules.is_in(&cluster, "the CEL rules of ServicePolicies") {
        return;
    }
    cluster
        .kubectl(&["apply", "--validate=strict", "-f", "deploy/base/crd.yaml"])
        .ok();
    wait_for("the custom resource", || {
        cluster.kubectl(&["get", "servicepolicies"]).result()
    });
    let create = |name: &str, spec: Value| {
        cluster.kubectl_with(
            &["create", "--dry-run=server", "-f", "-"],
            &policy(name, &spec),
        )
    };
    let module = json!({"file": "p.wasm"});
    wait_for("the rules", || {
        match create("a.b", json!({"module": module})) {
            ran if ran
                .err
                .contains("metadata.name stands in messages and metrics") =>
            {
                Ok(())
            }
            ran => Err(format!("{ran:?}")),
        }
    });
    create(
        "p",
        json!({"module": module, "candidate": {"settings": {}}}),
    )
    .ok();
    create("p", json!({"module": {"oci": "ghcr.io/acme/p:1.0"}})).ok();
    for (spec, message) in [
        (
            json!({"module": {"oci": "acme/p"}}),
            "spec.module.oci: Invalid value",
        ),
        (
            json!({"module": {"oci": "ghcr.io/acme/p:1.0", "file": "p.wasm"}}),
            "name one place: file, in the directory of the policies, or oci, in a registry",
        ),
        (json!({"module": {}}), "name one place: file"),
        (
            json!({"module": {"file": "../p.wasm"}}),
            "spec.module.file: Invalid value",
        ),
        (
            json!({"module": {"file": "../p.wasm"}}),
            "this is no bare file name",
        ),
        (
            json!({"module": module, "candidate": {}}),
            "it would be the same as the live policy",
        ),
        (
            json!({"module": module, "mode": "Deny"}),
            "spec.mode: Unsupported value",
        ),
        (
            json!({"module": module, "limits": {"deadline": "soon"}}),
            "spec.limits.deadline: Invalid value",
        ),
    ] {
        let error = create("p", spec.clone()).error();
        assert!(error.contains(message), "{spec}: {error}");
    }
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn service_policies_are_managed_with_kubectl() {
    let cluster = Cluster::new("custom-resources");
    define(&cluster);
    let range = policy(
        "nodeport-range",
        &json!({"module": {"file": "nodeport_range.wasm"}}),
    );
    let apply = |text: &str| cluster.kubectl_with(&["apply", "-f", "-"], text);
    apply(&range).ok();
    let host = serve(&cluster);
    let registration = Registration {
        from_cluster: true,
        ..Registration::of(&host)
    };
    // `apply` waits until the policy denies.
    registration.apply(&cluster);
    wait_until_ready_is(&cluster, "nodeport-range", "True Loaded");
    let digest = [
        "get",
        "servicepolicy",
        "nodeport-range",
        "-o=jsonpath={.status.component.digest}",
    ];
    assert!(cluster.kubectl(&digest).ok().starts_with("sha256:"));
    let columns = cluster.kubectl(&["get", "servicepolicies"]).ok();
    assert!(
        columns
            .lines()
            .next()
            .is_some_and(|head| head.contains("READY")),
        "{columns}"
    );

    wait_for("its counts", || {
        let counts = [
            "get",
            "servicepolicy",
            "nodeport-range",
            "-o=jsonpath={.status.evaluations[0].violating}",
        ];
        let violating = cluster.kubectl(&counts).ok();
        if violating.parse().is_ok_and(|violating: u32| violating > 0) {
            Ok(())
        } else {
            Err(format!("{violating:?}"))
        }
    });

    dead_replicas_counts_go(&cluster);

    let missing = policy("broken", &json!({"module": {"file": "missing.wasm"}}));
    let error = apply(&missing).error();
    assert!(
        error.contains(r#"admission webhook "policies.sallyport.dev" denied the request"#),
        "{error}"
    );
    assert!(error.contains("spec.module.file: can't read"), "{error}");
    cluster
        .kubectl(&[
            "delete",
            "validatingwebhookconfiguration",
            "sallyport-policies",
        ])
        .ok();
    wait_for("nobody checks it", || apply(&missing).result());
    wait_until_ready_is(&cluster, "broken", "False NotLoaded");
    // A broken policy that fails closed stops all Services until it is gone.
    cluster.kubectl(&["delete", "servicepolicy", "broken"]).ok();
    registration.apply(&cluster);

    drop(host);
    runbook::run(&cluster, "One policy off");
    let host = serve(&cluster);
    Registration {
        from_cluster: true,
        ..Registration::of(&host)
    }
    .configure(&cluster);
    wait_for("it is off", || out_of_range(&cluster).result());
    runbook::run(&cluster, "And the same policy on again");
    wait_for("it is on", || match out_of_range(&cluster) {
        ran if ran.done => Err(ran.out),
        ran if ran.err.contains("[nodeport-range]") => Ok(()),
        ran => Err(ran.err),
    });
    drop(host);
}

/// Entries of dead replicas are removed, even from a full list of a policy that is asked all the
/// time.
fn dead_replicas_counts_go(cluster: &Cluster) {
    let path = "/apis/sallyport.dev/v1alpha1/servicepolicies/nodeport-range";
    let read = || -> Value {
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", path]).ok()).expect("JSON")
    };
    let gone = |number: usize| {
        json!({"replica": format!("gone-{number}"), "total": 1,
        "violating": 0, "failed": 0, "at": "2026-01-01T00:00:00Z"})
    };
    wait_for("the counts of replicas that are no more", || {
        let mut object = read();
        object["status"]["evaluations"] = (0..MAX_EVALUATIONS).map(gone).collect();
        // The host may write in between.
        cluster
            .kubectl_with(
                &["replace", "--raw", &format!("{path}/status"), "-f", "-"],
                &object.to_string(),
            )
            .result()
    });
    wait_for("their end, and those of the replica that lives", || {
        out_of_range(cluster);
        let object = read();
        let entries = object["status"]["evaluations"]
            .as_array()
            .ok_or("no counts")?;
        let is_alive = |entry: &Value| {
            !entry["replica"]
                .as_str()
                .is_some_and(|replica| replica.starts_with("gone-"))
        };
        if !entries.is_empty() && entries.iter().all(is_alive) {
            Ok(())
        } else {
            Err(object["status"].to_string())
        }
    });
}

/// `maxItems` of the CRD.
const MAX_EVALUATIONS: usize = 128;

const NODE: &str = "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"a\"},\
    \"spec\":{\"providerID\":\"aws:///eu-central-1a/i-1\"}}";

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn nodes_are_followed_across_an_api_server_restart() {
    let cluster = Cluster::new("nodes");
    let policies = manifests(&[
        (
            "loadbalancer-cloud-only",
            json!({"module": {"file": "loadbalancer_cloud_only.wasm"}}),
        ),
        (
            "nodeport-range",
            json!({"module": {"file": "nodeport_range.wasm"}}),
        ),
    ]);
    let flags = format!("--cluster --kubeconfig {}", cluster.kubeconfig().display());
    let host = Host::serve(&cluster, policies.path(), &flags);
    Registration::of(&host).apply(&cluster);
    let mut service = load_balancer();
    service["spec"]["ports"][0]["nodePort"] = 30911.into();
    let create = || {
        cluster.kubectl_with(
            &["create", "--dry-run=server", "-f", "-"],
            &service.to_string(),
        )
    };
    let denied = || match create() {
        ran if ran.err.contains("[loadbalancer-cloud-only]") => Ok(()),
        ran => Err(format!("{ran:?}")),
    };
    wait_for("without Nodes it is denied", denied);
    cluster.kubectl_with(&["apply", "-f", "-"], NODE).ok();
    wait_for("with a cloud's Node it is allowed", || create().result());
    cluster.stop();
    cluster.start();
    cluster.kubectl(&["delete", "node", "a"]).ok();
    wait_for("without it, it is denied again", denied);
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_host_without_rights_says_which_it_lacks_and_serves() {
    let cluster = Cluster::shared();
    let flags = format!(
        "--cluster --cluster-wait 1s --kubeconfig {} --policies target/policies",
        cluster.powerless().display()
    );
    let host = Host::start(&cluster, &flags);
    wait_for("what is missing", || {
        let log = host.log();
        let is_logged = log.contains(r#"User "nobody" cannot list resource "nodes""#)
            || log.contains("nodes is forbidden");
        if is_logged { Ok(()) } else { Err(log) }
    });
}
