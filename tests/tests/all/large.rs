//! Objects of the greatest allowed size: the host reads them within the memory limit of `deploy/`,
//! whatever they consist of.

use crate::certificates::metric;
use crate::client::{Protocol, Reply};
use crate::host::body;
use crate::program::{Program, directory, manifest};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// `resources.limits.memory` of `deploy/base/deployment.yaml`, in KiB.
const DEPLOYED: u64 = 256 << 10;

/// Returns an update of a Service in deletion with this port `count` times. It is valid for a
/// mutating webhook, which API servers call before they compare ports.
fn with_ports(port: &Value, count: usize) -> Vec<u8> {
    let service = |ports: Value| {
        let metadata = json!({"name": "web", "namespace": "default",
            "deletionTimestamp": "2026-11-23T08:00:00Z"});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"type": "ClusterIP", "ports": ports}})
    };
    body(
        "UPDATE",
        &service(json!(vec![port.clone(); count])),
        &service(json!([port])),
    )
}

/// Returns a port as an API server sends it.
fn allocated_port() -> Value {
    json!({"protocol": "TCP", "port": 1, "targetPort": 0})
}

/// Returns a review of a create, with this text in place of every `"?"` of the object.
fn created(object: &Value, text: &str) -> Vec<u8> {
    let review = String::from_utf8(body("CREATE", object, &Value::Null)).expect("text");
    review.replace(r#""?""#, text).into_bytes()
}

/// Returns a review of a malformed Service, with this text in an unknown field.
fn malformed(unknown: &str) -> Vec<u8> {
    created(&json!({"spec": {"ports": 1}, "unknown": "?"}), unknown)
}

/// Returns a review of a Service with this text where managedFields may contain anything.
fn with_owned(anything: &str) -> Vec<u8> {
    let managed = json!([{"manager": "m", "operation": "Update",
        "fieldsV1": {"f:spec": {"f:unknown": "?"}}}]);
    let metadata = json!({"name": "web", "namespace": "default", "managedFields": managed});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"ports": [{"port": 1}]}});
    created(&service, anything)
}

/// Returns a review of a ServicePolicy with this text among its settings.
pub(crate) fn policy(setting: &str) -> Vec<u8> {
    let spec = json!({"module": {"file": "misbehave.wasm"}, "settings": {"unheard": "?"}});
    let object = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "ServicePolicy", "metadata": {"name": "p"},
        "spec": spec,
    });
    let kind = json!({"group": "sallyport.dev", "version": "v1alpha1", "kind": "ServicePolicy"});
    let request =
        json!({"uid": "u", "operation": "CREATE", "name": "p", "kind": kind, "object": object});
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    review.to_string().replace(r#""?""#, setting).into_bytes()
}

/// Returns an update of a Service with `count` ports as an API server sends them, all named in
/// managedFields.
fn with_owned_ports(count: u16) -> Vec<u8> {
    let port = |number| {
        let name = format!("port-{number}");
        json!({"name": name, "protocol": "TCP", "port": number, "targetPort": name,
            "nodePort": number})
    };
    let fields = json!({".": {}, "f:name": {}, "f:nodePort": {}, "f:port": {}, "f:protocol": {},
        "f:targetPort": {}});
    let owned = |number| {
        (
            format!(r#"k:{{"port":{number},"protocol":"TCP"}}"#),
            fields.clone(),
        )
    };
    let numbers = 30_000..30_000 + count;
    let owned: serde_json::Map<_, _> = numbers.clone().map(owned).collect();
    let managed = json!([{"manager": "m", "operation": "Update",
        "fieldsV1": {"f:spec": {"f:ports": owned}}}]);
    let metadata = json!({"name": "web", "namespace": "default", "managedFields": managed});
    let spec = json!({"type": "NodePort", "ports": numbers.map(port).collect::<Vec<_>>()});
    let service =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
    body("UPDATE", &service, &service)
}

/// Returns a list of `count` numbers.
fn numbers(count: usize) -> String {
    json!(vec![0; count]).to_string()
}

/// Returns a list of `count` mappings, each nested a hundred levels deep: few bytes that take much
/// memory as a tree.
fn nests(count: usize) -> String {
    let nest = format!("{}1{}", r#"{"":"#.repeat(100), "}".repeat(100));
    format!("[{}]", vec![nest; count].join(","))
}

/// Returns an update of an annotation of the greatest length that consists of commas.
fn with_commas(count: usize) -> Vec<u8> {
    let metadata = json!({"name": "web", "namespace": "default",
        "annotations": {"test/commas": ",".repeat(count)}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"ports": [{"port": 1}]}});
    body("UPDATE", &service, &service)
}

/// Returns a Service with `count` labels or annotations, each of the least length.
fn with_pairs(member: &str, count: u32) -> Vec<u8> {
    let letter = |number: u32| char::from(b'a' + u8::try_from(number % 26).expect("a letter"));
    let key = |number: u32| {
        [17_576, 676, 26, 1]
            .iter()
            .map(|place| letter(number / place))
            .collect::<String>()
    };
    let pairs: serde_json::Map<_, _> = (0..count).map(|number| (key(number), json!("a"))).collect();
    let metadata = json!({"name": "web", "namespace": "default", member: pairs});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"ports": [{"port": 1}]}});
    body("CREATE", &service, &Value::Null)
}

async fn ask(host: &Program, path: &str, body: Vec<u8>) -> Reply {
    host.client.post(Protocol::Http2, path, body).await
}

/// Sends the largest bodies of all kinds to all paths. Returns the peak memory in KiB.
async fn ask_all(host: &Program) -> u64 {
    let many = ["/mutate", "/validate", "/mutate"]
        .map(|path| ask(host, path, with_ports(&allocated_port(), 35_000)));
    for reply in futures::future::join_all(many).await {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    let (nests, some) = (nests(500), nests(120));
    let mixed = [
        ("/mutate", with_ports(&json!({}), 340_000)),
        ("/mutate", with_pairs("labels", 187_000)),
        ("/mutate", with_pairs("annotations", 187_000)),
        ("/validate", with_pairs("annotations", 187_000)),
        ("/validate", malformed(&numbers(330_000))),
        ("/validate", with_commas(260_000)),
        ("/validate", with_owned_ports(5000)),
        ("/validate", malformed(&nests)),
        ("/validate-policies", policy(&some)),
        ("/validate-policies", policy(&some)),
        ("/mutate", with_owned(&nests)),
        ("/validate", with_owned(&nests)),
    ];
    let mixed = mixed.map(|(path, body)| ask(host, path, body));
    for reply in futures::future::join_all(mixed).await {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    host.most_resident()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_are_as_large_as_may_be_fit_into_memory() {
    let policies = directory(&[(
        "p.yaml",
        manifest("p", &json!({"limits": {"deadline": "10s"}})),
    )]);
    let host = Program::serve(policies.path(), &[]);
    let most = ask_all(&host).await;
    assert!(most < DEPLOYED, "{most} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_reviews_fit_with_recording_and_candidates() {
    let candidate = json!({"settings": {}});
    let policies = directory(&[(
        "p.yaml",
        manifest(
            "p",
            &json!({"limits": {"deadline": "10s"}, "candidate": candidate}),
        ),
    )]);
    let log = policies.path().join("record.log");
    let host = Program::serve(policies.path(), &["--record", log.to_str().expect("text")]);
    ask_all(&host).await;
    let began = Instant::now();
    while metric(&host, r#"sallyport_record_reviews_total{result="written"}"#).await < 13 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", host.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let most = host.most_resident();
    assert!(most < DEPLOYED, "{most} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn larger_ones_are_refused() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(policies.path(), &[]);
    for (path, body, expected) in [
        (
            "/validate",
            malformed(&numbers(3_000_000)),
            "it has too many members and items",
        ),
        (
            "/mutate",
            with_ports(&allocated_port(), 180_000),
            "it has too many members and items",
        ),
        (
            "/validate",
            with_owned(&nests(10_000)),
            "it has too many members and items",
        ),
        (
            "/validate-policies",
            policy(&nests(150)),
            "parsing the ServicePolicy would take about 10 MiB of memory",
        ),
        (
            "/validate-policies",
            policy(&nests(10_000)),
            "it has too many members and items",
        ),
        (
            "/validate-policies",
            policy(&format!("{:?}", "x".repeat(2 << 20))),
            "and etcd takes 1572864 at most",
        ),
    ] {
        let reply = ask(&host, path, body).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(reply.text().contains(expected), "{}", reply.text());
    }
}
