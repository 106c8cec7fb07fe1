//! `sallyport webhooks --static`: manifests for an API server's own files.

use crate::command_line::sallyport;
use crate::webhooks::BARE_METAL;
use sallyport_core::yaml;
use serde_json::json;

/// Runs `webhooks --static` into a directory.
fn static_manifests(directory: &std::path::Path, more: &[&str]) -> String {
    let directory = directory.to_str().expect("UTF-8");
    let output = sallyport(&[&BARE_METAL[..], &["--static", directory], more].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn static_manifests_refer_to_nothing_in_the_cluster() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = ["--webhook-url", "https://127.0.0.1:8443"];
    let said = static_manifests(directory.path(), &url);
    assert!(
        said.contains("--admission-control-config-file=/etc/kubernetes/sallyport/admission.yaml"),
        "{said}"
    );
    let read = |file: &str| {
        let text = std::fs::read_to_string(directory.path().join(file)).expect(file);
        // An API server takes a document of comments alone for an object without a kind.
        for document in text.split("---\n") {
            assert!(
                document.lines().any(|line| !line.starts_with('#')),
                "{file}: {text}"
            );
        }
        yaml::documents(&text).expect("YAML")
    };
    let mut kinds = std::collections::BTreeSet::new();
    for folder in [
        "validating-policies",
        "validating-webhooks",
        "mutating-webhooks",
    ] {
        for object in read(&format!("{folder}/sallyport.yaml")) {
            let name = object["metadata"]["name"].as_str().expect("a name");
            assert!(name.ends_with(".static.k8s.io"), "{name}");
            let text = object.to_string();
            for reference in ["paramKind", "paramRef", "\"service\":", "ownerReferences"] {
                assert!(!text.contains(reference), "{name} has {reference}: {text}");
            }
            if object["kind"] == "ValidatingAdmissionPolicyBinding" {
                assert_eq!(object["spec"]["policyName"], name);
            }
            for webhook in object["webhooks"].as_array().into_iter().flatten() {
                assert_eq!(webhook["failurePolicy"], "Ignore", "{webhook}");
            }
            kinds.insert(object["kind"].as_str().expect("a kind").to_owned());
        }
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    let configuration = &read("admission.yaml")[0];
    let directories: Vec<_> = configuration["plugins"]
        .as_array()
        .expect("plugins")
        .iter()
        .map(|plugin| plugin["configuration"]["staticManifestsDir"].clone())
        .collect();
    let path = "/etc/kubernetes/sallyport";
    let expected = [
        "validating-policies",
        "validating-webhooks",
        "mutating-webhooks",
    ]
    .map(|folder| json!(format!("{path}/{folder}")));
    assert_eq!(directories, expected);

    // Behind a Service there are no static webhooks, and those of an earlier run go.
    static_manifests(directory.path(), &[]);
    assert!(
        !directory
            .path()
            .join("validating-webhooks/sallyport.yaml")
            .exists()
    );
    assert_eq!(
        read("admission.yaml")[0]["plugins"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn an_older_kubernetes_is_told_that_it_has_no_static_manifests() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("UTF-8");
    let output =
        sallyport(&[&BARE_METAL[..], &["--static", path, "--kubernetes", "1.35"]].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("--static needs Kubernetes 1.36 or later, and --kubernetes says 1.35"),
        "{error}"
    );
}
