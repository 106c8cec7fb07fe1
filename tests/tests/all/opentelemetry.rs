//! `serve --otlp-endpoint`: spans in the trace of the API server and the metrics, as a collector
//! decodes them with OpenTelemetry's own types, and collectors that are down, slow or refuse.

use crate::client::{PROTOCOLS, Protocol, probe, request};
use crate::command_line::sallyport;
use crate::host::command;
use crate::program::{Program, directory, manifest};
use axum::http::{HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status};
use prost::Message as _;
use sallyport_tests::collector::{Answer, Collector, TRACES};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

async fn wait(holds: impl Fn() -> bool, what: impl Fn() -> String) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < WAIT_TIMEOUT, "{}", what());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for this many spans.
async fn wait_for_spans(collector: &Collector, count: usize, host: &Program) -> Vec<Span> {
    let spans = || collector.spans(TRACES);
    let what = || format!("{} of {count} spans:\n{}", spans().len(), host.log());
    wait(|| spans().len() >= count, what).await;
    spans()
}

fn answer_with(collector: &Collector, status: u16) {
    let status = StatusCode::from_u16(status).expect("a status");
    collector.answer(Answer::Reply(status, None, vec![]));
}

fn policies() -> TempDir {
    directory(&[("p.yaml", manifest("p", &json!({})))])
}

/// Serves one policy with an exporter.
fn serve(files: &TempDir, url: &str, more: &[&str]) -> Program {
    Program::serve(files.path(), &[&["--otlp-endpoint", url], more].concat())
}

/// Sends a review with this `traceparent`.
async fn post(host: &Program, word: &str, trace: Option<&str>) {
    let mut request = request("POST", "/validate", "application/json", command(word));
    if let Some(trace) = trace {
        let trace = HeaderValue::from_str(trace).expect("ASCII");
        request.headers_mut().insert("traceparent", trace);
    }
    let reply = host.client.send(PROTOCOLS[0], request).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

/// Sends a review in a trace that is sampled.
async fn post_sampled(host: &Program, word: &str) {
    post(host, word, Some(&format!("00-{TRACE}-{PARENT}-01"))).await;
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns attributes as JSON.
fn attributes(pairs: &[KeyValue]) -> Value {
    let of = |pair: &KeyValue| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
        (pair.key.clone(), value.map_or(Value::Null, plain))
    };
    pairs
        .iter()
        .map(of)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn plain(value: &Any) -> Value {
    match value {
        Any::StringValue(text) => text.as_str().into(),
        Any::BoolValue(value) => (*value).into(),
        Any::IntValue(number) => (*number).into(),
        Any::ArrayValue(array) => {
            let values = array.values.iter().filter_map(|value| value.value.as_ref());
            values.map(plain).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Returns the value of one series of `/metrics`, 0 when it is absent.
async fn count(host: &Program, series: &str) -> u64 {
    let text = probe(host.admin, "/metrics").await;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().expect("a number"))
}

async fn spans_that(host: &Program, result: &str) -> u64 {
    count(
        host,
        &format!(r#"sallyport_otlp_spans_total{{result="{result}"}}"#),
    )
    .await
}

/// Waits until this many spans are counted with this result.
async fn wait_for_count(host: &Program, result: &str, expected: u64) {
    let began = Instant::now();
    loop {
        let found = spans_that(host, result).await;
        if found == expected {
            return;
        }
        let log = host.log();
        assert!(
            began.elapsed() < WAIT_TIMEOUT,
            "{found} are {result}:\n{log}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the errors about spans in the log.
fn errors(host: &Program) -> Vec<String> {
    let log = host.log();
    let errors = log
        .lines()
        .filter(|line| line.contains("spans can't be sent"));
    errors.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_span_joins_the_trace_of_the_api_server_and_says_who_denied() {
    let (files, collector) = (policies(), Collector::start().await);
    let host = serve(&files, &collector.url(), &[]);
    let status = host.status(|_| true).await;
    post_sampled(&host, "deny").await;
    let [span] = wait_for_spans(&collector, 1, &host)
        .await
        .try_into()
        .expect("one span");
    assert_eq!(hex(&span.trace_id), TRACE);
    assert_eq!(hex(&span.parent_span_id), PARENT);
    assert_eq!(span.span_id.len(), 8);
    assert_ne!(hex(&span.span_id), PARENT);
    assert_eq!(
        (span.kind(), &*span.name),
        (SpanKind::Server, "POST /validate")
    );
    // Sampled, and known to have a parent in another process.
    assert_eq!(span.flags, 0x301);
    assert!(
        span.start_time_unix_nano < span.end_time_unix_nano,
        "{span:?}"
    );
    let found = attributes(&span.attributes);
    for (key, expected) in [
        ("http.route", json!("/validate")),
        ("http.response.status_code", json!(200)),
        ("k8s.namespace.name", json!("default")),
        ("sallyport.name", json!("web")),
        ("sallyport.operation", json!("CREATE")),
        (
            "sallyport.uid",
            json!("5a11b0a7-0000-4000-8000-00000000000a"),
        ),
        ("sallyport.verdict", json!("denied")),
        ("sallyport.allowed", json!(false)),
        ("sallyport.policies", json!(1)),
        ("sallyport.denied_by", json!(["p"])),
        ("sallyport.set", status["digest"].clone()),
        ("sallyport.generation", json!(1)),
    ] {
        assert_eq!(found[key], expected, "{key}: {found}");
    }
    let rules = &found["sallyport.denied_rules"];
    assert!(
        rules.as_array().is_some_and(|rules| !rules.is_empty()),
        "{found}"
    );
    let [event] = span.events.as_slice() else {
        panic!("{:?}", span.events);
    };
    let event = attributes(&event.attributes);
    assert_eq!(
        (&event["sallyport.policy"], &event["sallyport.rules"]),
        (&json!("p"), rules)
    );
    assert!(event["sallyport.duration_us"].as_u64().is_some(), "{event}");
    // The user is not in it, and no text that the Service holds.
    let requests = collector.requests();
    let sent = String::from_utf8_lossy(&requests[0].body).into_owned();
    assert!(
        !sent.contains("jane") && !sent.contains("system:auth"),
        "{sent}"
    );
    assert!(!sent.contains("test/do"), "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_review_that_is_not_sampled_has_no_span() {
    let (files, collector) = (policies(), Collector::start().await);
    let host = serve(&files, &collector.url(), &[]);
    post(&host, "nothing", None).await;
    post(&host, "nothing", Some(&format!("00-{TRACE}-{PARENT}-00"))).await;
    post(&host, "nothing", Some("00-garbage-01")).await;
    post_sampled(&host, "nothing").await;
    wait_for_count(&host, "sent", 1).await;
    assert_eq!(collector.spans(TRACES).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_review_without_a_trace_gets_its_own_if_the_sampler_says_so() {
    let (files, collector) = (policies(), Collector::start().await);
    let host = Program::with_variables(
        &[
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                &format!("{}/in", collector.url()),
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
            ("OTEL_SERVICE_NAME", "gate"),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=blue"),
        ],
        files.path(),
        &[],
    );
    post(&host, "nothing", None).await;
    wait_for_count(&host, "sent", 1).await;
    let sent = collector.decoded::<ExportTraceServiceRequest>("/in");
    let sent = &sent[0].resource_spans[0];
    let span = &sent.scope_spans[0].spans[0];
    assert_eq!((span.trace_id.len(), span.parent_span_id.len()), (16, 0));
    assert_eq!(span.flags, 0x101);
    let Resource { attributes: of, .. } = sent.resource.as_ref().expect("a resource");
    let of = attributes(of);
    assert_eq!(of["service.name"], "gate");
    assert_eq!(of["k8s.cluster.name"], "blue");
    assert!(of["service.instance.id"].is_string(), "{of}");
    let requests = collector.requests();
    assert_eq!(requests[0].headers["authorization"], "Bearer abc");
    assert_eq!(
        requests[0].headers["content-type"],
        "application/x-protobuf"
    );
    assert!(!host.log().contains("abc"), "{}", host.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_policy_without_a_verdict_makes_the_span_an_error() {
    let (files, collector) = (policies(), Collector::start().await);
    let host = serve(&files, &collector.url(), &[]);
    post_sampled(&host, "panic").await;
    let spans = wait_for_spans(&collector, 1, &host).await;
    let status = spans[0].status.as_ref().expect("a status");
    assert_eq!(status.code(), status::StatusCode::Error);
    assert_eq!(status.message, "1 of 1 policies had no verdict");
    let event = attributes(&spans[0].events[0].attributes);
    assert!(event["sallyport.error"].is_string(), "{event}");
}

/// Returns the metrics of the last reading by name.
fn reading(collector: &Collector) -> Vec<Metric> {
    let mut readings = collector.decoded::<ExportMetricsServiceRequest>("/v1/metrics");
    let last = readings.pop().into_iter();
    let resources = last.flat_map(|request| request.resource_metrics);
    let scopes = resources.flat_map(|resource| resource.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn metrics_are_those_of_the_admin_port_and_the_last_reading_is_complete() {
    let (files, collector) = (policies(), Collector::start().await);
    let mut host = serve(
        &files,
        &collector.url(),
        &["--otlp-metrics-interval", "100ms"],
    );
    for _ in 0..3 {
        post(&host, "deny", None).await;
    }
    wait(|| !reading(&collector).is_empty(), || host.log()).await;
    let shown = probe(host.admin, "/metrics").await;
    host.signal("TERM");
    assert!(host.wait().success(), "{}", host.log());
    let metrics = reading(&collector);
    let names: BTreeSet<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    let series = shown.lines().filter(|line| line.starts_with("sallyport_"));
    let series = series.filter_map(|line| line.split(['{', ' ']).next());
    let without = |name: &str, end: &str| name.strip_suffix(end).map(str::to_owned);
    for name in series {
        let histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| without(name, end).filter(|name| names.contains(name.as_str())));
        assert!(
            names.contains(name) || histogram.is_some(),
            "{name} in {names:?}"
        );
    }
    let metric = |name: &str| {
        let found = metrics.iter().find(|metric| metric.name == name);
        found.unwrap_or_else(|| panic!("{name} in {names:?}"))
    };
    let Some(Data::Sum(sum)) = &metric("sallyport_admission_requests_total").data else {
        panic!("no counter");
    };
    assert!(sum.is_monotonic);
    assert_eq!(
        sum.aggregation_temporality(),
        AggregationTemporality::Cumulative
    );
    let [point] = sum.data_points.as_slice() else {
        panic!("{sum:?}");
    };
    assert_eq!(point.value, Some(Number::AsInt(3)));
    let labels = json!({"function": "validate", "operation": "CREATE", "result": "denied"});
    assert_eq!(attributes(&point.attributes), labels);
    assert!(point.start_time_unix_nano < point.time_unix_nano);
    let seconds = metric("sallyport_admission_seconds");
    let Some(Data::Histogram(histogram)) = &seconds.data else {
        panic!("{seconds:?}");
    };
    let validate = |pairs: &[KeyValue]| attributes(pairs)["function"] == "validate";
    let mut points = histogram.data_points.iter();
    let point = points.rfind(|point| validate(&point.attributes));
    let point = point.expect("it was called");
    assert_eq!((point.count, point.bucket_counts.iter().sum()), (3, 3_u64));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert!(collector.spans(TRACES).is_empty(), "nothing was sampled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_was_answered_before_sigterm_is_sent() {
    let (files, collector) = (policies(), Collector::start().await);
    let mut host = serve(&files, &collector.url(), &["--drain-delay", "0s"]);
    for _ in 0..20 {
        post_sampled(&host, "nothing").await;
    }
    host.signal("TERM");
    assert!(host.wait().success(), "{}", host.log());
    let ids: BTreeSet<_> = collector
        .spans(TRACES)
        .iter()
        .map(|span| hex(&span.span_id))
        .collect();
    assert_eq!(ids.len(), 20, "{}", host.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_collector_that_is_down_is_logged_once_and_asked_again() {
    let files = policies();
    let address = Collector::start().await.address;
    let host = serve(&files, &format!("http://{address}"), &[]);
    post_sampled(&host, "nothing").await;
    wait(|| !errors(&host).is_empty(), || host.log()).await;
    assert!(
        errors(&host)[0].contains("Connection refused"),
        "{:?}",
        errors(&host)
    );
    post_sampled(&host, "nothing").await;
    let collector = Collector::on(address).await;
    wait_for_spans(&collector, 2, &host).await;
    wait_for_count(&host, "sent", 2).await;
    assert_eq!(errors(&host).len(), 1, "{}", host.log());
    assert!(
        host.log().contains("spans are sent again"),
        "{}",
        host.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_busy_collector_gets_the_batch_again_and_a_broken_one_does_not() {
    let (files, collector) = (policies(), Collector::start().await);
    collector.answer(Answer::Reply(
        StatusCode::TOO_MANY_REQUESTS,
        Some(("retry-after", "1")),
        vec![],
    ));
    answer_with(&collector, 503);
    let host = serve(&files, &collector.url(), &[]);
    post_sampled(&host, "nothing").await;
    wait_for_spans(&collector, 1, &host).await;
    assert_eq!(collector.statuses(TRACES), [429, 503, 200]);
    collector.answer(Answer::Reply(
        StatusCode::INTERNAL_SERVER_ERROR,
        None,
        b"no disk".to_vec(),
    ));
    post_sampled(&host, "nothing").await;
    wait_for_count(&host, "failed", 1).await;
    assert_eq!(collector.statuses(TRACES), [429, 503, 200, 500]);
    assert_eq!(spans_that(&host, "sent").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn spans_that_a_collector_rejects_are_counted() {
    let (files, collector) = (policies(), Collector::start().await);
    let answer = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "too old".to_owned(),
        }),
    };
    collector.answer(Answer::Reply(StatusCode::OK, None, answer.encode_to_vec()));
    let host = serve(&files, &collector.url(), &[]);
    post_sampled(&host, "nothing").await;
    wait_for_count(&host, "failed", 1).await;
    wait(|| !errors(&host).is_empty(), || host.log()).await;
    assert!(errors(&host)[0].contains("too old"), "{}", host.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_collector_that_hangs_holds_up_no_review_and_the_queue_is_bounded() {
    let (files, collector) = (policies(), Collector::start().await);
    collector.answer(Answer::Hang);
    let host = serve(
        &files,
        &collector.url(),
        &["--otlp-timeout", "60s", "--otlp-sampler", "always_on"],
    );
    let mut connection = host.client.connect(Protocol::Http1).await;
    let (began, mut sent) = (Instant::now(), 0);
    while spans_that(&host, "dropped").await == 0 {
        for _ in 0..200 {
            let reply = connection.post("/validate", command("nothing")).await;
            assert_eq!(reply.status, StatusCode::OK);
            sent += 1;
        }
        assert!(
            began.elapsed() < 2 * WAIT_TIMEOUT,
            "{sent} reviews and no span is dropped"
        );
    }
    // Three full batches wait, and one in the making; the first two may be small.
    assert!((4 * 512..7 * 512).contains(&sent), "{sent}");
    assert_eq!(errors(&host), Vec::<String>::new());
}

/// Starts a proxy that terminates TLS before a collector, with a certificate of its own.
async fn tls(to: SocketAddr) -> (SocketAddr, String, JoinHandle<()>) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports them")
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private.expect("a key"))
        .expect("they fit");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut inner = tokio::net::TcpStream::connect(to).await?;
                let mut outer = acceptor.accept(stream).await?;
                tokio::io::copy_bidirectional(&mut outer, &mut inner).await
            });
        }
    });
    (address, key.cert.pem(), serving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_collector_with_a_certificate_of_an_own_authority_is_trusted_by_its_file() {
    let (files, collector) = (policies(), Collector::start().await);
    let (address, ca, serving) = tls(collector.address).await;
    let url = format!("https://localhost:{}", address.port());
    let file = files.path().join("otlp-ca.crt");
    std::fs::write(&file, ca).expect("written");
    let host = serve(&files, &url, &[]);
    post_sampled(&host, "nothing").await;
    wait(|| !errors(&host).is_empty(), || host.log()).await;
    assert!(
        errors(&host)[0].contains("--otlp-ca"),
        "{:?}",
        errors(&host)
    );
    let host = serve(&files, &url, &["--otlp-ca", file.to_str().expect("UTF-8")]);
    post_sampled(&host, "nothing").await;
    wait_for_spans(&collector, 1, &host).await;
    serving.abort();
}

#[test]
fn a_flag_that_cannot_work_ends_the_start_and_says_the_fix() {
    let files = policies();
    let path = files.path().to_str().expect("UTF-8");
    for (flags, expected) in [
        (
            ["--otlp-endpoint", "collector:4318"],
            "--otlp-endpoint: expected a URL such as http://otel-collector.observability:4318",
        ),
        (
            ["--otlp-metrics-endpoint", "https://jane:secret@c/v1"],
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            ["--otlp-sampler", "jaeger_remote"],
            "parentbased_always_off",
        ),
        (["--otlp-sampler-arg", "2"], "expected a share from 0 to 1"),
        (["--otlp-timeout", "0"], "expected a duration"),
    ] {
        let output =
            sallyport(&[&["serve", "--self-signed", "--policies", path], &flags[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(
            text.contains(expected) && !text.contains("secret"),
            "{text}"
        );
    }
    let missing = [
        "--otlp-endpoint",
        "https://c",
        "--otlp-ca",
        "/nowhere/ca.crt",
    ];
    let output = sallyport(
        &[
            &["serve", "--self-signed", "--policies", path],
            &missing[..],
        ]
        .concat(),
    );
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("--otlp-ca /nowhere/ca.crt"), "{text}");
}
