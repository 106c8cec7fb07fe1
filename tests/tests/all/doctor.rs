//! `sallyport doctor` on configurations with one fault each.

use crate::command_line::SALLYPORT;
use crate::host::root;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

/// Runs doctor on standard input.
pub(crate) fn doctor(input: &str, more: &[&str]) -> Output {
    let mut child = Command::new(&*SALLYPORT)
        .current_dir(root())
        .args(["doctor", "-"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Level, field and item of each finding.
pub(crate) fn findings(objects: &[Value]) -> Vec<(String, String, String)> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let output = doctor(&list.to_string(), &["--output", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let all = report["configurations"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|one| one["findings"].as_array());
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    all.flatten()
        .map(|finding| {
            (
                text(finding, "level"),
                text(finding, "field"),
                text(finding, "item"),
            )
        })
        .collect()
}

fn certificate(days: u64) -> String {
    let mut authority = rcgen::CertificateParams::new(["ca".to_owned()]).expect("a name");
    let now = SystemTime::now();
    authority.not_before = (now - Duration::from_secs(86_400 * 2)).into();
    authority.not_after =
        (now + Duration::from_secs(86_400 * days) - Duration::from_secs(3600)).into();
    let key = rcgen::KeyPair::generate().expect("a key");
    base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        authority.self_signed(&key).expect("a certificate").pem(),
    )
}

/// Returns a configuration that follows the page, with changes merged over its webhook.
pub(crate) fn configuration(kind: &str, over: &Value) -> Value {
    let mut webhook = json!({
        "name": "a.example.com",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "a", "namespace": "a-system"},
            "caBundle": certificate(400)},
        "failurePolicy": if kind == "Mutating" { "Ignore" } else { "Fail" },
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": 3,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": ["services"]}],
        "namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn",
                "values": ["kube-system", "kube-node-lease", "a-system"]},
        ]},
    });
    if kind == "Mutating" {
        webhook["reinvocationPolicy"] = json!("IfNeeded");
    }
    for (key, value) in over.as_object().expect("an object") {
        webhook[key] = value.clone();
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": format!("{kind}WebhookConfiguration"),
        "metadata": {"name": "a"}, "webhooks": [webhook],
    })
}

#[test]
fn a_configuration_as_the_page_has_it_gives_no_finding() {
    let both = [
        configuration("Mutating", &json!({})),
        configuration("Validating", &json!({})),
    ];
    assert_eq!(findings(&both), []);
}

#[test]
fn each_fault_is_found_with_its_place_and_item() {
    let rule = |group: &str, resource: &str| {
        json!({"rules": [{"apiGroups": [group], "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"], "resources": [resource]}]})
    };
    let client = |value: Value| json!({"clientConfig": value});
    let service = json!({"name": "a", "namespace": "a-system"});
    let bundle = |bundle: &str| json!({"clientConfig": {"service": service, "caBundle": bundle}});
    let selector = |values: &[&str]| {
        json!({"namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": values},
        ]}})
    };
    let condition =
        |expression: &str| json!({"matchConditions": [{"name": "c", "expression": expression}]});
    for (over, severity, path, item) in [
        (
            json!({"timeoutSeconds": null}),
            "warning",
            "timeoutSeconds",
            "small-timeout",
        ),
        (
            json!({"timeoutSeconds": 31}),
            "error",
            "timeoutSeconds",
            "small-timeout",
        ),
        (
            json!({"sideEffects": "Some"}),
            "error",
            "sideEffects",
            "avoid-side-effects",
        ),
        (
            json!({"sideEffects": "NoneOnDryRun"}),
            "note",
            "sideEffects",
            "avoid-side-effects",
        ),
        (
            json!({"matchPolicy": "Exact"}),
            "warning",
            "matchPolicy",
            "match-all-versions",
        ),
        (
            json!({"admissionReviewVersions": ["v1beta1"]}),
            "error",
            "admissionReviewVersions",
            "api: ValidatingWebhook.admissionReviewVersions",
        ),
        (
            json!({"name": "a.b"}),
            "error",
            "name",
            "api: ValidatingWebhook.name",
        ),
        (
            json!({"objectSelector": {"matchLabels": {"a": "b"}}}),
            "warning",
            "objectSelector",
            "webhook-limit-scope",
        ),
        (
            selector(&["a-system"]),
            "error",
            "namespaceSelector",
            "webhook-limit-scope",
        ),
        (
            selector(&["kube-system"]),
            "error",
            "namespaceSelector",
            "avoid-self-mutation",
        ),
        (
            json!({"rules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE", "DELETE"], "resources": ["services"]}]}),
            "warning",
            "rules[0].operations",
            "webhook-limit-scope",
        ),
        (
            json!({"name": "delete.sallyport.dev", "rules": [{"apiGroups": [""],
                "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["services"]}]}),
            "error",
            "rules[0].operations",
            "webhook-limit-scope",
        ),
        (rule("", "nodes"), "error", "rules[0]", "ha-deployment"),
        (
            rule("authentication.k8s.io", "tokenreviews"),
            "error",
            "rules[0]",
            "webhook-limit-scope",
        ),
        (
            rule(
                "admissionregistration.k8s.io",
                "validatingwebhookconfigurations",
            ),
            "error",
            "rules[0]",
            "avoid-dependency-loops",
        ),
        (
            client(json!({"service": service})),
            "warning",
            "clientConfig.caBundle",
            "api: WebhookClientConfig.caBundle",
        ),
        (
            bundle("bm90aGluZw=="),
            "error",
            "clientConfig.caBundle",
            "api: WebhookClientConfig.caBundle",
        ),
        (
            bundle(&certificate(0)),
            "error",
            "clientConfig.caBundle",
            "api: WebhookClientConfig.caBundle",
        ),
        (
            bundle(&certificate(20)),
            "warning",
            "clientConfig.caBundle",
            "api: WebhookClientConfig.caBundle",
        ),
        (
            client(json!({"url": "http://a.example"})),
            "error",
            "clientConfig.url",
            "load-balancer-webhook",
        ),
        (
            client(json!({"url": "https://a.example"})),
            "note",
            "clientConfig.url",
            "load-balancer-webhook",
        ),
        (
            client(json!({"url": "https://localhost.example"})),
            "note",
            "clientConfig.url",
            "load-balancer-webhook",
        ),
        (
            client(json!({"url": "https://localhost:8443/a"})),
            "warning",
            "clientConfig.url",
            "load-balancer-webhook",
        ),
        (
            client(json!({"url": "https://127.0.0.1/a"})),
            "warning",
            "clientConfig.url",
            "load-balancer-webhook",
        ),
        (
            condition("object.metadata.labels['a'] == 'b'"),
            "warning",
            "matchConditions[0].expression",
            "filter-match-conditions",
        ),
    ] {
        let found = findings(&[configuration("Validating", &over)]);
        let expected = (
            severity.to_owned(),
            format!("webhooks[0].{path}"),
            item.to_owned(),
        );
        assert_eq!(found, [expected], "{over}");
    }
}

#[test]
fn what_only_looks_like_a_fault_is_a_note_or_nothing() {
    let rule = |group: &str, resource: &str| {
        json!({"namespaceSelector": {}, "rules": [{
            "apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
            "resources": [resource],
        }]})
    };
    let severities = |over: &Value| {
        let found = findings(&[configuration("Validating", over)]);
        found
            .into_iter()
            .map(|(severity, _, item)| (severity, item))
            .collect::<Vec<_>>()
    };
    let note = |item: &str| ("note".to_owned(), item.to_owned());
    // These are cluster-scoped, and no namespace needs them to recover.
    assert_eq!(
        severities(&rule("rbac.authorization.k8s.io", "clusterroles")),
        []
    );
    assert_eq!(
        severities(&rule("example.com", "widgets")),
        [note("webhook-limit-scope"), note("avoid-self-mutation")]
    );
    assert!(
        severities(&rule("", "pods"))
            .iter()
            .all(|(severity, _)| severity == "error")
    );
    // The condition of Kubernetes' own documentation.
    let mut leases = rule("coordination.k8s.io", "leases");
    leases["matchConditions"] = json!([{
        "name": "exclude-leases",
        "expression": "!(request.resource.group == 'coordination.k8s.io' && \
         request.resource.resource == 'leases')",
    }]);
    assert!(
        severities(&leases).contains(&note("webhook-limit-scope")),
        "{:?}",
        severities(&leases)
    );
    let service = json!({"service": {"name": "a", "namespace": "a-system"}, "caBundle": "Cg=="});
    let mut injected = configuration("Validating", &json!({"clientConfig": service}));
    injected["metadata"]["annotations"] = json!({"cert-manager.io/inject-ca-from": "a-system/a"});
    assert_eq!(findings(&[injected])[0].0, "note");
}

#[test]
fn a_mutating_webhook_has_faults_of_its_own() {
    let judged = configuration("Validating", &json!({}));
    for (over, severity, path, item) in [
        (
            json!({"failurePolicy": "Fail"}),
            "warning",
            "failurePolicy",
            "fail-open-validate-final-state",
        ),
        (
            json!({"reinvocationPolicy": null}),
            "note",
            "reinvocationPolicy",
            "dont-rely-webhook-order",
        ),
    ] {
        let found = findings(&[configuration("Mutating", &over), judged.clone()]);
        assert_eq!(
            found,
            [(
                severity.to_owned(),
                format!("webhooks[0].{path}"),
                item.to_owned()
            )],
            "{over}"
        );
    }
    let alone = findings(&[configuration("Mutating", &json!({}))]);
    assert_eq!(
        alone,
        [(
            "note".to_owned(),
            "webhooks[0].rules".to_owned(),
            "validate-mutations".to_owned()
        )]
    );
}

#[test]
fn a_webhook_for_everything_has_all_the_faults_of_that() {
    let all = json!({
        "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
            "resources": ["*/*"]}],
        "namespaceSelector": {},
    });
    let found = findings(&[configuration("Validating", &all)]);
    let items: Vec<&str> = found.iter().map(|(_, _, item)| item.as_str()).collect();
    for item in [
        "webhook-limit-scope",
        "avoid-self-mutation",
        "filter-match-conditions",
    ] {
        assert!(items.contains(&item), "{item} is missing in {found:?}");
    }
    let of_the_rule = found
        .iter()
        .filter(|(_, field, _)| field == "webhooks[0].rules[0]");
    assert_eq!(
        of_the_rule.count(),
        1,
        "one wildcard is one finding: {found:?}"
    );
    let leases = doctor(&configuration("Validating", &all).to_string(), &[]);
    let text = String::from_utf8_lossy(&leases.stdout);
    for included in [
        "leases.coordination.k8s.io",
        "nodes",
        "tokenreviews.authentication.k8s.io",
    ] {
        assert!(text.contains(included), "{text}");
    }
    assert_eq!(leases.status.code(), Some(1));
}

#[test]
fn strict_counts_warnings_and_what_is_no_configuration_is_an_error() {
    let warned = configuration("Validating", &json!({"matchPolicy": "Exact"})).to_string();
    assert_eq!(doctor(&warned, &[]).status.code(), Some(0));
    assert_eq!(doctor(&warned, &["--strict"]).status.code(), Some(1));
    for input in [
        "kind: Service\napiVersion: v1\n",
        "",
        "a: [",
        "apiVersion: admissionregistration.k8s.io/v1\nkind: \
         ValidatingWebhookConfiguration\nwebhooks: 1\n",
    ] {
        let output = doctor(input, &[]);
        assert_eq!(output.status.code(), Some(2), "{input}");
        assert!(
            String::from_utf8_lossy(&output.stderr).starts_with("error: "),
            "{input}"
        );
    }
}

#[test]
fn external_ips_of_services_are_reported_as_deprecated() {
    let service = |ips: Value| {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"externalIPs": ips}})
    };
    let found = findings(&[
        service(json!([])),
        service(json!(["192.0.2.7", "192.0.2.8"])),
    ]);
    let expected = ["warning", "spec.externalIPs", "KEP-5707"].map(str::to_owned);
    assert_eq!(found, [expected.into()]);
    let output = doctor(&service(json!(["192.0.2.7"])).to_string(), &[]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        text.contains("Service shop/web\n  warning spec.externalIPs: 192.0.2.7\n"),
        "{text}"
    );
    assert!(text.contains("deprecated since Kubernetes 1.36"), "{text}");
}
