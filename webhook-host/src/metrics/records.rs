//! Counters of recorded reviews, of lines of the decision log, of Events and of what goes to an
//! OpenTelemetry collector, by result.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// The label: `written` (to a collector: `sent`), `failed` or `dropped`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Recorded {
    pub(crate) result: &'static str,
}

/// One counter for each result.
pub(crate) type RecordedReviews = Family<Recorded, Counter>;
