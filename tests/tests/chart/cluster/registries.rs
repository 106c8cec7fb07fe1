//! A policy that the release's check and its hosts pull from a real registry, which has an
//! authority of its own and asks for a password.

use super::release::Release;
use crate::helm::NAMESPACE;
use sallyport_tests::registry::{Daemon, Guard};
use sallyport_tests::{SALLYPORT, root};
use serde_json::{Value, json};

/// The policy that is pulled, as its denials begin.
const PULLED: &str = "[pulled-policy]";

#[test]
#[ignore = "needs Helm, an API server and a docker-registry: make chart"]
fn registries_by_a_mounted_pull_secret_and_authority() {
    let Some(release) = Release::new("registries") else {
        return;
    };
    let registry = Daemon::start(Guard::TlsAndPassword);
    let credentials = json!({"auths": {registry.reference("").trim_end_matches('/'): {
        "username": "jane", "password": "hunter2",
    }}});
    let credentials_file = registry.file("config.json");
    std::fs::write(&credentials_file, credentials.to_string()).expect("written");
    let authority = registry.file("ca.pem");
    let component = root().join("target/policies/service_type.wasm");
    let component = component.canonicalize().expect("it was built");
    let push = format!(
        "{} push {} {} --registry-ca {authority} --registry-credentials {credentials_file}",
        SALLYPORT.display(),
        component.display(),
        registry.reference("acme/service-type:1.0"),
    );
    let reference = release.cluster.shell(&push).ok();
    let values = registry.file("values.json");
    let values_text = json!({
        "registries": {"pullSecret": "pull", "ca": {"configMap": "authorities", "key": "ca.pem"}},
        "config": {"registries": {"sources": [registry.reference("acme/*")]}},
        "policies": {"pulled-policy": {
            "module": {"oci": reference.trim()}, "settings": {"allowedTypes": ["ClusterIP"]},
        }},
    });
    std::fs::write(&values, values_text.to_string()).expect("written");

    release
        .cluster
        .kubectl(&["create", "namespace", NAMESPACE])
        .ok();
    apply(&release, &pull_secret(r#"{"auths": {}}"#));
    let text = std::fs::read_to_string(&authority).expect("readable");
    apply(
        &release,
        &json!({
            "kind": "ConfigMap", "metadata": {"name": "authorities"}, "data": {"ca.pem": text},
        }),
    );
    let checked = |line: &str| {
        release.helm(&format!("{line} --values {values}")).ok();
        let [check] = &release.jobs.take()[..] else {
            panic!("one Job");
        };
        check.said.clone().expect("it passed")
    };
    // A registry that gives nothing is no reason to stop a release, but the check says it.
    let said = checked("install sallyport {chart}");
    assert!(said.contains("there are none for localhost"), "{said}");
    apply(&release, &pull_secret(&credentials.to_string()));
    let said = checked("upgrade sallyport {chart}");
    assert!(said.contains(" 0 warnings, 0 notes, "), "{said}");
    let _pod = release.pod();
    release.wait_until_denied(PULLED);
}

fn pull_secret(credentials: &str) -> Value {
    json!({
        "kind": "Secret", "metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": credentials},
    })
}

/// Writes an object of the release's namespace.
fn apply(release: &Release, object: &Value) {
    let mut object = object.clone();
    object["apiVersion"] = "v1".into();
    object["metadata"]["namespace"] = NAMESPACE.into();
    let ran = release
        .cluster
        .kubectl_with(&["apply", "-f", "-"], &object.to_string());
    ran.ok();
}
