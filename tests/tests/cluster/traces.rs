//! `serve --otlp-endpoint` behind a real API server that traces its requests: both send their spans
//! to one collector, and a review's span is a child of the API server's call.

use crate::webhook::{Feature, Host, Registration};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use sallyport_tests::cluster::Cluster;
use sallyport_tests::collector::{Collector, GRPC_TRACES, TRACES};
use sallyport_tests::wait_for;
use serde_json::json;

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_review_is_in_the_trace_of_the_request_that_it_is_about() {
    let about = "spans in the trace of an API server";
    if !Feature::Tracing.is_since(Cluster::minor_here(), about) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let collector = runtime.block_on(Collector::start());
    let files = tempfile::tempdir().expect("a directory");
    let tracing = files.path().join("tracing.yaml");
    // Every request of the API server is sampled.
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1beta1", "kind": "TracingConfiguration",
        "endpoint": collector.address.to_string(), "samplingRatePerMillion": 1_000_000,
    });
    std::fs::write(&tracing, configuration.to_string()).expect("written");
    let flag = format!("--tracing-config-file={}", tracing.display());
    let cluster = Cluster::with_arguments("traces", &[flag]);
    let host = Host::start(
        &cluster,
        &format!(
            "--strict --policies target/policies --otlp-endpoint {}",
            collector.url()
        ),
    );
    // Sends reviews until one is denied.
    Registration::of(&host).apply(&cluster);

    let is_review = |span: &&Span| span.name == "POST /validate";
    let mut review = None;
    wait_for("the span of the review", || {
        let spans = collector.spans(TRACES);
        review = spans.iter().find(is_review).cloned();
        review.is_some().then_some(()).ok_or_else(|| host.log())
    });
    let review = review.expect("it was found");
    wait_for("the span of the API server's call", || {
        let spans = collector.spans(GRPC_TRACES);
        let call = spans
            .iter()
            .find(|span| span.span_id == review.parent_span_id)
            .ok_or_else(|| format!("{review:?} is no child of {} spans", spans.len()))?;
        assert_eq!(call.trace_id, review.trace_id);
        assert_eq!(call.kind(), SpanKind::Client, "{call:?}");
        assert!(call.start_time_unix_nano <= review.start_time_unix_nano);
        // The trace begins at kubectl's request.
        let of_trace = spans.iter().filter(|span| span.trace_id == call.trace_id);
        let request = of_trace
            .into_iter()
            .find(|span| span.kind() == SpanKind::Server && span.name.contains("services"));
        request.map(|_| ()).ok_or_else(|| format!("{spans:?}"))
    });
}
