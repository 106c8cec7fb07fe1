//! `sallyport webhooks --static` on an API server with manifest-based admission control: its files
//! are in effect from the first request on, and only the group can delete the webhook
//! configurations.

use crate::webhook::Feature;
use sallyport_tests::cluster::{Cluster, Ran};
use sallyport_tests::{SALLYPORT, root, wait_for};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Runs `sallyport webhooks` with the preset baseline.
pub(crate) fn webhooks(more: &[&str]) -> String {
    let output = Command::new(&*SALLYPORT)
        .current_dir(root())
        .args(["webhooks", "--policies", "policies/presets/baseline"])
        .args(["--modules", "target/policies"])
        .args(match more.contains(&"--config") {
            true => &[][..],
            false => &["--config", "deploy/base/config.yaml"],
        })
        .args(more)
        .output()
        .expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Writes static manifests into a directory, for an API server that reads them there.
pub(crate) fn files(more: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("UTF-8");
    webhooks(&[&["--static", path, "--static-path", path], more].concat());
    directory
}

/// Starts an API server with the files.
pub(crate) fn start(name: &str, files: &Path) -> Cluster {
    let arguments = [
        "--feature-gates=ManifestBasedAdmissionControlConfig=true".to_owned(),
        format!(
            "--admission-control-config-file={}",
            files.join("admission.yaml").display()
        ),
    ];
    Cluster::with_arguments(name, &arguments)
}

/// Runs kubectl as a user who may do everything, and is in one more group.
pub(crate) fn kubectl(cluster: &Cluster, user: &str, group: &str, arguments: &[&str]) -> Ran {
    let (user, group) = (format!("--as={user}"), format!("--as-group={group}"));
    let who = [user.as_str(), group.as_str(), "--as-group=system:masters"];
    cluster.kubectl(&[&who, arguments].concat())
}

const HOST: &str = "system:serviceaccount:sallyport-system:sallyport";
const INJECTOR: &str = "system:serviceaccount:cert-manager:cert-manager-cainjector";
pub(crate) const KIND: &str = "validatingwebhookconfiguration";

/// Returns a Service that the preset denies.
fn denied() -> String {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "selector": {"app": "web"},
            "ports": [{"port": 80, "nodePort": 29990}]},
    })
    .to_string()
}

pub(crate) fn create_denied(cluster: &Cluster) -> Ran {
    cluster.kubectl_with(&["create", "-f", "-"], &denied())
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn only_the_group_deletes_configurations_and_the_backstop_remains() {
    let about = "the protection of webhook configurations by static manifests";
    if !Feature::StaticManifests.is_since(Cluster::minor_here(), about) {
        return;
    }
    let directory = files(&[]);
    let cluster = start("static", directory.path());
    // Nothing is registered and no host runs.
    let refused = create_denied(&cluster).error();
    assert!(refused.contains("[nodeport-range]"), "{refused}");

    doctor_sees_what_is_loaded(&cluster, directory.path());

    // A closed port: the webhook itself never answers here.
    let registered = webhooks(&[
        "--webhook-url=https://127.0.0.1:1",
        "--failure-policy=Ignore",
    ]);
    let apply = ["apply", "--server-side", "-f", "-"];
    cluster.kubectl_with(&apply, &registered).ok();
    cluster
        .kubectl_with(
            &apply,
            &registered.replace("name: sallyport\n", "name: other\n"),
        )
        .ok();

    let name = ["delete", KIND, "sallyport"];
    for arguments in [
        &name[..],
        &["delete", KIND, "--all"],
        &["label", KIND, "sallyport", "a=b"],
        &[
            "patch",
            KIND,
            "sallyport",
            "--type=json",
            r#"--patch=[{"op":"replace","path":"/webhooks/0/rules","value":[]}]"#,
        ],
    ] {
        let error = cluster.kubectl(arguments).error();
        assert!(
            error.contains("members of the group \"sallyport-admins\""),
            "{arguments:?}: {error}"
        );
    }
    // `--all` has deleted what is not ours, and nothing else.
    let left = cluster.kubectl(&["get", KIND, "--output=name"]).ok();
    assert!(left.contains("/sallyport"), "{left}");
    assert!(!left.contains("/other"), "{left}");

    // Its host writes it, and an injector its authority alone.
    let label = ["label", KIND, "sallyport", "by=host"];
    kubectl(&cluster, HOST, "system:authenticated", &label).ok();
    let patch = |patch: &Value| {
        let patch = format!("--patch={patch}");
        let arguments = ["patch", KIND, "sallyport", "--type=json", &patch];
        kubectl(&cluster, INJECTOR, "system:authenticated", &arguments)
    };
    let bundle = "/webhooks/0/clientConfig/caBundle";
    let authority = authority();
    patch(&json!([{"op": "add", "path": bundle, "value": authority}])).ok();
    let error = patch(
        &json!([{"op": "replace", "path": "/webhooks/0/clientConfig/url",
        "value": "https://127.0.0.1:2/validate"}]),
    )
    .error();
    assert!(error.contains("sallyport-admins"), "{error}");
    let error = kubectl(&cluster, INJECTOR, "system:authenticated", &name).error();
    assert!(error.contains("sallyport-admins"), "{error}");

    kubectl(&cluster, "ops", "sallyport-admins", &name).ok();
    let left = cluster.kubectl(&["get", KIND, "--output=name"]).ok();
    assert!(!left.contains("/sallyport"), "{left}");
    let refused = create_denied(&cluster).error();
    assert!(refused.contains("[nodeport-range]"), "{refused}");

    // A running API server reads changed files again.
    let policies = directory.path().join("validating-policies/sallyport.yaml");
    std::fs::remove_file(&policies).expect("removed");
    wait_for("a Service without the net", || {
        create_denied(&cluster).result().map(drop)
    });
}

/// Holds the files against the API server's metrics; then others, which it has not loaded.
fn doctor_sees_what_is_loaded(cluster: &Cluster, directory: &Path) {
    let temporary = tempfile::tempdir().expect("a directory");
    let metrics = temporary.path().join("metrics.txt");
    let text = cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
    std::fs::write(&metrics, text).expect("written");
    let doctor = |directory: &Path| {
        let output = Command::new(&*SALLYPORT)
            .args(["doctor", "--strict", "--static"])
            .arg(directory)
            .arg("--api-server-metrics")
            .arg(&metrics)
            .output()
            .expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code(), text)
    };
    let (code, text) = doctor(directory);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("ValidatingAdmissionPolicy: has loaded sha256:"),
        "{text}"
    );
    let others = files(&["--static-group", "others"]);
    let (code, text) = doctor(others.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("has loaded other files than these"), "{text}");
}

/// Returns a PEM in base64.
fn authority() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(vec!["test".to_owned()]).expect("valid");
    let certificate = parameters.self_signed(&key).expect("signed");
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(certificate.pem())
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn static_webhooks_call_the_host_and_refuse_registered_ones() {
    let about = "static webhooks";
    if !Feature::StaticManifests.is_since(Cluster::minor_here(), about) {
        return;
    }
    let directory = files(&["--webhook-url=https://127.0.0.1:1"]);
    let cluster = start("static-webhooks", directory.path());
    let registered = webhooks(&["--webhook-url=https://127.0.0.1:1"]);
    let error = cluster
        .kubectl_with(&["apply", "--server-side", "-f", "-"], &registered)
        .error();
    assert!(error.contains("judged twice"), "{error}");
    // The static webhook fails open, since nobody answers; the backstop denies before it.
    let refused = create_denied(&cluster).error();
    assert!(refused.contains("[nodeport-range]"), "{refused}");
    let allowed = ["create", "service", "clusterip", "web", "--tcp=80"];
    cluster.kubectl(&allowed).ok();
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
    let calls = "apiserver_admission_webhook_fail_open_count{name=\"validate.sallyport.dev\"";
    assert!(metrics.contains(calls), "no call of the static webhook");
}
