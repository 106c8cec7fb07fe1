//! A policy's project, as `sallyport new` makes it, is tested and judged as it is: nothing has to
//! be copied into another directory first.

use crate::command_line::sallyport_in;
use crate::host::root;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: web }\n\
    spec: { selector: { app: a }, ports: [{ port: 80 }] }\n";

/// Returns a directory with a project in CEL, a manifest without the label that it requires, and
/// the shipped components where a clone has them.
fn project() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let built = std::path::absolute(root().join("target/policies")).expect("a path");
    std::fs::create_dir(path.join("target")).expect("created");
    std::os::unix::fs::symlink(built, path.join("target/policies")).expect("linked");
    let created = sallyport_in(path, &["new", "team", "--lang", "cel"]);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    std::fs::write(path.join("service.yaml"), SERVICE).expect("written");
    directory
}

fn output(output: &Output) -> (Option<i32>, String) {
    let text = [&*output.stdout, &*output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).expect("UTF-8"),
    )
}

fn replace(file: PathBuf, from: &str, to: &str) {
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert!(text.contains(from), "{from}: {text}");
    std::fs::write(file, text.replace(from, to)).expect("written");
}

fn test(directory: &Path) -> (Option<i32>, String) {
    output(&sallyport_in(directory, &["test", "team"]))
}

#[test]
fn the_shipped_component_is_found_for_a_directory_and_for_one_manifest() {
    let directory = project();
    for policies in ["team", "team/policy.yaml"] {
        let arguments = ["check", "service.yaml", "--policies", policies];
        let (code, text) = output(&sallyport_in(directory.path(), &arguments));
        assert_eq!(code, Some(1), "{policies}: {text}");
        assert!(text.contains("missing labels: team"), "{policies}: {text}");
    }
    let (code, text) = test(directory.path());
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_named_directory_of_modules_is_the_only_one() {
    let directory = project();
    let arguments = ["check", "service.yaml", "--policies", "team"];
    let named = [&arguments[..], &["--modules", "team"]].concat();
    let (code, text) = output(&sallyport_in(directory.path(), &named));
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("1 of 1 modules is not in team: expressions.wasm"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_manifest_is_told_where_to_go() {
    let directory = project();
    std::fs::write(
        directory.path().join("team/package.json"),
        "{\"name\": \"team\"}",
    )
    .expect("written");
    let arguments = ["check", "service.yaml", "--policies", "team"];
    let (code, text) = output(&sallyport_in(directory.path(), &arguments));
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("team/package.json: no manifest of Kubernetes"),
        "{text}"
    );
}

#[test]
fn a_host_serves_no_single_manifest() {
    let directory = project();
    let arguments = ["serve", "--policies", "team/policy.yaml", "--self-signed"];
    let (code, text) = output(&sallyport_in(directory.path(), &arguments));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("name the directory of this file"), "{text}");
}

#[test]
fn a_policy_that_cannot_be_loaded_is_told_once_and_without_a_diff() {
    let directory = project();
    replace(
        directory.path().join("team/policy.yaml"),
        "object.metadata.?labels",
        "object.metadata.?lables",
    );
    let (code, text) = test(directory.path());
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches("did you mean 'labels'?").count(), 1, "{text}");
    assert_eq!(text.matches("for the same reason").count(), 3, "{text}");
    assert!(!text.contains("+++"), "{text}");
}

#[test]
fn check_shows_the_log_of_a_policy_that_has_no_verdict() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let policy = "apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicy\n\
        metadata: { name: misbehave }\nspec: { module: { file: misbehave.wasm } }\n";
    std::fs::write(path.join("policy.yaml"), policy).expect("written");
    let service = SERVICE.replace(
        "name: web",
        "name: web, annotations: { test/do: log-and-panic }",
    );
    std::fs::write(path.join("service.yaml"), service).expect("written");
    let guests = std::path::absolute(root().join("target/guests")).expect("a path");
    let guests = guests.to_str().expect("UTF-8");
    let arguments = ["check", "service.yaml", "--policies", "policy.yaml"];
    let named = [&arguments[..], &["--modules", guests]].concat();
    let (code, text) = output(&sallyport_in(path, &named));
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("; it logged: error: panicked at") && text.contains("told to panic"),
        "{text}"
    );
}
