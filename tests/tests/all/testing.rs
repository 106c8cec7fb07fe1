//! `sallyport test` for a policy's author: a policy's log, facts in a case that no policy asks for,
//! the list of cases, build commands and `--watch`.

use crate::command_line::{SALLYPORT, sallyport_in};
use crate::host::root;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use tempfile::TempDir;

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a suite of the guest that does as an annotation says.
fn suite(cases: &str) -> String {
    format!(
        "apiVersion: sallyport.dev/v1alpha1\nkind: Suite\nmetadata: {{ name: s }}\nspec:\n  \
         policy: {{ module: {{ file: misbehave.wasm }} }}\n  cases:\n{cases}"
    )
}

fn case(word: &str, expect: &str) -> String {
    format!(
        "  - name: {word}\n    object:\n      metadata: {{ name: web, annotations: {{ test/do: \
         {word} }} }}\n      spec: {{ ports: [{{ port: 80 }}] }}\n    expect: {expect}\n"
    )
}

const ALLOWED: &str = "{ allowed: true, warnings: [{ contains: call }] }";

fn directory(text: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("suite.yaml"), text).expect("written");
    directory
}

fn modules() -> String {
    let modules = std::path::absolute(root().join("target/guests")).expect("a path");
    modules.to_str().expect("UTF-8").to_owned()
}

fn test(text: &str, more: &[&str]) -> Output {
    let directory = directory(text);
    let modules = modules();
    let arguments = ["test", ".", "--modules", &modules];
    sallyport_in(directory.path(), &[&arguments[..], more].concat())
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Runs a case of the policy `expressions` in mode Enforce, with the shipped components.
fn expressions(case: &str) -> String {
    let text = format!(
        "apiVersion: sallyport.dev/v1alpha1\nkind: Suite\nmetadata: {{ name: s }}\nspec:\n  \
         policy: {{ module: {{ file: expressions.wasm }} }}\n  \
         settings: {{ mutations: [{{ jsonPatch: {{ \
         expression: \"[JSONPatch{{op: 'add', path: '/metadata/labels', value: {{'a b': 'c'}}}}]\" \
         }} }}] }}\n  cases:\n{case}"
    );
    let directory = directory(&text);
    let modules = std::path::absolute(root().join("target/policies")).expect("a path");
    let modules = modules.to_str().expect("UTF-8");
    let output = sallyport_in(directory.path(), &["test", ".", "--modules", modules]);
    stdout(&output)
}

#[test]
fn a_patch_that_the_api_server_would_refuse_fails_its_case() {
    let shown = expressions(
        "  - name: odd key\n    function: mutate\n    object: { metadata: { name: w }, \
         spec: { ports: [{ port: 80 }] } }\n    expect: { patchedObject: { metadata: { name: w, \
         labels: { a b: c } }, spec: { ports: [{ port: 80 }] } } }\n",
    );
    assert!(
        shown.contains("the API server would refuse the patched object: metadata.labels[\"a b\"]"),
        "{shown}"
    );
}

#[test]
fn a_case_that_no_policy_matches_says_why() {
    let shown = expressions(
        "  - name: in warn\n    policy: { mode: Warn }\n    function: mutate\n    object: { \
         metadata: { name: w }, spec: { ports: [{ port: 80 }] } }\n    expect: { patch: [] }\n",
    );
    assert!(
        shown.contains("is not asked: mode Warn does not patch, only Enforce does"),
        "{shown}"
    );
}

#[test]
fn a_field_that_no_service_has_is_an_error_of_the_suite() {
    for (key, spec, field) in [
        (
            "object",
            "sepc: {}",
            "object.sepc: unknown field (did you mean \"spec\"?)",
        ),
        (
            "object",
            "spec: { ports: [{ port: 80, nodeport: 1 }] }",
            "object.spec.ports[0].nodeport: unknown field (did you mean \"nodePort\"?)",
        ),
        ("oldObject", "sepc: {}", "oldObject.sepc: unknown field"),
    ] {
        let other = match key {
            "object" => "",
            _ => "    object: { metadata: { name: w }, spec: { ports: [{ port: 80 }] } }\n",
        };
        let case = format!(
            "  - name: odd\n{other}    {key}: {{ metadata: {{ name: w }}, {spec} }}\n    expect: \
             {ALLOWED}\n"
        );
        let shown = stdout(&test(&suite(&case), &[]));
        assert!(shown.contains(field), "{shown}");
    }
    let raw = "  - name: raw\n    rawObject: '{\"sepc\": {}, \"metadata\": \
               {\"name\": \"w\"}}'\n    expect: { allowed: true }\n";
    let shown = stdout(&test(&suite(raw), &[]));
    assert!(!shown.contains("unknown field"), "{shown}");
}

#[test]
fn a_panic_shows_its_message_its_file_and_its_line() {
    let cases = case("log-and-panic", ALLOWED);
    let text = stdout(&test(&suite(&cases), &[]));
    let lines = text.lines().filter(|line| line.starts_with("     log "));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 17, "16 lines and the panic: {text}");
    let panic = lines[16];
    let start = "     log [misbehave] error: panicked at tests/guests/misbehave/src/lib.rs:";
    assert!(panic.starts_with(start), "{panic}");
    assert!(panic.ends_with(": told to panic"), "{panic}");
}

#[test]
fn log_lines_are_shown_for_failing_cases_and_in_detail_for_all() {
    let passing = suite(&case("shout", ALLOWED));
    let line = "     log [misbehave] info: 0123456789";
    let output = test(&passing, &[]);
    assert_eq!(stdout(&output), "1 passed, 0 failed\n");
    assert_eq!(stderr(&output), "", "lines are part of the report alone");
    assert!(stdout(&test(&passing, &["-v"])).contains(line));
    let failing = suite(&case("shout", "{ allowed: true }"));
    assert!(stdout(&test(&failing, &[])).contains(line));
    let json: Value =
        serde_json::from_slice(&test(&passing, &["-o", "json"]).stdout).expect("JSON");
    let logged = &json["suites"][0]["cases"][0]["log"][0];
    assert_eq!(logged["level"], "info");
    let junit = stdout(&test(&failing, &["-o", "junit"]));
    assert!(
        junit.contains("<system-out>[misbehave] info: 0123456789"),
        "{junit}"
    );
}

#[test]
fn what_configure_logs_is_in_no_answer() {
    let logs_at_load = "    settings: { atConfigure: log }\n";
    let text = suite(&[&case("nothing", ALLOWED), logs_at_load].concat());
    let shown = stdout(&test(&text, &["-v"]));
    assert!(shown.ends_with("1 passed, 0 failed\n"), "{shown}");
    assert!(!shown.contains("     log "), "{shown}");
}

#[test]
fn facts_that_no_policy_asks_for_fail_the_case() {
    let facts = [
        (
            "namespaces: { default: { labels: { team: a } } }",
            "namespaces: no policy asks for the labels",
        ),
        (
            "namespaces: { default: { annotations: { team: a } } }",
            "namespaces: no policy asks for the annotations",
        ),
        (
            "cluster: { environment: cloud }",
            "cluster: no policy asks for these facts",
        ),
        ("pods: []", "pods: no policy asks for the Pods"),
    ];
    for (inventory, problem) in facts {
        let of_case = suite(&format!(
            "{}    inventory: {{ {inventory} }}\n",
            case("nothing", ALLOWED)
        ));
        let of_suite = suite(&case("nothing", ALLOWED)).replace(
            "  cases:",
            &format!("  inventory: {{ {inventory} }}\n  cases:"),
        );
        for text in [of_case, of_suite] {
            let output = test(&text, &[]);
            let shown = stdout(&output);
            assert_eq!(output.status.code(), Some(1), "{shown}");
            assert!(
                shown.contains(&format!("inventory.{problem}, so that")),
                "{shown}"
            );
        }
    }
    assert!(
        test(&suite(&case("nothing", ALLOWED)), &[])
            .status
            .success()
    );
}

#[test]
fn cases_are_listed_and_not_run() {
    let cases = [case("panic", ALLOWED), case("loop", ALLOWED)].concat();
    let output = test(&suite(&cases), &["--list"]);
    assert_eq!(
        stdout(&output),
        "s/panic (./suite.yaml:7)\ns/loop (./suite.yaml:12)\n"
    );
    assert!(output.status.success());
    let output = test(
        &suite(&cases),
        &["--list", "--filter", "loop", "-o", "json"],
    );
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["suites"][0]["cases"][0]["name"], "loop");
    let output = test(
        &suite(&cases),
        &["--list", "--filter", "nothing of the kind"],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no case matches --filter"));
}

/// A suite whose component is only there once its command has run.
fn built(directory: &Path, command: &str) {
    let text = suite(&case("nothing", ALLOWED))
        .replace("  cases:", &format!("  build: {command}\n  cases:"));
    std::fs::write(directory.join("suite.yaml"), text).expect("written");
}

#[test]
fn a_build_command_runs_before_the_suite_and_its_failure_is_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = format!("cp {}/misbehave.wasm .", modules());
    built(directory.path(), &copy);
    let output = sallyport_in(directory.path(), &["test", "."]);
    assert!(
        stdout(&output).contains("misbehave.wasm is not in"),
        "{output:?}"
    );
    let output = sallyport_in(directory.path(), &["test", ".", "--build"]);
    assert!(output.status.success(), "{output:?}");
    built(directory.path(), "exit 7");
    let output = sallyport_in(directory.path(), &["test", ".", "--build"]);
    assert_eq!(output.status.code(), Some(2));
    let error = stderr(&output);
    assert!(
        error.contains(r#"the build command "exit 7" failed in . (exit status: 7)"#),
        "{error}"
    );
    let output = sallyport_in(directory.path(), &["test", ".", "--build=echo here"]);
    assert!(
        output.status.success() && stderr(&output) == "here\n",
        "{output:?}"
    );
}

#[test]
fn without_a_build_command_the_flag_says_how_to_give_one() {
    let output = test(&suite(&case("nothing", ALLOWED)), &["--build"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("write `build: COMMAND` into its spec"));
}

/// `sallyport test --watch` in a directory.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(directory: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(&*SALLYPORT)
            .args(["test", ".", "--watch"])
            .args(more)
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        let lines = lines(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    /// Waits for the next summary of a round.
    fn summary(&self) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(WAIT_TIMEOUT)
                .expect("another round");
            if line.contains(" passed, ") {
                return line;
            }
        }
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_change_is_built_and_tested_and_what_the_build_writes_is_no_change() {
    let directory = tempfile::tempdir().expect("a directory");
    // The source is the word of the case; each build also writes a file of its own.
    let copy = format!(
        "\"cp {}/misbehave.wasm . && date +%N > stamp && cat word >> built\"",
        modules()
    );
    built(directory.path(), &copy);
    std::fs::write(directory.path().join("word"), "a").expect("written");
    let watching = Watching::start(directory.path(), &[]);
    assert_eq!(watching.summary(), "1 passed, 0 failed");
    // The second round finds that the build writes `stamp` and `built` every time.
    assert_eq!(watching.summary(), "1 passed, 0 failed");
    let quiet = watching.lines.recv_timeout(Duration::from_secs(2));
    assert!(quiet.is_err(), "nothing has changed: {quiet:?}");
    std::fs::write(directory.path().join("word"), "b").expect("written");
    assert_eq!(watching.summary(), "1 passed, 0 failed");
    let word = std::fs::read_to_string(directory.path().join("built")).expect("built");
    assert_eq!(word, "aab");
    built(directory.path(), "exit 1");
    std::thread::sleep(Duration::from_secs(1));
    built(directory.path(), &copy);
    assert_eq!(watching.summary(), "1 passed, 0 failed");
}
