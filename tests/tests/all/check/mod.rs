//! `sallyport check` gives the cluster's verdict, and names the facts that only the cluster has.

mod input;
mod node_ports;
mod output;
mod recorded;
mod updates;

use crate::command_line::sallyport_in;
use crate::host::root;
use serde_json::Value;
use std::process::Output;
use tempfile::TempDir;

/// A directory with manifests and policies.
struct Case {
    files: TempDir,
}

/// Level, policy and field of a finding.
type Row = (String, String, String);

impl Case {
    /// Creates a case with one policy and its settings.
    fn policy(name: &str, spec: &str) -> Self {
        Self {
            files: tempfile::tempdir().expect("a directory"),
        }
        .and(name, spec)
    }

    /// Adds another policy.
    fn and(self, name: &str, spec: &str) -> Self {
        let file = format!("{}.wasm", name.replace('-', "_"));
        let text = format!(
            "apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicy\nmetadata: {{ name: {name} \
             }}\nspec:\n  module: {{ file: {file} }}\n{spec}\n"
        );
        let policies = self.files.path().join("policies");
        std::fs::create_dir_all(&policies).expect("made");
        std::fs::write(policies.join(format!("{name}.yaml")), text).expect("written");
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.files.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
        self
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let modules = root().join("target/policies");
        let policies = [
            "--policies",
            "policies",
            "--modules",
            modules.to_str().expect("UTF-8"),
        ];
        sallyport_in(
            self.files.path(),
            &[&["check"], arguments, &policies].concat(),
        )
    }

    fn report(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (report, output.status.code())
    }

    /// Returns every finding, and the exit code.
    fn findings(&self, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
        let (report, code) = self.report(arguments);
        let subjects = report["subjects"].as_array().expect("a list").iter();
        (
            subjects
                .flat_map(|subject| subject["findings"].as_array().expect("a list"))
                .cloned()
                .collect(),
            code,
        )
    }

    fn rows(&self, arguments: &[&str]) -> (Vec<Row>, Option<i32>) {
        let (findings, code) = self.findings(arguments);
        let text =
            |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let row = |finding| {
            (
                text(finding, "level"),
                text(finding, "policy"),
                text(finding, "field"),
            )
        };
        (findings.iter().map(row).collect(), code)
    }
}

fn row(level: &str, policy: &str, field: &str) -> Row {
    (level.to_owned(), policy.to_owned(), field.to_owned())
}

/// Returns a Service `shop/NAME`.
fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\nspec: \
         {spec}\n"
    )
}

fn namespace(name: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {labels} }}\n")
}

const RANGE: &str = "nodeport-range";
const NODE_PORT: &str = "{ type: NodePort, selector: { app: a }, ports: [{ port: 80 }] }";
const LOAD_BALANCER: &str = "{ type: LoadBalancer, selector: { app: a }, ports: [{ port: 80 }] }";
const PORT: &str = "spec.ports[0].nodePort";
const SELECTED: &str = "  match: { namespaceSelector: { matchLabels: { tier: web } } \
    }\n  settings: { autoAssigned: deny }";
