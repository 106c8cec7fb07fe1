//! Input: files, namespaces, users, names; and objects that are noted, left out or refused.

use super::{Case, NODE_PORT, PORT, RANGE, SELECTED, namespace, row, service};
use crate::command_line::sallyport;

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
