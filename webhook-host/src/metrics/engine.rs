//! Counters of the engine: compilations, and look-ups in the code cache. Read at each scrape.

use crate::engine::Engine;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The metrics of the engine, once there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct EngineMetrics(Arc<OnceLock<Arc<Engine>>>);

impl EngineMetrics {
    /// Sets the engine whose counters are read; a host has one.
    pub(crate) fn watch(&self, engine: Arc<Engine>) {
        let _ = self.0.set(engine);
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(engine) = self.0.get() else {
            return Ok(());
        };
        let help = "Times that a component was compiled";
        let family = encoder.encode_descriptor("compilations", help, None, MetricType::Counter)?;
        ConstCounter::new(engine.compilations()).encode(family)?;
        let Some(counts) = engine.cache().map(crate::engine::Cache::counts) else {
            return Ok(());
        };
        let help = "Look-ups of compiled code on disk, by result";
        let mut family =
            encoder.encode_descriptor("code_cache_lookups", help, None, MetricType::Counter)?;
        for (result, count) in [
            ("hit", counts.hits),
            ("miss", counts.misses),
            ("corrupt", counts.corrupt),
        ] {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}
