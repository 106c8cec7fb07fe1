//! Counters of candidates, by policy and result. A new candidate begins at zero.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sallyport_core::admission::Divergence;
use sallyport_core::policy::Policy;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The result of reviews for which the shadow had no time.
const SKIPPED: &str = "skipped";

const DIVERGENCES: [Divergence; 5] = [
    Divergence::Same,
    Divergence::Stricter,
    Divergence::Looser,
    Divergence::Different,
    Divergence::Error,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    policy: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabel {
    policy: String,
}

/// The metrics of all candidates.
pub(crate) struct Tallies {
    reviews: Family<Labels, Counter>,
    loaded: Family<PolicyLabel, Gauge>,
}

/// One candidate's counters by result, looked up once for each set.
pub(crate) struct Tally(BTreeMap<&'static str, Counter>);

impl Tallies {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let reviews = Family::<Labels, Counter>::default();
        registry.register(
            "candidate_reviews",
            "Reviews of a policy with a candidate, by what the candidate says of them",
            reviews.clone(),
        );
        let loaded = Family::<PolicyLabel, Gauge>::default();
        registry.register(
            "candidate_loaded",
            "1 when the candidate is loaded, 0 when it is broken",
            loaded.clone(),
        );
        Self { reviews, loaded }
    }

    /// Returns the counters of one candidate. They begin at zero unless the candidate was in the
    /// previous set.
    pub(crate) fn of(&self, candidate: &Policy) -> Tally {
        let policy = &candidate.manifest().metadata.name;
        self.loaded
            .get_or_create(&PolicyLabel {
                policy: policy.clone(),
            })
            .set(candidate.load_error().is_none().into());
        let counter = |result| {
            (
                result,
                self.reviews.get_or_create_owned(&Labels {
                    policy: policy.clone(),
                    result,
                }),
            )
        };
        Tally(results().map(counter).collect())
    }

    /// Removes the counters of candidates that are gone or were replaced.
    pub(crate) fn forget(&self, before: &[Arc<Policy>], now: &[Arc<Policy>]) {
        for gone in before
            .iter()
            .filter(|candidate| !now.iter().any(|now| Arc::ptr_eq(now, candidate)))
        {
            let policy = &gone.manifest().metadata.name;
            self.loaded.remove(&PolicyLabel {
                policy: policy.clone(),
            });
            for result in results() {
                self.reviews.remove(&Labels {
                    policy: policy.clone(),
                    result,
                });
            }
        }
    }
}

impl Tally {
    pub(crate) fn count(&self, divergence: Divergence) {
        self.0[divergence.name()].inc();
    }

    pub(crate) fn skip(&self) {
        self.0[SKIPPED].inc();
    }

    /// Returns the counts by result.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.0
            .iter()
            .map(|(result, counter)| ((*result).to_owned(), counter.get()))
            .collect()
    }
}

fn results() -> impl Iterator<Item = &'static str> {
    DIVERGENCES
        .into_iter()
        .map(Divergence::name)
        .chain([SKIPPED])
}
