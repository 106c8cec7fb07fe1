//! What a review costs, and what policies cost of a server's throughput. Run by `make bench`.
//!
//! Every figure stands beside a baseline of the same run, since machines differ and are shared: a policy on a fresh instance
//! beside the same Rust function called natively on a parsed Service, and the server with the shipped policies beside the same
//! server with none. The load comes from a process of its own (this program, called again), bounded in time. No figure
//! is asserted. What large Services cost stands beside what small ones do, so that anything quadratic shows.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use clusterip_internal::ClusterIpInternal;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadbalancer_cloud_only::LoadBalancerCloudOnly;
use nodeport_range::NodePortRange;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sallyport::admission::{Admission, AdmissionRequest, Clock, Function};
use sallyport::contract::review::Phase;
use sallyport::engine::{Engine, EngineConfig};
use sallyport::inventory::Inventory;
use sallyport::manifest::{Exemptions, ServicePolicy};
use sallyport::policy::Policy;
use sallyport::server::{Limits, Live, Server, tls};
use service_type::ServiceTypes;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// How long one figure is measured, and how often; medians are told.
const MEASURE: Duration = Duration::from_millis(400);
const LOAD: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

/// Calls at the same time: what a busy API server has.
const CONCURRENCY: usize = 16;

const NAMES: [&str; 4] = ["service-type", "nodeport-range", "loadbalancer-cloud-only", "clusterip-internal"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [load, kind, port, ca] if load == "load" => generate(Kind::named(kind)?, port.parse()?, Path::new(ca)),
        _ => measure(),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A create of a NodePort Service as kube-apiserver 1.36 sent it.
fn body() -> Result<Vec<u8>> {
    let file = root().join("tests/admission-reviews/018-validate-CREATE-services-nodeport-explicit.json");
    std::fs::read(&file).with_context(|| file.display().to_string())
}

fn measure() -> Result<()> {
    let engine = Arc::new(Engine::new(&EngineConfig::default())?);
    let body = body()?;
    println!("one review: {} bytes; medians of {ROUNDS} rounds of {MEASURE:?}\n", body.len());
    evaluations(&engine, &body)?;
    growth(&engine, &body)?;
    println!(
        "\nover TLS on loopback, {CONCURRENCY} calls at a time; medians of {ROUNDS} rounds of {LOAD:?}, client and server share the machine\n"
    );
    throughput(&engine, body)?;
    neighbours(&engine)
}

fn policies(engine: &Arc<Engine>, names: &[&str]) -> Result<Vec<Policy>> {
    names.iter().map(|name| policy(engine, name)).collect()
}

fn directory() -> PathBuf {
    root().join("target/policies")
}

/// Every policy that is shipped, with time enough to tell what a large Service costs where that is too much.
fn every_policy(engine: &Arc<Engine>) -> Result<Vec<Policy>> {
    let entries = std::fs::read_dir(directory()).context("run `make policies` first")?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let manifests = files.iter().filter(|file| file.extension().is_some_and(|end| end == "yaml"));
    let names = manifests.filter_map(|file| file.file_stem()?.to_str());
    names.map(|name| patient(engine, name, "10s")).collect()
}

fn policy(engine: &Arc<Engine>, name: &str) -> Result<Policy> {
    patient(engine, name, "50ms")
}

fn patient(engine: &Arc<Engine>, name: &str, deadline: &str) -> Result<Policy> {
    let directory = directory();
    let module = directory.join(format!("{}.wasm", name.replace('-', "_")));
    let component =
        std::fs::read(&module).with_context(|| format!("{}: run `make policies` first", module.display()))?;
    let text = std::fs::read_to_string(directory.join(format!("{name}.yaml")))?;
    let documents = sallyport::yaml::documents(&text)?;
    let [manifest] = documents.as_slice() else { bail!("{name}.yaml: expected one manifest") };
    let mut manifest = manifest.clone();
    manifest["spec"]["limits"]["deadline"] = deadline.into();
    Ok(Policy::load(engine, ServicePolicy::from_value(&manifest)?, &component)?)
}

fn admission(policies: Vec<Policy>) -> Admission {
    Admission::new(policies, Inventory::default(), Exemptions::default())
}

/// Microseconds of a call, the median of some rounds.
fn micros(call: impl FnMut()) -> f64 {
    micros_each(64, MEASURE, call)
}

/// The same, so many calls between two looks at the clock, for at least so long a round.
fn micros_each(calls_at_once: u32, measure: Duration, mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (began, mut calls) = (Instant::now(), 0_u32);
            while began.elapsed() < measure {
                (0..calls_at_once).for_each(|_| call());
                calls += calls_at_once;
            }
            began.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
        })
        .collect();
    median(&mut rounds)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn review(admission: &Admission, body: &[u8]) {
    let (allowed, problem) = answer(admission, body);
    assert!(allowed, "the example is admitted: {problem:?}");
}

/// Whether it was admitted, and why some policy gave no verdict.
fn answer(admission: &Admission, body: &[u8]) -> (bool, Option<String>) {
    let request = AdmissionRequest::parse(body).expect("a captured body");
    let clock = Clock { now: SystemTime::now(), deadline: Instant::now() + Duration::from_secs(10) };
    let outcome = admission.review(Function::Validate(Phase::Validating), &request, clock);
    black_box(outcome.response.to_json());
    let problem = outcome.evaluations.iter().find_map(|evaluation| {
        let error = evaluation.error.as_ref()?;
        Some(format!("{}: {error}", evaluation.policy))
    });
    (outcome.response.allowed, problem)
}

fn evaluations(engine: &Arc<Engine>, body: &[u8]) -> Result<()> {
    let none = admission(vec![]);
    let bare = micros(|| review(&none, body));
    println!("{:<38}{:>9.1} us", "review without policies (parse, answer)", bare);
    println!("\n{:<28}{:>12}{:>14}{:>8}", "policy, fresh instance", "us a review", "native, us", "ratio");
    for name in NAMES {
        let one = admission(policies(engine, &[name])?);
        let cost = micros(|| review(&one, body)) - bare;
        let native = native(name);
        println!("{name:<28}{cost:>12.1}{native:>14.3}{:>8.0}", cost / native);
    }
    let all = admission(policies(engine, &NAMES)?);
    let cost = micros(|| review(&all, body)) - bare;
    println!("{:<28}{cost:>12.1}", "all four");
    Ok(())
}

/// Whether what a review costs grows with the Service, or faster. All shipped policies together.
fn growth(engine: &Arc<Engine>, body: &[u8]) -> Result<()> {
    let (none, all) = (admission(vec![]), admission(every_policy(engine)?));
    let example: serde_json::Value = serde_json::from_slice(body)?;
    let count = all.policies().len();
    println!(
        "\n{:<28}{:>12}{:>14}{:>14}{:>12}",
        format!("all {count} policies, of"),
        "bytes",
        "without, us",
        "policies, us",
        "us a port"
    );
    let tell = |name: &str, review: &serde_json::Value, ports: u32| {
        let body = review.to_string().into_bytes();
        let micros = |admission: &Admission| micros_each(1, MEASURE / 2, || _ = answer(admission, &body));
        let bare = micros(&none);
        let cost = micros(&all) - bare;
        println!("{name:<28}{:>12}{bare:>14.1}{cost:>14.1}{:>12.3}", body.len(), cost / f64::from(ports));
        let (allowed, problem) = answer(&all, &body);
        problem.into_iter().for_each(|problem| println!("  no verdict of {problem}"));
        allowed
    };
    assert!(tell("an ordinary Service", &example, 1));
    for ports in [10, 100, 1_000, 5_000] {
        assert!(tell(&format!("{ports} ports in range"), &with_ports(&example, 30_000, ports), ports));
    }
    for ports in [10, 100, 1_000, 5_000] {
        assert!(!tell(&format!("{ports} ports out of range"), &with_ports(&example, 20_000, ports), ports));
    }
    for annotations in [1, 4_096] {
        assert!(tell(&format!("256 KiB in {annotations} annotations"), &with_annotations(&example, annotations), 1));
    }
    Ok(())
}

/// So many ports, the node ports from a number up; as for any create, managedFields name each of them.
fn with_ports(review: &serde_json::Value, first: u32, count: u32) -> serde_json::Value {
    let mut review = review.clone();
    let (mut ports, mut fields) = (vec![], serde_json::Map::new());
    for i in 0..count {
        // A node port can be used once for each protocol.
        let (protocol, i) = (["TCP", "UDP", "SCTP"][(i % 3) as usize], i / 3);
        let port = 40_000 + i;
        ports.push(serde_json::json!({
            "name": format!("p{port}-{}", protocol.to_lowercase()), "protocol": protocol, "port": port,
            "targetPort": port, "nodePort": first + i,
        }));
        let key = format!(r#"k:{{"port":{port},"protocol":"{protocol}"}}"#);
        fields.insert(key, serde_json::json!({".": {}, "f:nodePort": {}, "f:port": {}, "f:protocol": {}}));
    }
    review["request"]["object"]["spec"]["ports"] = ports.into();
    review["request"]["object"]["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"] = fields.into();
    review
}

/// As many bytes as an API server lets annotations have together.
fn with_annotations(review: &serde_json::Value, count: usize) -> serde_json::Value {
    const BYTES: usize = 256 << 10;
    let mut review = review.clone();
    let annotation = |i| {
        let key = format!("example.com/annotation-{i:04}");
        let value = "x".repeat(BYTES / count - key.len());
        (key, value.into())
    };
    let annotations: serde_json::Map<_, _> = (0..count).map(annotation).collect();
    review["request"]["object"]["metadata"]["annotations"] = annotations.into();
    review
}

/// The same rule, compiled natively, on a Service that is parsed already.
fn native(name: &str) -> f64 {
    use sallyport_policy::testing::{create, node_port};
    let mut service = node_port("nodeport-explicit", 80, 30080);
    service.spec.selector = vec![("app".to_owned(), "a".to_owned())];
    let review = create(service);
    match name {
        "service-type" => native_policy::<ServiceTypes>(&review),
        "nodeport-range" => native_policy::<NodePortRange>(&review),
        "loadbalancer-cloud-only" => native_policy::<LoadBalancerCloudOnly>(&review),
        _ => native_policy::<ClusterIpInternal>(&review),
    }
}

fn native_policy<P: sallyport_policy::Policy>(review: &sallyport_policy::Review) -> f64 {
    let policy = P::configure(P::defaults()).unwrap_or_else(|_| panic!("defaults are valid"));
    micros(|| {
        black_box(policy.validate(black_box(review)));
    })
}

/// What a load generator sends, and over what.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The example, over one HTTP/2 connection or many of HTTP/1.1.
    Http2,
    Http1,
    /// Ten clients that send what the guest `misbehave` loops on, or is content with.
    Looping,
    Harmless,
}

impl Kind {
    const NAMES: [(&str, Self); 4] =
        [("h2", Self::Http2), ("http/1.1", Self::Http1), ("looping", Self::Looping), ("harmless", Self::Harmless)];

    fn named(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind).with_context(|| format!("no load is called {name}"))
    }

    fn clients(self) -> usize {
        if matches!(self, Self::Http2 | Self::Http1) { CONCURRENCY } else { 10 }
    }

    fn body(self) -> Result<Vec<u8>> {
        let word = match self {
            Self::Http2 | Self::Http1 => return body(),
            Self::Looping => "loop",
            Self::Harmless => "nothing",
        };
        let mut review: serde_json::Value = serde_json::from_slice(&body()?)?;
        review["request"]["namespace"] = NOISY.into();
        review["request"]["object"]["metadata"]["namespace"] = NOISY.into();
        review["request"]["object"]["metadata"]["annotations"] = serde_json::json!({"test/do": word});
        Ok(review.to_string().into_bytes())
    }
}

/// The namespace of those who make a policy loop.
const NOISY: &str = "noisy";

/// What a load generator saw.
struct Load {
    rate: f64,
    p50: f64,
    p99: f64,
}

fn throughput(engine: &Arc<Engine>, body: Vec<u8>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let without = runtime.block_on(serve(vec![]))?;
    let idle = resident()?;
    let with = runtime.block_on(serve(policies(engine, &NAMES)?))?;
    drop(body);
    println!(
        "{:<12}{:>16}{:>16}{:>8}{:>24}{:>24}",
        "", "no policy, 1/s", "4 policies, 1/s", "ratio", "p50, p99 us without", "p50, p99 us with"
    );
    for protocol in ["h2", "http/1.1"] {
        let (mut off, mut on) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            off.push(load(protocol, &without)?);
            on.push(load(protocol, &with)?);
        }
        let of = |loads: &[Load], part: fn(&Load) -> f64| median(&mut loads.iter().map(part).collect::<Vec<_>>());
        let (a, b) = (of(&off, |load| load.rate), of(&on, |load| load.rate));
        let latency = |loads: &[Load]| format!("{:.0}, {:.0}", of(loads, |load| load.p50), of(loads, |load| load.p99));
        println!("{protocol:<12}{a:>16.0}{b:>16.0}{:>8.2}{:>24}{:>24}", b / a, latency(&off), latency(&on));
    }
    println!(
        "\nresident memory of the server's process: {idle} KiB before the policies were loaded, {} KiB after the load",
        resident()?
    );
    Ok(())
}

/// What others notice of ten clients that make a policy loop, beside what they notice of ten that don't.
fn neighbours(engine: &Arc<Engine>) -> Result<()> {
    let module = root().join("target/guests/misbehave.wasm");
    let component = std::fs::read(&module).with_context(|| format!("{}: run `make policies`", module.display()))?;
    // Not asked about the example's namespace; with the default deadline.
    let example: serde_json::Value = serde_json::from_slice(&body()?)?;
    let elsewhere = serde_json::json!({"excludeNamespaces": [example["request"]["namespace"]]});
    let manifest = serde_json::json!({
        "apiVersion": "sallyport.dev/v1alpha1",
        "kind": "ServicePolicy",
        "metadata": {"name": "looping"},
        "spec": {"module": {"file": "misbehave.wasm"}, "match": elsewhere},
    });
    let mut all = policies(engine, &NAMES)?;
    all.push(Policy::load(engine, ServicePolicy::from_value(&manifest)?, &component)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let serving = runtime.block_on(serve(all))?;
    println!("\n{:<44}{:>12}{:>24}", "four policies over http/1.1, beside", "1/s", "p50, p99 us");
    for (name, noise) in [
        ("nobody", None),
        ("ten clients of a fifth policy", Some("harmless")),
        ("ten that make it loop", Some("looping")),
    ] {
        let mut loads = vec![];
        for _ in 0..ROUNDS {
            let noise = noise.map(|noise| generator(noise, &serving).spawn()).transpose()?;
            loads.push(load("http/1.1", &serving)?);
            noise.map(|mut noise| noise.wait()).transpose()?;
        }
        let of = |part: fn(&Load) -> f64| median(&mut loads.iter().map(part).collect::<Vec<_>>());
        let latency = format!("{:.0}, {:.0}", of(|load| load.p50), of(|load| load.p99));
        println!("{name:<44}{:>12.0}{latency:>24}", of(|load| load.rate));
    }
    Ok(())
}

/// A listening server: its port and its authority's file.
struct Serving {
    port: u16,
    ca: PathBuf,
}

async fn serve(policies: Vec<Policy>) -> Result<Serving> {
    let admission = Arc::new(admission(policies));
    let certificate = tls::self_signed()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let ca = std::env::temp_dir().join(format!("sallyport-bench-{}-{port}.crt", std::process::id()));
    std::fs::write(&ca, &certificate.ca)?;
    let live = Live::new(admission);
    live.tls().present(certificate.identity);
    let server = Server::new(live, Limits::default());
    tokio::spawn(server.run(listener, std::future::pending(), Duration::ZERO));
    Ok(Serving { port, ca })
}

/// This program as a load generator.
fn generator(kind: &str, serving: &Serving) -> Command {
    let program = std::env::current_exe().expect("this program has a file");
    let mut command = Command::new(program);
    command.args(["load", kind, &serving.port.to_string()]).arg(&serving.ca).stdout(Stdio::piped());
    command
}

fn load(kind: &str, serving: &Serving) -> Result<Load> {
    let output = generator(kind, serving).output()?;
    if !output.status.success() {
        bail!("the load generator failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [rate, p50, p99] = figures[..] else { bail!("the load generator said {text:?}") };
    Ok(Load { rate, p50, p99 })
}

/// VmRSS of this process, in KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The load generator: one HTTP/2 connection with many streams, or a connection for each call.
#[tokio::main(flavor = "current_thread")]
async fn generate(kind: Kind, port: u16, ca: &Path) -> Result<()> {
    let h2 = kind == Kind::Http2;
    let connector = connector(h2, &std::fs::read(ca)?)?;
    let body = Bytes::from(kind.body()?);
    let until = Instant::now() + LOAD;
    let mut calls = tokio::task::JoinSet::new();
    let shared = if h2 { Some(http2(&connector, port).await?) } else { None };
    for _ in 0..kind.clients() {
        let body = body.clone();
        if let Some(sender) = &shared {
            let sender = sender.clone();
            calls.spawn(async move { ask(until, body, sender, |sender, request| sender.send_request(request)).await });
        } else {
            let sender = http1(&connector, port).await?;
            calls.spawn(async move { ask(until, body, sender, |sender, request| sender.send_request(request)).await });
        }
    }
    let mut took = vec![];
    for result in calls.join_all().await {
        took.extend(result?);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank"
        )]
        let rank = (took.len() as f64 * share) as usize;
        took[rank.min(took.len() - 1)]
    };
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let rate = took.len() as f64 / LOAD.as_secs_f64();
    println!("{rate} {} {}", at(0.5), at(0.99));
    Ok(())
}

/// Calls one after the other; the microseconds that each took.
async fn ask<S, F>(
    until: Instant,
    body: Bytes,
    mut sender: S,
    send: impl Fn(&mut S, Request<Full<Bytes>>) -> F,
) -> Result<Vec<f64>>
where
    F: Future<Output = hyper::Result<hyper::Response<hyper::body::Incoming>>>,
{
    let mut took = vec![];
    while Instant::now() < until {
        let request = Request::post("https://localhost/validate?timeout=10s")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))?;
        let began = Instant::now();
        let response = send(&mut sender, request).await?;
        if !response.status().is_success() {
            bail!("status {}", response.status());
        }
        response.into_body().collect().await?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}

fn connector(h2: bool, ca: &[u8]) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect(connector: &TlsConnector, port: u16) -> Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(connector.connect(ServerName::try_from("localhost")?, stream).await?))
}

async fn http2(connector: &TlsConnector, port: u16) -> Result<hyper::client::conn::http2::SendRequest<Full<Bytes>>> {
    let stream = connect(connector, port).await?;
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn http1(connector: &TlsConnector, port: u16) -> Result<hyper::client::conn::http1::SendRequest<Full<Bytes>>> {
    let (sender, connection) = hyper::client::conn::http1::handshake(connect(connector, port).await?).await?;
    tokio::spawn(connection);
    Ok(sender)
}
