//! `serve --console`: which clients it accepts, what it shows, and that no other request waits for
//! it.

use crate::client::{PROTOCOLS, probe};
use crate::command_line::SALLYPORT;
use crate::host::{body, root};
use crate::program::{Program, directory, manifest, put};
use hyper::StatusCode;
use sallyport_facts::exposing::EXPOSING;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The streams that a console serves at the same time.
const MAX_STREAMS: usize = 16;

/// Starts a host with a console, and returns the console's address.
fn serve(policies: &Path, more: &[&str]) -> (Program, SocketAddr) {
    let host = Program::serve(policies, &[&["--console", "127.0.0.1:0"], more].concat());
    let log = host.log();
    let address = log
        .lines()
        .find_map(|line| line.split_once("console on http://")?.1.trim().parse().ok());
    (
        host,
        address.unwrap_or_else(|| panic!("no console:\n{log}")),
    )
}

fn shipped() -> (Program, SocketAddr) {
    serve(&root().join("target/policies"), &[])
}

/// Sends a request, and returns the whole answer.
async fn send(console: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(console).await.expect("it listens");
    let request = request.replace('\n', "\r\n") + "\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

async fn get(console: SocketAddr, path: &str) -> String {
    send(console, &format!("GET {path} HTTP/1.1\nHost: localhost")).await
}

/// Returns the status of an answer.
fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {answer}"))
}

/// A client's stream of events.
struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    async fn open(console: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(console).await.expect("it listens");
        let request = "GET /console/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut events = Self {
            stream,
            text: String::new(),
        };
        events.wait_for(|text| text.contains("\r\n\r\n")).await;
        events
    }

    /// Reads on until the text so far fulfils a condition.
    async fn wait_for(&mut self, holds: impl Fn(&str) -> bool) {
        let mut part = [0; 16 << 10];
        while !holds(&self.text) {
            let read = tokio::time::timeout(WAIT_TIMEOUT, self.stream.read(&mut part)).await;
            let read = read.unwrap_or_else(|_| panic!("too late: {}", self.text));
            let read = read.expect("it is open");
            assert!(read > 0, "it ended: {}", self.text);
            self.text += &String::from_utf8_lossy(&part[..read]);
        }
    }

    /// Returns the data of all events with this name.
    fn all(&self, name: &str) -> Vec<Value> {
        let marker = format!("event: {name}\n");
        let mut lines = self.text.split(&marker).skip(1);
        let data = lines.by_ref().filter_map(|rest| {
            let line = rest.strip_prefix("data: ")?.split_once("\n\n")?.0;
            // Chunks of the transfer coding lie between events, never in one.
            Some(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        });
        data.collect()
    }
}

fn node_port(port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
    })
}

async fn review(host: &Program, user: &str, object: &Value) -> Value {
    let mut review: Value =
        serde_json::from_slice(&body("CREATE", object, &Value::Null)).expect("JSON");
    review["request"]["userInfo"]["username"] = user.into();
    let mut connection = host.client.connect(PROTOCOLS[1]).await;
    let reply = connection
        .post("/validate", review.to_string().into_bytes())
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    serde_json::from_str(reply.text()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn there_is_no_console_unless_it_is_asked_for_and_then_on_the_loopback() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(policies.path(), &[]);
    assert!(!host.log().contains("console"), "{}", host.log());
    let other = [
        "serve",
        "--console",
        "--console-host",
        "https://console.example.com:443",
    ];
    let ran = Command::new(&*SALLYPORT)
        .args(other)
        .output()
        .expect("it runs");
    let log = String::from_utf8_lossy(&ran.stderr);
    assert!(
        log.contains("expected a name without scheme and port"),
        "{log}"
    );
    let help = Command::new(&*SALLYPORT).args(["serve", "--help"]).output();
    let help = String::from_utf8(help.expect("it runs").stdout).expect("UTF-8");
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("By default on 127.0.0.1:8082"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_page_and_the_state_are_served_with_strict_headers() {
    let (_host, console) = shipped();
    for path in ["/", "/live.js", "/feed.js", "/live.css", "/icon.svg"] {
        let answer = get(console, path).await.to_ascii_lowercase();
        assert_eq!(status(&answer), 200, "{path}: {answer}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(answer.contains(header), "{path} lacks {header}: {answer}");
        }
    }
    let state = get(console, "/console/state").await;
    assert_eq!(status(&state), 200, "{state}");
    let (_, json) = state.split_once("\r\n\r\n").expect("a body");
    let state: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(state["generation"], 1);
    assert_eq!(state["counts"]["service-type"]["evaluations"], 0);
    assert_eq!(state["denials"]["total"], 0);
    let head = send(console, "HEAD / HTTP/1.1\nHost: localhost").await;
    assert_eq!(
        (status(&head), head.split_once("\r\n\r\n").map(|it| it.1)),
        (200, Some(""))
    );
    assert_eq!(status(&get(console, "/../Cargo.toml").await), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_browser_that_has_a_file_gets_no_body() {
    let (_host, console) = shipped();
    for accepted in ["gzip", "identity"] {
        let request =
            format!("GET /live.js HTTP/1.1\nHost: localhost\nAccept-Encoding: {accepted}");
        let (head, body) = fetch(console, &request).await;
        assert!(!body.is_empty(), "{head}");
        let tag = header(&head, "etag").expect("a tag");
        let (head, body) = fetch(console, &format!("{request}\nIf-None-Match: {tag}")).await;
        assert_eq!((status(&head), body.len()), (304, 0), "{head}");
    }
}

/// Sends a request, and returns head and body of the answer.
async fn fetch(console: SocketAddr, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(console).await.expect("it listens");
    let request = request.replace('\n', "\r\n") + "\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.expect("an answer");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let body = answer.split_off(end.expect("a head") + 4);
    (String::from_utf8(answer).expect("a head is text"), body)
}

/// Returns the value of a header.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut named = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value)
}

/// Lists the files of a folder and of its sub-folders by their paths in it.
fn files_of(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = format!("{prefix}{}", name.expect("UTF-8"));
        if path.is_dir() {
            files_of(&path, &format!("{name}/"), found);
        } else {
            found.push(name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_playground_of_the_program_is_the_one_that_was_built() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let (_host, console) = serve(policies.path(), &[]);
    let state = get(console, "/console/state").await;
    let (page, _) = fetch(console, "GET /playground/ HTTP/1.1\nHost: localhost").await;
    if !state.contains(r#""playground":true"#) {
        let answer = get(console, "/playground/").await;
        assert_eq!(status(&answer), 404, "{answer}");
        assert!(answer.contains("`make console`"), "{answer}");
        assert!(
            answer.contains("--console-files target/console"),
            "{answer}"
        );
        return;
    }
    let policy = header(&page, "content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let (embedded, built) = (
        root().join("webhook-host/console/embedded"),
        root().join("target/console"),
    );
    let mut files = vec![];
    files_of(&embedded, "", &mut files);
    files.retain(|file| file.ends_with(".br"));
    assert!(files.contains(&"index.html.br".to_owned()), "{files:?}");
    for file in &files {
        let name = file.trim_end_matches(".br");
        let request = format!("GET /playground/{name} HTTP/1.1\nHost: localhost");
        let brotli = format!("{request}\nAccept-Encoding: gzip, br");
        let (head, body) = fetch(console, &brotli).await;
        assert_eq!(status(&head), 200, "{head}");
        assert_eq!(header(&head, "content-encoding"), Some("br"), "{head}");
        assert_eq!(header(&head, "vary"), Some("accept-encoding"), "{head}");
        let compressed = std::fs::read(embedded.join(file)).expect("readable");
        assert!(body == compressed, "{name} as it was compressed");
        let tag = header(&head, "etag").expect("a tag");
        let (head, _) = fetch(console, &format!("{brotli}\nIf-None-Match: {tag}")).await;
        assert_eq!(status(&head), 304, "{head}");
        // Safari takes brotli by TLS alone.
        let (head, body) = fetch(console, &format!("{request}\nIf-None-Match: {tag}")).await;
        assert_eq!(
            (status(&head), header(&head, "content-encoding")),
            (200, None)
        );
        let plain = std::fs::read(built.join(name)).expect("readable");
        assert!(body == plain, "{name} as `make console` built it");
    }
    let other = get(console, "/playground/assets/transpiler.js").await;
    assert_eq!(status(&other), 404, "{other}");
    assert!(other.contains("--console-files target/console"), "{other}");
    let moved = get(console, "/playground").await;
    assert_eq!(status(&moved), 308, "{moved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn other_sites_and_other_methods_are_refused() {
    let (_host, console) = shipped();
    for (request, expected, word) in [
        (
            "GET /console/state HTTP/1.1\nHost: evil.example.com",
            421,
            "--console-host",
        ),
        (
            "GET / HTTP/1.1\nHost: evil.example.com:8082",
            421,
            "--console-host",
        ),
        (
            "GET / HTTP/1.1\nHost: localhost\nHost: evil.example.com",
            400,
            "Host",
        ),
        (
            "GET http://evil.example.com/ HTTP/1.1\nHost: localhost",
            400,
            "Host",
        ),
        (
            "GET /console/state HTTP/1.1\nHost: localhost\nOrigin: http://evil.example.com",
            403,
            "Origin",
        ),
        (
            "GET /console/state HTTP/1.1\nHost: localhost\nOrigin: null",
            403,
            "Origin",
        ),
        (
            "GET /console/events HTTP/1.1\nHost: localhost\nSec-Fetch-Site: cross-site",
            403,
            "Sec-Fetch-Site",
        ),
        (
            "POST /console/state HTTP/1.1\nHost: localhost\nContent-Length: 0",
            405,
            "GET, HEAD",
        ),
        ("DELETE / HTTP/1.1\nHost: localhost", 405, "GET, HEAD"),
        (
            "OPTIONS /console/state HTTP/1.1\nHost: localhost",
            405,
            "GET, HEAD",
        ),
        (
            "GET /console/exposures HTTP/1.1\nHost: localhost",
            404,
            "--audit-reports",
        ),
        (
            "GET /console/other HTTP/1.1\nHost: localhost",
            404,
            "no such view",
        ),
    ] {
        let answer = send(console, request).await;
        assert_eq!(status(&answer), expected, "{request}: {answer}");
        assert!(answer.contains(word), "{request}: {answer}");
    }
    let named = "GET /console/state HTTP/1.1\nHost: localhost:9999\nOrigin: http://localhost:9999";
    assert_eq!(
        status(&send(console, named).await),
        200,
        "as port-forward has it"
    );
}

#[test]
fn an_address_of_others_needs_tls_and_an_api_server() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let files = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let file = |name: &str, text: &str| {
        put(files.path(), name, text);
        files.path().join(name).display().to_string()
    };
    let cert = file("tls.crt", &made.cert.pem());
    let key = file("tls.key", &made.signing_key.serialize_pem());
    let refused = |more: &[&str]| {
        let policies = policies.path().to_str().expect("UTF-8");
        let ran = Command::new(&*SALLYPORT)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .args(["--policies", policies, "--console", "192.0.2.1:8082"])
            .args(more)
            .current_dir(files.path())
            .env_clear()
            .stdout(Stdio::null())
            .output()
            .expect("it runs");
        let log = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{log}");
        log
    };
    let log = refused(&["--self-signed"]);
    assert!(
        log.contains("--console 192.0.2.1:8082: others can reach this address"),
        "{log}"
    );
    assert!(
        log.contains("--tls-cert or --self-managed-certificate"),
        "{log}"
    );
    let log = refused(&["--tls-cert", &cert, "--tls-key", &key]);
    assert!(
        log.contains("an API server must check their tokens"),
        "{log}"
    );
    assert!(
        log.contains("--console 127.0.0.1:8082 with `kubectl port-forward`"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_denial_is_an_event_that_says_why_and_quotes_no_free_text() {
    let (host, console) = shipped();
    let mut events = Events::open(console).await;
    events
        .wait_for(|text| text.contains("event: state\n"))
        .await;
    let exposing = EXPOSING.iter().find(|exposing| exposing.values.is_empty());
    let annotation = exposing.expect("some may have any value").key;
    let mut object = node_port(29999);
    object["metadata"]["annotations"] = json!({annotation: "password=hunter2-hunter2"});
    let answer = review(&host, "jane@example.com", &object).await;
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    review(
        &host,
        "system:serviceaccount:shop:deployer",
        &node_port(29998),
    )
    .await;
    review(&host, "jane@example.com", &node_port(30080)).await;
    let both = |text: &str| text.contains("29999") && text.contains("29998");
    events.wait_for(both).await;
    let denials: Vec<_> = events
        .all("denials")
        .into_iter()
        .flat_map(|it| it.as_array().expect("an array").clone())
        .collect();
    let [first, second] = denials.as_slice() else {
        panic!("{denials:?}")
    };
    assert_eq!(
        (&first["number"], &second["number"]),
        (&json!(1), &json!(2))
    );
    let first = &first["review"];
    for (member, expected) in [
        ("namespace", json!("default")),
        ("name", json!("web")),
        ("operation", json!("CREATE")),
        ("dryRun", json!(false)),
        ("generation", json!(1)),
    ] {
        assert_eq!(first[member], expected, "{member}: {first}");
    }
    let causes = first["causes"].as_array().expect("an array");
    let range = causes
        .iter()
        .find(|cause| cause["field"] == "spec.ports[0].nodePort");
    let message = range.expect("S02")["message"].as_str().expect("a text");
    assert!(message.contains("[nodeport-range]"), "{first}");
    let user = first["user"].as_str().expect("a text");
    assert!(user.starts_with("hashed-"), "{user}");
    assert_eq!(
        second["review"]["user"],
        "system:serviceaccount:shop:deployer"
    );
    assert!(!events.text.contains("hunter2"), "{}", events.text);
    assert!(!events.text.contains("jane"), "{}", events.text);
    // A stream that begins later has them, too.
    let mut later = Events::open(console).await;
    later.wait_for(both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_state_that_changes_is_an_event() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let (host, console) = serve(policies.path(), &["--watch-interval", "100ms"]);
    let mut events = Events::open(console).await;
    review(&host, "jane", &node_port(30080)).await;
    events
        .wait_for(|text| text.contains(r#""p":{"evaluations":1,"violating":0,"failed":0"#))
        .await;
    put(
        policies.path(),
        "q.yaml",
        &manifest("q", &json!({"mode": "Audit"})),
    );
    events
        .wait_for(|text| text.contains(r#""generation":2"#))
        .await;
    put(policies.path(), "q.yaml", "kind: nonsense");
    let failed = r#""reloads":[{"generation":2,"#;
    events
        .wait_for(|text| text.contains(failed) && text.contains(r#""error":"#))
        .await;
    let last = events.all("state").pop().expect("some");
    let names: Vec<_> = last["policies"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|policy| policy["name"].as_str().expect("a text"))
        .collect();
    assert_eq!(names, ["p", "q"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn streams_are_bounded_and_a_place_is_free_again_when_a_client_goes() {
    let (_host, console) = shipped();
    let mut open = vec![];
    for _ in 0..MAX_STREAMS {
        open.push(Events::open(console).await);
    }
    let refused = get(console, "/console/events").await;
    assert_eq!(status(&refused), 503, "{refused}");
    assert!(refused.contains("retry-after: 5"), "{refused}");
    assert_eq!(status(&get(console, "/console/state").await), 200);
    open.pop();
    let began = Instant::now();
    loop {
        let events = Events::open(console).await;
        if events.text.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(began.elapsed() < WAIT_TIMEOUT, "{}", events.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn probes_and_reviews_are_answered_while_the_console_is_saturated() {
    let (host, console) = shipped();
    let mut streams = vec![];
    for _ in 0..MAX_STREAMS {
        streams.push(Events::open(console).await);
    }
    // More connections than it serves, silent ones and ones that ask without a pause.
    let mut silent = vec![];
    for _ in 0..100 {
        silent.push(TcpStream::connect(console).await.expect("it listens"));
    }
    let busy: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                loop {
                    // A connection may be closed for a newer one.
                    if let Ok(mut stream) = TcpStream::connect(console).await {
                        let request = b"GET /console/state HTTP/1.1\r\nHost: localhost\r\n\r\n";
                        let _ = stream.write_all(request).await;
                        let _ = stream.read(&mut [0; 1024]).await;
                    }
                }
            })
        })
        .collect();
    let began = Instant::now();
    for _ in 0..20 {
        let ready = probe(host.admin, "/readyz").await;
        assert!(ready.contains("200 OK"), "{ready}");
        let answer = review(&host, "jane", &node_port(30080)).await;
        assert_eq!(answer["response"]["allowed"], true, "{answer}");
    }
    let took = began.elapsed();
    assert!(took < WAIT_TIMEOUT, "{took:?}");
    busy.iter().for_each(tokio::task::JoinHandle::abort);
    // And the console itself still lets a new client in.
    assert_eq!(status(&get(console, "/console/state").await), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_playground_is_served_where_its_files_are_given() {
    let files = tempfile::tempdir().expect("a directory");
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let site = files.path().join("site");
    std::fs::create_dir_all(site.join("policies")).expect("made");
    put(&site, "index.html", "<p>the playground</p>");
    std::fs::write(site.join("policies/a.wasm"), b"\0asm").expect("written");
    put(files.path(), "outside", "nobody may read it");
    let folder = site.to_str().expect("UTF-8");
    let (_host, console) = serve(policies.path(), &["--console-files", folder]);
    let page = get(console, "/playground/").await;
    assert!(
        page.contains("the playground") && page.contains("text/html"),
        "{page}"
    );
    let module = get(console, "/playground/policies/a.wasm").await;
    assert!(
        module.contains("content-type: application/wasm"),
        "{module}"
    );
    for path in [
        "/playground/../outside",
        "/playground/%2e%2e/outside",
        "/playground/policies",
    ] {
        assert_eq!(status(&get(console, path).await), 404, "{path}");
    }
}
