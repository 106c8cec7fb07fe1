//! ServicePolicies of the cluster: served, changed, broken independently of each other, and
//! reported in their status.

use crate::api_server::{ApiServer, POLICIES};
use crate::client::PROTOCOLS;
use crate::command_line::sallyport;
use crate::host::command;
use crate::program::{Program, directory, manifest, put};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

fn spec(more: &Value) -> Value {
    let mut spec = json!({"module": {"file": "misbehave.wasm"}});
    for (key, part) in more.as_object().expect("an object") {
        spec[key] = part.clone();
    }
    spec
}

/// Starts a host that serves the ServicePolicies of this API server. The components are beside
/// `files`.
fn serve(server: &ApiServer, files: &Path, more: &[&str]) -> (Program, TempDir) {
    let directory = server.kubeconfig();
    let kubeconfig = directory.path().join("config");
    let (kubeconfig, modules) = (
        kubeconfig.to_str().expect("UTF-8"),
        files.to_str().expect("UTF-8"),
    );
    let cluster = [
        "--cluster",
        "--policies-from-cluster",
        "--kubeconfig",
        kubeconfig,
        "--watch-interval",
        "50ms",
    ];
    let arguments = [&cluster[..], &["--modules", modules], more].concat();
    (Program::start(&arguments), directory)
}

/// Returns the warnings and denials of the policies, one a line.
async fn said(host: &Program) -> String {
    let reply = host
        .client
        .post(PROTOCOLS[0], "/validate", command("deny"))
        .await
        .json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let warnings = reply["response"]["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text);
    warnings
        .chain([text(&reply["response"]["status"]["message"])])
        .collect::<Vec<_>>()
        .join("\n")
}

/// Waits until a ServicePolicy's condition Ready has this status, and returns its status.
async fn ready(server: &ApiServer, name: &str, ready: &str) -> Value {
    let began = Instant::now();
    loop {
        let object = server.object(POLICIES, name);
        let (status, generation) = (&object["status"], &object["metadata"]["generation"]);
        if status["observedGeneration"] == *generation && status["conditions"][0]["status"] == ready
        {
            return status.clone();
        }
        assert!(began.elapsed() < WAIT_TIMEOUT, "{object:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_policies_of_the_cluster_serve_and_change_and_go() {
    let server = ApiServer::new().await;
    server.policy("one", &spec(&json!({})));
    let _reachable = server.reachable().await;
    let modules = directory(&[]);
    let (host, _kubeconfig) = serve(&server, modules.path(), &["--strict"]);
    assert!(
        said(&host)
            .await
            .contains("[one] metadata.annotations: told to deny")
    );
    let status = ready(&server, "one", "True").await;
    assert_eq!(status["component"]["name"], "misbehave");
    assert!(
        status["component"]["digest"]
            .as_str()
            .is_some_and(|digest| digest.starts_with("sha256:")),
        "{status:#}"
    );
    server.policy("two", &spec(&json!({"mode": "Warn"})));
    let status = host
        .status(|status| {
            status["policies"]
                .as_array()
                .is_some_and(|policies| policies.len() == 2)
        })
        .await;
    assert_eq!(
        status["generation"], 2,
        "a status that was written is no change"
    );
    ready(&server, "two", "True").await;
    server.delete(POLICIES, "", "one");
    server.delete(POLICIES, "", "two");
    host.status(|status| status["policies"].as_array().is_some_and(Vec::is_empty))
        .await;
    assert_eq!(said(&host).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_service_policy_keeps_its_last_good_version() {
    let server = ApiServer::new().await;
    server.policy("one", &spec(&json!({})));
    server.policy("two", &spec(&json!({})));
    let _reachable = server.reachable().await;
    let modules = directory(&[]);
    let (host, _kubeconfig) = serve(&server, modules.path(), &["--strict"]);
    server.policy("one", &spec(&json!({"module": {"file": "missing.wasm"}})));
    server.policy("two", &spec(&json!({"mode": "Warn"})));
    let status = ready(&server, "one", "False").await;
    let [ready_condition, degraded] = [&status["conditions"][0], &status["conditions"][1]];
    assert!(
        ready_condition["message"]
            .as_str()
            .is_some_and(|text| text.contains("missing.wasm")),
        "{status:#}"
    );
    assert_eq!(
        (&degraded["status"], &degraded["reason"]),
        (&json!("True"), &json!("LastGoodServes"))
    );
    ready(&server, "two", "True").await;
    let said = said(&host).await;
    assert!(
        said.contains("[one] metadata.annotations: told to deny"),
        "{said}"
    );
    let denial = said.lines().last().unwrap_or_default();
    assert!(
        said.contains("[two] metadata") && denial.starts_with("[one]"),
        "two is not a warning: {said}"
    );
    let status = host
        .status(|status| status["lastReload"]["error"].is_string())
        .await;
    assert!(
        status["lastReload"]["error"]
            .as_str()
            .is_some_and(|text| text.starts_with(
                "servicepolicies/one: its version from before serves on: spec.module.file"
            )),
        "{status:#}"
    );
    // The component appears: no ServicePolicy has changed, but a file has.
    std::fs::copy(
        modules.path().join("misbehave.wasm"),
        modules.path().join("missing.wasm"),
    )
    .expect("copied");
    ready(&server, "one", "True").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_never_loaded_service_policy_follows_its_failure_policy() {
    let server = ApiServer::new().await;
    server.policy(
        "lenient",
        &spec(&json!({"failurePolicy": "Ignore", "settings": {"unheard": "of"}})),
    );
    server.policy(
        "typo",
        &spec(&json!({"mode": "Audit", "limits": {"deadlin": "1s"}})),
    );
    let _reachable = server.reachable().await;
    let modules = directory(&[]);
    let (host, _kubeconfig) = serve(&server, modules.path(), &[]);
    let status = ready(&server, "lenient", "False").await;
    assert_eq!(status["conditions"][1]["reason"], "NothingServes");
    let said = said(&host).await;
    assert!(
        said.contains("[lenient]") && !said.contains("[typo]"),
        "{said}"
    );
    let status = ready(&server, "typo", "False").await;
    let message = status["conditions"][0]["message"]
        .as_str()
        .unwrap_or_default();
    assert!(
        message.starts_with(r#"spec.limits: unknown key "deadlin" (did you mean "deadline"?)"#),
        "{message}"
    );
    server.policy("lenient", &spec(&json!({})));
    ready(&server, "lenient", "True").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_candidate_is_in_the_status_and_the_policy_serves() {
    let server = ApiServer::new().await;
    server.policy(
        "one",
        &spec(&json!({"candidate": {"module": {"file": "missing.wasm"}}})),
    );
    let _reachable = server.reachable().await;
    let modules = directory(&[]);
    let (host, _kubeconfig) = serve(&server, modules.path(), &[]);
    let condition = ready(&server, "one", "True").await["conditions"][0].clone();
    assert_eq!(condition["reason"], "CandidateNotLoaded");
    let message = condition["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("but servicepolicies/one: spec.candidate.module.file: can't read"),
        "{message}"
    );
    assert!(
        said(&host)
            .await
            .contains("[one] metadata.annotations: told to deny")
    );
    server.policy("one", &spec(&json!({"candidate": {"settings": {}}})));
    assert_eq!(
        ready(&server, "one", "True").await["conditions"][0]["reason"],
        "Loaded"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_takes_precedence_over_the_cluster_by_name() {
    let server = ApiServer::new().await;
    server.policy("file", &spec(&json!({"mode": "Audit"})));
    server.policy("cluster", &spec(&json!({})));
    let _reachable = server.reachable().await;
    let files = directory(&[("p.yaml", manifest("file", &json!({})))]);
    let (host, _kubeconfig) = serve(
        &server,
        files.path(),
        &["--policies", files.path().to_str().expect("UTF-8")],
    );
    let said = said(&host).await;
    assert!(
        said.contains("[file] metadata") && said.contains("[cluster] metadata"),
        "{said}"
    );
    let status = ready(&server, "file", "False").await;
    let conditions = &status["conditions"];
    let message = "metadata.name: a file of --policies has a ServicePolicy of this name, and the \
        file's judges; rename one, or \
                   take the file away (in deploy/: PRESET=none, see docs/operations.md)";
    assert_eq!(
        (&conditions[0]["reason"], &conditions[0]["message"]),
        (&json!("NameTaken"), &json!(message))
    );
    assert_eq!(conditions[1]["reason"], "FileServes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_clash_does_not_serve_a_broken_file() {
    let server = ApiServer::new().await;
    server.policy("file", &spec(&json!({})));
    let _reachable = server.reachable().await;
    let files = directory(&[("p.yaml", manifest("file", &json!({})))]);
    let (host, _kubeconfig) = serve(
        &server,
        files.path(),
        &["--policies", files.path().to_str().expect("UTF-8")],
    );
    put(
        files.path(),
        "p.yaml",
        &manifest("file", &json!({"settings": {"unheard": "of"}})),
    );
    let refused = |status: &Value| {
        status["lastReload"]["error"]
            .as_str()
            .is_some_and(|text| text.contains("p.yaml"))
    };
    assert_eq!(host.status(refused).await["generation"], 1);
    assert!(
        said(&host)
            .await
            .contains("[file] metadata.annotations: told to deny")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_policy_that_keeps_changing_delays_no_other() {
    let server = ApiServer::new().await;
    server.policy("other", &spec(&json!({})));
    server.policy("restless", &spec(&json!({"mode": "Audit"})));
    let _reachable = server.reachable().await;
    let modules = directory(&[]);
    let (host, _kubeconfig) = serve(&server, modules.path(), &["--strict"]);
    let writer = server.clone();
    let restless = tokio::spawn(async move {
        for deadline in (50..100).cycle() {
            let limits = json!({"deadline": format!("{deadline}ms")});
            writer.policy(
                "restless",
                &spec(&json!({"mode": "Audit", "limits": limits})),
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    server.policy("other", &spec(&json!({"mode": "Audit"})));
    ready(&server, "other", "True").await;
    assert_eq!(said(&host).await, "");
    restless.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_a_replica_of_old_wrote_last_is_put_right() {
    let server = ApiServer::new().await;
    server.policy("one", &spec(&json!({})));
    let _reachable = server.reachable().await;
    let modules = directory(&[]);
    let (_host, _kubeconfig) = serve(&server, modules.path(), &["--strict"]);
    ready(&server, "one", "True").await;
    let mut object = server.object(POLICIES, "one");
    object["status"]["conditions"][0]["status"] = "False".into();
    server.put(POLICIES, object);
    ready(&server, "one", "True").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_write_a_status_is_no_contact_of_the_watcher() {
    let server = ApiServer::new().await;
    server.policy("one", &spec(&json!({})));
    let reachable = server.reachable().await;
    let modules = directory(&[]);
    let (host, _kubeconfig) = serve(&server, modules.path(), &["--strict"]);
    ready(&server, "one", "True").await;
    drop(reachable);
    let state = |status: &Value| {
        let feeds = status["inventory"].as_array().into_iter().flatten();
        feeds
            .filter(|feed| feed["kind"] == POLICIES)
            .map(|feed| feed["state"].clone())
            .collect::<Vec<_>>()
    };
    host.status(|status| state(status) == ["stale"]).await;
    server.refuse(POLICIES, Some(StatusCode::FORBIDDEN));
    let _reachable = server.reachable().await;
    std::fs::remove_file(modules.path().join("misbehave.wasm")).expect("removed");
    ready(&server, "one", "False").await;
    assert_eq!(state(&host.status(|_| true).await), ["stale"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_its_service_policies_does_not_start() {
    let server = ApiServer::new().await;
    server.refuse(POLICIES, Some(StatusCode::FORBIDDEN));
    let _reachable = server.reachable().await;
    let (modules, kubeconfig) = (directory(&[]), server.kubeconfig());
    let (modules, config) = (modules.path().to_owned(), kubeconfig.path().join("config"));
    let start = tokio::task::spawn_blocking(move || {
        let (modules, config) = (
            modules.to_str().expect("UTF-8"),
            config.to_str().expect("UTF-8"),
        );
        let arguments = [
            "serve",
            "--self-signed",
            "--cluster",
            "--policies-from-cluster",
            "--cluster-wait",
            "300ms",
        ];
        let ca = format!("{config}.ca");
        sallyport(
            &[
                &arguments[..],
                &[
                    "--modules",
                    modules,
                    "--kubeconfig",
                    config,
                    "--ca-out",
                    &ca,
                ],
            ]
            .concat(),
        )
    });
    let output = start.await.expect("it ran");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains(
            r#"{apiGroups: ["sallyport.dev"], resources: [servicepolicies], verbs: [list, watch]}"#
        ),
        "{errors}"
    );
}

/// Sends a ServicePolicy to its webhook. Returns true if it was allowed, and the message.
pub(crate) async fn checked(
    host: &Program,
    operation: &str,
    object: &Value,
    old: &Value,
) -> (bool, String) {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u", "operation": operation, "name": "p", "object": object, "oldObject": old,
            "kind": {"group": "sallyport.dev", "version": "v1alpha1", "kind": "ServicePolicy"},
        },
    });
    let reply = host
        .client
        .post(PROTOCOLS[1], "/validate-policies", review.to_string())
        .await
        .json();
    let response = &reply["response"];
    let message = response["status"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (response["allowed"].as_bool().expect("an answer"), message)
}

pub(crate) fn object(spec: &Value) -> Value {
    json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy", "spec": spec,
        "metadata": {"name": "p", "uid": "x", "generation": 3, "managedFields": []},
        "status": {"conditions": []},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_service_policy_is_refused_before_it_is_stored() {
    let files = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(files.path(), &[]);
    let good = object(&spec(&json!({})));
    assert_eq!(
        checked(&host, "CREATE", &good, &Value::Null).await,
        (true, String::new())
    );
    for (more, expected) in [
        (
            json!({"module": {"file": "missing.wasm"}}),
            "spec.module.file: can't read ",
        ),
        (
            json!({"settings": {"unheard": "of"}}),
            r#"spec.settings: unknown key "unheard""#,
        ),
        (
            json!({"settings": {"atConfigure": "refuse"}}),
            "spec.settings.atConfigure: refused, as it was told",
        ),
        (
            json!({"candidate": {"settings": {"unheard": "of"}}}),
            r#"spec.candidate.settings: unknown key "unheard""#,
        ),
        (
            json!({"candidate": {"module": {"file": "missing.wasm"}}}),
            "spec.candidate.module.file: can't read ",
        ),
        (json!({"mode": "Enforced"}), "spec.mode: "),
        (
            json!({"match": {"namespaceSelector": {"matchLabel": {}}}}),
            r#"spec.match.namespaceSelector: unknown key "matchLabel""#,
        ),
    ] {
        let (allowed, message) = checked(&host, "UPDATE", &object(&spec(&more)), &good).await;
        assert!(!allowed && message.starts_with(expected), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applying_a_service_policy_hidden_by_a_file_warns() {
    let files = directory(&[("shipped.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(files.path(), &[]);
    let warnings = async |name: &str| {
        let mut object = object(&spec(&json!({})));
        object["metadata"]["name"] = name.into();
        let kind =
            json!({"group": "sallyport.dev", "version": "v1alpha1", "kind": "ServicePolicy"});
        let request = json!({"uid": "u", "operation": "CREATE", "name": name, "object": object,
            "kind": kind});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": request});
        let reply = host
            .client
            .post(PROTOCOLS[1], "/validate-policies", review.to_string())
            .await
            .json();
        assert_eq!(reply["response"]["allowed"], true, "{reply}");
        reply["response"]["warnings"].clone()
    };
    let file = files.path().join("shipped.yaml");
    let expected = format!(
        "[sallyport] it does not serve: {} of the host has a ServicePolicy named \"p\"; rename \
         one, or remove the file's",
        file.display()
    );
    assert_eq!(warnings("p").await, json!([expected]));
    assert_eq!(warnings("q").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_broken_service_policy_can_be_labelled_and_deleted() {
    let files = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(files.path(), &[]);
    let broken = object(&spec(&json!({"module": {"file": "missing.wasm"}})));
    let mut labelled = broken.clone();
    labelled["metadata"]["labels"] = json!({"team": "a"});
    let mut terminating = object(&spec(&json!({"module": {"file": "another.wasm"}})));
    terminating["metadata"]["deletionTimestamp"] = "2026-11-23T08:00:00Z".into();
    for (operation, object, old) in [
        ("UPDATE", &labelled, &broken),
        ("UPDATE", &terminating, &broken),
        ("DELETE", &Value::Null, &broken),
    ] {
        assert_eq!(
            checked(&host, operation, object, old).await,
            (true, String::new()),
            "{operation} {object}"
        );
    }
}
