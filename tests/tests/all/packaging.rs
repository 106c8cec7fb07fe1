//! Files that packages and CI systems take from the program: completions, the manual, the plugin of
//! kubectl, and the policies beside an installed program.

use crate::command_line::{SALLYPORT, sallyport, sallyport_in};
use crate::host::root;
use crate::kubectl::Kubectl;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Returns the names of the subcommands that `--help` lists.
fn subcommands() -> Vec<String> {
    let help = text(&sallyport(&["--help"]));
    let list = help.split("Commands:\n").nth(1).expect("a list");
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    lines
        .filter(|line| !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().expect("a name").to_owned())
        .filter(|name| name != "help")
        .collect()
}

#[test]
fn completions_of_every_shell_know_all_subcommands() {
    let names = subcommands();
    assert!(names.len() > 8, "{names:?}");
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = text(&sallyport(&["completions", shell]));
        for name in &names {
            assert!(script.contains(name.as_str()), "{shell} lacks {name}");
        }
        assert!(script.contains("allow-empty"), "{shell}");
    }
}

#[test]
fn bash_completes_subcommands_and_flags() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("sallyport.bash");
    fs::write(&script, text(&sallyport(&["completions", "bash"]))).expect("written");
    let complete = |words: &str, index: usize| {
        let line = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={index}; _sallyport sallyport \
             \"${{COMP_WORDS[{index}]}}\" \"${{COMP_WORDS[{index}-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        text(
            &Command::new("bash")
                .args(["-c", &line])
                .output()
                .expect("bash runs"),
        )
    };
    assert_eq!(complete("sallyport che", 1).trim(), "check");
    assert_eq!(
        complete("sallyport check --allow", 2).trim(),
        "--allow-empty"
    );
    assert_eq!(
        complete("sallyport check --output g", 3).trim(),
        "github gitlab"
    );
}

#[test]
fn the_manual_has_a_page_for_each_subcommand() {
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man/man1");
    text(&sallyport(&["man", pages.to_str().expect("UTF-8")]));
    let is_of_a_subcommand = |page: &String| {
        let mut names = subcommands().into_iter();
        names.any(|name| page.starts_with(&format!("sallyport-{name}-")))
    };
    let found: BTreeSet<String> = fs::read_dir(&pages)
        .expect("made")
        .map(|page| {
            page.expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|page| !is_of_a_subcommand(page))
        .collect();
    let wanted = subcommands()
        .into_iter()
        .map(|name| format!("sallyport-{name}.1"));
    let wanted: BTreeSet<String> = wanted.chain(["sallyport.1".to_owned()]).collect();
    assert_eq!(found, wanted);
    let page = fs::read_to_string(pages.join("sallyport-check.1")).expect("a page");
    assert!(
        page.contains("allow\\-empty") && page.contains("helm template"),
        "{page}"
    );
}

/// groff reads a page byte by byte: what is no ASCII comes out as other characters.
#[test]
fn the_manual_is_ascii() {
    let pages = tempfile::tempdir().expect("a directory");
    text(&sallyport(&["man", pages.path().to_str().expect("UTF-8")]));
    for page in fs::read_dir(pages.path()).expect("made") {
        let page = page.expect("an entry").path();
        let text = fs::read_to_string(&page).expect("a page");
        for line in text.lines() {
            assert!(line.is_ascii(), "{}: {line}", page.display());
        }
    }
}

#[test]
fn the_long_version_names_commit_contract_and_wasmtime() {
    let version = text(&sallyport(&["--version"]));
    let words: Vec<_> = version
        .lines()
        .map(|line| line.split_whitespace().next().unwrap_or_default())
        .collect();
    assert_eq!(words, ["sallyport", "contract", "wasmtime"], "{version}");
    assert!(version.contains("(commit "), "{version}");
}

/// An archive that was unpacked: the program with policies beside it.
struct Installed {
    directory: TempDir,
}

impl Installed {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("archive/sallyport");
        fs::create_dir_all(program.parent().expect("a parent")).expect("made");
        fs::hard_link(&*SALLYPORT, &program)
            .or_else(|_| fs::copy(&*SALLYPORT, &program).map(drop))
            .expect("the program is there");
        symlink(
            fs::canonicalize(root().join("target/policies")).expect("they are built"),
            directory.path().join("archive/policies"),
        )
        .expect("linked");
        Self { directory }
    }

    /// Links the program under another name, as package managers do.
    fn linked(&self, name: &str) -> PathBuf {
        let link = self.directory.path().join(name);
        symlink(self.directory.path().join("archive/sallyport"), &link).expect("linked");
        link
    }
}

fn run(program: &Path, directory: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_remove("SALLYPORT_POLICIES")
        .output()
        .expect("it runs")
}

#[test]
fn an_installed_program_takes_the_policies_beside_it() {
    let installed = Installed::new();
    let program = installed.linked("sallyport");
    let elsewhere = tempfile::tempdir().expect("a directory");
    // Policies of somebody's repository have no say.
    fs::create_dir_all(elsewhere.path().join("target/policies")).expect("made");
    let manifest = root().join("docs/examples/out-of-range.yaml");
    let manifest = manifest.to_str().expect("UTF-8");
    let output = run(&program, elsewhere.path(), &["check", manifest]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("denied S02: [nodeport-range]"), "{report}");
    // A suite that names a shipped module finds it, too.
    let suite = "\
apiVersion: sallyport.dev/v1alpha1
kind: Suite
metadata: { name: installed }
spec:
  policy: { module: { file: nodeport_range.wasm } }
  cases:
  - name: a port of the range passes
    object:
      metadata: { name: w }
      spec: { type: NodePort, ports: [{ port: 80, nodePort: 30001 }] }
    expect: { allowed: true }
";
    fs::write(elsewhere.path().join("suite.yaml"), suite).expect("written");
    let output = run(&program, elsewhere.path(), &["test", "suite.yaml"]);
    assert_eq!(text(&output), "1 passed, 0 failed\n");
    let wrong = suite.replace("30001", "29999");
    fs::write(elsewhere.path().join("suite.yaml"), wrong).expect("written");
    let output = run(&program, elsewhere.path(), &["lint", "."]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    let finding = "case \"a port of the range passes\" fails";
    assert!(report.contains(finding), "{report}");
}

#[test]
fn a_plugin_of_kubectl_is_called_so_in_its_help() {
    let installed = Installed::new();
    let plugin = installed.linked("kubectl-sallyport");
    let help = text(&run(&plugin, &root(), &["check", "--help"]));
    assert!(help.contains("Usage: kubectl sallyport check"), "{help}");
    assert!(help.contains("| kubectl sallyport check -"), "{help}");
    assert!(!help.contains("  sallyport "), "{help}");
    let own = text(&sallyport(&["check", "--help"]));
    assert!(own.contains("Usage: sallyport check"), "{own}");
    let wrong = run(&plugin, &root(), &["chekc"]);
    let error = String::from_utf8_lossy(&wrong.stderr);
    assert!(error.contains("Usage: kubectl sallyport"), "{error}");
}

#[test]
fn kubectl_finds_the_plugin() {
    let Some(kubectl) = Kubectl::find() else {
        return;
    };
    let installed = Installed::new();
    installed.linked("kubectl-sallyport");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(kubectl.program)
        .args([
            "sallyport",
            "explain",
            "docs/examples/my-nodeport-service.yaml",
        ])
        .current_dir(root())
        .env(
            "PATH",
            format!("{}:{path}", installed.directory.path().display()),
        )
        .output()
        .expect("kubectl runs");
    assert!(text(&output).contains("default/my-nodeport-service: NodePort"));
}

#[test]
fn the_version_is_the_same_everywhere() {
    let checked = Command::new("scripts/release-version.sh")
        .current_dir(root())
        .output()
        .expect("it runs");
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}

#[test]
fn failures_of_a_suite_are_annotated() {
    let directory = tempfile::tempdir().expect("a directory");
    let suite = "\
apiVersion: sallyport.dev/v1alpha1
kind: Suite
metadata: { name: annotated }
spec:
  policy: { module: { file: nodeport_range.wasm } }
  cases:
  - name: this one fails
    object:
      metadata: { name: w }
      spec: { type: NodePort, ports: [{ port: 80, nodePort: 29999 }] }
    expect: { allowed: true }
";
    fs::write(directory.path().join("suite.yaml"), suite).expect("written");
    let modules = root().join("target/policies");
    let output = sallyport_in(
        directory.path(),
        &[
            "test",
            "suite.yaml",
            "--output",
            "github",
            "--modules",
            modules.to_str().expect("UTF-8"),
        ],
    );
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(
        report.starts_with("::error file=suite.yaml,line=7,title=this one fails::"),
        "{report}"
    );
    assert_eq!(report.lines().count(), 1, "{report}");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "0 passed, 1 failed\n"
    );
}
