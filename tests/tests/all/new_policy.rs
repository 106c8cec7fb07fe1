//! `sallyport new`: the new policy builds outside the workspace, with the SDK by path alone, and
//! passes its suite.

use crate::command_line::{self, sallyport_in};
use crate::host::root;
use std::path::Path;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Runs a command. Panics with its output when it fails.
fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns the `cargo` command of `scripts/build-policies.sh` on this machine.
fn cargo(directory: &Path, arguments: &[&str]) -> Command {
    let way = Command::new(root().join("scripts/wasm-target.sh"))
        .output()
        .expect("bash is there");
    assert!(
        way.status.success(),
        "this machine can't build policies: {}",
        String::from_utf8_lossy(&way.stderr)
    );
    let linker = Command::new(root().join("scripts/component-linker.sh"))
        .output()
        .expect("bash is there");
    let linker = String::from_utf8_lossy(&linker.stdout).trim().to_owned();
    let tools = Path::new(&linker).parent().expect("a file in a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let target = std::path::absolute(root().join("target/new-policy")).expect("a path");
    let mut cargo = command_line::cargo();
    cargo.args(arguments).current_dir(directory);
    cargo
        .env("CARGO_TARGET_DIR", target)
        .env("PATH", format!("{path}:{}", tools.display()));
    for set in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(set);
    }
    if String::from_utf8_lossy(&way.stdout).trim() == "debian" && arguments.contains(&TARGET) {
        cargo
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTC_BOOTSTRAP", "1");
        cargo.arg("-Zbuild-std=std,panic_abort");
        let flags =
            "['-Clink-arg=--wasm-ld-path=/usr/bin/wasm-ld-22', '-Clink-arg=-zstack-size=65536']";
        cargo.args(["--config", &format!("target.{TARGET}.rustflags={flags}")]);
    }
    cargo
}

#[test]
fn a_new_policy_builds_and_passes_its_tests_and_its_suite() {
    let directory = tempfile::tempdir().expect("a directory");
    let sdk = std::path::absolute(root().join("policy-wasm")).expect("a path");
    let created = sallyport_in(
        directory.path(),
        &[
            "new",
            "required-labels",
            "--sdk",
            sdk.to_str().expect("UTF-8"),
        ],
    );
    assert!(
        created.status.success(),
        "{}",
        String::from_utf8_lossy(&created.stderr)
    );
    let policy = directory.path().join("required-labels");
    // The versions that this workspace is tested with; nothing is downloaded.
    std::fs::copy(root().join("Cargo.lock"), policy.join("Cargo.lock")).expect("copied");
    run(&mut cargo(&policy, &["test", "--quiet"]));
    run(&mut cargo(
        &policy,
        &["build", "--quiet", "--release", "--target", TARGET],
    ));
    let component = root().join(format!(
        "target/new-policy/{TARGET}/release/required_labels.wasm"
    ));
    std::fs::copy(&component, policy.join("required_labels.wasm"))
        .unwrap_or_else(|error| panic!("{}: {error}", component.display()));
    let tested = sallyport_in(&policy, &["test", "."]);
    let report = String::from_utf8_lossy(&tested.stdout);
    assert!(
        tested.status.success(),
        "{report}{}",
        String::from_utf8_lossy(&tested.stderr)
    );
}

#[test]
fn a_name_that_rust_keeps_for_itself_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let created = sallyport_in(directory.path(), &["new", "use"]);
    assert_eq!(created.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&created.stderr).starts_with("error: "));
}

#[test]
fn what_exists_is_not_overwritten() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("mine")).expect("created");
    let created = sallyport_in(directory.path(), &["new", "mine"]);
    assert_eq!(created.status.code(), Some(2));
    assert!(
        std::fs::read_dir(directory.path().join("mine"))
            .expect("it is there")
            .next()
            .is_none()
    );
}
