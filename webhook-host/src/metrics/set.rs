//! Metrics of the set that serves, of reloads and of the registration.

use super::ResultLabel;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::time::SystemTime;

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DigestLabel {
    digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabel {
    object: &'static str,
}

/// The metrics of the set that serves.
pub(crate) struct SetMetrics {
    reloads: Family<ResultLabel, Counter>,
    last_success: Gauge,
    /// One series: the set that serves.
    served: Family<DigestLabel, Gauge>,
    judges_deletions: Gauge,
    /// One series; absent until the host has looked at the webhook configurations.
    registered: Family<ObjectLabel, Gauge>,
}

impl SetMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let reloads = Family::<ResultLabel, Counter>::default();
        registry.register(
            "reload",
            "Reloads of policies and configuration, by result",
            reloads.clone(),
        );
        for result in [SUCCESS, FAILURE] {
            drop(reloads.get_or_create(&ResultLabel { result }));
        }
        let last_success = Gauge::default();
        registry.register_with_unit(
            "reload_last_success_timestamp",
            "When the policies that serve were loaded, since 1970",
            Unit::Seconds,
            last_success.clone(),
        );
        last_success.set(unix(SystemTime::now()));
        let served = Family::default();
        registry.register(
            "served_set_info",
            "1, labelled by the digest of the policies and configuration that serve",
            served.clone(),
        );
        let judges_deletions = Gauge::default();
        registry.register(
            "judges_deletions",
            "1 while some policy or candidate judges deletions, which API servers send to \
             delete.sallyport.dev",
            judges_deletions.clone(),
        );
        let registered = Family::default();
        registry.register(
            "registration_in_shape",
            "1 while the webhook configurations are as this host keeps them, 0 while it can't",
            registered.clone(),
        );
        Self {
            reloads,
            last_success,
            served,
            judges_deletions,
            registered,
        }
    }

    /// Counts a reload: a success with its time, or a failure.
    pub(crate) fn reloaded(&self, success: Option<SystemTime>) {
        let result = if success.is_some() { SUCCESS } else { FAILURE };
        self.reloads.get_or_create(&ResultLabel { result }).inc();
        if let Some(time) = success {
            self.last_success.set(unix(time));
        }
    }

    /// Names the set that serves from now on, and says if one of its policies judges deletions.
    pub(crate) fn serves(&self, digest: &str, judges_deletions: bool) {
        self.judges_deletions.set(judges_deletions.into());
        self.served.clear();
        let digest = digest.to_owned();
        self.served.get_or_create(&DigestLabel { digest }).set(1);
    }

    /// Sets the state of the webhook configurations.
    pub(crate) fn registered(&self, in_shape: bool) {
        self.registered
            .get_or_create(&ObjectLabel { object: "webhooks" })
            .set(in_shape.into());
    }
}

fn unix(time: SystemTime) -> i64 {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
