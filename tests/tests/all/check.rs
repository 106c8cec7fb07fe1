//! `sallyport check` gives the cluster's verdict, and names the facts that only the cluster has.

use crate::client::PROTOCOLS;
use crate::command_line::{sallyport, sallyport_in};
use crate::host::{ENGINE, LONG_DEADLINE, VALIDATE, body, built, root};
use crate::program::{Program, message};
use sallyport::evaluator;
use sallyport_core::admission::{Admission, AdmissionRequest, Clock};
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::Deadline;
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Output;
use std::time::SystemTime;
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
const LOCAL: &str = "{ type: LoadBalancer, allocateLoadBalancerNodePorts: false, \
    externalTrafficPolicy: Local, \
    selector: { app: a }, ports: [{ port: 80 }] }";
/// The second port gets the first one's node port, as an API server allocates it; the client chose
/// none.
const DNS: &str = "{ type: NodePort, selector: { app: a }, ports: [{ port: 53, nodePort: 30053, \
    name: a }, \
    { port: 53, protocol: UDP, name: b }] }";
const PORT: &str = "spec.ports[0].nodePort";

#[test]
fn a_left_out_port_is_denied_where_clients_must_choose() {
    let denied = |spec: &str, fields: &[&str]| {
        let case = Case::policy(RANGE, "  settings: { autoAssigned: deny }")
            .file("s.yaml", &service("w", spec));
        let expected: Vec<_> = fields
            .iter()
            .map(|field| row("error", RANGE, field))
            .collect();
        assert_eq!(
            case.rows(&["s.yaml"]),
            (expected, Some(i32::from(!fields.is_empty()))),
            "{spec}"
        );
    };
    denied(NODE_PORT, &[PORT]);
    denied(LOAD_BALANCER, &[PORT]);
    denied(LOCAL, &["spec.healthCheckNodePort"]);
    denied(DNS, &["spec.ports[1].nodePort"]);
    denied(
        &NODE_PORT.replace("port: 80", "port: 80, nodePort: 30080"),
        &[],
    );
    denied(
        &LOAD_BALANCER.replace("selector", "allocateLoadBalancerNodePorts: false, selector"),
        &[],
    );
}

#[test]
fn warn_and_audit_say_as_much_as_in_the_cluster() {
    for (mode, level, strict) in [("Warn", "warning", 1), ("Audit", "note", 0)] {
        let spec = format!("  mode: {mode}\n  settings: {{ autoAssigned: deny }}");
        let case = Case::policy(RANGE, &spec).file("s.yaml", &service("w", NODE_PORT));
        assert_eq!(
            case.rows(&["s.yaml"]),
            (vec![row(level, RANGE, PORT)], Some(0))
        );
        assert_eq!(
            case.run(&["s.yaml", "--strict"]).status.code(),
            Some(strict)
        );
    }
}

#[test]
fn an_allocation_that_may_be_refused_is_a_warning() {
    for settings in [
        "{ ranges: [{ from: 30100, to: 30199 }] }",
        // One number in the middle of the range.
        "{ reserved: [{ from: 31001, to: 31001 }] }",
        "{ perNamespace: { shop: [{ from: 32000, to: 32767 }] } }",
    ] {
        let case = Case::policy(RANGE, &format!("  settings: {settings}"))
            .file("s.yaml", &service("w", NODE_PORT));
        let (findings, code) = case.findings(&["s.yaml"]);
        assert_eq!(
            (findings.len(), code),
            (1, Some(0)),
            "{settings}: {findings:?}"
        );
        let finding = &findings[0];
        assert_eq!(
            (&finding["level"], &finding["rule"], &finding["field"]),
            (&json!("warning"), &json!("S02"), &json!(PORT))
        );
        let message = finding["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("not set, so the API server will allocate a port of 30000-32767"),
            "{message}"
        );
        assert!(
            finding["fix"]
                .as_str()
                .is_some_and(|fix| fix.starts_with("set nodePort explicitly to ")),
            "{finding}"
        );
    }
}

#[test]
fn nothing_is_said_of_an_allocation_that_no_policy_may_refuse() {
    let narrow = "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: { inventory: { \
        cluster: { environment: cloud, nodePorts: { from: 31000, to: 31099 } } } }";
    for (name, settings) in [
        (RANGE, "{}"),
        (
            RANGE,
            "{ autoAssigned: allow, ranges: [{ from: 31050, to: 31059 }] }",
        ),
        (RANGE, "{ ranges: [{ from: 31000, to: 31099 }] }"),
        ("dormant-fields", "{}"),
    ] {
        for spec in [NODE_PORT, LOAD_BALANCER, LOCAL] {
            let case = Case::policy(name, &format!("  settings: {settings}"))
                .file("s.yaml", &service("w", spec))
                .file("host.yaml", narrow);
            assert_eq!(
                case.rows(&["s.yaml", "--config", "host.yaml"]),
                (vec![], Some(0)),
                "{name} {settings} {spec}"
            );
        }
    }
}

#[test]
fn forbidden_node_ports_need_no_word_on_allocation() {
    let narrow = "  settings: { ranges: [{ from: 30100, to: 30199 }] }";
    let exposure = "loadbalancer-exposure";
    let case = Case::policy(RANGE, narrow)
        .and(exposure, "  settings: { nodePorts: deny }")
        .file("s.yaml", &service("w", LOAD_BALANCER));
    assert_eq!(
        case.rows(&["s.yaml"]),
        (
            vec![row("error", exposure, "spec.allocateLoadBalancerNodePorts")],
            Some(1)
        )
    );
    let case = Case::policy(RANGE, narrow)
        .and("service-type", "  settings: { allowedTypes: [ClusterIP] }")
        .file("s.yaml", &service("w", NODE_PORT));
    assert_eq!(
        case.rows(&["s.yaml"]),
        (vec![row("error", "service-type", "spec.type")], Some(1))
    );
    // Another denial says nothing about node ports.
    let case = Case::policy(RANGE, narrow).and("external-ips", "").file(
        "s.yaml",
        &service(
            "w",
            &LOAD_BALANCER.replace("selector", "externalIPs: [192.0.2.1], selector"),
        ),
    );
    let (mut rows, _) = case.rows(&["s.yaml"]);
    rows.sort();
    assert_eq!(
        rows,
        [
            row("error", "external-ips", "spec.externalIPs[0]"),
            row("warning", RANGE, PORT)
        ]
    );
}

#[test]
fn defaults_of_the_api_server_are_not_the_clients_choice() {
    let settings = "  settings: { nodePorts: deny, setOnCreate: { noNodePorts: true } }";
    let case = Case::policy("loadbalancer-exposure", settings)
        .file("s.yaml", &service("w", LOAD_BALANCER));
    let (report, code) = case.report(&["s.yaml"]);
    assert_eq!(
        (&report["subjects"][0]["findings"], code),
        (&json!([]), Some(0)),
        "{report:#}"
    );
    let patch =
        json!([{"op": "add", "path": "/spec/allocateLoadBalancerNodePorts", "value": false}]);
    assert_eq!(report["subjects"][0]["patch"], patch);
}

#[test]
fn managed_fields_show_who_chose_a_node_port() {
    let live = |managed: &str| {
        format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {{ \
             name: w, namespace: shop, uid: x{managed} }}\n  spec: {{ type: NodePort, clusterIP: \
             10.0.0.1, selector: {{ a: b }}, ports: [{{ port: 80, protocol: TCP, nodePort: 31234 \
             }}] }}\n"
        )
    };
    let managed = ", managedFields: [{ manager: kubectl, operation: Update, fieldsType: FieldsV1, \
        fieldsV1: { \"f:spec\": { \"f:ports\": { \".\": {}, \
        'k:{\"port\":80,\"protocol\":\"TCP\"}': { \"f:port\": {} } } } } }]";
    let case = Case::policy(RANGE, "  settings: { autoAssigned: deny }")
        .file("hidden.yaml", &live(""))
        .file("shown.yaml", &live(managed));
    assert_eq!(case.rows(&["hidden.yaml"]), (vec![], Some(0)));
    assert_eq!(
        case.rows(&["shown.yaml"]),
        (vec![row("error", RANGE, PORT)], Some(1))
    );
}

#[test]
fn a_service_in_deletion_is_noted_and_not_judged() {
    let text = service("w", NODE_PORT).replace(
        "namespace: shop",
        "namespace: shop, deletionTimestamp: \"2026-01-01T00:00:00Z\", finalizers: [a/b]",
    );
    let case = Case::policy(RANGE, "  settings: { autoAssigned: deny }").file("s.yaml", &text);
    assert_eq!(
        case.rows(&["s.yaml"]),
        (vec![row("note", "", "metadata.deletionTimestamp")], Some(0))
    );
}

const SELECTED: &str = "  match: { namespaceSelector: { matchLabels: { tier: web } } \
    }\n  settings: { autoAssigned: deny }";

#[test]
fn the_configuration_overrides_labels_of_manifests() {
    let config = "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: { inventory: { \
        namespaces: { shop: { labels: { tier: web } } } } }";
    let case = Case::policy(RANGE, SELECTED)
        .file("s.yaml", &service("w", NODE_PORT))
        .file("web.yaml", &namespace("shop", "{ tier: web }"))
        .file("data.yaml", &namespace("shop", "{ tier: data }"))
        .file("host.yaml", config);
    assert_eq!(
        case.rows(&["s.yaml", "web.yaml"]),
        (vec![row("error", RANGE, PORT)], Some(1))
    );
    let (rows, code) = case.rows(&["data.yaml", "s.yaml"]);
    assert_eq!((rows, code), (vec![row("note", "", "")], Some(0)));
    assert_eq!(
        case.rows(&["s.yaml", "data.yaml", "--config", "host.yaml"])
            .1,
        Some(1)
    );
    let bad = case.file("bad.yaml", &namespace("shop", "[1]"));
    assert_eq!(bad.rows(&["bad.yaml", "s.yaml"]).1, Some(2));
}

#[test]
fn unknown_labels_are_named_once_for_each_namespace() {
    let services = [service("a", NODE_PORT), service("b", NODE_PORT)].join("---\n");
    let by_name = SELECTED.replace("tier: web", "kubernetes.io/metadata.name: shop");
    let internal = "clusterip-internal";
    let marked = "  settings: { namespaceLabels: { exposure: [internal] }, onUnknown: allow }";
    for (policy, spec, expected) in [
        (RANGE, SELECTED, 1),
        (RANGE, by_name.as_str(), 0),
        (internal, marked, 1),
        (internal, "", 0),
    ] {
        let case = Case::policy(policy, spec).file("s.yaml", &services);
        let (findings, _) = case.findings(&["s.yaml"]);
        let about: Vec<_> = findings
            .iter()
            .filter(|finding| finding["rule"] == "namespace-labels")
            .collect();
        assert_eq!(about.len(), expected, "{policy} {spec}: {findings:#?}");
        if let Some(finding) = about.first() {
            let message = finding["message"].as_str().unwrap_or_default();
            assert_eq!(
                message,
                format!("the labels of namespace shop are not known, and {policy} goes by them")
            );
        }
    }
}

#[test]
fn two_services_that_ask_for_one_node_port_are_both_named() {
    let with = |name: &str, ports: &str| {
        service(
            name,
            &format!("{{ type: NodePort, selector: {{ a: b }}, ports: [{ports}] }}"),
        )
    };
    let health = "{ type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30080, \
        selector: { a: b }, \
        ports: [{ port: 80, nodePort: 30081 }] }";
    let case = Case::policy(RANGE, "")
        .file("a.yaml", &with("a", "{ port: 80, nodePort: 30080 }"))
        .file(
            "b.yaml",
            &with(
                "b",
                "{ port: 81, name: a }, { port: 80, nodePort: 30080, name: b }",
            ),
        )
        .file(
            "udp.yaml",
            &with("udp", "{ port: 80, protocol: UDP, nodePort: 30080 }"),
        )
        .file(
            "both.yaml",
            &with(
                "both",
                "{ port: 80, nodePort: 30090, name: a }, { port: 80, nodePort: 30090, protocol: \
                 UDP, name: b }",
            ),
        )
        .file("health.yaml", &service("h", health));
    let (findings, code) = case.findings(&["a.yaml", "b.yaml"]);
    assert_eq!((findings.len(), code), (1, Some(0)), "{findings:#?}");
    assert_eq!(
        (
            &findings[0]["level"],
            &findings[0]["field"],
            &findings[0]["line"]
        ),
        (
            &json!("warning"),
            &json!("spec.ports[1].nodePort"),
            &json!(4)
        )
    );
    let message = findings[0]["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("30080 (TCP) is also spec.ports[0].nodePort of shop/a (a.yaml:4);"),
        "{message}"
    );
    assert_eq!(
        case.rows(&["a.yaml", "health.yaml"]).0,
        [row("warning", "", "spec.healthCheckNodePort")]
    );
    assert_eq!(
        case.rows(&["a.yaml", "udp.yaml"]).0,
        [row("note", "", PORT)]
    );
    // An object that is listed twice, and one node port for two protocols, are no collision.
    assert_eq!(case.rows(&["a.yaml", "./a.yaml", "both.yaml"]).0, []);
    assert_eq!(
        case.run(&["a.yaml", "b.yaml", "--strict"]).status.code(),
        Some(1)
    );
}

#[test]
fn nothing_to_judge_is_fine_where_that_is_allowed() {
    let case = Case::policy(RANGE, "").file(
        "c.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c }\n",
    );
    assert_eq!(case.run(&["c.yaml"]).status.code(), Some(2));
    let output = case.run(&["c.yaml", "--allow-empty"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text,
        "0 Services, 0 of 1 policy asked: 0 denied, 0 with warnings, 0 with errors; 1 other object \
         ignored\n"
    );
    assert_eq!(
        case.run(&["gone.yaml", "--allow-empty"]).status.code(),
        Some(2),
        "a file that is missing is an error"
    );
}

#[test]
fn what_is_excluded_is_not_read() {
    let case = Case::policy(RANGE, "")
        .file("chart/templates/s.yaml", "{{- if .Values.x }}\nkind: [\n")
        .file("chart/values.tpl.yaml", "a: [")
        .file("chart/s.yaml", &service("w", NODE_PORT));
    assert_eq!(case.rows(&["chart"]).1, Some(2));
    for globs in [
        ["templates", "*.tpl.yaml"],
        ["chart/templates/", "chart/values*"],
        ["chart/t*", "*.tpl.*"],
    ] {
        let arguments = ["chart", "--exclude", globs[0], "--exclude", globs[1]];
        assert_eq!(case.rows(&arguments), (vec![], Some(0)), "{globs:?}");
    }
}

#[test]
fn who_applies_it_counts() {
    let config = "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: { exemptions: { \
        users: [ci], groups: [deployers], breakGlass: { groups: [oncall], maxDuration: 72h } } }";
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let annotated =
        format!("namespace: shop, annotations: {{ sallyport.dev/break-glass: \"{until}; down\" }}");
    let glass = service("w", NODE_PORT).replace("namespace: shop", &annotated);
    let case = Case::policy(RANGE, "  settings: { autoAssigned: deny }")
        .file("s.yaml", &service("w", NODE_PORT))
        .file("glass.yaml", &glass)
        .file("host.yaml", config);
    let code = |file: &str, who: &[&str]| {
        case.run(&[&[file, "--config", "host.yaml"], who].concat())
            .status
            .code()
    };
    assert_eq!(code("s.yaml", &[]), Some(1));
    assert_eq!(code("s.yaml", &["--user", "ci"]), Some(0));
    assert_eq!(
        code(
            "s.yaml",
            &["--user", "eve", "--group", "others", "--group", "deployers"]
        ),
        Some(0)
    );
    assert_eq!(
        code("glass.yaml", &["--group", "oncall"]),
        Some(0),
        "excused"
    );
    let (rows, exit) = case.rows(&["glass.yaml", "--config", "host.yaml"]);
    assert_eq!(exit, Some(1));
    let field = r#"metadata.annotations["sallyport.dev/break-glass"]"#;
    assert!(rows.contains(&row("error", "", field)), "{rows:?}");
}

#[test]
fn an_update_keeps_what_the_old_service_has_and_nothing_more() {
    let at = |port: u16, selector: &str| {
        service(
            "w",
            &format!(
                "{{ type: NodePort, selector: {{ app: {selector} }}, ports: [{{ port: 80, \
                 nodePort: {port} }}] }}"
            ),
        )
    };
    let case = Case::policy(
        RANGE,
        "  settings: { ranges: [{ from: 30100, to: 30199 }] }",
    )
    .file("old.yaml", &at(30000, "a"))
    .file(
        "same.yaml",
        &at(30000, "a").replace("namespace: shop", "namespace: shop, labels: { a: b }"),
    )
    .file("other.yaml", &at(30001, "a"))
    .file("unset.yaml", &service("w", NODE_PORT));
    assert_eq!(case.rows(&["same.yaml"]).1, Some(1));
    assert_eq!(
        case.rows(&["same.yaml", "--old", "old.yaml"]),
        (vec![row("warning", RANGE, PORT)], Some(0))
    );
    assert_eq!(
        case.rows(&["other.yaml", "--old", "old.yaml"]),
        (vec![row("error", RANGE, PORT)], Some(1))
    );
    // The API server keeps the node port that an update leaves out.
    let (findings, _) = case.findings(&["unset.yaml", "--old", "old.yaml"]);
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0]["message"]
            .as_str()
            .is_some_and(|message| message.contains("30000")),
        "{findings:?}"
    );
    // The API server keeps a node port that was allocated before.
    for old in ["unset.yaml", "old.yaml"] {
        let (rows, code) = case.rows(&["unset.yaml", "--old", old]);
        assert_eq!(
            (rows.iter().all(|row| row.0 != "error"), code),
            (true, Some(0)),
            "{old}: {rows:?}"
        );
    }
    let output = case.run(&["same.yaml", "--old", "policies"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--old: no Service found in policies")
    );
}

/// A Service as an API server stores it.
const STORED: &str = "{type: NodePort, selector: {app: w}, clusterIP: 10.0.0.9, clusterIPs: \
    [10.0.0.9], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, externalTrafficPolicy: Cluster, \
    ports: [{name: a, port: 80, nodePort: 30080}]}";

#[test]
fn fields_that_a_new_type_has_no_use_for_go_if_they_are_repeated() {
    let new = STORED.replace("NodePort,", "ClusterIP,");
    let case = Case::policy("dormant-fields", "")
        .file("old.yaml", &service("w", STORED))
        .file("same.yaml", &service("w", &new))
        .file("other.yaml", &service("w", &new.replace("30080", "30081")));
    let (rows, code) = case.rows(&["same.yaml", "--old", "old.yaml"]);
    assert_eq!((rows, code), (vec![], Some(0)));
    let (rows, code) = case.rows(&["other.yaml", "--old", "old.yaml"]);
    let refused = row("error", "kubernetes", "spec.ports[0].nodePort");
    assert!(rows.contains(&refused), "{rows:?}");
    assert_eq!(code, Some(1));
}

#[test]
fn what_an_update_may_not_change_is_told() {
    let case = Case::policy("service-type", "")
        .file("old.yaml", &service("w", STORED))
        .file(
            "new.yaml",
            &service("w", &STORED.replace("10.0.0.9", "10.0.0.10")),
        );
    let (findings, code) = case.findings(&["new.yaml", "--old", "old.yaml"]);
    let text = findings
        .iter()
        .map(|finding| finding["message"].as_str().unwrap_or_default())
        .find(|message| message.contains("may not change once set"));
    assert_eq!(
        text,
        Some(
            "the API server would refuse this: \"10.0.0.10\" may not change once set; it was \
             \"10.0.0.9\""
        )
    );
    assert_eq!(code, Some(1));
}

#[test]
fn an_update_that_may_add_a_family_is_judged_with_it() {
    let settings = "  settings: { ports: { strict: [5432] } }";
    let old = STORED.replace("port: 80,", "port: 5432,");
    let case = Case::policy("clusterip-internal", settings)
        .file("old.yaml", &service("w", &old))
        .file(
            "two.yaml",
            &service("w", &old.replace("SingleStack", "PreferDualStack")),
        );
    let (rows, code) = case.rows(&["old.yaml", "--old", "old.yaml"]);
    assert_eq!(code, Some(0), "{rows:?}");
    let (findings, code) = case.findings(&["two.yaml", "--old", "old.yaml"]);
    assert_eq!(code, Some(1), "{findings:?}");
    let note = findings.iter().find(|found| found["rule"] == "dual-stack");
    assert_eq!(
        note.map(|note| &note["level"]),
        Some(&json!("note")),
        "{findings:?}"
    );
}

#[test]
fn a_generated_name_is_exempt_only_whatever_it_becomes() {
    let manifest = |prefix: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{generateName: {prefix}}}\nspec: {{type: \
             NodePort, ports: [{{port: 80}}]}}\n"
        )
    };
    let exemptions = "  exemptions: { services: [default/web-*, default/api-x7*, default/db] }\n  \
                      settings: { allowedTypes: [ClusterIP] }";
    let case = Case::policy("service-type", exemptions)
        .file("web.yaml", &manifest("web-"))
        .file("api.yaml", &manifest("api-"))
        .file("db.yaml", &manifest("db-"));
    for (file, code) in [("web.yaml", 0), ("api.yaml", 1), ("db.yaml", 1)] {
        let (rows, got) = case.rows(&[file]);
        assert_eq!(got, Some(code), "{file}: {rows:?}");
    }
}

#[test]
fn a_null_in_a_map_of_texts_is_judged_as_an_empty_text() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: w, annotations: {a: null}, labels: \
                {l: null}}\nspec: {ports: [{port: 80}]}\n";
    let case = Case::policy("service-type", "").file("null.yaml", text);
    let (rows, code) = case.rows(&["null.yaml"]);
    let warned = row("warning", "kubernetes", "metadata.labels[\"l\"]");
    assert_eq!((rows, code), (vec![warned], Some(0)));
}

#[test]
fn policies_find_empty_values_absent_as_in_a_review_of_an_api_server() {
    let policy = "  settings: { validations: [\n    { expression: '!has(object.metadata.labels) && \
                  !has(object.metadata.annotations)' },\n    { expression: \
                  '!has(object.spec.selector) && !has(object.spec.externalIPs)' },\n    { \
                  expression: 'object.spec.ports.all(p, !has(p.name) && !has(p.nodePort))' }] }";
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: w, labels: {}, annotations: \
                null}\nspec: {selector: {}, externalIPs: [], ports: [{port: 80, name: '', \
                nodePort: 0}]}\n";
    let case = Case::policy("expressions", policy).file("empty.yaml", text);
    let (findings, code) = case.findings(&["empty.yaml"]);
    assert_eq!((findings, code), (vec![], Some(0)));
    let full = text.replace("labels: {}", "labels: {a: b}");
    let (rows, code) = case.file("empty.yaml", &full).rows(&["empty.yaml"]);
    assert_eq!(code, Some(1), "{rows:?}");
}

#[test]
fn a_patched_service_gets_the_defaults_of_its_new_type() {
    let policy = "  settings: {\n    mutations: [{ jsonPatch: { expression: \
                  '[JSONPatch{op: \"replace\", path: \"/spec/type\", value: \"LoadBalancer\"}]' } \
                  }],\n    validations: [{ expression: 'object.spec.type == \"LoadBalancer\" && \
                  has(object.spec.externalTrafficPolicy) && \
                  has(object.spec.allocateLoadBalancerNodePorts)' }] }";
    let case = Case::policy("expressions", policy)
        .file("patched.yaml", &service("w", "{ ports: [{ port: 80 }] }"));
    let (rows, code) = case.rows(&["patched.yaml"]);
    assert_eq!(code, Some(0), "{rows:?}");
}

#[test]
fn a_name_that_no_namespace_has_is_refused() {
    let case = Case::policy("service-type", "").file("w.yaml", &service("w", NODE_PORT));
    for arguments in [
        ["w.yaml", "--namespace", "Bad_NS"],
        ["w.yaml", "--user", ""],
    ] {
        let output = case.run(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(arguments[1]), "{error}");
    }
}

#[test]
fn no_format_prints_a_deceptive_character_and_json_has_the_value() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: \"a\\u001b\\u202eb\"}\nspec: \
                {ports: [{port: 80}]}\n";
    let case = Case::policy("service-type", "").file("odd.yaml", text);
    for format in ["text", "json", "sarif", "github", "gitlab"] {
        let output = case.run(&["odd.yaml", "--output", format]);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !shown.contains(['\u{1b}', '\u{202e}']) && shown.contains("202e"),
            "{format}: {shown}"
        );
    }
    let (report, _) = case.report(&["odd.yaml"]);
    let service = &report["subjects"][0]["service"];
    assert_eq!(service, "default/a\u{1b}\u{202e}b");
}

#[test]
fn long_texts_and_long_lists_are_cut_for_people() {
    let name = "n".repeat(20_000);
    let ports: Vec<_> = (0..2000).map(|port| format!("{{port: {port}}}")).collect();
    let spec = format!("{{ports: [{}]}}", ports.join(", "));
    let case = Case::policy("service-type", "")
        .file("name.yaml", &service(&name, "{ports: [{port: 80}]}"))
        .file("ports.yaml", &service("w", &spec));
    let shown = |arguments: &[&str]| case.run(arguments).stdout;
    assert!(shown(&["name.yaml", "--output", "text"]).len() < 4000);
    let ports = shown(&["ports.yaml", "--output", "text"]);
    assert!(ports.iter().filter(|byte| **byte == b'\n').count() < 110);
    let (report, _) = case.report(&["ports.yaml"]);
    let findings = report["subjects"][0]["findings"].as_array();
    assert!(findings.is_some_and(|findings| findings.len() >= 2000));
}

#[test]
fn an_allocated_port_is_kept_where_clients_must_choose() {
    let two = NODE_PORT.replace(
        "{ port: 80 }",
        "{ port: 80, name: a }, { port: 81, name: b }",
    );
    let case = Case::policy(RANGE, "  settings: { autoAssigned: deny }")
        .file("old.yaml", &service("w", NODE_PORT))
        .file("more.yaml", &service("w", &two));
    let (rows, code) = case.rows(&["old.yaml", "--old", "old.yaml"]);
    assert_eq!((rows, code), (vec![row("warning", RANGE, PORT)], Some(0)));
    let (rows, code) = case.rows(&["more.yaml", "--old", "old.yaml"]);
    assert!(
        rows.contains(&row("error", RANGE, "spec.ports[1].nodePort")),
        "{rows:?}"
    );
    assert!(!rows.contains(&row("error", RANGE, PORT)), "{rows:?}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_changed_status_is_reviewed_as_a_status_update() {
    let with = |ip: &str| {
        format!(
            "{}status: {{ loadBalancer: {{ ingress: [{{ ip: {ip} }}] }} }}\n",
            service("w", LOAD_BALANCER)
        )
    };
    let writers = "  settings: { writers: { serviceAccounts: [lb/controller] } }";
    let case = Case::policy("status-writes", writers)
        .file("old.yaml", &with("192.0.2.1"))
        .file("new.yaml", &with("8.8.8.8"));
    let denied = |arguments: &[&str]| {
        let (findings, code) = case.findings(arguments);
        (
            findings
                .iter()
                .filter(|finding| finding["rule"] == "S14")
                .count(),
            code,
        )
    };
    assert_eq!(denied(&["new.yaml", "--old", "old.yaml"]), (2, Some(1)));
    assert_eq!(denied(&["old.yaml", "--old", "old.yaml"]), (0, Some(0)));
    assert_eq!(
        denied(&["new.yaml"]),
        (0, Some(0)),
        "a new Service has no status, whatever the manifest says"
    );
}

#[test]
fn missing_modules_are_one_error_with_the_flag_to_give() {
    let error = |arguments: &[&str]| {
        let output = sallyport(&[&["check", "docs/examples"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let preset = ["--policies", "policies/presets/baseline"];
    let shipped = sallyport(&[&["check", "docs/examples"], &preset[..]].concat());
    assert_eq!(shipped.status.code(), Some(1), "the shipped ones are found");
    let preset = error(&[&preset[..], &["--modules", "deploy"]].concat());
    assert!(
        preset.starts_with("error: 9 of 9 modules are not in deploy: "),
        "{preset}"
    );
    assert!(
        preset
            .trim_end()
            .ends_with("with --modules, such as --modules target/policies"),
        "{preset}"
    );
    assert_eq!(preset.lines().count(), 1, "{preset}");
    let case = Case::policy("nodeport-rang", "");
    let output = case.run(&["policies"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("nodeport_rang.wasm (did you mean \"nodeport_range.wasm\"?)"),
        "{text}"
    );
    let case = Case::policy(RANGE, "  settings: { ranges: [] }")
        .and("dormant-fields", "  settings: { field: [] }");
    let output = case.run(&["policies"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.starts_with("error: 2 of 2 policies can't be loaded:\n  dormant-fields: "),
        "{text}"
    );
}

#[test]
fn a_denial_by_a_default_names_the_default_and_the_flag() {
    let case = Case::policy("loadbalancer-cloud-only", "")
        .and(RANGE, "")
        .file(
            "s.yaml",
            &service(
                "w",
                &LOAD_BALANCER.replace("port: 80", "port: 80, nodePort: 1"),
            ),
        )
        .file(
            "host.yaml",
            "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: { \
            inventory: { cluster: { environment: onPrem } } }",
        );
    let output = case.run(&["s.yaml"]);
    let note = String::from_utf8_lossy(&output.stderr);
    assert!(
        note.contains("no --config") && note.contains("environment onPrem"),
        "{note}"
    );
    let fix = |arguments: &[&str], rule: &str| {
        let (findings, _) = case.findings(arguments);
        let finding = findings
            .into_iter()
            .find(|finding| finding["rule"] == rule)
            .expect("a finding");
        finding["fix"].as_str().expect("a text").to_owned()
    };
    assert!(
        fix(&["s.yaml"], "S03")
            .contains("environment onPrem is the built-in default without --config")
    );
    assert!(
        !fix(&["s.yaml"], "S02").contains("--config"),
        "a node port has nothing to do with it"
    );
    assert!(!fix(&["s.yaml", "--config", "host.yaml"], "S03").contains("--config"));
}

#[test]
fn a_warning_has_its_field_and_its_line() {
    let spec = "\n  type: LoadBalancer\n  selector: { app: a }\n  loadBalancerIP: \
        192.0.2.1\n  ports:\n  - port: 9090\n";
    let case = Case::policy("loadbalancer-exposure", "")
        .and("clusterip-internal", "")
        .file("s.yaml", &service("w", spec));
    let (findings, _) = case.findings(&["s.yaml"]);
    let place = |finding: &Value| (finding["field"].clone(), finding["line"].clone());
    let places: Vec<_> = findings
        .iter()
        .filter(|finding| finding["level"] == "warning")
        .map(place)
        .collect();
    assert!(
        places.contains(&(json!("spec.loadBalancerIP"), json!(7))),
        "{findings:#?}"
    );
    assert!(
        !places.iter().any(|(field, _)| field == ""),
        "{findings:#?}"
    );
}

#[test]
fn sarif_rules_say_what_they_are_and_warnings_have_their_own() {
    let services = [
        service("a", NODE_PORT),
        service(
            "b",
            &LOAD_BALANCER.replace("selector", "loadBalancerIP: 192.0.2.1, selector"),
        ),
    ];
    let case = Case::policy("loadbalancer-exposure", "")
        .and(RANGE, SELECTED)
        .file("s.yaml", &services.join("---\n"));
    let output = case.run(&["s.yaml", "-o", "sarif"]);
    let sarif: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .expect("a list");
    for rule in rules {
        assert!(
            rule["shortDescription"]["text"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{rule}"
        );
        assert!(
            rule["helpUri"]
                .as_str()
                .is_some_and(|uri| uri.starts_with("https://")),
            "{rule}"
        );
    }
    let ids: Vec<_> = rules
        .iter()
        .filter_map(|rule| rule["id"].as_str())
        .collect();
    assert_eq!(
        ids,
        ["S02", "loadbalancer-exposure/warning", "namespace-labels"]
    );
}

#[test]
fn annotations_of_unreadable_files_have_a_title_and_the_line() {
    let case = Case::policy(RANGE, "")
        .file("bad.yaml", "a: 1\nb: [\n")
        .file("text.yaml", "just a text\n");
    let output = case.run(&[
        "./bad.yaml",
        "./text.yaml",
        "gone.yaml",
        "--output",
        "github",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout);
    for (line, expected) in text.lines().zip([
        "::error file=bad.yaml,line=",
        "::error file=text.yaml,line=1,title=sallyport::",
        "::error file=gone.yaml,line=1,title=sallyport::",
    ]) {
        assert!(
            line.starts_with(expected) && line.contains("title=sallyport::"),
            "{text}"
        );
    }
    assert!(!text.contains("bad.yaml,line=1,"), "{text}");
}

#[test]
fn annotations_leave_the_summary_to_standard_error() {
    let good = NODE_PORT.replace("port: 80", "port: 80, nodePort: 30080");
    let case = Case::policy(RANGE, "").file("s.yaml", &service("good", &good));
    let output = case.run(&["s.yaml", "--output", "github"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty(), "{output:?}");
    let summary = "1 Service, 1 of 1 policy asked: 0 denied, 0 with warnings, 0 with errors; 0 \
        other objects ignored\n";
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.ends_with(summary), "{text}");
    let quiet = case.run(&["s.yaml", "--output", "github", "--quiet"]);
    assert!(quiet.stderr.is_empty(), "{quiet:?}");
    let json = case.run(&["s.yaml", "--output", "sarif"]);
    let text = String::from_utf8_lossy(&json.stderr);
    assert!(!text.contains("1 Service"), "{text}");
}

#[test]
fn quiet_shows_what_is_wrong_and_verbose_what_passes_too() {
    let services = [
        service("bad", NODE_PORT),
        service(
            "good",
            &NODE_PORT.replace("port: 80", "port: 80, nodePort: 30080"),
        ),
    ];
    let case = Case::policy(RANGE, "  settings: { autoAssigned: deny }")
        .file("s.yaml", &services.join("---\n"));
    let text =
        |flag: &str| String::from_utf8_lossy(&case.run(&["s.yaml", flag]).stdout).into_owned();
    let quiet = text("-q");
    assert!(
        quiet.starts_with("DENY shop/bad (s.yaml:1)\n") && quiet.lines().count() == 2,
        "{quiet}"
    );
    let verbose = text("-v");
    assert!(
        verbose.contains("PASS shop/good (s.yaml:6)\n     asked: nodeport-range\n"),
        "{verbose}"
    );
    let summary = "2 Services, 1 of 1 policy asked: 1 denied, 0 with warnings, 0 with errors; 0 \
        other objects ignored\n";
    assert!(verbose.ends_with(summary), "{verbose}");
}

#[test]
fn every_command_names_the_text_format_alike() {
    let service = "docs/examples/my-clusterip-service.yaml";
    let config = "deploy/base/config.yaml";
    for arguments in [
        &["check", service][..],
        &["explain", service],
        &["lint", config],
        &["doctor", "deploy/base/webhooks.yaml"],
        &["inspect", "target/policies/nodeport_range.wasm"],
        &["test", "tests/fixtures/selectorless"],
    ] {
        let outputs = ["text", "human"].map(|word| sallyport(&[arguments, &["-o", word]].concat()));
        assert!(
            outputs.iter().all(|output| output.status.code() != Some(2)),
            "{arguments:?}: {outputs:?}"
        );
        assert_eq!(outputs[0].stdout, outputs[1].stdout);
    }
}

/// Returns the recorded creates before the API server allocated anything, each with the review
/// after the allocation.
fn recorded() -> Vec<(Value, Value)> {
    let directory = root().join("tests/admission-reviews");
    let files = std::fs::read_dir(&directory)
        .expect("readable")
        .map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    let read = |file: &std::path::PathBuf| -> Value {
        serde_json::from_str(&std::fs::read_to_string(file).expect("readable")).expect("JSON")
    };
    let reviews: Vec<Value> = files.iter().map(read).collect();
    let is_create = |review: &Value| {
        review["request"]["operation"] == "CREATE" && review["request"]["dryRun"] == false
    };
    let pairs = files
        .windows(2)
        .zip(reviews.windows(2))
        .filter(|(files, reviews)| {
            let is = |index: usize, word: &str| files[index].to_string_lossy().contains(word);
            is(0, "-mutate-") && is(1, "-validate-") && reviews.iter().all(is_create)
        });
    let pairs = pairs.map(|(_, reviews)| {
        let mut manifest = reviews[0]["request"]["object"].clone();
        let metadata = manifest["metadata"].as_object_mut().expect("metadata");
        metadata.remove("managedFields");
        metadata.insert(
            "namespace".to_owned(),
            reviews[0]["request"]["namespace"].clone(),
        );
        (manifest, reviews[1].clone())
    });
    pairs.collect()
}

/// Policy, rule and field of a violation.
type ViolationRow = (String, String, String);

/// Returns the violations of a review, as a webhook would.
fn violations(admission: &Admission, review: &Value) -> BTreeSet<ViolationRow> {
    let body = review.to_string().into_bytes();
    let request = AdmissionRequest::parse(&body).expect("a review");
    let clock = Clock {
        now: SystemTime::now(),
        deadline: Deadline::Each(LONG_DEADLINE),
    };
    let evaluations = admission
        .review(VALIDATE, &request, clock)
        .evaluations
        .into_iter();
    let of = |policy: &str, rule: String, field: String| (policy.to_owned(), rule, field);
    let found = evaluations.flat_map(|evaluation| {
        let policy = evaluation.policy;
        evaluation
            .violations
            .into_iter()
            .map(move |violation| of(&policy, violation.rule, violation.field))
    });
    found.collect()
}

impl Case {
    /// Returns an Admission of the same policies in this process.
    fn admission(&self) -> Admission {
        let files = std::fs::read_dir(self.files.path().join("policies")).expect("readable");
        let policies = files.map(|file| {
            let text = std::fs::read_to_string(file.expect("an entry").path()).expect("readable");
            let manifest = ServicePolicy::from_value(&yaml::documents(&text).expect("YAML")[0])
                .expect("valid");
            let component = built(&format!("policies/{}", manifest.spec.module));
            evaluator::load(&ENGINE, manifest, &component).expect("a sound policy")
        });
        Admission::new(
            policies.collect(),
            Inventory::from(InventoryData::default()),
            Exemptions::default(),
        )
    }
}

#[test]
fn the_verdict_equals_that_of_recorded_reviews() {
    let recorded = recorded();
    assert!(recorded.len() >= 18, "{} recorded CREATEs", recorded.len());
    let manifests: Vec<_> = recorded
        .iter()
        .map(|(manifest, _)| manifest.clone())
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string();
    let config = "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec: { exemptions: { \
        namespaces: [] } }";
    let mut uncertain = 0;
    for range in [
        "{ autoAssigned: deny }",
        "{ ranges: [{ from: 30100, to: 30199 }] }",
        "{}",
    ] {
        let case = Case::policy(RANGE, &format!("  settings: {range}"))
            .and(
                "loadbalancer-exposure",
                "  settings: { requireInternal: true, nodePorts: deny }",
            )
            .and("external-ips", "")
            .and("external-name", "")
            .and("selectorless", "")
            .and(
                "service-type",
                "  settings: { allowedTypes: [ClusterIP, LoadBalancer, ExternalName] }",
            )
            .file("all.json", &list)
            .file("host.yaml", config);
        let admission = case.admission();
        let (report, _) = case.report(&["all.json", "--config", "host.yaml"]);
        let subjects = report["subjects"].as_array().expect("a list");
        assert_eq!(subjects.len(), recorded.len());
        for (subject, (_, review)) in subjects.iter().zip(&recorded) {
            let text =
                |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            let at = |level: &'static str| {
                let findings = subject["findings"].as_array().expect("a list").iter();
                let findings = findings.filter(move |finding| finding["level"] == level);
                findings.map(|finding| {
                    (
                        text(finding, "policy"),
                        text(finding, "rule"),
                        text(finding, "field"),
                    )
                })
            };
            let in_cluster = violations(&admission, review);
            let certain: BTreeSet<_> = at("error").collect();
            let possible: BTreeSet<_> = at("warning").collect();
            uncertain += possible.len();
            assert!(
                certain.is_subset(&in_cluster),
                "{range}: {certain:?} is not in {in_cluster:?} of {review:#}"
            );
            let missed: Vec<_> = in_cluster
                .difference(&certain)
                .filter(|found| !possible.contains(found))
                .collect();
            // Allocated ports are irrelevant where no node port is allowed.
            let is_moot = |found: &&&ViolationRow| found.0 == RANGE && !certain.is_empty();
            assert!(
                missed.iter().all(|found| is_moot(&found)),
                "{range}: {missed:?} of {review:#}"
            );
        }
    }
    assert!(uncertain > 0, "some allocation could be refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_default_configuration_is_named_at_start_and_in_denials() {
    let host = Program::serve(&root().join("target/policies"), &[]);
    let log = host.log();
    assert!(
        log.contains("no --config, so the built-in default holds: environment onPrem"),
        "{log}"
    );
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "a"},
            "ports": [{"port": 80, "protocol": "TCP"}]},
    });
    let reply = host
        .client
        .post(
            PROTOCOLS[0],
            "/validate",
            body("CREATE", &service, &Value::Null),
        )
        .await;
    let denial = message(&reply.json());
    assert!(
        denial.contains("environment onPrem is the built-in default without --config"),
        "{denial}"
    );
}

/// The program is `sallyport` for those who installed it, `target/debug/sallyport` for others.
#[test]
fn pages_show_what_check_explain_and_replay_print() {
    for (page, least) in [("README.md", 1), ("docs/quick-start.md", 4)] {
        let text = std::fs::read_to_string(root().join(page)).expect("it is there");
        let mut shown = 0;
        for block in text
            .split("```console\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
        {
            for command in block.split("$ ").skip(1) {
                let (line, expected) = command.split_once('\n').expect("a line");
                let line = line.strip_prefix("target/debug/").unwrap_or(line);
                let Some(arguments) = line.strip_prefix("sallyport ") else {
                    continue;
                };
                let arguments: Vec<_> = arguments.split_whitespace().collect();
                if !expected.is_empty() && matches!(arguments[0], "check" | "explain" | "replay") {
                    let output = sallyport(&arguments);
                    assert_eq!(
                        String::from_utf8_lossy(&output.stdout).trim(),
                        expected.trim(),
                        "{page}: {line}"
                    );
                    shown += 1;
                }
            }
        }
        assert!(shown >= least, "{page} shows {shown} commands");
    }
}
