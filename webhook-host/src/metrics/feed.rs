//! Metrics of the watchers, read at each scrape, so that the watchers need no counters of their
//! own.

use crate::watchers::{Feed, State, Watched};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Metrics of the watchers, labelled by kind of object.
#[derive(Debug)]
pub(crate) struct FeedMetrics(Arc<Watched>);

impl FeedMetrics {
    pub(crate) fn new(watched: Arc<Watched>) -> Self {
        Self(watched)
    }
}

impl Collector for FeedMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (feeds, now) = (self.0.feeds(), SystemTime::now());
        let mut scrape = Scrape {
            encoder: &mut encoder,
            feeds: &feeds,
        };
        scrape.gauge("objects", "Objects that are known", None, |feed| {
            Some(feed.objects as f64)
        })?;
        let synced = |feed: &Feed| Some(f64::from(u8::from(feed.state == State::Synced)));
        scrape.gauge(
            "synced",
            "1 while the known objects are up to date, 0 otherwise",
            None,
            synced,
        )?;
        let age = |feed: &Feed| feed.silence(now).map(|silence| silence.as_secs_f64());
        scrape.gauge(
            "contact_age",
            "Time since the last contact with the API server",
            Some(&Unit::Seconds),
            age,
        )?;
        scrape.events()?;
        scrape.errors()
    }
}

/// The encoding of one scrape.
struct Scrape<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    feeds: &'a BTreeMap<&'static str, Feed>,
}

impl Scrape<'_, '_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Fn(&Feed) -> Option<f64>,
    ) -> fmt::Result {
        let name = format!("inventory_{name}");
        let mut family = self
            .encoder
            .encode_descriptor(&name, help, unit, MetricType::Gauge)?;
        for (resource, feed) in self.feeds {
            if let Some(value) = value(feed) {
                ConstGauge::new(value).encode(family.encode_family(&[("kind", *resource)])?)?;
            }
        }
        Ok(())
    }

    fn events(&mut self) -> fmt::Result {
        let help = "Events that watchers took in";
        let mut family =
            self.encoder
                .encode_descriptor("inventory_events", help, None, MetricType::Counter)?;
        for (resource, feed) in self.feeds {
            ConstCounter::new(feed.events).encode(family.encode_family(&[("kind", *resource)])?)?;
        }
        Ok(())
    }

    fn errors(&mut self) -> fmt::Result {
        let help = "Failures of watchers, by reason";
        let mut family =
            self.encoder
                .encode_descriptor("inventory_errors", help, None, MetricType::Counter)?;
        for (resource, feed) in self.feeds {
            for (reason, count) in &feed.errors {
                let labels = [("kind", *resource), ("reason", *reason)];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
