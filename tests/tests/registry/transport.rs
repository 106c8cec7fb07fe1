//! TLS by an authority of one's own, and passwords: in a file, by a helper, for a host.

use crate::{COMPONENT, sallyport};
use sallyport_tests::SALLYPORT;
use sallyport_tests::registry::{Daemon, Guard};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// Writes a file of credentials. Returns its path.
fn credentials(registry: &Daemon, name: &str, content: &str) -> String {
    let host = registry.reference("");
    let text = content.replace("REGISTRY", host.trim_end_matches('/'));
    let file = registry.file(name);
    std::fs::write(&file, text).expect("written");
    file
}

/// The base64 of `jane:hunter2`, and of `jane:wrong`.
const RIGHT: &str = r#"{"auths": {"REGISTRY": {"auth": "amFuZTpodW50ZXIy"}}}"#;
const WRONG: &str = r#"{"auths": {"REGISTRY": {"auth": "amFuZTp3cm9uZw=="}}}"#;

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn a_registry_with_its_own_authority_and_passwords() {
    let registry = Daemon::start(Guard::TlsAndPassword);
    let home = registry.files.path();
    let reference = registry.reference("acme/p:1.0");
    let push = |more: &[&str]| sallyport(home, &[&["push", COMPONENT, &reference], more].concat());
    let error = push(&[]).failed();
    assert!(
        error.contains("name its certificate with --registry-ca"),
        "{error}"
    );
    let ca = registry.file("ca.pem");
    let error = push(&["--registry-ca", &ca]).failed();
    assert!(
        error.contains("asks for credentials, and there are none for localhost"),
        "{error}"
    );
    let [right, wrong] = [("right.json", RIGHT), ("wrong.json", WRONG)]
        .map(|(name, content)| credentials(&registry, name, content));
    let error = push(&["--registry-ca", &ca, "--registry-credentials", &wrong]).failed();
    assert!(
        error.contains("refuses the credentials for localhost"),
        "{error}"
    );
    push(&["--registry-ca", &ca, "--registry-credentials", &right]).done();
    // As docker login leaves it.
    std::fs::create_dir(registry.files.path().join(".docker")).expect("made");
    credentials(&registry, ".docker/config.json", RIGHT);
    sallyport(home, &["pull", &reference, "--registry-ca", &ca]).done();
    let error = sallyport(home, &["pull", &reference, "--registry-ca", &right]).failed();
    assert!(
        error.contains("no certificate in it; expected PEM"),
        "{error}"
    );
}

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn a_credential_helper_is_run_by_commands_alone() {
    let registry = Daemon::start(Guard::TlsAndPassword);
    let script = registry.file("docker-credential-test");
    let answer = r#"{"ServerURL": "x", "Username": "jane", "Secret": "hunter2"}"#;
    let text = format!("#!/bin/sh\ncat > {script}.asked\necho '{answer}'\n");
    std::fs::write(&script, text).expect("written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("ours");
    let file = credentials(
        &registry,
        "helper.json",
        r#"{"credHelpers": {"REGISTRY": "test"}}"#,
    );
    let ca = registry.file("ca.pem");
    let path = format!(
        "{}:{}",
        registry.files.path().display(),
        std::env::var("PATH").expect("a path")
    );
    let run = |arguments: &[&str]| {
        let flags = ["--registry-ca", &ca, "--registry-credentials", &file];
        let output = Command::new(&*SALLYPORT)
            .args(arguments)
            .args(flags)
            .env("PATH", &path)
            .current_dir(sallyport_tests::root())
            .output()
            .expect("the program runs");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
        (output.status.success(), text)
    };
    let reference = registry.reference("acme/p:1.0");
    let (is_done, text) = run(&["push", COMPONENT, &reference]);
    assert!(is_done, "{text}");
    let asked = std::fs::read_to_string(format!("{script}.asked")).expect("it was run");
    assert_eq!(format!("{asked}/"), registry.reference(""));
    std::fs::remove_file(format!("{script}.asked")).expect("it is there");
    // A host does not run it, and so has no credentials.
    let policy = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
        "metadata": {"name": "p"}, "spec": {"mode": "Warn", "module": {"oci": reference}},
    });
    let config = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig", "metadata": {"name": "c"},
        "spec": {"registries": {"sources": [registry.reference("*")]}},
    });
    let policies = registry.files.path().join("policies");
    std::fs::create_dir(&policies).expect("made");
    std::fs::write(policies.join("p.yaml"), policy.to_string()).expect("written");
    std::fs::write(registry.file("host.yaml"), config.to_string()).expect("written");
    let (is_done, text) = run(&[
        "serve",
        "--strict",
        "--self-signed",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--ca-out",
        &registry.file("w.crt"),
        "--config",
        &registry.file("host.yaml"),
        "--policies",
        policies.to_str().expect("UTF-8"),
    ]);
    assert!(
        !is_done && text.contains("there are none for localhost"),
        "{text}"
    );
    assert!(
        !std::path::Path::new(&format!("{script}.asked")).exists(),
        "it was run"
    );
}
