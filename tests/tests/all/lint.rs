//! `sallyport lint`: every error of every file in one run, and findings about what is allowed and
//! rarely intended.

use crate::command_line::{sallyport, sallyport_in};
use crate::host::root;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    directory
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicy\nmetadata: {{ name: {name} \
         }}\nspec:\n{spec}\n"
    )
}

const RANGE: &str = "  module: { file: nodeport_range.wasm }";

fn host_config(exemptions: &str) -> String {
    format!(
        "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nmetadata: {{ name: h \
         }}\nspec:\n  exemptions:\n{exemptions}\n"
    )
}

/// Returns level, field and line of each finding, and the exit code.
fn lint(directory: &Path, more: &[&str]) -> (Vec<(String, String, u64)>, Option<i32>) {
    let policies = root().join("target/policies");
    let modules = ["--modules", policies.to_str().expect("UTF-8")];
    let output = sallyport_in(
        directory,
        &[&["lint", ".", "--output", "json"], &modules[..], more].concat(),
    );
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let manifests = report["manifests"].as_array().expect("a list").iter();
    let findings = manifests.flat_map(|manifest| manifest["findings"].as_array().expect("a list"));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let row = |finding: &Value| {
        (
            text(finding, "level"),
            text(finding, "field"),
            finding["line"].as_u64().expect("a line"),
        )
    };
    (findings.map(row).collect(), output.status.code())
}

fn row(level: &str, field: &str, line: u64) -> (String, String, u64) {
    (level.to_owned(), field.to_owned(), line)
}

#[test]
fn what_is_shipped_has_no_error() {
    let output = sallyport(&[
        "lint",
        "policies",
        "deploy/base/config.yaml",
        "--modules",
        "target/policies",
        "--strict",
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains(": 0 errors, 0 warnings, 0 notes, 0 files unread"),
        "{text}"
    );
}

#[test]
fn all_errors_of_all_files_are_told_in_one_run() {
    let files = directory(&[
        ("a.yaml", &policy("a", &format!("{RANGE}\n  mode: Enforc"))),
        (
            "b.yaml",
            &policy("b", &format!("{RANGE}\n  settings: {{ rangs: [] }}")),
        ),
        ("c.yaml", &policy("c", "  module: { file: gone.wasm }")),
        ("d.yaml", &policy("same", RANGE)),
        ("e.yaml", &policy("same", RANGE)),
        ("f.yaml", "a: [1"),
        (
            "g.yaml",
            "apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicies\n",
        ),
        ("h.yaml", &host_config("    users: ['']")),
    ]);
    let (findings, code) = lint(files.path(), &[]);
    let expected = [
        row("error", "", 2),
        row("error", "spec.mode", 6),
        row("error", "spec.settings", 6),
        row("error", "spec.module.file", 5),
        row("error", "metadata.name", 3),
        row("error", "kind", 2),
        row("error", "spec.exemptions.users[0]", 6),
    ];
    assert_eq!(findings, expected);
    assert_eq!(code, Some(1));
}

#[test]
fn what_is_allowed_and_rarely_meant_is_a_warning() {
    let spec = "  module: { file: nodeport_range.wasm }
  failurePolicy: Ignore
  match:
    namespaceSelector: { matchLabels: { team: a }, matchExpressions: [{ key: team, operator: In, \
    values: [b] }] }
  limits: { deadline: 3s }
  exemptions:
    services: ['*/*', '*/gateway', 'edge/*']
    groups: [platform, 'system:authenticated', 'system:serviceaccounts']";
    let exemptions = "    namespaces: [default]
    services: ['*/gateway']
    users: ['system:serviceaccount:a:b']
    groups: ['system:masters']
    breakGlass: { groups: [oncall], maxDuration: 720h }";
    let files = directory(&[
        ("a.yaml", &policy("a", spec)),
        ("b.yaml", &host_config(exemptions)),
    ]);
    let (findings, code) = lint(files.path(), &[]);
    let expected = [
        row("warning", "spec.failurePolicy", 6),
        row("warning", "spec.match.namespaceSelector", 8),
        row("warning", "spec.exemptions.services[0]", 11),
        row("warning", "spec.exemptions.services[1]", 11),
        row("warning", "spec.exemptions.groups[1]", 12),
        row("warning", "spec.exemptions.groups[2]", 12),
        row("warning", "spec.limits.deadline", 9),
        row("warning", "spec.exemptions.namespaces", 6),
        row("warning", "spec.exemptions.namespaces[0]", 6),
        row("warning", "spec.exemptions.services[0]", 7),
        row("note", "spec.exemptions.users[0]", 8),
        row("warning", "spec.exemptions.groups[0]", 9),
        row("warning", "spec.exemptions.breakGlass.maxDuration", 10),
    ];
    assert_eq!(findings, expected);
    assert_eq!(code, Some(0));
    assert_eq!(lint(files.path(), &["--strict"]).1, Some(1));
}

/// A HostConfig of a cluster with these node ports.
fn cluster(from: u16, to: u16) -> String {
    host_config(&format!(
        "    namespaces: [kube-system]\n  inventory:\n    cluster: {{ nodePorts: {{ from: {from}, \
         to: {to} }} }}"
    ))
}

const RANGES_OF_ALL_KINDS: &str = "  module: { file: nodeport_range.wasm }
  settings:
    ranges:
    - { from: 30000, to: 30999 }
    - { from: 29000, to: 29999 }
    - { from: 30999, to: 31000 }
    perNamespace:
      edge: [{ from: 31000, to: 31000 }]
      inner-edge: [{ from: 30999, to: 30999 }]
  candidate: { settings: { ranges: [{ from: 1, to: 9 }] } }";

#[test]
fn ranges_outside_of_the_clusters_node_ports_are_findings() {
    let files = directory(&[
        ("a.yaml", &policy("a", RANGES_OF_ALL_KINDS)),
        ("b.yaml", &policy("b", RANGE)),
        ("h.yaml", &cluster(30000, 30999)),
    ]);
    let (findings, code) = lint(files.path(), &[]);
    let expected = [
        row("warning", "spec.settings.perNamespace.edge[0]", 12),
        row("warning", "spec.settings.ranges[1]", 9),
        row("note", "spec.settings.ranges[2]", 10),
        row("warning", "spec.candidate.settings.ranges[0]", 14),
    ];
    assert_eq!(findings, expected, "defaults that go beyond are none");
    assert_eq!(code, Some(0));
    assert_eq!(lint(files.path(), &["--strict"]).1, Some(1));
    let modules = root().join("target/policies");
    let modules = ["--modules", modules.to_str().expect("UTF-8")];
    let output = sallyport_in(files.path(), &[&["lint", "."], &modules[..]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let warning = "spec.settings.ranges[1]: 29000-29999 has none of the node ports of the cluster, \
        which are 30000-30999 by ./h.yaml; change the range, or spec.inventory.cluster.nodePorts \
        in ./h.yaml";
    assert!(text.contains(warning), "{text}");
}

#[test]
fn the_ranges_of_a_policy_are_compared_with_those_of_one_cluster() {
    let ports = "  module: { file: ports.wasm }
  settings: { denied: [{ types: [NodePort], ports: [{ from: 80, to: 90 }] }] }";
    let files = directory(&[
        ("a.yaml", &policy("a", RANGE)),
        ("b.yaml", &policy("b", ports)),
        ("h.yaml", &cluster(20000, 29999)),
    ]);
    let expected = [row("warning", "spec.settings.ranges[0]", 5)];
    assert_eq!(lint(files.path(), &[]).0, expected, "the default has none");
    let other = cluster(32767, 40000);
    std::fs::write(files.path().join("i.yaml"), other).expect("written");
    assert_eq!(
        lint(files.path(), &[]).0,
        [],
        "two clusters, and no --config"
    );
    assert_eq!(lint(files.path(), &["--config", "i.yaml"]).0, []);
    assert_eq!(lint(files.path(), &["--config", "h.yaml"]).0, expected);
    let modules = root().join("target/policies");
    let gone = ["lint", "a.yaml", "--config", "gone.yaml", "--modules"];
    let gone = [&gone[..], &[modules.to_str().expect("UTF-8")]].concat();
    let output = sallyport_in(files.path(), &gone);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && text.contains("gone.yaml"),
        "{text}"
    );
}

#[test]
fn names_that_no_namespace_can_have_are_errors() {
    let settings = |module: &str, settings: &str| {
        format!("  module: {{ file: {module}.wasm }}\n  settings: {{ {settings} }}")
    };
    for (spec, field) in [
        (
            format!("{RANGE}\n  match: {{ excludeNamespaces: ['gw-*'] }}"),
            "spec.match.excludeNamespaces[0]",
        ),
        (
            format!(
                "{RANGE}\n  match: {{ namespaceSelector: {{ matchLabels: {{ team: 'a-*' }} }} }}"
            ),
            "spec.match.namespaceSelector.matchLabels.team",
        ),
        (
            settings(
                "nodeport_range",
                "perNamespace: { 'team-a-*': [{ from: 30000, to: 30100 }] }",
            ),
            "spec.settings.perNamespace[\"team-a-*\"]",
        ),
        (
            settings("service_type", "perNamespace: { Team: [ClusterIP] }"),
            "spec.settings.perNamespace[\"Team\"]",
        ),
        (
            settings("clusterip_internal", "labels: { 'tier': ['data*'] }"),
            "spec.settings.labels[\"tier\"][0]",
        ),
        (
            settings("status_writes", "writers: { users: ['ccm '] }"),
            "spec.settings.writers.users[0]",
        ),
        (
            settings("exposure_annotations", "denied: [{ key: 'a b' }]"),
            "spec.settings.denied[0].key",
        ),
        (
            settings("loadbalancer_cloud_only", "schemes: ['aws://']"),
            "spec.settings.schemes[0]",
        ),
    ] {
        let files = directory(&[("a.yaml", &policy("a", &spec))]);
        let (findings, code) = lint(files.path(), &[]);
        let is_told = findings
            .iter()
            .any(|(level, found, _)| level == "error" && found == field);
        assert!(is_told, "{field}: {findings:?}");
        assert_eq!(code, Some(1), "{field}");
    }
}

#[test]
fn values_that_nothing_can_match_are_errors() {
    let module = |module: &str, settings: &str| {
        format!("  module: {{ file: {module}.wasm }}\n  settings: {{ {settings} }}")
    };
    let exempt = |what: &str| format!("{RANGE}\n  exemptions: {{ {what} }}");
    let selector = |what: &str| {
        format!("{RANGE}\n  match: {{ namespaceSelector: {{ matchExpressions: [{what}] }} }}")
    };
    let requirement = "match.namespaceSelector.matchExpressions[0]";
    for (spec, field) in [
        (
            module("status_writes", "writers: { users: ['system:masters'] }"),
            "settings.writers.users[0]",
        ),
        (
            module(
                "status_writes",
                "writers: { groups: ['system:serviceaccount:a:b'] }",
            ),
            "settings.writers.groups[0]",
        ),
        (
            module("status_writes", "writers: { serviceAccounts: ['a/-b'] }"),
            "settings.writers.serviceAccounts[0]",
        ),
        (
            module(
                "exposure_annotations",
                "deniedLabels: [{ key: a, values: ['a b'] }]",
            ),
            "settings.deniedLabels[0].values[0]",
        ),
        (
            module(
                "exposure_annotations",
                "denied: [{ key: a, unless: { 'a b': x } }]",
            ),
            "settings.denied[0].unless[\"a b\"]",
        ),
        (
            module("loadbalancer_cloud_only", "schemes: [AWS]"),
            "settings.schemes[0]",
        ),
        (
            module("loadbalancer_cloud_only", "allowedClasses: ['bad class']"),
            "settings.allowedClasses[0]",
        ),
        (
            module(
                "loadbalancer_exposure",
                "internalClasses: [networking.gke.io/l4-regional-external]",
            ),
            "settings.internalClasses[0]",
        ),
        (
            module(
                "loadbalancer_exposure",
                "setOnCreate: { loadBalancerClass: a/b/c }",
            ),
            "settings.setOnCreate.loadBalancerClass",
        ),
        (
            module("loadbalancer_exposure", "extra: [{ key: 'a b', value: x }]"),
            "settings.extra[0].key",
        ),
        (
            module("clusterip_internal", "names: ['my db']"),
            "settings.names[0]",
        ),
        (
            module("external_name", "clusterDomains: []"),
            "settings.clusterDomains",
        ),
        (
            module("external_name", "allowedSuffixes: [-a.com]"),
            "settings.allowedSuffixes[0]",
        ),
        (exempt("users: ['system:masters']"), "exemptions.users[0]"),
        (
            exempt("users: ['system:serviceaccount:a']"),
            "exemptions.users[0]",
        ),
        (
            exempt("groups: ['system:serviceaccount:a:b']"),
            "exemptions.groups[0]",
        ),
        (
            exempt("groups: ['system:serviceaccounts:Bad_NS']"),
            "exemptions.groups[0]",
        ),
        (
            exempt("serviceAccounts: ['a/b.']"),
            "exemptions.serviceAccounts[0]",
        ),
        (exempt("services: ['a/b.c']"), "exemptions.services[0]"),
        (exempt("services: ['a-/b']"), "exemptions.services[0]"),
        (
            selector("{ key: kubernetes.io/metadata.name, operator: In, values: [''] }"),
            requirement,
        ),
    ] {
        let files = directory(&[("a.yaml", &policy("a", &spec))]);
        let (findings, code) = lint(files.path(), &[]);
        let field = format!("spec.{field}");
        let is_told = findings
            .iter()
            .any(|(level, found, _)| level == "error" && *found == field);
        assert!(is_told, "{field}: {findings:?}");
        assert_eq!(code, Some(1), "{field}");
    }
}

#[test]
fn selectors_and_inventories_that_no_cluster_can_have_are_warnings() {
    let name = "kubernetes.io/metadata.name";
    let matches = |name: &str, what: &str| policy(name, &format!("{RANGE}\n  match: {{ {what} }}"));
    let expressions = format!(
        "matchExpressions: [{{ key: {name}, operator: DoesNotExist }}, {{ key: a, operator: \
         Exists, values: [b] }}]"
    );
    let files = directory(&[
        (
            "a.yaml",
            &matches("a", &format!("namespaceSelector: {{ {expressions} }}")),
        ),
        (
            "b.yaml",
            &matches(
                "b",
                &format!(
                    "excludeNamespaces: [a], namespaceSelector: {{ matchLabels: {{ {name}: a }} }}"
                ),
            ),
        ),
        (
            "h.yaml",
            &host_config(
                "    namespaces: [kube-system]
  inventory:
    namespaces: { a: { labels: { 'a b': x, c: 'd*', kubernetes.io/metadata.name: b } } }
    cluster:
      nodes:
      - { name: n-1, providerID: 'AWS:///x' }
      - { name: n-1, providerID: 'aws:///x' }",
            ),
        ),
    ]);
    let labels = "spec.inventory.namespaces.a.labels";
    let expected = [
        row("warning", "spec.match.namespaceSelector", 6),
        row(
            "warning",
            "spec.match.namespaceSelector.matchExpressions[1].values",
            6,
        ),
        row("warning", "spec.match.namespaceSelector", 6),
        row("warning", &format!("{labels}[\"a b\"]"), 8),
        row("warning", &format!("{labels}[\"c\"]"), 8),
        row(
            "warning",
            &format!("{labels}[\"kubernetes.io/metadata.name\"]"),
            8,
        ),
        row("warning", "spec.inventory.cluster.nodes[0].providerID", 11),
        row("warning", "spec.inventory.cluster.nodes[1].name", 12),
    ];
    assert_eq!(lint(files.path(), &[]), (expected.to_vec(), Some(0)));
}

#[test]
fn a_warning_behind_a_bad_entry_names_its_own_entry() {
    let exemptions = "    namespaces: ['kube-*', kube-system, default]
    services: ['*/*', '*/gateway']
    breakGlass: { groups: ['system:authenticated'] }";
    let files = directory(&[
        (
            "a.yaml",
            &policy(
                "a",
                &format!("{RANGE}\n  exemptions: {{ services: [x, '*/*'] }}"),
            ),
        ),
        ("h.yaml", &host_config(exemptions)),
    ]);
    let expected = [
        row("error", "spec.exemptions.services[0]", 6),
        row("warning", "spec.exemptions.services[1]", 6),
        row("error", "spec.exemptions.breakGlass.groups[0]", 8),
        row("error", "spec.exemptions.namespaces[0]", 6),
        row("error", "spec.exemptions.services[0]", 7),
        row("warning", "spec.exemptions.namespaces[2]", 6),
        row("warning", "spec.exemptions.services[1]", 7),
    ];
    assert_eq!(lint(files.path(), &[]), (expected.to_vec(), Some(1)));
}

#[test]
fn a_candidate_is_checked_as_the_live_policy_is() {
    let candidate = |what: &str| policy("a", &format!("{RANGE}\n  candidate:\n    {what}"));
    let settings = "settings: { rangs: [] }";
    for (text, module, expected) in [
        (
            candidate(settings),
            RANGE,
            vec![row("error", "spec.candidate.settings", 7)],
        ),
        (
            candidate("module: { file: gone.wasm }"),
            RANGE,
            vec![row("error", "spec.candidate.module.file", 7)],
        ),
        (
            candidate("settings: { ranges: [{ from: 30000, to: 30100 }] }"),
            RANGE,
            vec![],
        ),
        // A fault of both is reported once.
        (
            candidate(settings),
            "  module: { file: gone.wasm }",
            vec![row("error", "spec.module.file", 5)],
        ),
    ] {
        let files = directory(&[("a.yaml", &text.replace(RANGE, module))]);
        let (findings, code) = lint(files.path(), &[]);
        assert_eq!(code, Some(i32::from(!expected.is_empty())), "{text}");
        assert_eq!(findings, expected, "{text}");
    }
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let files = directory(&[("a.yaml", &policy("a", RANGE))]);
    assert_eq!(
        lint(files.path(), &["a.yaml", "./a.yaml"]),
        (vec![], Some(0))
    );
}

#[test]
fn without_its_module_a_policy_is_not_checked_and_that_is_said() {
    let files = directory(&[(
        "a.yaml",
        &policy("a", &format!("{RANGE}\n  settings: {{ rangs: [] }}")),
    )]);
    let output = sallyport_in(files.path(), &["lint", "a.yaml"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("the settings were not checked; name its directory with --modules"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(0));
    let module = root().join("target/policies/nodeport_range.wasm");
    std::fs::copy(module, files.path().join("nodeport_range.wasm")).expect("copied");
    let output = sallyport_in(files.path(), &["lint", "a.yaml"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(r#"unknown key "rangs" (did you mean "ranges"?)"#),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(1));
}

/// A case that expects the wrong verdict.
const FAILING_SUITE: &str = "apiVersion: sallyport.dev/v1alpha1
kind: Suite
metadata: { name: s }
spec:
  policy: { manifest: a.yaml }
  cases:
  - name: the port is denied
    object: { metadata: { name: w }, spec: { type: NodePort, ports: [{ port: 80, nodePort: 30001 \
    }] } }
    expect: { allowed: false, violations: [{ rule: S02 }] }
";

#[test]
fn a_self_test_that_fails_is_an_error_at_its_case() {
    for name in ["a.suite.yaml", "suite.yaml"] {
        let files = directory(&[("a.yaml", &policy("a", RANGE)), (name, FAILING_SUITE)]);
        let (findings, code) = lint(files.path(), &[]);
        assert_eq!(findings, [row("error", "", 7)], "{name}");
        assert_eq!(code, Some(1));
    }
}

#[test]
fn a_suite_may_come_before_its_component_and_others_suites_are_ignored() {
    let own = FAILING_SUITE.replace("a.yaml", "own.yaml");
    let files = directory(&[
        ("own.yaml", &policy("own", "  module: { file: own.wasm }")),
        ("own.suite.yaml", &own),
        (
            "suite.yaml",
            "kind: Suite\nmetadata: { name: of another tool }\n",
        ),
    ]);
    let output = sallyport_in(files.path(), &["lint", ".", "--output", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let manifests = report["manifests"].as_array().expect("a list").iter();
    let findings = manifests.flat_map(|manifest| manifest["findings"].as_array().expect("a list"));
    let found: Vec<_> = findings
        .map(|finding| {
            (
                finding["level"].as_str(),
                finding["message"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(output.status.code(), Some(0), "{found:?}");
    let [suite, manifest] = found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (suite.0, manifest.0),
        (Some("note"), Some("note")),
        "{found:?}"
    );
    assert!(suite.1.contains("own.wasm is not in"), "{suite:?}");
}

#[test]
fn annotations_and_sarif_name_file_and_line() {
    let files = directory(&[("a.yaml", &policy("a", &format!("{RANGE}\n  mode: Enforc")))]);
    let output = sallyport_in(files.path(), &["lint", "a.yaml", "--output", "github"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with(
            "::error file=a.yaml,line=6,title=ServicePolicy a::[sallyport] spec.mode: "
        ),
        "{text}"
    );
    let summary = String::from_utf8_lossy(&output.stderr);
    assert!(
        summary.starts_with("1 manifest: 1 error, 0 warnings, "),
        "{summary}"
    );
    let output = sallyport_in(files.path(), &["lint", "a.yaml", "--output", "sarif"]);
    let sarif: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let location = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(location["region"]["startLine"], 6);
}

#[test]
fn an_object_without_a_kind_is_an_error_in_a_file_that_was_named() {
    let values = format!(
        "{}---\nservice: {{ type: NodePort }}\n",
        host_config("    users: [a]")
    );
    let files = directory(&[("values.yaml", &values)]);
    let output = sallyport_in(files.path(), &["lint", "."]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("1 other object ignored"),
        "{text}"
    );
    let output = sallyport_in(files.path(), &["lint", "values.yaml"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let problem = "kind: required, but missing; write one, or leave the file out";
    assert!(
        output.status.code() == Some(1) && text.contains(problem),
        "{text}"
    );
}

#[test]
fn nothing_to_check_and_unreadable_files_are_errors() {
    let files = directory(&[("a.yaml", "apiVersion: v1\nkind: Service\n")]);
    let output = sallyport_in(files.path(), &["lint", "."]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("no ServicePolicy, HostConfig or suite found (1 other object)")
    );
    assert_eq!(
        sallyport_in(files.path(), &["lint", "gone.yaml"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn every_error_of_one_manifest_is_told_at_once() {
    let spec = "  module: { file: nodeport_range.wasm }
  mode: Enforc
  failurPolicy: Fail
  match: { excludeNamespaces: [1, a] }
  limits: { deadline: 3 }
  settings:
    rangs: []
    staticOnly: yess
    ranges: [{ from: x, to: 1 }, { from: 1 }]";
    let files = directory(&[
        ("a.yaml", &policy("a", spec)),
        ("b.yaml", &host_config("    users: [1]\n    user: []")),
    ]);
    let (findings, code) = lint(files.path(), &[]);
    let fields: std::collections::BTreeSet<_> = findings
        .iter()
        .map(|(level, field, _)| (&**level, &**field))
        .collect();
    let expected = [
        "spec",
        "spec.exemptions",
        "spec.exemptions.users[0]",
        "spec.limits.deadline",
        "spec.match.excludeNamespaces[0]",
        "spec.mode",
        "spec.settings",
        "spec.settings.ranges[0].from",
        "spec.settings.ranges[1].to",
        "spec.settings.staticOnly",
    ];
    assert_eq!(
        fields.into_iter().collect::<Vec<_>>(),
        expected.map(|field| ("error", field))
    );
    assert_eq!(code, Some(1));
}

#[test]
fn a_misspelt_module_error_names_the_right_one() {
    let files = directory(&[(
        "a.yaml",
        &policy("a", "  module: { file: nodeport_rang.wasm }"),
    )]);
    let module = root().join("target/policies/nodeport_range.wasm");
    std::fs::copy(module, files.path().join("nodeport_range.wasm")).expect("copied");
    let output = sallyport_in(files.path(), &["lint", "a.yaml"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(r#"(did you mean "nodeport_range.wasm"?)"#),
        "{text}"
    );
    assert!(
        text.ends_with(
            "1 manifest: 1 error, 0 warnings, 0 notes, 0 files unread; 0 other objects ignored\n"
        ),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(1));
}
