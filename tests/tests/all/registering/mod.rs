//! Hosts that maintain their webhook configurations: for how long, and for which installation.

mod removal;

use crate::api_server::ApiServer;
use crate::client::probe;
use crate::command_line::{sallyport, sallyport_in};
use crate::object_server::{ObjectServer, Request};
use crate::program::{Program, Starting, directory, manifest, put};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use removal::delete;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const VALIDATING: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/sallyport";
const MUTATING: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sallyport";
const CONFIGURATIONS: [&str; 2] = [
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
];
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const INSTALLATION: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/sallyport-installation";
const NAMESPACE: &str = "/api/v1/namespaces/test";
const SECRET: &str = "/api/v1/namespaces/test/secrets/sallyport-certificate";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/test/leases/sallyport-certificate";

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the ClusterRole of `deploy/base/installation.yaml`.
fn installation(uid: &str) -> Value {
    let file = std::fs::read_to_string(crate::host::root().join("deploy/base/installation.yaml"))
        .expect("it is there");
    let mut role = sallyport_core::yaml::documents(&file)
        .expect("YAML")
        .remove(0);
    role["metadata"]["uid"] = uid.into();
    role
}

/// Returns a cluster with `deploy/base` applied, as far as a registrar reads it.
pub(crate) async fn installed() -> ObjectServer {
    let server = ObjectServer::new().await;
    let version = |key: &str| (key.to_owned(), Value::from("36"));
    let keys = [
        "major",
        "minor",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
    ];
    server.put("/version", keys.map(version).into_iter().collect());
    server.put(INSTALLATION, installation("first"));
    server.put(
        NAMESPACE,
        json!({"metadata": {"name": "test", "uid": "of-the-namespace"}}),
    );
    server
}

fn policies() -> TempDir {
    directory(&[("p.yaml", manifest("p", &json!({})))])
}

/// Changes the policies without effect, so that a running registrar compares at once.
fn change_manifest(policies: &Path, round: usize) {
    put(
        policies,
        "p.yaml",
        &format!("--- # {round}\n{}", manifest("p", &json!({}))),
    );
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < WAIT_TIMEOUT, "{what} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_registered(server: &ObjectServer) -> bool {
    let bundle = &server.object(VALIDATING)["webhooks"][0]["clientConfig"]["caBundle"];
    bundle.as_str().is_some_and(|text| !text.is_empty())
}

fn configurations(server: &ObjectServer) -> Vec<String> {
    CONFIGURATIONS
        .iter()
        .flat_map(|collection| server.paths(collection))
        .collect()
}

/// Starts a host with the flags of `deploy/overlays/registered` that concern writers, and waits for
/// its registration.
async fn registered(
    server: &ObjectServer,
    kubeconfig: &Path,
    policies: &Path,
    more: &[&str],
) -> Program {
    let kubeconfig = kubeconfig.to_str().expect("UTF-8");
    let flags = [
        "--register",
        "--self-managed-certificate",
        "--kubeconfig",
        kubeconfig,
    ];
    let fast = ["--certificate-lifetime", "30s", "--watch-interval", "50ms"];
    let starting = Starting::serve(policies, &[&flags[..], &fast, more].concat());
    eventually("a registration", || is_registered(server)).await;
    let bundle = server.object(VALIDATING)["webhooks"][0]["clientConfig"]["caBundle"].clone();
    let bundle = STANDARD
        .decode(bundle.as_str().expect("a text"))
        .expect("base64");
    let bundle = String::from_utf8(bundle).expect("PEM");
    starting.serving(&bundle)
}

/// Returns the writes after a moment.
fn writes_after(server: &ObjectServer, moment: Instant) -> Vec<Request> {
    server
        .requests()
        .into_iter()
        .filter(|request| request.writes() && request.at > moment)
        .collect()
}

async fn stops(host: &Program) -> Instant {
    host.signal("TERM");
    eventually("the drain", || {
        host.log().contains("a second signal ends it at once")
    })
    .await;
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_drains_writes_no_object_that_others_share() {
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    // The flags of deploy/.
    let mut host = registered(
        &server,
        &kubeconfig,
        policies.path(),
        &["--drain-delay", "10"],
    )
    .await;
    let stopped = stops(&host).await;
    let all = [VALIDATING, MUTATING, SECRET, LEASE];
    assert!(
        [VALIDATING, SECRET, LEASE]
            .iter()
            .all(|path| !server.object(path).is_null())
    );
    for path in all {
        server.delete(path);
    }
    for round in 0..16 {
        change_manifest(policies.path(), round);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert!(
        stopped.elapsed() >= Duration::from_secs(9),
        "it drained for as long as in deploy/"
    );
    let writes = writes_after(&server, stopped);
    assert!(writes.is_empty(), "{writes:?}");
    assert!(all.iter().all(|path| server.object(path).is_null()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_drains_writes_no_status() {
    let server = ApiServer::new().await;
    let spec = json!({"module": {"file": "misbehave.wasm"}});
    server.policy("one", &spec);
    let _reachable = server.reachable().await;
    let (modules, directory) = (directory(&[]), server.kubeconfig());
    let kubeconfig = directory.path().join("config");
    let cluster = [
        "--cluster",
        "--policies-from-cluster",
        "--kubeconfig",
        kubeconfig.to_str().expect("UTF-8"),
    ];
    let fast = [
        "--watch-interval",
        "50ms",
        "--counts-interval",
        "100ms",
        "--drain-delay",
        "3",
    ];
    let modules = ["--modules", modules.path().to_str().expect("UTF-8")];
    let mut host = Program::start(&[&cluster[..], &fast, &modules].concat());
    let of = |name: &str| server.object(crate::api_server::POLICIES, name)["status"].clone();
    eventually("a report and counts", || {
        of("one")["conditions"].is_array() && of("one")["evaluations"].is_array()
    })
    .await;
    stops(&host).await;
    let before = server.status_writes();
    server.policy("two", &spec);
    host.status(|status| {
        status["policies"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    })
    .await;
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert_eq!((server.status_writes(), of("two")), (before, Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_flight_at_the_signal_is_given_up() {
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (directory, kubeconfig) = server.kubeconfig();
    let ca = directory.path().join("ca.crt");
    std::fs::write(
        &ca,
        sallyport_tests::cluster::Signed::new(&["localhost"]).ca,
    )
    .expect("written");
    let policies = policies();
    // Below the host's timeout of a write.
    server.stall_writes(Duration::from_millis(1500));
    let [ca, kubeconfig] = [&ca, &kubeconfig].map(|path| path.to_str().expect("UTF-8"));
    let flags = [
        "--register",
        "--ca-bundle",
        ca,
        "--kubeconfig",
        kubeconfig,
        "--drain-delay",
        "4",
    ];
    let mut host = Program::serve(policies.path(), &flags);
    eventually("a write", || server.requests().iter().any(Request::writes)).await;
    stops(&host).await;
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert_eq!(configurations(&server), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_configuration_returns_after_ten_seconds() {
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let host = registered(&server, &kubeconfig, policies.path(), &[]).await;
    let deleted = Instant::now();
    server.delete(VALIDATING);
    let mut round = 0;
    while server.object(VALIDATING).is_null() {
        assert!(deleted.elapsed() < WAIT_TIMEOUT, "{}", host.log());
        round += 1;
        change_manifest(policies.path(), round);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(
        deleted.elapsed() >= Duration::from_secs(10),
        "{:?}",
        deleted.elapsed()
    );
    assert!(host.log().contains("somebody deleted it"), "{}", host.log());
}

/// Returns the names of the validating webhooks.
fn validating(server: &ObjectServer) -> Vec<String> {
    let object = server.object(VALIDATING);
    let webhooks = object["webhooks"].as_array().into_iter().flatten();
    webhooks
        .map(|webhook| webhook["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_are_registered_while_a_policy_judges_them() {
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let host = registered(&server, &kubeconfig, policies.path(), &[]).await;
    assert_eq!(validating(&server), ["validate.sallyport.dev"]);

    let manifest = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy",
        "metadata": {"name": "marked"}, "spec": {
            "module": {"file": "change_protection.wasm"},
            "settings": {"mark": "a.example/keep"},
        },
    });
    let module = "change_protection.wasm";
    std::fs::copy(
        crate::host::root().join("target/policies").join(module),
        policies.path().join(module),
    )
    .expect("copied");
    put(policies.path(), "marked.yaml", &manifest.to_string());
    let both = ["validate.sallyport.dev", "delete.sallyport.dev"];
    eventually("the webhook for deletions", || validating(&server) == both).await;
    let judges = |expected: bool| {
        move |status: &Value| {
            let policies = status["policies"].as_array().expect("a list");
            let mut judges = policies.iter().map(|policy| &policy["judgesDeletions"]);
            judges.any(|judges| *judges == true) == expected
        }
    };
    host.status(judges(true)).await;
    let metrics = probe(host.admin, "/metrics").await;
    assert!(
        metrics.contains("sallyport_judges_deletions 1"),
        "{metrics}"
    );

    // Failing closed, it could lock the cluster out.
    let mut closed = server.object(VALIDATING);
    let bundle = closed["webhooks"][1]["clientConfig"]["caBundle"].clone();
    assert!(bundle.is_string(), "{closed}");
    closed["webhooks"][1]["failurePolicy"] = "Fail".into();
    server.put(VALIDATING, closed);
    change_manifest(policies.path(), 1);
    eventually("that it fails open again", || {
        let webhook = &server.object(VALIDATING)["webhooks"][1];
        webhook["failurePolicy"] == "Ignore" && webhook["clientConfig"]["caBundle"] == bundle
    })
    .await;

    let fields = |webhook: &Value| {
        let keys = ["name", "failurePolicy", "rules", "matchConditions"];
        let mut webhook = webhook.clone();
        for key in keys {
            webhook[key] = Value::Null;
        }
        webhook
    };
    let webhooks = server.object(VALIDATING)["webhooks"].clone();
    assert_eq!(fields(&webhooks[0]), fields(&webhooks[1]));

    std::fs::remove_file(policies.path().join("marked.yaml")).expect("it is there");
    host.status(judges(false)).await;
    let began = Instant::now();
    while validating(&server) != ["validate.sallyport.dev"] {
        assert!(began.elapsed() < WAIT_TIMEOUT, "{}", host.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    put(policies.path(), "marked.yaml", &manifest.to_string());
    eventually("the webhook once more", || validating(&server) == both).await;
    let removed = delete(kubeconfig).await;
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(configurations(&server), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_stops_all_writes_until_it_is_removed() {
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let mut replicas = vec![];
    for _ in 0..2 {
        replicas.push(registered(&server, &kubeconfig, policies.path(), &[]).await);
    }
    // An operator with nothing but kubectl does this.
    let mut role = server.object(INSTALLATION);
    role["metadata"]["annotations"]["sallyport.dev/hold"] = "incident 42".into();
    server.put(INSTALLATION, role);
    let mut open = server.object(VALIDATING);
    open["webhooks"][0]["failurePolicy"] = "Ignore".into();
    server.put(VALIDATING, open);
    change_manifest(policies.path(), 1);
    for replica in &replicas {
        let words = "ClusterRole sallyport-installation has the annotation sallyport.dev/hold \
            (\"incident 42\")";
        eventually("the hold in the log", || replica.log().contains(words)).await;
    }
    assert_eq!(
        server.object(VALIDATING)["webhooks"][0]["failurePolicy"],
        "Ignore"
    );
    let resume = [
        "webhooks",
        "--resume",
        "--kubeconfig",
        kubeconfig.to_str().expect("UTF-8"),
    ];
    let output = sallyport(&resume);
    assert!(output.status.success(), "{output:?}");
    change_manifest(policies.path(), 2);
    eventually("it fails closed again", || {
        server.object(VALIDATING)["webhooks"][0]["failurePolicy"] == "Fail"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_registers_belongs_to_the_installation() {
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let _host = registered(&server, &kubeconfig, policies.path(), &[]).await;
    let owner = |uid: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "name": "sallyport-installation", "uid": uid})
    };
    let owners = || server.object(VALIDATING)["metadata"]["ownerReferences"].clone();
    assert_eq!(owners(), json!([owner("first")]));
    // The installation belongs to the namespace, which a user may delete alone.
    let namespace = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "test",
        "uid": "of-the-namespace"}]);
    assert_eq!(
        server.object(INSTALLATION)["metadata"]["ownerReferences"],
        namespace
    );
    // One that was applied earlier, and has another owner, too.
    let other = json!({"apiVersion": "v1", "kind": "Namespace", "name": "a", "uid": "a"});
    let mut applied = server.object(VALIDATING);
    applied["metadata"]["ownerReferences"] = json!([other]);
    server.put(VALIDATING, applied);
    // Installed again: a reference to the previous ClusterRole would delete the configurations.
    server.put(INSTALLATION, installation("second"));
    change_manifest(policies.path(), 1);
    eventually("another owner", || {
        owners() == json!([other, owner("second")])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_registered_without_an_installation() {
    let server = installed().await;
    server.delete(INSTALLATION);
    let _reachable = server.reachable().await;
    let (directory, kubeconfig) = server.kubeconfig();
    let ca = directory.path().join("ca.crt");
    std::fs::write(
        &ca,
        sallyport_tests::cluster::Signed::new(&["localhost"]).ca,
    )
    .expect("written");
    let policies = policies();
    let [ca, kubeconfig] = [&ca, &kubeconfig].map(|path| path.to_str().expect("UTF-8"));
    let flags = [
        "--register",
        "--ca-bundle",
        ca,
        "--kubeconfig",
        kubeconfig,
        "--watch-interval",
        "50ms",
    ];
    let host = Program::serve(policies.path(), &flags);
    let words = "ClusterRole sallyport-installation is not there";
    eventually("the reason", || host.log().contains(words)).await;
    assert!(
        host.log().contains("deploy/base/installation.yaml"),
        "{}",
        host.log()
    );
    assert_eq!(configurations(&server), Vec::<String>::new());
    server.put(INSTALLATION, installation("first"));
    change_manifest(policies.path(), 1);
    eventually("a registration", || is_registered(&server)).await;
}

#[test]
fn printed_objects_belong_to_the_given_installation() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let arguments = [
        "webhooks",
        "--policies-from-cluster",
        "--owner-uid",
        "2f6c-1",
    ];
    let output = sallyport_in(elsewhere.path(), &arguments);
    let objects =
        sallyport_core::yaml::documents(&String::from_utf8(output.stdout).expect("UTF-8"))
            .expect("YAML");
    assert_eq!(objects.len(), 3);
    for object in objects {
        let owner = &object["metadata"]["ownerReferences"][0];
        assert_eq!(
            (&owner["name"], &owner["uid"]),
            (&json!("sallyport-installation"), &json!("2f6c-1"))
        );
    }
    let output = sallyport_in(
        elsewhere.path(),
        &["webhooks", "--policies-from-cluster", "--owner-uid", ""],
    );
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("jsonpath={.metadata.uid}"),
        "{output:?}"
    );
    let output = sallyport_in(
        elsewhere.path(),
        &[
            "webhooks",
            "--policies-from-cluster",
            "--context",
            "production",
        ],
    );
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("count with --delete and --resume only"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_to_the_api_server_says_who_asks() {
    let version = env!("CARGO_PKG_VERSION");
    let named = |component: &str| format!("sallyport/{version} ({component})");
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let _host = registered(&server, &kubeconfig, policies.path(), &[]).await;
    let output = sallyport(&[
        "webhooks",
        "--delete",
        "--kubeconfig",
        kubeconfig.to_str().expect("UTF-8"),
    ]);
    assert!(output.status.success(), "{output:?}");
    let agents: std::collections::BTreeSet<_> = server
        .requests()
        .into_iter()
        .map(|request| request.agent)
        .collect();
    assert_eq!(
        agents,
        ["certificate", "registrar", "webhooks"].map(named).into()
    );

    let server = ApiServer::new().await;
    server.policy("one", &json!({"module": {"file": "misbehave.wasm"}}));
    let _reachable = server.reachable().await;
    let (modules, directory) = (directory(&[]), server.kubeconfig());
    let kubeconfig = directory.path().join("config");
    let cluster = [
        "--cluster",
        "--policies-from-cluster",
        "--kubeconfig",
        kubeconfig.to_str().expect("UTF-8"),
    ];
    let _host = Program::start(
        &[
            &cluster[..],
            &["--modules", modules.path().to_str().expect("UTF-8")],
        ]
        .concat(),
    );
    eventually("a report", || server.status_writes() > 0).await;
    assert_eq!(server.agents(), ["cluster"].map(named).into());
}
