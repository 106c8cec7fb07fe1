//! Counters of pulls from registries. Read at each scrape.

use crate::registry::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The metrics of registries, once there is a host that pulls from them.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegistryMetrics(Arc<OnceLock<Arc<Registry>>>);

impl RegistryMetrics {
    /// Sets whose counters are read; a host has one.
    pub(crate) fn watch(&self, registry: Arc<Registry>) {
        let _ = self.0.set(registry);
    }
}

impl Collector for RegistryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(registry) = self.0.get() else {
            return Ok(());
        };
        let help = "Components from registries, by result: pulled, cached, or why not";
        let mut family =
            encoder.encode_descriptor("registry_pulls", help, None, MetricType::Counter)?;
        for (result, count) in registry.counts() {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}
