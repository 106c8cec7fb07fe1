//! Registries that are down, slow, wrong or hostile: each ends in one clear line; a serving host
//! keeps its last good set, and counts.

use crate::client::probe;
use crate::command_line::{sallyport, sallyport_in};
use crate::custom_resources::{checked, object};
use crate::host::{built, misbehave, misbehave_with};
use crate::hostile_registry::HostileRegistry;
use crate::program::{Program, Starting, directory, manifest, put};
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use rcgen::{KeyPair, SigningKey as _};
use sallyport_core::manifest::Digest;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a busy machine, short enough for a test.
const PATIENCE: [&str; 2] = ["--registry-timeout", "2s"];

/// The section of a custom name that makes another component of a guest.
const OTHER: &[u8] = &[0, 2, 1, b'x'];

/// Runs `sallyport pull`. Returns what it prints, or its error.
fn pull(reference: &str, more: &[&str]) -> Result<String, String> {
    let output = sallyport(&[&["pull", reference], &PATIENCE, more].concat());
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).expect("UTF-8"));
    }
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "one line: {error}");
    Err(error)
}

#[track_caller]
fn fails(reference: &str, expected: &str) {
    let error = pull(reference, &[]).expect_err("it can't be pulled");
    assert!(error.contains(expected), "{error}\nexpected: {expected}");
    assert!(
        error.starts_with(&format!("error: {reference}: ")),
        "{error}"
    );
}

/// Returns a file of credentials for a registry.
fn credentials(registry: &HostileRegistry, user: &str) -> TempDir {
    let auth = STANDARD.encode(format!("{user}:hunter2"));
    let auths = json!({"auths": {registry.address().to_string(): {"auth": auth}}});
    directory(&[("config.json", auths.to_string())])
}

fn is_blob(request: &Parts) -> bool {
    request.uri.path().contains("/blobs/")
}

fn with<const N: usize>(status: StatusCode, headers: [(HeaderName, String); N]) -> Response {
    (status, headers).into_response()
}

#[test]
fn what_is_pulled_is_what_the_digest_says() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    let files = tempfile::tempdir().expect("a directory");
    let file = files.path().join("p.wasm");
    let printed = pull(
        &registry.reference(":1.0"),
        &["-o", file.to_str().expect("UTF-8")],
    );
    let printed = printed.expect("it is there");
    assert_eq!(printed.trim().replace(":1.0@", "@"), pinned);
    assert_eq!(std::fs::read(&file).expect("written"), misbehave());
}

#[test]
fn a_tampered_component_or_manifest_is_refused() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", b"good");
    registry.put_blob(&Digest::of(b"good"), b"evil");
    let expected = format!("sends a component with the digest {}", Digest::of(b"evil"));
    fails(&pinned, &expected);
    let digest = pinned.split_once('@').expect("a digest").1;
    registry.put_manifest(digest, b"{\"schemaVersion\":2}");
    fails(&pinned, "sends a manifest with the digest");
}

#[test]
fn what_is_no_artefact_of_a_policy_is_refused() {
    let registry = HostileRegistry::start();
    fails(
        &registry.reference(":none"),
        "the registry has no artefact none there",
    );
    let digest = Digest::of(b"x");
    let with_config = |config: &str, layers: usize| {
        let layer = json!({"mediaType": "application/wasm", "digest": digest, "size": 1});
        let config = json!({"mediaType": config, "digest": digest, "size": 1});
        json!({"schemaVersion": 2, "config": config, "layers": vec![layer; layers]})
    };
    let wasm = "application/vnd.wasm.config.v0+json";
    for (tag, manifest, expected) in [
        (
            "image",
            with_config("application/vnd.oci.image.config.v1+json", 1),
            "no Wasm artefact",
        ),
        (
            "layers",
            with_config(wasm, 2),
            "it has 2 layers; a policy has one",
        ),
        (
            "index",
            json!({"schemaVersion": 2, "manifests": []}),
            "an index of several artefacts",
        ),
        ("text", json!("hello"), "its manifest is no JSON object"),
    ] {
        registry.put_manifest(tag, manifest.to_string().as_bytes());
        fails(&registry.reference(&format!(":{tag}")), expected);
    }
}

#[test]
fn a_component_that_is_too_large_is_not_read() {
    let registry = HostileRegistry::start();
    let huge = registry.put_claiming("huge", b"x", 65 << 20);
    fails(
        &huge,
        "its component has 68157440 bytes; a component has at most 67108864",
    );
    let longer = registry.put_claiming("longer", b"much more", 4);
    fails(&longer, "sends 9 bytes, and at most 4 are read");
    // One that announces no length, and never ends.
    let endless = registry.put_claiming("endless", b"x", 1 << 20);
    registry.answer(|request| {
        let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 16]));
        let forever = futures::stream::repeat_with(chunk);
        is_blob(request).then(|| Body::from_stream(forever).into_response())
    });
    fails(
        &endless,
        "sends more than that, and at most 1048576 are read",
    );
}

#[test]
fn a_registry_that_wants_credentials_says_so_and_gets_them() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    registry.answer(|request| {
        let sent = request.headers.get("authorization");
        let right = format!("Basic {}", STANDARD.encode("jane:hunter2"));
        let is_right = sent.is_some_and(|value| *value == right);
        let demand = [(WWW_AUTHENTICATE, "Basic realm=\"x\"".to_owned())];
        (!is_right).then(|| with(StatusCode::UNAUTHORIZED, demand))
    });
    fails(
        &pinned,
        "asks for credentials, and there are none for 127.0.0.1",
    );
    let file = |directory: &TempDir| directory.path().join("config.json").display().to_string();
    let [wrong, right] = ["joe", "jane"].map(|user| credentials(&registry, user));
    let error = pull(&pinned, &["--registry-credentials", &file(&wrong)]).expect_err("wrong");
    assert!(
        error.contains("refuses the credentials for 127.0.0.1"),
        "{error}"
    );
    assert!(error.contains("they may have expired"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    pull(&pinned, &["--registry-credentials", &file(&right)]).expect("right");
}

/// Answers as a registry with a token server, which is the same server. `accepts` says which of its
/// numbered tokens are still good.
fn tokens(registry: &HostileRegistry, accepts: impl Fn(usize) -> bool + Send + 'static) {
    let (address, issued) = (registry.address(), AtomicUsize::new(0));
    registry.answer(move |request| {
        if request.uri.path() == "/token" {
            let number = issued.fetch_add(1, Ordering::Relaxed);
            let token = json!({"token": format!("token-{number}")}).to_string();
            return Some(token.into_response());
        }
        let sent = request
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let number = sent.and_then(|value| value.strip_prefix("Bearer token-")?.parse().ok());
        if number.is_some_and(&accepts) {
            return None;
        }
        let demand = format!("Bearer realm=\"http://{address}/token\",service=\"test\"");
        Some(with(StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, demand)]))
    });
}

#[test]
fn an_expired_token_is_replaced_once() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    // The first one has expired when it arrives.
    tokens(&registry, |number| number > 0);
    pull(&pinned, &[]).expect("the second token is good");
    tokens(&registry, |_| false);
    fails(&pinned, "asks for credentials, and there are none");
    let asked = registry
        .seen()
        .iter()
        .filter(|seen| seen.path == "/token")
        .count();
    assert!(asked <= 5, "{asked} tokens");
}

#[test]
fn too_many_requests_are_waited_for_if_that_is_short() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    let refused = AtomicUsize::new(0);
    registry.answer(move |_| {
        let wait = [(RETRY_AFTER, "1".to_owned())];
        let is_first = refused.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then(|| with(StatusCode::TOO_MANY_REQUESTS, wait))
    });
    pull(&pinned, &[]).expect("it goes on after a second");
    registry.answer(|_| {
        let wait = [(RETRY_AFTER, "3600".to_owned())];
        Some(with(StatusCode::TOO_MANY_REQUESTS, wait))
    });
    fails(&pinned, "has had too many requests (429); try after 3600 s");
}

#[test]
fn a_registry_that_stalls_is_left() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let began = Instant::now();
    fails(&format!("{address}/acme/policy:1.0"), "within 2s");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    registry.answer(|request| {
        let begin = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from("begin"))]);
        let stalling = begin.chain(futures::stream::pending());
        is_blob(request).then(|| Body::from_stream(stalling).into_response())
    });
    fails(&pinned, "stops in the middle of an answer within 2s");
}

#[test]
fn a_registry_that_is_gone_or_broken_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    fails(&format!("{address}/acme/policy:1.0"), "Connection refused");
    let registry = HostileRegistry::start();
    registry.fail(StatusCode::BAD_GATEWAY);
    fails(&registry.reference(":1.0"), "answers 502 for the manifest");
    registry.answer(|_| Some(with(StatusCode::OK, [(CONTENT_LENGTH, "99".to_owned())])));
    fails(&registry.reference(":1.0"), "127.0.0.1");
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let (registry, storage) = (HostileRegistry::start(), HostileRegistry::start());
    let pinned = registry.put("1.0", &misbehave());
    storage.put("1.0", &misbehave());
    let elsewhere = storage.address();
    registry.answer(move |request| {
        let sent = request.headers.contains_key("authorization");
        let demand = [(WWW_AUTHENTICATE, "Basic realm=\"x\"".to_owned())];
        if !sent {
            return Some(with(StatusCode::UNAUTHORIZED, demand));
        }
        let location = format!("http://{elsewhere}{}", request.uri.path());
        let to = [(LOCATION, location)];
        is_blob(request).then(|| with(StatusCode::TEMPORARY_REDIRECT, to))
    });
    let files = credentials(&registry, "jane");
    let file = files.path().join("config.json").display().to_string();
    pull(&pinned, &["--registry-credentials", &file]).expect("redirected");
    let seen = storage.seen();
    assert!(!seen.is_empty(), "the storage was asked");
    let sent: Vec<_> = seen
        .iter()
        .filter(|seen| seen.authorization.is_some())
        .collect();
    assert!(sent.is_empty(), "{sent:?}");
}

#[test]
fn redirects_to_forbidden_places_are_not_followed() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    let address = registry.address();
    for (location, expected) in [
        (
            "https://169.254.169.254/latest".to_owned(),
            "is a link-local address",
        ),
        (
            "https://[::ffff:169.254.169.254]/x".to_owned(),
            "is a link-local address",
        ),
        (
            "http://registry.example.com/x".to_owned(),
            "without https; that is not followed",
        ),
        ("file:///etc/passwd".to_owned(), "which is no address"),
        (
            format!("http://{address}/loop"),
            "redirects more than 3 times",
        ),
    ] {
        registry.answer(move |_| {
            let to = [(LOCATION, location.clone())];
            Some(with(StatusCode::FOUND, to))
        });
        fails(&pinned, expected);
    }
    for reference in ["169.254.169.254/acme/p:1", "[fe80::1]/acme/p:1"] {
        fails(reference, "is a link-local address");
    }
}

/// Manifests that name components by reference.
fn policies(module: &str, mode: &str) -> TempDir {
    let policy = manifest("p", &json!({"module": {"oci": module}, "mode": mode}));
    directory(&[("p.yaml", policy)])
}

/// Returns a HostConfig that allows a registry, with more of its spec.
fn config(registry: &HostileRegistry, more: &Value) -> TempDir {
    let mut spec = json!({"registries": {"sources": [format!("{}/*", registry.address())]}});
    for (key, value) in more.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    let config = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "HostConfig",
        "metadata": {"name": "c"}, "spec": spec,
    });
    directory(&[("host.yaml", config.to_string())])
}

fn shown(directory: &TempDir, file: &str) -> String {
    directory.path().join(file).display().to_string()
}

/// Starts a host of these policies that looks at files often.
fn serve(policies: &Path, config: &str, more: &[&str]) -> Program {
    let flags = ["--config", config, "--watch-interval", "50ms"];
    Program::serve(policies, &[&flags, &PATIENCE[..], more].concat())
}

async fn pulls(host: &Program, result: &str) -> u64 {
    let metrics = probe(host.admin, "/metrics").await;
    let series = format!("sallyport_registry_pulls_total{{result=\"{result}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series}in {metrics}"))
        .parse()
        .expect("a number")
}

fn digest_of(status: &Value) -> &str {
    status["policies"][0]["digest"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_host_serves_what_a_digest_pins_and_pulls_it_once() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    let (policies, config) = (policies(&pinned, "Enforce"), config(&registry, &json!({})));
    let host = serve(
        policies.path(),
        &shown(&config, "host.yaml"),
        &["--strict", "--no-cache"],
    );
    assert!(host.verdict().await.contains("told to deny"));
    let status = host.status(|_| true).await;
    assert_eq!(status["policies"][0]["module"], pinned);
    assert_eq!(digest_of(&status), Digest::of(&misbehave()).as_str());
    // The registry is gone, another file changes: nothing has to be pulled.
    registry.fail(StatusCode::BAD_GATEWAY);
    put(
        policies.path(),
        "q.yaml",
        &manifest("q", &json!({"module": {"file": "q.wasm"}})),
    );
    std::fs::write(policies.path().join("q.wasm"), misbehave()).expect("written");
    host.status(|status| status["generation"] == 2).await;
    assert_eq!(pulls(&host, "pulled").await, 1);
    assert_eq!(pulls(&host, "server").await, 0);
}

#[tokio::test]
async fn a_registry_that_is_down_leaves_the_last_good_set_and_is_asked_again() {
    let registry = HostileRegistry::start();
    registry.put("1.0", &misbehave());
    let (policies, config) = (
        policies(&registry.reference(":1.0"), "Warn"),
        config(&registry, &json!({})),
    );
    let host = serve(
        policies.path(),
        &shown(&config, "host.yaml"),
        &["--no-cache"],
    );
    registry.fail(StatusCode::SERVICE_UNAVAILABLE);
    host.signal("HUP");
    let status = host
        .status(|status| status["lastReload"]["error"].is_string())
        .await;
    let error = status["lastReload"]["error"].as_str().expect("a text");
    assert!(error.contains("answers 503 for the manifest"), "{error}");
    assert_eq!(status["generation"], 1);
    assert_eq!(digest_of(&status), Digest::of(&misbehave()).as_str());
    assert!(pulls(&host, "server").await >= 1);
    // It comes back with another component under the tag.
    let next = misbehave_with(OTHER);
    registry.put("1.0", &next);
    registry.behave();
    let status = host
        .status(|status| digest_of(status) == Digest::of(&next).as_str())
        .await;
    assert!(status["lastReload"]["error"].is_null(), "{status:#}");
    let log = host.log();
    assert!(log.contains("has moved from sha256:"), "{log}");
}

#[tokio::test]
async fn a_cold_start_waits_for_a_registry_and_is_not_ready_meanwhile() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    registry.fail(StatusCode::SERVICE_UNAVAILABLE);
    let (policies, config) = (policies(&pinned, "Enforce"), config(&registry, &json!({})));
    let files = tempfile::tempdir().expect("a directory");
    let ca = shown(&files, "ca.crt");
    let config = shown(&config, "host.yaml");
    let flags = [
        "--config",
        &config,
        "--no-cache",
        "--self-signed",
        "--ca-out",
        &ca,
    ];
    let host = Starting::serve(policies.path(), &flags);
    let ready = probe(host.admin, "/readyz?verbose").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("answers 503 for the manifest"), "{ready}");
    assert!(
        probe(host.admin, "/livez")
            .await
            .starts_with("HTTP/1.1 200")
    );
    registry.behave();
    let host = host.serving_by(Path::new(&ca));
    assert!(host.verdict().await.contains("told to deny"));
    let ready = probe(host.admin, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
}

#[tokio::test]
async fn a_cache_stands_for_a_registry() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    let (policies, config) = (policies(&pinned, "Enforce"), config(&registry, &json!({})));
    let cache = tempfile::tempdir().expect("a directory");
    let cache = shown(&cache, "pulled");
    let flags = ["--strict", "--no-cache", "--registry-cache", &cache];
    drop(serve(policies.path(), &shown(&config, "host.yaml"), &flags));
    registry.fail(StatusCode::BAD_GATEWAY);
    let host = serve(policies.path(), &shown(&config, "host.yaml"), &flags);
    assert!(host.verdict().await.contains("told to deny"));
    assert_eq!(pulls(&host, "cached").await, 1);
    drop(host);
    // A damaged file is no component.
    for entry in std::fs::read_dir(&cache).expect("kept") {
        std::fs::write(entry.expect("an entry").path(), "damaged").expect("written");
    }
    registry.behave();
    let host = serve(policies.path(), &shown(&config, "host.yaml"), &flags);
    assert_eq!(pulls(&host, "pulled").await, 1);
}

#[test]
fn a_host_refuses_what_its_configuration_does_not_allow() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    let start = |module: &str, mode: &str, config: &str| {
        let policies = policies(module, mode);
        let files = ["--policies", policies.path().to_str().expect("UTF-8")];
        let address = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let flags = ["--self-signed", "--strict", "--config", config];
        let output = sallyport(&[&["serve"][..], &files, &address, &flags].concat());
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let (open, closed) = (
        config(&registry, &json!({})),
        config(
            &registry,
            &json!({
                "registries": {"sources": []},
            }),
        ),
    );
    let (open, closed) = (shown(&open, "host.yaml"), shown(&closed, "host.yaml"));
    let text = start(&pinned, "Enforce", &closed);
    assert!(
        text.contains("is of no allowed source; add 127.0.0.1"),
        "{text}"
    );
    let text = start(&registry.reference(":1.0"), "Enforce", &open);
    assert!(
        text.contains("has no digest, and mode Enforce needs one"),
        "{text}"
    );
    assert!(text.contains("spec.module.oci: "), "{text}");
    assert!(
        registry.seen().is_empty(),
        "nothing is asked: {:?}",
        registry.seen()
    );
    let key = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";
    let repositories = [format!("{}/*", registry.address())];
    let signed = json!({"verification": [{"repositories": repositories, "keys": [key]}]});
    let signed = config(&registry, &signed);
    let text = start(&pinned, "Enforce", &shown(&signed, "host.yaml"));
    assert!(text.contains(": it is not signed"), "{text}");
}

#[tokio::test]
async fn the_webhook_for_policies_checks_source_and_reference_and_pulls_nothing() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    let served = directory(&[("p.yaml", manifest("q", &json!({})))]);
    let config = config(&registry, &json!({}));
    let host = serve(served.path(), &shown(&config, "host.yaml"), &[]);
    let check = async |module: &str, mode: &str| {
        let policy = object(&json!({"module": {"oci": module}, "mode": mode}));
        checked(&host, "CREATE", &policy, &Value::Null).await
    };
    assert_eq!(check(&pinned, "Enforce").await, (true, String::new()));
    assert_eq!(
        check(&registry.reference(":1.0"), "Audit").await,
        (true, String::new())
    );
    for (module, expected) in [
        (registry.reference(":1.0"), "spec.module.oci: 127.0.0.1"),
        ("ghcr.io/acme/p:1".to_owned(), "is of no allowed source"),
        (
            "acme/p:1".to_owned(),
            "spec.module.oci: \"acme/p:1\" names no registry",
        ),
    ] {
        let (allowed, message) = check(&module, "Enforce").await;
        assert!(!allowed && message.contains(expected), "{message}");
    }
    assert!(registry.seen().is_empty(), "{:?}", registry.seen());
}

/// Returns a Sigstore bundle about a digest, without a repository, as cosign makes it.
fn bundle(key: &KeyPair, digest: &Digest) -> Vec<u8> {
    let payload_type = "application/vnd.in-toto+json";
    let payload = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.hex()}, "annotations": {}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    });
    let payload = payload.to_string();
    let length = payload.len();
    let message = format!("DSSEv1 28 {payload_type} {length} {payload}");
    let signature = key.sign(message.as_bytes()).expect("signed");
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "x"}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload), "payloadType": payload_type,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    });
    bundle.to_string().into_bytes()
}

/// Lists a bundle by the API of referrers.
fn refer(registry: &HostileRegistry, subject: &Digest, bundle: &[u8]) {
    let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let manifest = json!({
        "schemaVersion": 2, "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json",
            "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": kind, "digest": Digest::of(bundle), "size": bundle.len()}],
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = Digest::of(&manifest);
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": kind,
            "digest": digest, "size": manifest.len(),
        }],
    });
    registry.put_blob(&Digest::of(bundle), bundle);
    registry.put_manifest(digest.as_str(), &manifest);
    registry.put_referrers(subject, index.to_string().as_bytes());
}

#[test]
fn a_bundle_is_found_by_the_api_of_referrers() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &misbehave());
    let digest: Digest = pinned
        .split_once('@')
        .expect("a digest")
        .1
        .parse()
        .expect("one");
    let [key, other] = [(); 2].map(|()| KeyPair::generate().expect("a key"));
    let files = directory(&[
        ("key.pub", key.public_key_pem()),
        ("other.pub", other.public_key_pem()),
    ]);
    let verify = |file: &str| {
        let output = sallyport(&["verify", &pinned, "--key", &shown(&files, file)]);
        String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8")
    };
    assert!(verify("key.pub").contains(": it is not signed"));
    refer(&registry, &digest, &bundle(&key, &digest));
    assert_eq!(verify("key.pub"), format!("verified {pinned}\n"));
    let text = verify("other.pub");
    assert!(text.contains("it was made with another key"), "{text}");
    refer(&registry, &digest, &bundle(&key, &Digest::of(b"other")));
    let text = verify("key.pub");
    assert!(
        text.contains("it is about another artefact, sha256:"),
        "{text}"
    );
    registry.answer(|request| {
        let is_manifest = request.uri.path().contains("/referrers/");
        is_manifest.then(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    });
    let text = verify("key.pub");
    assert!(
        text.contains("answers 500 for the list of referrers"),
        "{text}"
    );
}

#[test]
fn commands_take_components_of_registries() {
    let registry = HostileRegistry::start();
    let pinned = registry.put("1.0", &built("policies/service_type.wasm"));
    let home = tempfile::tempdir().expect("a directory");
    let cache = shown(&home, "cache");
    let cache = ["--cache-dir", cache.as_str()];
    let inspected = sallyport(&[&["inspect", &format!("oci://{pinned}")], &cache[..]].concat());
    let text = String::from_utf8(inspected.stdout).expect("UTF-8");
    assert!(text.contains("service-type"), "{text}");
    let policies = policies(&pinned, "Enforce");
    let directory = policies.path().to_str().expect("UTF-8");
    let checked = sallyport(
        &[
            &["check", "docs/examples", "--policies", directory],
            &cache[..],
        ]
        .concat(),
    );
    let text = String::from_utf8(checked.stdout).expect("UTF-8");
    assert!(
        text.contains("1 policy asked") || text.contains("of 1 policies"),
        "{text}"
    );
    let suite = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "Suite", "metadata": {"name": "s"},
        "spec": {
            "policy": {"module": {"oci": pinned}},
            "cases": [{
                "name": "a Service of type ClusterIP is allowed",
                "object": {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}},
                "expect": {"allowed": true},
            }],
        },
    });
    put(policies.path(), "s.yaml", &suite.to_string());
    let tested = sallyport_in(
        policies.path(),
        &[&["test", "s.yaml", "-v"], &cache[..]].concat(),
    );
    let text = String::from_utf8(tested.stdout).expect("UTF-8");
    assert!(text.contains("1 passed, 0 failed"), "{text}");
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_after_it() {
    let (registry, mirror) = (HostileRegistry::start(), HostileRegistry::start());
    let pinned = registry.put("1.0", &misbehave());
    mirror.put("1.0", &misbehave());
    let mirrors = json!({"registries": {"mirrors": [
        {"of": registry.address().to_string(), "at": mirror.address().to_string()},
    ]}});
    let config = config(&registry, &mirrors);
    let config = shown(&config, "host.yaml");
    pull(&pinned, &["--config", &config]).expect("the mirror has it");
    assert!(registry.seen().is_empty(), "{:?}", registry.seen());
    mirror.fail(StatusCode::BAD_GATEWAY);
    pull(&pinned, &["--config", &config]).expect("the registry has it");
    registry.fail(StatusCode::NOT_FOUND);
    let error = pull(&pinned, &["--config", &config]).expect_err("nobody has it");
    assert!(
        error.contains("answers 502") && error.contains("no artefact"),
        "{error}"
    );
}
