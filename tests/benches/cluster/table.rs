//! Prints the measurements as a table.

use crate::ways::{Call, Calls, Way, Ways};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The durations of all creates of one kind of Service.
pub(crate) struct Table<'a> {
    ways: &'a Ways,
    samples: BTreeMap<&'static str, Vec<Duration>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(ways: &'a Ways) -> Self {
        Self {
            ways,
            samples: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, way: &Way, took: Duration) {
        self.samples.entry(way.namespace).or_default().push(took);
    }

    /// Prints the durations in milliseconds, each beside no webhook and beside the Go webhook
    /// called the same way.
    pub(crate) fn text(
        mut self,
        kind: &str,
        calls: &BTreeMap<&'static str, Calls>,
    ) -> Result<String> {
        self.samples
            .values_mut()
            .for_each(|samples| samples.sort_unstable());
        let head = format!("create of a {kind} Service");
        let mut text = String::new();
        writeln!(
            text,
            "{head:<46}{:>9}{:>9}{:>11}{:>9}{:>11}",
            "p50, ms", "p99, ms", "over none", "of Go's", "call, ms"
        )?;
        let none = self.at(&self.ways.all()[0], 0.5)?;
        for way in self.ways.all() {
            let (median, tail) = (self.at(way, 0.5)?, self.at(way, 0.99)?);
            let of_go = match self.baseline(way) {
                Some(baseline) => format!("{:.2}", median / self.at(baseline, 0.5)?),
                None => "-".to_owned(),
            };
            let call = calls.get(way.namespace).map_or("-".to_owned(), |calls| {
                format!("{:.2}", millis(calls.mean()))
            });
            let what = &way.what;
            writeln!(
                text,
                "{what:<46}{median:>9.2}{tail:>9.2}{:>11.2}{of_go:>9}{call:>11}",
                median - none
            )?;
        }
        Ok(text)
    }

    fn baseline(&self, way: &Way) -> Option<&Way> {
        let same =
            |other: &&Way| other.is_baseline && other.call == way.call && way.call != Call::Never;
        self.ways.all().iter().find(same)
    }

    fn at(&self, way: &Way, share: f64) -> Result<f64> {
        let samples = self
            .samples
            .get(way.namespace)
            .context("nothing was measured")?;
        let place = (share * (samples.len() - 1) as f64).round() as usize;
        Ok(millis(samples[place]))
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
