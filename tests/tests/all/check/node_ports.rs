//! Node ports: chosen by the client, allocated by the API server, kept or asked for twice.

use super::{Case, LOAD_BALANCER, NODE_PORT, PORT, RANGE, row, service};
use serde_json::json;

/// The second port gets the first one's node port, as an API server allocates it; the client chose
/// none.
const DNS: &str = "{ type: NodePort, selector: { app: a }, ports: [{ port: 53, nodePort: 30053, \
    name: a }, \
    { port: 53, protocol: UDP, name: b }] }";

const LOCAL: &str = "{ type: LoadBalancer, allocateLoadBalancerNodePorts: false, \
    externalTrafficPolicy: Local, \
    selector: { app: a }, ports: [{ port: 80 }] }";

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
