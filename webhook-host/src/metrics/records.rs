//! Counters of recorded reviews, of lines of the decision log, of Events and of what goes to an
//! OpenTelemetry collector, by result.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The label: `written` (to a collector: `sent`), `failed` or `dropped`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Recorded {
    pub(crate) result: &'static str,
}

/// One counter for each result.
pub(crate) type RecordedReviews = Family<Recorded, Counter>;

/// The counters of all that is written.
pub(crate) struct RecordMetrics {
    /// Recorded reviews.
    pub(crate) reviews: RecordedReviews,
    /// Lines of the decision log.
    pub(crate) decision_lines: RecordedReviews,
    /// Kubernetes Events.
    pub(crate) events: RecordedReviews,
    /// Spans of reviews: `sent`, `failed`, `dropped`.
    pub(crate) otlp_spans: RecordedReviews,
    /// Readings of all metrics: `sent`, `failed`.
    pub(crate) otlp_metrics: RecordedReviews,
}

impl RecordMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut counters = |name, help| {
            let counters = RecordedReviews::default();
            registry.register(name, help, counters.clone());
            counters
        };
        Self {
            reviews: counters(
                "record_reviews",
                "Answered reviews, by what became of their records",
            ),
            decision_lines: counters(
                "decision_log_lines",
                "Lines of the decision log, by what became of them",
            ),
            events: counters("events", "Kubernetes Events, by what became of them"),
            otlp_spans: counters("otlp_spans", "Spans of reviews, by what became of them"),
            otlp_metrics: counters(
                "otlp_metric_readings",
                "Readings of all metrics for a collector, by what became of them",
            ),
        }
    }
}
