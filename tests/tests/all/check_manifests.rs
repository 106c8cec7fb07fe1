//! `sallyport check` on manifests: which documents are Services, which objects the API server
//! itself would refuse, and which files are too large.

use crate::command_line::{SALLYPORT, sallyport};
use crate::host::root;
use sallyport_tests::most_resident;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The program as tests build it takes 40 MiB, and each Service of a list 2 KiB.
const MAX_RESIDENT_KIB: u64 = 64 << 10;

fn run(command: &str, text: &str) -> Output {
    let file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let path = file.path().to_str().expect("UTF-8");
    match command {
        "check" => sallyport(&["check", path, "--policies", "target/policies"]),
        _ => sallyport(&["explain", path, "--output", "json"]),
    }
}

/// Returns the types of the Services in a text.
#[track_caller]
fn types(text: &str) -> Vec<String> {
    let output = run("explain", text);
    assert!(
        output.status.success(),
        "{text}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let explained: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    explained
        .iter()
        .map(|service| service["type"].as_str().expect("a type").to_owned())
        .collect()
}

/// Returns the report and the exit code.
fn check(text: &str) -> (String, Option<i32>) {
    let output = run("check", text);
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        output.status.code(),
    )
}

const HEAD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";

#[test]
fn a_line_break_of_unicode_hides_no_type() {
    for line_break in ["\u{85}", "\u{2028}", "\u{2029}", "\r"] {
        let text = format!(
            "{HEAD}spec:\n  # plain{line_break}  type: NodePort\n  ports: [{{port: 80}}]\n"
        );
        assert_eq!(types(&text), ["NodePort"], "{line_break:?}");
    }
}

#[test]
fn merge_keys_hide_no_type() {
    for (spec, expected) in [
        ("  type: ClusterIP\n  <<: *node\n", "NodePort"),
        ("  <<: *cluster\n  <<: *node\n", "NodePort"),
        ("  <<: *node\n  <<: *cluster\n", "ClusterIP"),
        ("  <<: [*node, *cluster]\n", "NodePort"),
    ] {
        // Another kind, so that it is no unknown field of the Service.
        let anchors = "metadata:\n  name: web\n  annotations: {}\n";
        let text = format!(
            "apiVersion: v1\nkind: List\nx: [&node {{type: NodePort}}, &cluster {{type: \
             ClusterIP}}]\nitems:\n\
             - apiVersion: v1\n  kind: Service\n  {}\n  spec:\n{}",
            anchors.trim_end().replace('\n', "\n  "),
            spec.replace("  ", "    "),
        );
        assert_eq!(types(&text), [expected], "{text}");
    }
}

#[test]
fn every_list_is_opened() {
    let item = "{metadata: {name: a}, spec: {type: NodePort, ports: [{port: 80}]}}";
    let whole = item.replacen('{', "{apiVersion: v1, kind: Service, ", 1);
    for (kind, item) in [
        ("ServiceList", item),
        ("List", &*whole),
        ("PodList", &*whole),
        ("ConfigMapList", &*whole),
    ] {
        let text = format!("apiVersion: v1\nkind: {kind}\nitems:\n- {item}\n- {item}\n");
        assert_eq!(types(&text), ["NodePort", "NodePort"], "{kind}");
    }
}

#[test]
fn what_looks_like_a_service_and_is_none_is_an_error() {
    let spec = "metadata: {name: web}\nspec: {type: NodePort, ports: [{port: 80}]}\n";
    for head in [
        "apiVersion: v1\nkind: service\n",
        "apiVersion: v1\nkind: Services\n",
        "apiVersion: v1\nkind: 'Service '\n",
        "apiVersion: v1\nKind: Service\n",
        "apiVersion: v1\n",
        "kind: Service\n",
        "",
        "apiVersion: 'v1 '\nkind: Service\n",
        "apiVersion: core/v1\nkind: Service\n",
        "apiVersion: apps/v1\nkind: Service\n",
        "apiVersion: 1\nkind: Service\n",
    ] {
        let (report, code) = check(&format!(
            "{HEAD}spec: {{ports: [{{port: 80}}]}}\n---\n{head}{spec}"
        ));
        assert!(
            code == Some(2) && report.contains("line 6: looks like a Service, but "),
            "{head}: {report}"
        );
    }
    let item = format!("{HEAD}spec: {{}}").replace('\n', "\n  ");
    for text in [
        format!("- {item}\n"),
        format!(
            "apiVersion: v1\nkind: List\nitems:\n- items:\n  - {}\n",
            item.replace('\n', "\n  ")
        ),
    ] {
        let (report, code) = check(&text);
        assert!(
            code == Some(2) && report.contains("looks like a Service, but "),
            "{text}: {report}"
        );
    }
}

#[test]
fn other_objects_are_counted_and_left_alone() {
    let others = "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: {template: {}}\n---\n\
                  apiVersion: apps/v1\nkind: Deployment\nspec: {ports: 1}\n---\napiVersion: v1\n\
                  kind: ConfigMap\ndata: {type: NodePort}\n";
    let (report, code) = check(&format!(
        "{HEAD}spec: {{ports: [{{port: 80}}]}}\n---\n{others}"
    ));
    assert!(
        code == Some(0) && report.contains("3 other objects ignored"),
        "{report}"
    );
}

#[test]
fn an_object_without_a_kind_is_an_error_in_a_file_that_was_named() {
    let values =
        format!("{HEAD}spec: {{ports: [{{port: 80}}]}}\n---\nservice: {{type: NodePort}}\n");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("values.yaml"), &values).expect("written");
    let path = directory.path().to_str().expect("UTF-8");
    let output = sallyport(&["check", path, "--policies", "target/policies"]);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && report.contains("1 other object ignored"),
        "{report}"
    );
    let (report, code) = check(&values);
    let problem = "line 6: this object has no kind, so kubectl refuses it; mend it, or leave the \
                   file out";
    assert!(code == Some(2) && report.contains(problem), "{report}");
    let output = run("explain", &values);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("this object has no kind"), "{error}");
}

#[test]
fn what_the_api_server_refuses_is_denied_by_kubernetes() {
    for (text, field, part) in [
        (
            "spec: {selecter: {a: b}, ports: [{port: 80}]}",
            "spec.selecter",
            "did you mean \"selector\"?",
        ),
        (
            "type: NodePort\nspec: {ports: [{port: 80}]}",
            "type",
            "write it in spec",
        ),
        (
            "spec: {type: NodePort, ports: [{port: 80, nodeport: 20080}]}",
            "spec.ports[0].nodeport",
            "did you mean \"nodePort\"?",
        ),
        (
            "spec: {ports: [{name: a, port: 80}, {name: b, port: 80}]}",
            "spec.ports[1].port",
            "stands twice",
        ),
        (
            "spec: {ports: [{port: 70000}]}",
            "spec.ports[0].port",
            "between 1 and 65535",
        ),
        (
            "spec: {ports: [{port: 80, name: Bad_Name}]}",
            "spec.ports[0].name",
            "lower case",
        ),
    ] {
        let (report, code) = check(&format!("{HEAD}{text}\n"));
        let start = format!("[kubernetes] {field}: the API server would refuse this: ");
        let line = report
            .lines()
            .find(|line| line.contains(&start))
            .unwrap_or_else(|| panic!("{text}: {report}"));
        assert!(code == Some(1) && line.contains(part), "{report}");
    }
}

#[test]
fn a_document_that_is_no_object_is_an_error() {
    for document in ["- 1", "a text"] {
        let (report, code) = check(&format!(
            "{HEAD}spec: {{ports: [{{port: 80}}]}}\n---\n{document}\n"
        ));
        assert!(
            code == Some(2) && report.contains("line 6: this is no object"),
            "{report}"
        );
    }
}

/// Its deadline allows for other tests on the same machine.
const POLICY: &str = "apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicy\nmetadata: {name: \
    service-type}\n\
                      spec:\n  module: {file: service_type.wasm}\n  settings: {allowedTypes: \
                      [ClusterIP]}\n\
                      \x20 limits: {deadline: 5s}\n";

/// Runs `check` on a file. Returns its last line, its exit code and its peak memory.
fn measured(policies: &Path, file: &Path) -> (String, Option<i32>, u64) {
    let mut child = Command::new(&*SALLYPORT)
        .args(["check", "--modules", "target/policies", "--policies"])
        .args([policies, file])
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdout = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || std::io::read_to_string(&mut stdout).expect("UTF-8"));
    let mut most = 0;
    let code = loop {
        most = most.max(most_resident(child.id()).unwrap_or(0));
        match child.try_wait().expect("a child") {
            Some(status) => break status.code(),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let text = reader.join().expect("no panic");
    (
        text.lines().last().unwrap_or_default().to_owned(),
        code,
        most,
    )
}

fn service(index: usize) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web-{index}\n  namespace: \
         shop\n  labels: {{app: web-{index}}}\n\
         spec:\n  selector: {{app: web-{index}}}\n  ports:\n  - name: http\n    port: \
         80\n    targetPort: http\n"
    )
}

#[test]
fn many_services_are_judged_within_little_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let policies = directory.path().join("policies");
    std::fs::create_dir(&policies).expect("made");
    std::fs::write(policies.join("service-type.yaml"), POLICY).expect("written");
    let stream = (0..2_500)
        .map(|index| service(index) + "---\n")
        .collect::<String>();
    let item = |index| format!("- {}\n", service(index).trim_end().replace('\n', "\n  "));
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n{}",
        (0..5_000).map(item).collect::<String>()
    );
    for (name, text, count) in [("stream.yaml", stream, 2_500), ("list.yaml", list, 5_000)] {
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("written");
        let (summary, code, most) = measured(&policies, &file);
        assert!(
            code == Some(0)
                && summary.starts_with(&format!("{count} Services, "))
                && summary.contains(": 0 denied"),
            "{name}: {summary}"
        );
        assert!(0 < most && most < MAX_RESIDENT_KIB, "{name}: {most} KiB");
    }
}

#[test]
fn an_alias_bomb_says_that_aliases_are_too_many() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        text += &format!("a{i}: &a{i} [{aliases}]\n");
    }
    let (report, code) = check(&format!("{HEAD}spec: {{ports: [{{port: 80}}]}}\n{text}"));
    assert!(
        code == Some(2) && report.contains("aliases repeat too much"),
        "{report}"
    );
}
