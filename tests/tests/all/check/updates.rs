//! Updates (`--old`): completed and bounded as the API server does, then judged.

use super::{Case, LOAD_BALANCER, NODE_PORT, PORT, RANGE, row, service};
use serde_json::json;

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
