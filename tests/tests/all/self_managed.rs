//! The self-managed certificate: replicas over one Secret, and faults of the Secret and the API
//! server.

use crate::client::{Client, Connection, PROTOCOLS, Protocol, probe};
use crate::host::command;
use crate::object_server::ObjectServer;
use crate::program::{Program, Starting, directory, manifest, put};
use crate::registering::installed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SECRETS: &str = "/api/v1/namespaces/test/secrets";
const SECRET: &str = "/api/v1/namespaces/test/secrets/sallyport-certificate";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/test/leases/sallyport-certificate";
const VALIDATING: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/sallyport";
const MUTATING: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sallyport";

const NAME: &str = "sallyport.test.svc";

/// The shortest lifetimes that fit each other: an authority is replaced every 18 s, a certificate
/// every 6 s.
const DRILL: [&str; 4] = [
    "--certificate-lifetime",
    "9s",
    "--authority-lifetime",
    "27s",
];

/// Long enough for a test without a renewal, and so short that the Secret is read twice a second.
const STEADY: [&str; 2] = ["--certificate-lifetime", "30s"];

/// The time between two requests of a client.
const PACE: Duration = Duration::from_millis(100);

/// Starts a cluster in which the webhook configurations were installed, without a caBundle.
async fn cluster() -> ObjectServer {
    let server = ObjectServer::new().await;
    for (path, kind) in [
        (VALIDATING, "ValidatingWebhookConfiguration"),
        (MUTATING, "MutatingWebhookConfiguration"),
    ] {
        let ours = json!({"name": "a.sallyport.dev",
            "clientConfig": {"service": {"namespace": "test", "name": "sallyport"}}});
        let other = json!({"name": "b.example.com",
            "clientConfig": {"service": {"namespace": "other", "name": "sallyport"}}});
        server.put(
            path,
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": {"name": "sallyport"},
                "webhooks": [other, ours]}),
        );
    }
    server
}

fn policies() -> TempDir {
    directory(&[("p.yaml", manifest("p", &json!({})))])
}

fn start(policies: &Path, kubeconfig: &Path, more: &[&str]) -> Starting {
    let kubeconfig = kubeconfig.to_str().expect("UTF-8");
    let flags = ["--self-managed-certificate", "--kubeconfig", kubeconfig];
    Starting::serve(policies, &[&flags, more].concat())
}

/// Waits for a caBundle and returns it.
async fn bundle(server: &ObjectServer) -> String {
    eventually("a caBundle", || {
        let found = server.object(VALIDATING)["webhooks"][1]["clientConfig"]["caBundle"].clone();
        found
            .as_str()
            .map(|text| String::from_utf8(STANDARD.decode(text).expect("base64")).expect("PEM"))
    })
    .await
}

async fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{what} never came"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until `/readyz?verbose` contains these words.
async fn readyz_with(admin: std::net::SocketAddr, words: &str) -> String {
    let began = Instant::now();
    loop {
        let answer = probe(admin, "/readyz?verbose").await;
        if answer.contains(words) {
            return answer;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "no {words:?} in {answer}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn answers(host: &Program, bundle: &str) {
    for protocol in PROTOCOLS {
        let client = Client::new(host.webhook, bundle).named(NAME);
        assert_eq!(
            client
                .post(protocol, "/validate", command("nothing"))
                .await
                .status,
            StatusCode::OK
        );
    }
}

/// Sends requests like an API server that notices a new caBundle a third of an overlap late.
/// Returns the caBundles that it saw.
async fn ask_late(
    server: ObjectServer,
    host: std::net::SocketAddr,
    protocol: Protocol,
    stop: Arc<AtomicBool>,
) -> (usize, BTreeSet<String>) {
    let (mut requests, mut seen) = (0, BTreeSet::new());
    while !stop.load(Ordering::Relaxed) {
        let bundle = bundle(&server).await;
        let client = Client::new(host, &bundle).named(NAME);
        let heard = Instant::now();
        while heard.elapsed() < Duration::from_millis(300) {
            assert_eq!(
                client
                    .post(protocol, "/validate", command("nothing"))
                    .await
                    .status,
                StatusCode::OK
            );
            requests += 1;
            tokio::time::sleep(PACE).await;
        }
        seen.insert(bundle);
    }
    (requests, seen)
}

async fn stay(mut connection: Connection, stop: Arc<AtomicBool>) -> usize {
    let mut requests = 0;
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(
            connection
                .post("/validate", command("nothing"))
                .await
                .status,
            StatusCode::OK
        );
        requests += 1;
        tokio::time::sleep(PACE).await;
    }
    requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_request_fails_while_certificates_are_replaced() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let replicas = [(); 2].map(|()| start(policies.path(), &kubeconfig, &DRILL));
    let first = bundle(&server).await;
    let replicas = replicas.map(|replica| replica.serving(&first));
    let stop = Arc::new(AtomicBool::new(false));
    let (mut late, mut stayed) = (vec![], vec![]);
    for replica in &replicas {
        for protocol in PROTOCOLS {
            late.push(tokio::spawn(ask_late(
                server.clone(),
                replica.webhook,
                protocol,
                Arc::clone(&stop),
            )));
            let connection = Client::new(replica.webhook, &first)
                .named(NAME)
                .connect(protocol)
                .await;
            stayed.push(tokio::spawn(stay(connection, Arc::clone(&stop))));
        }
    }
    tokio::time::sleep(Duration::from_secs(43)).await;
    stop.store(true, Ordering::Relaxed);
    for client in late {
        let (requests, seen) = client.await.expect("every request is answered");
        assert!(requests > 50, "{requests}");
        // One, one and two, two alone, two and three, three alone.
        assert!(seen.len() >= 4, "{} caBundles", seen.len());
    }
    for client in stayed {
        assert!(client.await.expect("every request is answered") > 50);
    }
    let mut leaders = 0;
    for replica in &replicas {
        let managed = replica
            .status_of_certificate(|status| status["selfManaged"].is_object())
            .await["selfManaged"]
            .clone();
        leaders += usize::from(managed["leader"] == true);
    }
    assert_eq!(leaders, 1);
    let foreign = &server.object(MUTATING)["webhooks"][0]["clientConfig"]["caBundle"];
    assert!(foreign.is_null(), "somebody else's webhook was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_webhook_of_a_configuration_that_calls_the_host_trusts_it() {
    let server = cluster().await;
    let mut found = server.object(VALIDATING);
    let mut deletions = found["webhooks"][1].clone();
    deletions["name"] = "delete.sallyport.dev".into();
    let webhooks = found["webhooks"].as_array_mut().expect("a list");
    webhooks.push(deletions);
    server.put(VALIDATING, found);
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let _host = start(policies.path(), &kubeconfig, &STEADY);
    eventually("the same bundle in both", || {
        let webhooks = &server.object(VALIDATING)["webhooks"];
        let bundle = |index: usize| webhooks[index]["clientConfig"]["caBundle"].clone();
        (bundle(1).is_string() && bundle(1) == bundle(2)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_certificate_needs_the_api_server_later_ones_wait() {
    let server = cluster().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let starting = start(policies.path(), &kubeconfig, &STEADY);
    let answer = readyz_with(starting.admin, "unreachable: Secret sallyport-certificate").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("[-] certificate: none yet"),
        "{answer}"
    );
    let reachable = server.reachable().await;
    let bundle = bundle(&server).await;
    let host = starting.serving(&bundle);
    answers(&host, &bundle).await;
    drop(reachable);
    let answer = readyz_with(host.admin, "unreachable: ").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answers(&host, &bundle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_secret_is_replaced_and_never_served() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let starting = start(policies.path(), &kubeconfig, &STEADY);
    let bundle = bundle(&server).await;
    let host = starting.serving(&bundle);
    let good = server.object(SECRET)["data"].clone();
    for key in ["tls.crt", "ca.key"] {
        let mut secret = server.object(SECRET);
        secret["data"][key] = STANDARD.encode("garbage").into();
        server.put(SECRET, secret);
        eventually("a whole Secret", || {
            (server.object(SECRET)["data"][key] != STANDARD.encode("garbage")).then_some(())
        })
        .await;
        answers(&host, &bundle).await;
        assert_eq!(server.object(SECRET)["data"]["ca.crt"], good["ca.crt"]);
    }
    assert!(
        host.log()
            .contains("garbage: Secret sallyport-certificate can't be used: ca.key"),
        "{}",
        host.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_without_the_label_is_never_written() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let secret = json!({"metadata": {"name": "sallyport-certificate"},
        "data": {"password": STANDARD.encode("secret")}});
    server.put(SECRET, secret);
    let before = server.object(SECRET);
    let policies = policies();
    let starting = start(policies.path(), &kubeconfig, &STEADY);
    readyz_with(
        starting.admin,
        "foreign: Secret sallyport-certificate is not ours",
    )
    .await;
    assert_eq!(server.object(SECRET), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_are_reported_until_they_are_granted() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    server.forbid_writes(SECRETS, true);
    server.forbid_writes(VALIDATING, true);
    let policies = policies();
    let starting = start(policies.path(), &kubeconfig, &STEADY);
    readyz_with(starting.admin, "forbidden: Secret sallyport-certificate").await;
    server.forbid_writes(SECRETS, false);
    readyz_with(
        starting.admin,
        "forbidden: ValidatingWebhookConfiguration sallyport",
    )
    .await;
    // The time of several rounds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.forbid_writes(VALIDATING, false);
    let bundle = bundle(&server).await;
    let host = starting.serving(&bundle);
    answers(&host, &bundle).await;
    assert!(
        !host.log().contains("somebody changed"),
        "what was never written, nobody changed: {}",
        host.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_register_does_so_as_soon_as_it_may() {
    let server = installed().await;
    server.forbid_writes("/apis/admissionregistration.k8s.io", true);
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
    eventually("a refusal", || {
        host.log()
            .contains("User \"test\" cannot write")
            .then_some(())
    })
    .await;
    // Each reload starts a round.
    put(
        policies.path(),
        "p.yaml",
        &format!("{}\n\n", manifest("p", &json!({}))),
    );
    host.status(|status| status["generation"] == 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.forbid_writes("/apis/admissionregistration.k8s.io", false);
    put(policies.path(), "p.yaml", &manifest("p", &json!({})));
    eventually("a registration", || {
        (!server.object(VALIDATING).is_null()).then_some(())
    })
    .await;
    assert!(!host.log().contains("somebody changed"), "{}", host.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_lease_that_is_not_renewed_is_taken() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let held = |transitions: u64| {
        json!({"metadata": {"name": "sallyport-certificate"}, "spec": {"holderIdentity": "other",
            "leaseDurationSeconds": 2, "leaseTransitions": transitions}})
    };
    server.put(LEASE, held(0));
    let policies = policies();
    let starting = start(policies.path(), &kubeconfig, &STEADY);
    for renewal in 1..=8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.put(LEASE, held(renewal));
    }
    readyz_with(
        starting.admin,
        "follower: other looks after the certificate",
    )
    .await;
    assert_eq!(server.object(SECRET), Value::Null);
    let bundle = bundle(&server).await;
    answers(&starting.serving(&bundle), &bundle).await;
    assert_ne!(server.object(LEASE)["spec"]["holderIdentity"], "other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_back_off_when_somebody_reverts_the_bundle() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let policies = policies();
    let starting = start(policies.path(), &kubeconfig, &STEADY);
    bundle(&server).await;
    let mut changed = server.object(VALIDATING);
    changed["webhooks"][1]["clientConfig"]["caBundle"] = "AAAA".into();
    server.put(VALIDATING, changed.clone());
    readyz_with(
        starting.admin,
        "contested: ValidatingWebhookConfiguration sallyport: somebody changed the caBundle back",
    )
    .await;
    assert_eq!(server.object(VALIDATING)["webhooks"], changed["webhooks"]);
}
