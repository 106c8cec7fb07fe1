//! `sallyport new`: the new policy builds outside the workspace, with the SDK that it carries, and
//! passes its suite. `scripts/twins.sh` does the same in the other languages.

use crate::command_line::{self, sallyport_in};
use crate::host::root;
use sallyport_tests::project;
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
    let mut cargo = command_line::cargo();
    cargo.args(arguments).current_dir(directory);
    cargo
        .env("CARGO_TARGET_DIR", project::target())
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

/// Runs `sallyport new` in a directory. Panics when it fails.
fn create(directory: &Path, arguments: &[&str]) {
    let created = sallyport_in(directory, &[&["new"], arguments].concat());
    assert!(
        created.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&created.stderr)
    );
}

#[test]
fn a_new_policy_builds_with_the_sdk_it_carries_and_passes_its_suite() {
    let directory = tempfile::tempdir().expect("a directory");
    create(directory.path(), &["required-labels"]);
    let policy = project::keep(&directory.path().join("required-labels"), "new-policy");
    run(&mut cargo(&policy, &["test", "--quiet"]));
    run(&mut cargo(
        &policy,
        &["build", "--quiet", "--release", "--target", TARGET],
    ));
    let component = project::target().join(format!("{TARGET}/release/required_labels.wasm"));
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
fn an_sdk_elsewhere_is_named_in_the_manifest() {
    let directory = tempfile::tempdir().expect("a directory");
    let sdk = std::path::absolute(root().join("policy-wasm")).expect("a path");
    let sdk = sdk.canonicalize().expect("it is there");
    let sdk = sdk.to_str().expect("UTF-8");
    create(directory.path(), &["mine", "--sdk", sdk]);
    let manifest = directory.path().join("mine/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("it was written");
    assert!(
        manifest.contains(&format!("sallyport-policy = {{ path = {sdk:?} }}")),
        "{manifest}"
    );
    assert!(!directory.path().join("mine/sdk").exists());
    let refused = sallyport_in(
        directory.path(),
        &["new", "other", "--lang", "c", "--sdk", sdk],
    );
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        error.contains("--sdk is for --lang rust alone; leave it out"),
        "{error}"
    );
}

/// Runs `make` in a project where no program but make itself and the shell's is installed.
fn make_without_tools(project: &Path, tools: &Path, arguments: &[&str]) -> String {
    let output = Command::new("make")
        .args(arguments)
        .current_dir(project)
        .env("PATH", tools)
        .output()
        .expect("make is there");
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_missing_toolchain_is_one_message_with_the_fix() {
    let directory = tempfile::tempdir().expect("a directory");
    let tools = directory.path().join("tools");
    std::fs::create_dir(&tools).expect("created");
    for tool in ["make", "sh", "ls", "dirname", "cmp", "mkdir", "touch"] {
        let path = ["/usr/bin", "/bin"]
            .map(|place| Path::new(place).join(tool))
            .into_iter()
            .find(|path| path.exists());
        let path = path.unwrap_or_else(|| panic!("{tool} is there"));
        std::os::unix::fs::symlink(path, tools.join(tool)).expect("linked");
    }
    for (language, message) in [
        ("rust", "cargo is not installed. Install Rust"),
        ("c", "clang is not installed. Install clang"),
        ("javascript", "node is not installed. Install Node.js"),
        ("typescript", "node is not installed. Install Node.js"),
        ("python", "python3 is not installed. Install Python"),
    ] {
        create(directory.path(), &[language, "--lang", language]);
        let project = directory.path().join(language);
        let error = make_without_tools(&project, &tools, &[]);
        assert!(error.contains(message), "{language}: {error}");
        let lines = error.lines().filter(|line| line.contains("installed"));
        assert_eq!(lines.count(), 1, "{language}: {error}");
    }
    create(directory.path(), &["cel", "--lang", "cel"]);
    let cel = directory.path().join("cel");
    let error = make_without_tools(&cel, &tools, &["test"]);
    assert!(
        error.contains("sallyport is not installed. Name the program: make test SALLYPORT="),
        "{error}"
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
