//! Releases that can't work: either nothing is changed, or all changes are removed again.

use super::release::Release;
use crate::helm::NAMESPACE;
use std::process::Command;

const BASELINE: &str = "29999 is outside 30000-32767";

/// The values' schema can't know it: the component refuses a range that ends before it begins.
const UNLOADABLE: &str = "--set-json \
    'policies={\"nodeport-range\":{\"settings\":{\"ranges\":[{\"from\":30100,\"to\":30000}]}}}'";

#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn policies_that_cannot_be_loaded_change_nothing() {
    let Some(release) = Release::new("unloadable") else {
        return;
    };
    let refused = release.install(UNLOADABLE).error();
    assert!(refused.contains("failed pre-install: "), "{refused}");
    let [check] = &release.jobs.take()[..] else {
        panic!("one Job");
    };
    let said = check.said.as_ref().expect_err("it failed");
    assert!(
        said.contains("ServicePolicy nodeport-range") && said.contains("30100"),
        "{said}"
    );
    let get = ["get", "deployments,services,serviceaccounts", "-o=name"];
    let left = release
        .cluster
        .kubectl(&[&get[..], &["--namespace", NAMESPACE]].concat())
        .ok();
    assert!(!left.contains("sallyport"), "{left}");

    // The release has values that work first, and then the ones that don't.
    release.helm("upgrade --install sallyport {chart}").ok();
    let pod = release.pod();
    release.wait_until_denied(BASELINE);
    let refused = release
        .helm(&format!("upgrade sallyport {{chart}} {UNLOADABLE}"))
        .error();
    assert!(refused.contains("pre-upgrade hooks failed"), "{refused}");
    let deployment = release.object("deployment", "sallyport");
    assert_eq!(
        deployment["metadata"]["generation"], 1,
        "the Deployment was not touched"
    );
    release.wait_until_denied(BASELINE);
    drop(pod);
}

/// The check's own command, on a directory without modules.
#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn an_image_without_its_policies_is_one_line() {
    let Some(release) = Release::new("empty-image") else {
        return;
    };
    release.install("").ok();
    let text = crate::helm::template(&[]).expect("it renders");
    let empty = tempfile::tempdir().expect("a directory");
    for (missing, expected) in [
        ("presets", "presets/baseline"),
        ("policies", "the directory of modules"),
    ] {
        let job = crate::helm::by_name(&text)["Job sallyport-check"].clone();
        let arguments: Vec<String> = job["spec"]["template"]["spec"]["containers"][0]["args"]
            .as_array()
            .expect("arguments")
            .iter()
            .filter_map(|argument| argument.as_str())
            .map(|argument| {
                let here = |name: &str, place: &str| {
                    let from = format!("/etc/sallyport/{name}");
                    let to = match name == missing {
                        true => empty.path().join(name).display().to_string(),
                        false => place.to_owned(),
                    };
                    (from, to)
                };
                let (presets, policies) = (
                    here("presets", "policies/presets"),
                    here("policies", "target/policies"),
                );
                argument
                    .replace(&presets.0, &presets.1)
                    .replace(&policies.0, &policies.1)
                    .replace("/etc/sallyport/config", "deploy/base")
            })
            .collect();
        let output = Command::new(&*sallyport_tests::SALLYPORT)
            .current_dir(sallyport_tests::root())
            .args(&arguments)
            .output()
            .expect("the program runs");
        assert!(!output.status.success(), "{arguments:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let lines = said.lines().filter(|line| line.contains(expected)).count();
        assert_eq!(lines, 1, "{missing}: {said}");
    }
}

/// Configurations that are part of the release exist before a Pod is ready.
#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn an_installation_that_never_gets_ready_leaves_no_configuration() {
    let Some(release) = Release::new("never-ready") else {
        return;
    };
    let failed = release
        .install("--set mode=self-managed --wait --rollback-on-failure --timeout 20s")
        .error();
    assert!(failed.contains("INSTALLATION FAILED"), "{failed}");
    release.assert_nothing_is_left("a failed installation");
}
