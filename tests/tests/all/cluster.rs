//! A host that watches a cluster: the watched objects decide reviews, and the API server may be
//! away.

use crate::api_server::ApiServer;
use crate::client::{PROTOCOLS, Reply, probe};
use crate::command_line::sallyport;
use crate::host::{body, built, root};
use crate::program::{Program, directory, manifest, message, put};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Returns a policy that denies on demand in namespaces with the label `exposure: closed`.
fn by_label(name: &str) -> String {
    let selector = json!({"matchLabels": {"exposure": "closed"}});
    manifest(name, &json!({"match": {"namespaceSelector": selector}}))
}

/// Starts a host that watches this API server.
fn serve(server: &ApiServer, policies: &Path, more: &[&str]) -> (Program, TempDir) {
    let directory = server.kubeconfig();
    let kubeconfig = directory.path().join("config");
    let cluster = [
        "--cluster",
        "--kubeconfig",
        kubeconfig.to_str().expect("UTF-8"),
        "--watch-interval",
        "50ms",
    ];
    (
        Program::serve(policies, &[&cluster, more].concat()),
        directory,
    )
}

fn service(namespace: &str, spec: &Value) -> Vec<u8> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace, "annotations": {"test/do": "deny"}},
        "spec": spec,
    });
    let review: Value =
        serde_json::from_slice(&body("CREATE", &object, &Value::Null)).expect("JSON");
    let mut review = review;
    review["request"]["namespace"] = namespace.into();
    review.to_string().into_bytes()
}

async fn validate(host: &Program, namespace: &str, spec: &Value) -> Reply {
    let reply = host
        .client
        .post(PROTOCOLS[0], "/validate", service(namespace, spec))
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply
}

/// Returns true when a plain Service is denied in a namespace.
async fn denied(host: &Program, namespace: &str) -> bool {
    let spec = json!({"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]});
    message(&validate(host, namespace, &spec).await.json()) != "allowed"
}

/// Returns the host's status of one resource.
fn feed<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let feeds = status["inventory"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    feeds
        .iter()
        .find(|feed| feed["kind"] == kind)
        .unwrap_or(&Value::Null)
}

fn is(kind: &'static str, state: &'static str, objects: u64) -> impl Fn(&Value) -> bool {
    move |status| feed(status, kind)["state"] == state && feed(status, kind)["objects"] == objects
}

async fn metric(host: &Program, series: &str) -> Option<f64> {
    let text = probe(host.admin, "/metrics").await;
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_of_namespaces_decide_and_follow_the_cluster() {
    for streams in [false, true] {
        let server = ApiServer::new().await;
        if streams {
            server.stream_lists();
        }
        server.namespace("open", &json!({"exposure": "open"}));
        server.namespace("closed", &json!({"exposure": "closed"}));
        let _reachable = server.reachable().await;
        let policies = directory(&[("p.yaml", by_label("p"))]);
        let (host, _kubeconfig) = serve(&server, policies.path(), &["--strict"]);
        assert_eq!(
            [denied(&host, "open").await, denied(&host, "closed").await],
            [false, true]
        );
        // A watch keeps the order of changes: a host that knows all three namespaces again has seen
        // every earlier change.
        server.namespace("open", &json!({"exposure": "closed"}));
        server.delete("namespaces", "", "closed");
        server.namespace("third", &json!({}));
        server.namespace("fourth", &json!({}));
        host.status(is("namespaces", "synced", 3)).await;
        assert_eq!(
            [denied(&host, "open").await, denied(&host, "third").await],
            [true, false]
        );
        assert_eq!(
            metric(&host, r#"sallyport_inventory_objects{kind="namespaces"}"#).await,
            Some(3.0)
        );
        assert_eq!(
            metric(&host, r#"sallyport_inventory_synced{kind="namespaces"}"#).await,
            Some(1.0)
        );
        let requests = server.requests();
        assert_eq!(
            requests.iter().any(|request| request.contains("limit")),
            !streams,
            "{requests:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_kinds_that_policies_ask_about_are_watched() {
    let server = ApiServer::new().await;
    server.namespace("closed", &json!({"exposure": "closed"}));
    let _reachable = server.reachable().await;
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let (host, _kubeconfig) = serve(&server, policies.path(), &[]);
    assert!(denied(&host, "closed").await);
    assert_eq!(server.requests(), [""; 0]);
    put(policies.path(), "p.yaml", &by_label("p"));
    host.status(|status| status["generation"] == 2).await;
    // The reload waited for the list.
    let status = host.status(|_| true).await;
    assert!(is("namespaces", "synced", 1)(&status), "{status:#}");
    let requests = server.requests();
    let metadata = |request: &String| {
        request.starts_with("namespaces ") && request.contains("as=PartialObjectMetadata")
    };
    assert!(
        !requests.is_empty() && requests.iter().all(metadata),
        "{requests:#?}"
    );
    put(policies.path(), "p.yaml", &manifest("p", &json!({})));
    host.status(|status| status["generation"] == 3 && status["inventory"].is_null())
        .await;
}

/// Returns the namespace as the guest `witness` saw it.
async fn seen_namespace(host: &Program) -> String {
    let spec = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
    message(&validate(host, "shop", &spec).await.json()).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_of_namespaces_are_kept_while_a_policy_asks_for_them() {
    let server = ApiServer::new().await;
    let annotated = |owner: &str| {
        json!({"metadata": {"name": "shop", "annotations": {"test/owner": owner,
            "kubectl.kubernetes.io/last-applied-configuration": "{}"}}})
    };
    server.put("namespaces", annotated("one"));
    let _reachable = server.reachable().await;
    let asks = |params: &str| {
        let witness = json!({"module": {"file": "witness.wasm"},
            "settings": {"shows": ["namespace"], "params": params}});
        manifest("witness", &witness)
    };
    let policies = directory(&[("p.yaml", by_label("p")), ("w.yaml", asks("no context"))]);
    std::fs::write(
        policies.path().join("witness.wasm"),
        built("guests/witness.wasm"),
    )
    .expect("written");
    let (host, _kubeconfig) = serve(&server, policies.path(), &["--strict"]);
    let seen = seen_namespace(&host).await;
    assert!(seen.contains("annotations: None"), "{seen}");
    // The reload waits until the watcher has listed the annotations as well.
    put(policies.path(), "w.yaml", &asks("everything"));
    host.status(|status| status["generation"] == 2).await;
    let seen = seen_namespace(&host).await;
    assert!(
        seen.contains(r#"annotations: Some([(\"test/owner\", \"one\")])"#)
            || seen.contains(r#"annotations: Some([("test/owner", "one")])"#),
        "{seen}"
    );
    put(policies.path(), "w.yaml", &asks("no context"));
    host.status(|status| status["generation"] == 3).await;
    let status = host.status(is("namespaces", "synced", 1)).await;
    assert_eq!(feed(&status, "namespaces")["state"], "synced", "{status:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nodes_and_pods_tell_reaches_the_policies_that_ask() {
    let server = ApiServer::new().await;
    let taint =
        json!([{"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"}]);
    server.put(
        "nodes",
        json!({"metadata": {"name": "new"}, "spec": {"taints": taint},
            "status": {"capacity": {"cpu": "4"}}}),
    );
    server.put(
        "pods",
        json!({
            "metadata": {"name": "db-0", "namespace": "shop",
                "labels": {"app": "shop", "app.kubernetes.io/name": "postgresql"}},
            "spec": {
                "containers": [{"name": "db", "image": "x",
                    "ports": [{"name": "db", "containerPort": 5432}]}],
                "initContainers": [{"name": "proxy", "image": "y", "restartPolicy": "Always"},
                    {"name": "init", "image": "z"}],
            },
            "status": {"phase": "Running"},
        }),
    );
    server.namespace("shop", &json!({}));
    let _reachable = server.reachable().await;
    let policies = tempfile::tempdir().expect("a directory");
    for (name, module) in [
        ("lb", "loadbalancer_cloud_only.wasm"),
        ("internal", "clusterip_internal.wasm"),
    ] {
        put(
            policies.path(),
            &format!("{name}.yaml"),
            &manifest(name, &json!({"module": {"file": module}})),
        );
    }
    let modules = root().join("target/policies");
    let (host, _kubeconfig) = serve(
        &server,
        policies.path(),
        &["--strict", "--modules", modules.to_str().expect("UTF-8")],
    );
    let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]});
    let said = message(&validate(&host, "shop", &spec).await.json());
    assert!(said.contains("[lb] spec.type"), "{said}");
    // A cloud's Node: from now on a load balancer can be served.
    server.put(
        "nodes",
        json!({"metadata": {"name": "new"}, "spec": {"providerID": "aws:///eu-1a/i-1"}}),
    );
    server.put(
        "nodes",
        json!({"metadata": {"name": "bare"}, "spec": {"providerID": "aws:///eu-1a/i-2"}}),
    );
    host.status(is("nodes", "synced", 2)).await;
    assert_eq!(
        message(&validate(&host, "shop", &spec).await.json()),
        "allowed"
    );
    // The selector alone decides nothing; the Pod's label and port do.
    let spec = json!({"type": "NodePort", "selector": {"app": "shop"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": "db", "nodePort": 30080}]});
    let said = message(&validate(&host, "shop", &spec).await.json());
    assert!(
        said.contains("[internal]") && said.contains("Pod label"),
        "{said}"
    );
    let pods = |request: &&String| request.starts_with("pods ");
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .filter(pods)
            .all(|request| request.contains("status.phase!=Succeeded")),
        "{requests:#?}"
    );
    server.delete("pods", "shop", "db-0");
    host.status(is("pods", "synced", 0)).await;
    assert_eq!(
        message(&validate(&host, "shop", &spec).await.json()),
        "allowed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_start_waits_for_an_api_server_that_comes_up_late() {
    let server = ApiServer::new().await;
    server.namespace("open", &json!({}));
    let late = server.clone();
    let reachable = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        late.reachable().await
    });
    let policies = directory(&[("p.yaml", by_label("p"))]);
    let start = {
        let (server, policies) = (server.clone(), policies.path().to_owned());
        tokio::task::spawn_blocking(move || serve(&server, &policies, &["--strict"]))
    };
    let (host, _kubeconfig) = start.await.expect("it serves");
    let _reachable = reachable.await.expect("it can be reached");
    assert!(
        !denied(&host, "open").await,
        "it serves before it knows the namespaces"
    );
    let errors = r#"sallyport_inventory_errors_total{kind="namespaces",reason="unreachable"}"#;
    assert!(
        metric(&host, errors)
            .await
            .is_some_and(|count| count >= 1.0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_are_unknown_until_the_api_server_is_reached() {
    let server = ApiServer::new().await;
    server.namespace("open", &json!({}));
    let policies = directory(&[("p.yaml", by_label("p"))]);
    let (host, kubeconfig) = serve(&server, policies.path(), &["--cluster-wait", "100ms"]);
    let status = host
        .status(|status| feed(status, "namespaces")["reason"] == "unreachable")
        .await;
    assert_eq!(feed(&status, "namespaces")["state"], "waiting");
    assert!(
        probe(host.admin, "/readyz?verbose")
            .await
            .contains("[-] inventory namespaces waiting, 0 known: can't watch")
    );
    // A namespace without known labels matches every selector, and no review waits for it in vain.
    let began = Instant::now();
    assert!(denied(&host, "open").await);
    assert!(
        began.elapsed() < Duration::from_millis(200),
        "{:?}",
        began.elapsed()
    );
    let kubeconfig = kubeconfig.path().join("config");
    let (policies, kubeconfig) = (
        policies.path().to_str().expect("UTF-8"),
        kubeconfig.to_str().expect("UTF-8"),
    );
    let arguments = [
        "serve",
        "--strict",
        "--self-signed",
        "--admin-listen",
        "127.0.0.1:0",
        "--cluster",
    ];
    let ca = format!("{kubeconfig}.ca");
    let more = [
        "--cluster-wait",
        "100ms",
        "--policies",
        policies,
        "--kubeconfig",
        kubeconfig,
        "--ca-out",
        &ca,
    ];
    let output = sallyport(&[&arguments[..], &more].concat());
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains(
            "the cluster was not listed within 100ms: namespaces: can't watch namespaces"
        ),
        "{errors}"
    );
    let _reachable = server.reachable().await;
    host.status(is("namespaces", "synced", 1)).await;
    assert!(!denied(&host, "open").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_role_is_named_and_affects_one_kind_only() {
    let server = ApiServer::new().await;
    server.namespace("open", &json!({}));
    server.refuse("nodes", Some(StatusCode::FORBIDDEN));
    let _reachable = server.reachable().await;
    let policies = directory(&[("p.yaml", by_label("p"))]);
    std::fs::copy(
        root().join("target/policies/loadbalancer_cloud_only.wasm"),
        policies.path().join("lb.wasm"),
    )
    .expect("copied");
    put(
        policies.path(),
        "lb.yaml",
        &manifest("lb", &json!({"module": {"file": "lb.wasm"}})),
    );
    let (host, _kubeconfig) = serve(&server, policies.path(), &["--cluster-wait", "300ms"]);
    let status = host
        .status(|status| feed(status, "nodes")["reason"] == "forbidden")
        .await;
    let error = feed(&status, "nodes")["error"].as_str().unwrap_or_default();
    assert!(
        error.contains(
            r#"a ClusterRole needs {apiGroups: [""], resources: [nodes], verbs: [list, watch]}"#
        ),
        "{error}"
    );
    assert!(is("namespaces", "synced", 1)(&status), "{status:#}");
    assert!(!denied(&host, "open").await);
    server.refuse("nodes", Some(StatusCode::TOO_MANY_REQUESTS));
    host.status(|status| feed(status, "nodes")["reason"] == "busy")
        .await;
    server.refuse("nodes", None);
    host.status(is("nodes", "synced", 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_are_stale_while_contact_is_lost() {
    let server = ApiServer::new().await;
    server.namespace("open", &json!({"exposure": "open"}));
    server.namespace("closed", &json!({"exposure": "closed"}));
    let reachable = server.reachable().await;
    let policies = directory(&[("p.yaml", by_label("p"))]);
    let (host, _kubeconfig) = serve(&server, policies.path(), &["--strict"]);
    drop(reachable);
    let status = host.status(is("namespaces", "stale", 2)).await;
    assert_eq!(
        feed(&status, "namespaces")["reason"],
        "unreachable",
        "{status:#}"
    );
    assert_eq!(
        [denied(&host, "open").await, denied(&host, "closed").await],
        [false, true]
    );
    assert_eq!(
        metric(&host, r#"sallyport_inventory_synced{kind="namespaces"}"#).await,
        Some(0.0)
    );
    assert!(
        probe(host.admin, "/readyz")
            .await
            .starts_with("HTTP/1.1 200"),
        "what is known serves on"
    );
    // Contact is back without any event, since nothing has changed meanwhile.
    let _reachable = server.reachable().await;
    host.status(is("namespaces", "synced", 2)).await;
    assert!(
        host.log().contains("in contact with the API server again"),
        "{}",
        host.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_deleted_during_an_outage_go_with_a_new_list() {
    let server = ApiServer::new().await;
    server.namespace("open", &json!({}));
    server.namespace("gone", &json!({}));
    let reachable = server.reachable().await;
    let policies = directory(&[("p.yaml", by_label("p"))]);
    let (host, _kubeconfig) = serve(&server, policies.path(), &["--strict"]);
    assert!(!denied(&host, "gone").await);
    drop(reachable);
    host.status(is("namespaces", "stale", 2)).await;
    server.delete("namespaces", "", "gone");
    server.forget_changes();
    let _reachable = server.reachable().await;
    host.status(is("namespaces", "synced", 1)).await;
    assert!(
        denied(&host, "gone").await,
        "unknown again, and so selected"
    );
    let expired = r#"sallyport_inventory_errors_total{kind="namespaces",reason="expired"}"#;
    assert_eq!(metric(&host, expired).await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_list_that_is_cut_off_is_read_in_pages() {
    let server = ApiServer::new().await;
    server.cut_streamed_lists();
    server.namespace("open", &json!({}));
    let _reachable = server.reachable().await;
    let policies = directory(&[("p.yaml", by_label("p"))]);
    let (host, _kubeconfig) = serve(&server, policies.path(), &["--strict"]);
    host.status(is("namespaces", "synced", 1)).await;
    assert!(
        server
            .requests()
            .iter()
            .any(|request| request.contains("limit"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_is_stale_until_its_new_list_has_ended() {
    let server = ApiServer::new().await;
    server.stream_lists();
    server.namespace("open", &json!({}));
    server.namespace("gone", &json!({}));
    let reachable = server.reachable().await;
    let policies = directory(&[("p.yaml", by_label("p"))]);
    let (host, _kubeconfig) = serve(&server, policies.path(), &["--strict"]);
    drop(reachable);
    host.status(is("namespaces", "stale", 2)).await;
    server.delete("namespaces", "", "gone");
    server.forget_changes();
    server.cut_streamed_lists();
    let _reachable = server.reachable().await;
    host.status(is("namespaces", "synced", 1)).await;
    let log = host.log();
    let (_, after) = log
        .split_once("has forgotten the changes of namespaces")
        .expect("it was told");
    assert!(
        !after.contains("in contact with the API server again"),
        "before the list: {log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_review_waits_a_moment_for_a_new_namespace() {
    let server = ApiServer::new().await;
    server.namespace("old", &json!({}));
    let _reachable = server.reachable().await;
    let policies = directory(&[("p.yaml", by_label("p"))]);
    let (host, _kubeconfig) = serve(&server, policies.path(), &["--strict"]);
    let late = server.clone();
    let created = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        late.namespace("new", &json!({"exposure": "open"}));
    });
    assert!(
        !denied(&host, "new").await,
        "it did not wait for the labels"
    );
    created.await.expect("created");
    let began = Instant::now();
    assert!(
        denied(&host, "never").await,
        "a namespace that stays unknown is selected"
    );
    assert!(
        began.elapsed() >= Duration::from_millis(250),
        "{:?}",
        began.elapsed()
    );
    let waits = |result: &str| format!("sallyport_namespace_waits_total{{result=\"{result}\"}}");
    assert_eq!(metric(&host, &waits("known")).await, Some(1.0));
    assert_eq!(metric(&host, &waits("unknown")).await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_namespaces_are_listed_in_pages() {
    let server = ApiServer::new().await;
    for number in 0..10_000 {
        let exposure = if number % 2 == 0 { "open" } else { "closed" };
        server.namespace(
            &format!("n{number}"),
            &json!({"exposure": exposure, "team": format!("t{number}")}),
        );
    }
    let _reachable = server.reachable().await;
    let policies = directory(&[("p.yaml", by_label("p"))]);
    let (host, _kubeconfig) = serve(&server, policies.path(), &["--strict"]);
    host.status(is("namespaces", "synced", 10_000)).await;
    assert_eq!(
        [denied(&host, "n9998").await, denied(&host, "n9999").await],
        [false, true]
    );
    let lists = server
        .requests()
        .into_iter()
        .filter(|request| request.contains(r#""limit": "500""#))
        .count();
    assert_eq!(lists, 20);
}
