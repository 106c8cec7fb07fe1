//! `sallyport doctor` on static manifests (`--static`), and on what an API server says that it has
//! loaded of them.

use crate::command_line::sallyport;
use crate::doctor::{doctor, findings};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Returns a configuration with one webhook at a URL.
fn at_url(name: &str, failure_policy: &str, client_config: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "validate.sallyport.dev", "admissionReviewVersions": ["v1"],
            "sideEffects": "None", "failurePolicy": failure_policy, "timeoutSeconds": 3,
            "clientConfig": client_config,
            "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name",
                "operator": "NotIn", "values": ["kube-system"]}]},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["services"], "scope": "Namespaced"}],
        }],
    })
}

#[test]
fn a_static_manifest_has_faults_of_its_own() {
    let name = "sallyport.static.k8s.io";
    let url = json!({"url": "https://127.0.0.1:8443/validate"});
    let of = |objects: &[Value], field: &str| {
        let findings = findings(objects);
        let level = findings.iter().find(|(_, found, _)| found == field);
        level.map(|(level, _, _)| level.clone())
    };
    // A loopback address is right there, and wrong in the API.
    let address = "webhooks[0].clientConfig.url";
    assert_eq!(of(&[at_url(name, "Ignore", &url)], address), None);
    assert!(of(&[at_url("sallyport", "Ignore", &url)], address).is_some());
    let service = json!({"service": {"namespace": "sallyport-system", "name": "sallyport"}});
    for (objects, field, level) in [
        (
            vec![at_url(name, "Ignore", &service)],
            "webhooks[0].clientConfig.service",
            "error",
        ),
        (
            vec![at_url(name, "Fail", &url)],
            "webhooks[0].failurePolicy",
            "warning",
        ),
        (
            vec![
                at_url("sallyport", "Ignore", &service),
                at_url(name, "Ignore", &url),
            ],
            "webhooks[0].name",
            "warning",
        ),
    ] {
        assert_eq!(of(&objects, field).as_deref(), Some(level), "{field}");
    }
}

/// Returns what `webhooks --static` writes, with defaults and static webhooks.
fn static_directory() -> TempDir {
    let policies = tempfile::tempdir().expect("a directory");
    for (name, module, settings) in [
        ("ports", "nodeport_range.wasm", json!({})),
        (
            "lb",
            "loadbalancer_exposure.wasm",
            json!({"setOnCreate": {"noNodePorts": true}}),
        ),
    ] {
        let manifest = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
            "metadata": {"name": name}, "spec": {"module": {"file": module}, "settings": settings},
        });
        let file = policies.path().join(format!("{name}.yaml"));
        std::fs::write(file, manifest.to_string()).expect("written");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = |directory: &TempDir| directory.path().to_str().expect("UTF-8").to_owned();
    let output = sallyport(&[
        "webhooks",
        "--modules=target/policies",
        "--webhook-url=https://127.0.0.1:8443",
        "--policies",
        &path(&policies),
        "--static",
        &path(&directory),
    ]);
    assert!(output.status.success(), "{output:?}");
    directory
}

/// Runs doctor on a directory of static manifests.
fn static_findings(directory: &TempDir, more: &[&str]) -> (Option<i32>, String) {
    let path = directory.path().to_str().expect("UTF-8");
    let output = sallyport(&[&["doctor", "--static", path], more].concat());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (
        output.status.code(),
        String::from_utf8(output.stdout).expect("UTF-8"),
    )
}

#[test]
fn printed_static_manifests_are_in_good_health_and_say_what_cannot_be_seen() {
    let directory = static_directory();
    let (code, text) = static_findings(&directory, &["--strict", "--verbose"]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "Static admission.yaml: no findings",
        "Static mutating-policies/sallyport.yaml: no findings",
        "Static validating-policies/sallyport.yaml: no findings",
        "Static validating-webhooks/sallyport.yaml: no findings",
        "whether it has loaded these files can't be seen from them",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn each_fault_of_static_manifests_is_found() {
    const POLICIES: &str = "validating-policies/sallyport.yaml";
    let replaced = |file: &str, from: &str, to: &str| {
        let directory = static_directory();
        let file = directory.path().join(file);
        let text = std::fs::read_to_string(&file).expect("it is there");
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(file, text.replace(from, to)).expect("written");
        static_findings(&directory, &["--strict"])
    };
    for (file, from, to, part) in [
        (
            POLICIES,
            "kind: ValidatingAdmissionPolicy\n",
            "kind: Service\n",
            "kind: admission",
        ),
        (
            POLICIES,
            "name: sallyport-ports.static.k8s.io",
            "name: p",
            "metadata.name: \"p\"",
        ),
        (
            POLICIES,
            "failurePolicy: Ignore",
            "paramKind: {}",
            "spec.paramKind: an object",
        ),
        (
            POLICIES,
            "apiVersion",
            "apiVersion: [",
            "Static validating-policies",
        ),
        (
            POLICIES,
            "policyName: sallyport-ports.static.k8s.io",
            "policyName: other.static.k8s.io",
            "names \"other.static.k8s.io\", which is in none of the files",
        ),
        (POLICIES, "- Deny", "- Audit", "denies anything"),
    ] {
        let (code, text) = replaced(file, from, to);
        assert_eq!(code, Some(1), "{from}: {text}");
        assert!(text.contains(part), "{part}: {text}");
    }
    for (from, to, part) in [
        (
            "/etc/kubernetes/sallyport/validating-policies",
            "policies",
            "write an absolute path",
        ),
        (
            "/sallyport/mutating-policies",
            "/sallyport/other",
            "has no files in other",
        ),
        (
            "kind: MutatingAdmissionPolicyConfiguration",
            "kind: X",
            "kind: \"X\"",
        ),
        (
            "name: ValidatingAdmissionPolicy\n",
            "name: LimitRanger\n",
            "loads no static manifests",
        ),
        (
            "staticManifestsDir",
            "kubeConfigFile",
            "plugins: no staticManifestsDir",
        ),
    ] {
        let (code, text) = replaced("admission.yaml", from, to);
        assert_eq!(code, Some(1), "{from}: {text}");
        assert!(text.contains(part), "{part}: {text}");
    }
    let directory = static_directory();
    std::fs::write(directory.path().join("validating-policies/notes.txt"), "x").expect("written");
    let (_, text) = static_findings(&directory, &[]);
    assert!(text.contains("no API server reads this file"), "{text}");
}

#[test]
fn what_is_static_and_registered_is_found() {
    let directory = static_directory();
    let path = directory.path().to_str().expect("UTF-8");
    let registered = json!({"apiVersion": "v1", "kind": "List", "items": [
        at_url("sallyport", "Ignore", &json!({"url": "https://a.example/validate"})),
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "sallyport-ports"}},
    ]});
    let output = doctor(&registered.to_string(), &["--static", path]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        text.contains("which sallyport has registered, too"),
        "{text}"
    );
    assert!(
        text.contains("sallyport-ports is in the API, too"),
        "{text}"
    );
}

#[test]
fn metrics_of_an_api_server_tell_what_it_has_loaded() {
    let directory = static_directory();
    let files = tempfile::tempdir().expect("a directory");
    let metrics = files.path().join("metrics.txt");
    let told = |text: &str| {
        std::fs::write(&metrics, text).expect("written");
        let path = metrics.to_str().expect("UTF-8");
        let given = directory.path().to_str().expect("UTF-8");
        let output = sallyport(&["doctor", "--static", given, "--api-server-metrics", path]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code(), text)
    };
    let (code, text) = told("kubernetes_build_info{git_version=\"v1.30.1\",major=\"1\"} 1\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("kube-apiserver v1.30.1\n"), "{text}");
    assert!(text.contains("unknown to it"), "{text}");
    let gate = |value: u8| {
        format!(
            "kubernetes_feature_enabled{{name=\"ManifestBasedAdmissionControlConfig\",\
             stage=\"ALPHA\"}} {value}\n"
        )
    };
    let (code, text) = told(&gate(0));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("start it with --feature-gates="), "{text}");
    let prefix = "apiserver_manifest_admission_config_controller";
    let loaded = format!(
        "{prefix}_last_config_info{{apiserver_id_hash=\"sha256:1\",hash=\"sha256:2\",\
         plugin=\"ValidatingAdmissionPolicy\"}} 1\n\
         {prefix}_automatic_reloads_total{{apiserver_id_hash=\"sha256:1\",\
         plugin=\"ValidatingAdmissionPolicy\",status=\"failure\"}} 3\n"
    );
    let (code, text) = told(&format!("{}{loaded}", gate(1)));
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "ValidatingAdmissionPolicy: has loaded other files than these",
        "MutatingAdmissionPolicy: has loaded no static manifests",
        "ValidatingAdmissionPolicy: 3 failed reloads",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
