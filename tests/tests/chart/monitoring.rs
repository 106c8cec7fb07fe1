//! The alerts and the dashboard: every expression by a real promtool, and every metric by name.

use crate::helm::{chart, fixture, objects, run};
use sallyport_core::yaml;
use sallyport_tests::root;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

fn read(file: &str) -> String {
    let file = chart().join("files/monitoring").join(file);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn rules() -> Value {
    yaml::documents(&read("rules.yaml"))
        .expect("YAML")
        .remove(0)
}

/// Returns the expressions of all alerts.
fn alerts() -> Vec<String> {
    let rules = rules();
    let rules = rules["groups"][0]["rules"].as_array().expect("rules");
    let text = |rule: &Value| rule["expr"].as_str().expect("a text").to_owned();
    rules.iter().map(text).collect()
}

/// Returns the expressions of all panels, with values in place of Grafana's variables.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels
        .flat_map(|panel| panel["targets"].as_array().expect("targets"))
        .map(|target| target["expr"].as_str().expect("a text"))
        .map(|expression| {
            expression
                .replace("$__rate_interval", "5m")
                .replace("$namespace", "sallyport-system")
        })
        .collect()
}

/// Returns the names of metrics in expressions.
pub(crate) fn metrics() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for expression in alerts().iter().chain(&panels()) {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.extend(
            words
                .filter(|word| word.starts_with("sallyport_"))
                .map(str::to_owned),
        );
    }
    assert!(names.len() > 10, "{names:?}");
    names
}

fn promtool(arguments: &[&str], directory: &std::path::Path) {
    let program = match std::env::var_os("SALLYPORT_PROMTOOL") {
        Some(given) => root().join(given),
        None => PathBuf::from("promtool"),
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    let said = run(&mut command);
    assert!(said.is_ok(), "{arguments:?}: {said:?}");
}

#[test]
#[ignore = "needs promtool: make chart"]
fn promtool_sees_each_alert_fire_and_stay_quiet() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("rules.yaml"), read("rules.yaml")).expect("written");
    let tests = std::fs::read_to_string(fixture("rules_test.yaml")).expect("it is there");
    for rule in rules()["groups"][0]["rules"].as_array().expect("rules") {
        let name = rule["alert"].as_str().expect("a name");
        let fires = format!("alertname: {name}\n        exp_alerts:");
        assert!(tests.contains(&fires), "no test sees {name} fire");
    }
    std::fs::write(at("rules_test.yaml"), tests).expect("written");
    promtool(&["test", "rules", "rules_test.yaml"], directory.path());
}

#[test]
fn each_alert_leads_to_a_section_of_the_runbooks() {
    let runbooks = std::fs::read_to_string(root().join("docs/runbooks.md")).expect("it is there");
    for rule in rules()["groups"][0]["rules"].as_array().expect("rules") {
        let name = rule["alert"].as_str().expect("a name");
        let url = rule["annotations"]["runbook_url"].as_str().expect(name);
        let (page, anchor) = url.split_once('#').expect("an anchor");
        assert!(page.ends_with("/docs/runbooks.md"), "{url}");
        assert_eq!(anchor, name.to_lowercase());
        assert!(runbooks.contains(&format!("\n## {name}\n")), "{name}");
    }
}

#[test]
#[ignore = "needs promtool: make chart"]
fn promtool_reads_each_panel() {
    let record =
        |(number, expression)| json!({"record": format!("panel:{number}"), "expr": expression});
    let rules: Vec<_> = panels().into_iter().enumerate().map(record).collect();
    let rules = json!({"groups": [{"name": "panels", "rules": rules}]});
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("panels.yaml"), rules.to_string()).expect("written");
    promtool(&["check", "rules", "panels.yaml"], directory.path());
}

#[test]
#[ignore = "needs Helm: make chart"]
fn what_is_monitored_is_part_of_the_release_on_request() {
    let values = "monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true,\
        monitoring.dashboard.enabled=true";
    let objects = objects(&["--set", values]);
    assert_eq!(objects["PrometheusRule sallyport"]["spec"], rules());
    let dashboard = objects["ConfigMap sallyport-dashboard"]["data"]["sallyport.json"]
        .as_str()
        .expect("a text");
    assert_eq!(dashboard, read("dashboard.json"));
    let monitor = &objects["PodMonitor sallyport"]["spec"];
    let pods = &objects["Deployment sallyport"]["spec"]["template"];
    let ports = pods["spec"]["containers"][0]["ports"]
        .as_array()
        .expect("ports");
    assert!(
        ports
            .iter()
            .any(|port| port["name"] == monitor["podMetricsEndpoints"][0]["port"]),
        "{monitor:#}"
    );
    for (label, value) in monitor["selector"]["matchLabels"]
        .as_object()
        .expect("labels")
    {
        assert_eq!(pods["metadata"]["labels"][label], *value);
    }
}
