//! The command line: conventions of all commands, such as one clear line on standard error and exit
//! code 2 for a failure.

use crate::host::root;
pub(crate) use sallyport_tests::{SALLYPORT, cargo};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Runs the program in the workspace.
pub(crate) fn sallyport(arguments: &[&str]) -> Output {
    sallyport_in(&root(), arguments)
}

pub(crate) fn sallyport_in(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(&*SALLYPORT)
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program runs")
}

/// Returns the standard error of a command that must fail, without log lines.
pub(crate) fn fails(arguments: &[&str]) -> String {
    let output = sallyport(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let error = text
        .find("error: ")
        .unwrap_or_else(|| panic!("no error: {text}"));
    text[error..].trim_end().to_owned()
}

/// Returns a directory with files.
pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    directory
}

pub(crate) fn shown(directory: &TempDir) -> &str {
    directory.path().to_str().expect("UTF-8")
}

pub(crate) const BROKEN: &str = "\
apiVersion: sallyport.dev/v1alpha1
kind: ServicePolicy
metadata: { name: gone }
spec: { module: { file: gone.wasm } }
";

#[test]
fn an_error_in_a_file_of_several_manifests_names_the_policy() {
    let several = format!(
        "{BROKEN}---\n{}",
        BROKEN
            .replace("gone }", "typo }")
            .replace("module:", "modul:")
    );
    let files = directory(&[("policies.yaml", &several)]);
    let error = fails(&["check", "--policies", shown(&files), "README.md"]);
    assert!(
        error.contains("policies.yaml (typo): spec: unknown key \"modul\""),
        "{error}"
    );
}

#[test]
fn an_unknown_flag_is_named() {
    let error = fails(&["serve", "--polices", "x"]);
    assert_eq!(
        error.lines().next(),
        Some("error: unexpected argument '--polices' found")
    );
}

#[test]
fn a_preset_takes_its_modules_from_a_directory_of_their_own() {
    let from = [
        "check",
        "--policies",
        "policies/presets/restricted",
        "--modules",
        "target/policies",
    ];
    let output = sallyport(&[&from[..], &["docs/examples/my-nodeport-service.yaml"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(
            r#"[service-type] spec.type: NodePort is not allowed in namespace "default""#
        ),
        "{text}"
    );
}

/// Returns the exit code and output of `check` for a manifest on standard input.
fn check(manifest: &str) -> (Option<i32>, String) {
    let mut child = Command::new(&*SALLYPORT)
        .args(["check", "-", "--policies", "target/policies"])
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(manifest.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn service(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{ name: web }}\nspec: {spec}\n")
}

#[test]
fn check_of_a_clean_manifest_is_0() {
    let (code, text) = check(&service("{ selector: { app: a }, ports: [{ port: 80 }] }"));
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn check_of_a_violation_is_1_and_names_rule_and_field() {
    let (code, text) = check(&service("{ type: LoadBalancer, ports: [{ port: 80 }] }"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("S03") && text.contains("spec.type"), "{text}");
}

#[test]
fn check_of_a_service_that_does_not_decode_names_the_field() {
    let (code, text) = check(&service(
        r#"{ type: NodePort, ports: [{ port: 80, nodePort: "30080" }] }"#,
    ));
    assert_ne!(code, Some(0), "{text}");
    assert!(
        text.contains(r#"spec.ports[0].nodePort: expected integer, found string "30080""#),
        "{text}"
    );
}

#[test]
fn check_of_what_is_no_manifest_is_2() {
    let (code, text) = check("{ this is: [no manifest");
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn check_without_a_service_is_2() {
    let (code, text) = check("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c }\n");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("no Service found (1 other object)"), "{text}");
}

#[test]
fn a_reader_that_has_enough_ends_a_command_quietly() {
    for arguments in [
        &["check", "tests/fixtures", "--verbose"][..],
        &["test", "tests/fixtures/selectorless", "--verbose"],
        &["crd"],
        &["doctor", "deploy/base/webhooks.yaml", "--output", "json"],
        &["inspect", "target/policies/nodeport_range.wasm"],
        &["explain", "docs/examples/my-clusterip-service.yaml"],
    ] {
        let mut child = Command::new(&*SALLYPORT)
            .args(arguments)
            .current_dir(root())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
}

#[test]
fn outside_of_a_clone_a_command_says_which_flag_names_the_policies() {
    let elsewhere = directory(&[("s.yaml", &service("{ ports: [{ port: 80 }] }"))]);
    for arguments in [&["check", "s.yaml"][..], &["webhooks"]] {
        let output = sallyport_in(elsewhere.path(), arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.starts_with(
                "error: which policies? Name a directory of ServicePolicy manifests with --policies"
            ),
            "{error}"
        );
    }
}

#[test]
fn variables_of_the_environment_stand_for_common_flags() {
    let elsewhere = directory(&[("s.yaml", &service("{ ports: [{ port: 80 }] }"))]);
    let run = |arguments: &[&str]| {
        Command::new(&*SALLYPORT)
            .args(arguments)
            .current_dir(elsewhere.path())
            .env(
                "SALLYPORT_POLICIES",
                root().join("policies/presets/baseline"),
            )
            .env("SALLYPORT_MODULES", root().join("target/policies"))
            .env("SALLYPORT_CONFIG", root().join("deploy/base/config.yaml"))
            .output()
            .expect("the program runs")
    };
    let output = run(&["check", "s.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "--config is given: {output:?}");
    let output = run(&["check", "s.yaml", "--policies", "nowhere"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("nowhere"), "the flag wins: {error}");
}

#[test]
fn files_are_named_by_position_or_with_f() {
    let outputs = [
        &["explain", "docs/examples/my-clusterip-service.yaml"][..],
        &["explain", "-f", "docs/examples/my-clusterip-service.yaml"],
    ]
    .map(sallyport);
    assert_eq!(outputs[0].status.code(), Some(0));
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
}

#[test]
fn what_passed_is_listed_on_request_and_a_quiet_success_says_nothing() {
    for (arguments, line) in [
        (
            &["check", "docs/examples/my-clusterip-service.yaml"][..],
            "PASS ",
        ),
        (
            &["test", "tests/fixtures/selectorless"],
            "PASS selectorless/",
        ),
        (&["lint", "deploy/base/config.yaml"], ": no findings"),
        (
            &["doctor", "deploy/base/webhooks.yaml"],
            "Configuration sallyport",
        ),
    ] {
        let run = |flag: &str| {
            let output = sallyport(&[arguments, &[flag]].concat());
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert!(
            run("--verbose").contains(line),
            "{arguments:?}: {}",
            run("-v")
        );
        assert_eq!(run("--quiet"), "", "{arguments:?}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_force_them() {
    let run = |variable: &str| {
        let output = Command::new(&*SALLYPORT)
            .args(["test", "tests/fixtures/selectorless", "--verbose"])
            .current_dir(root())
            .env(variable, "1")
            .output()
            .expect("the program runs");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(run("CLICOLOR_FORCE").starts_with("\u{1b}[1m\u{1b}[32mPASS\u{1b}[0m "));
    assert!(run("NO_COLOR").starts_with("PASS "));
}

#[test]
fn the_version_names_commit_contract_and_wasmtime() {
    let output = sallyport(&["--version"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("sallyport 0.1.0 (commit "), "{text}");
    assert_eq!(
        lines[1],
        format!("contract {}", sallyport_core::contract::VERSION)
    );
    assert!(lines[2].starts_with("wasmtime 48."), "{text}");
}

#[test]
fn examples_of_the_help_can_be_copied() {
    for command in [
        "serve", "test", "bench", "check", "explain", "inspect", "webhooks", "lint", "doctor",
        "crd", "schema", "new", "replay",
    ] {
        let output = sallyport(&[command, "--help"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, examples) = text
            .rsplit_once("\nExample")
            .unwrap_or_else(|| panic!("{command}"));
        for line in examples.lines() {
            assert!(line.len() <= 100, "{command}: {line:?} may be wrapped");
        }
        // A line that ends in the middle of a command says so.
        let lines: Vec<&str> = examples.lines().collect();
        for pair in lines.windows(2) {
            let goes_on = pair[1].trim_start().starts_with("--")
                || pair[1].trim_start().starts_with("https://");
            let says_so = pair[0].ends_with('\\') || pair[0].ends_with('|');
            assert!(!goes_on || says_so, "{command}: {pair:?}");
        }
    }
}

#[test]
fn a_removal_refuses_flags_that_it_does_not_heed() {
    for flags in [
        &["--policies", "target/policies"][..],
        &["--config", "deploy/base/config.yaml"],
        &["--webhook-url", "https://sallyport.example.com:8443"],
        &["--failure-policy", "Ignore"],
        &["--no-cache"],
    ] {
        for removal in ["--delete", "--resume"] {
            let error = fails(&[&["webhooks", removal], flags].concat());
            let end = format!("; remove {}", flags[0]);
            assert!(
                error.contains("go by --webhook-configuration") && error.ends_with(&end),
                "{error}"
            );
        }
    }
    // A variable for all commands is no flag of this one: it gets as far as the cluster.
    let output = Command::new(&*SALLYPORT)
        .args(["webhooks", "--delete", "--kubeconfig", "/nowhere"])
        .env("SALLYPORT_POLICIES", "target/policies")
        .output()
        .expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("/nowhere"), "{error}");
}

/// Returns what a command prints, which must not be an error.
fn prints(arguments: &[&str]) -> String {
    let output = sallyport(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_ne!(output.status.code(), Some(2), "{error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn inspect_shows_a_policy_that_refuses_its_defaults_with_the_settings_it_requires() {
    let inspect = ["inspect", "target/guests/required_settings.wasm"];
    let text = prints(&inspect);
    for line in [
        "name             required-settings",
        "pre-initialised  not known: settings are required, see the end",
        "  allowedDomains: list of string = []",
        "      Domains, such as `example.com`. At least one.",
        "required: the policy refuses its defaults, so a manifest must give these",
        "  spec.settings.allowedDomains: empty; name at least one domain, such as example.com",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let json = prints(&[&inspect[..], &["--output=json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let required = &json["requiredSettings"];
    assert_eq!(required.as_array().map(Vec::len), Some(1), "{required}");
    assert_eq!(required[0]["path"], "allowedDomains");
}

#[test]
fn inspect_of_a_manifest_names_its_component() {
    let output = sallyport(&["inspect", "tests/guests/owner-label/policy.yaml"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("is a manifest; name its component: sallyport inspect owner_label.wasm"),
        "{text}"
    );
}

#[test]
fn explain_inspect_and_replay_print_less_or_more() {
    let explain = ["explain", "docs/examples/my-nodeport-service.yaml"];
    assert_eq!(
        prints(&[&explain[..], &["-q"]].concat()),
        "default/my-nodeport-service: NodePort\n"
    );
    let place = "  file            docs/examples/my-nodeport-service.yaml:1\n";
    assert!(!prints(&explain).contains(place));
    assert!(prints(&[&explain[..], &["-v"]].concat()).contains(place));

    let inspect = ["inspect", "target/policies/clusterip_internal.wasm"];
    let name = prints(&[&inspect[..], &["-q"]].concat());
    assert!(
        name.starts_with("clusterip-internal ") && name.lines().count() == 1,
        "{name}"
    );
    assert!(prints(&inspect).contains("… (all: -v)"));
    assert!(!prints(&[&inspect[..], &["-v"]].concat()).contains('…'));

    let replay = [
        "replay",
        "docs/replay/reviews.log",
        "--policies",
        "docs/replay/next",
        "--modules",
        "target/policies",
    ];
    let quiet = prints(&[&replay[..], &["-q"]].concat());
    assert_eq!(quiet.lines().count(), 2, "head and row: {quiet}");
    let verbose = prints(&[&replay[..], &["-v"]].concat());
    let same = verbose.lines().filter(|line| line.starts_with("same  "));
    assert_eq!(same.count(), 2, "{verbose}");
}
