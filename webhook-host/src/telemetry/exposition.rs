//! The metrics of `/metrics` as OpenTelemetry's: read from the OpenMetrics text that the host
//! writes, so that both ways show the same series under the same names.
//!
//! Reads what `prometheus-client` writes, and not any OpenMetrics text: a line that it does not
//! write is left out.

use super::messages::{
    CUMULATIVE, Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, Number, NumberPoint, Sum,
};

/// The times of a reading in nanoseconds since 1970: when counters were 0, and now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// Converts an exposition.
pub(super) fn metrics(text: &str, times: Times) -> Vec<Metric> {
    let mut metrics = vec![];
    let mut family = Family::default();
    for line in text.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            if let Some(sample) = Sample::parse(line) {
                family.add(sample, times);
            }
            continue;
        };
        // A family begins with its description.
        if let Some(described) = comment.strip_prefix("HELP ") {
            metrics.extend(std::mem::take(&mut family).finish());
            if let Some((_, help)) = described.split_once(' ') {
                help.clone_into(&mut family.description);
            }
        } else if let Some((name, kind)) = words(comment, "TYPE ") {
            (family.name, family.kind) = (name.to_owned(), Kind::of(kind));
        } else if let Some((_, unit)) = words(comment, "UNIT ") {
            family.unit = ucum(unit).to_owned();
        }
    }
    metrics.extend(family.finish());
    metrics
}

fn words<'a>(comment: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    comment.strip_prefix(keyword)?.split_once(' ')
}

/// Returns a unit as OpenTelemetry writes it (UCUM).
fn ucum(unit: &str) -> &str {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    #[default]
    Gauge,
    Histogram,
    Info,
}

impl Kind {
    fn of(word: &str) -> Self {
        match word {
            "counter" => Self::Counter,
            "histogram" => Self::Histogram,
            "info" => Self::Info,
            _ => Self::Gauge,
        }
    }
}

/// A line with a value.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (vec![], rest),
        };
        // An exemplar may follow.
        let value = rest.trim_start().split(' ').next()?;
        Some(Self {
            name,
            labels,
            value,
        })
    }

    fn number(&self) -> Option<Number> {
        let int = self.value.parse().map(Number::Int).ok();
        int.or_else(|| self.value.parse().map(Number::Double).ok())
    }
}

/// Parsed labels, and the text after their closing brace.
type Labels<'a> = (Vec<(&'a str, String)>, &'a str);

/// Reads labels up to the closing brace.
fn labels(mut rest: &str) -> Option<Labels<'_>> {
    let mut labels = vec![];
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.push((name, value));
        rest = after;
    }
}

/// Reads a value up to its closing quote, with the escapes `\\`, `\"` and `\n`.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            character => value.push(character),
        }
    }
    None
}

/// A metric in the making.
#[derive(Default)]
struct Family {
    name: String,
    description: String,
    unit: String,
    kind: Kind,
    numbers: Vec<NumberPoint>,
    histograms: Vec<HistogramPoint>,
}

impl Family {
    fn add(&mut self, sample: Sample<'_>, times: Times) {
        if self.kind == Kind::Histogram {
            self.add_to_histogram(sample, times);
        } else if let Some(number) = sample.number() {
            let start = if self.kind == Kind::Counter {
                times.start
            } else {
                0
            };
            self.numbers.push(NumberPoint {
                attributes: attributes(sample.labels),
                start_time_unix_nano: start,
                time_unix_nano: times.now,
                value: Some(number),
            });
        }
    }

    /// Adds a line of a histogram to the point with its labels. The lines of a point follow each
    /// other, and each bucket counts those before it, too.
    fn add_to_histogram(&mut self, mut sample: Sample<'_>, times: Times) {
        let bound = sample.labels.iter().position(|(name, _)| *name == "le");
        let bound = bound.map(|at| sample.labels.remove(at).1);
        let attributes = attributes(std::mem::take(&mut sample.labels));
        if self
            .histograms
            .last()
            .is_none_or(|last| last.attributes != attributes)
        {
            self.histograms.push(HistogramPoint {
                attributes,
                start_time_unix_nano: times.start,
                time_unix_nano: times.now,
                ..HistogramPoint::default()
            });
        }
        let Some(point) = self.histograms.last_mut() else {
            return;
        };
        let count = || sample.value.parse::<u64>().unwrap_or_default();
        match (sample.name.strip_prefix(self.name.as_str()), bound) {
            (Some("_sum"), None) => point.sum = sample.value.parse().ok(),
            (Some("_count"), None) => point.count = count(),
            (Some("_bucket"), Some(bound)) => {
                let before: u64 = point.bucket_counts.iter().sum();
                point.bucket_counts.push(count().saturating_sub(before));
                let bound = bound.parse::<f64>().ok();
                point
                    .explicit_bounds
                    .extend(bound.filter(|bound| bound.is_finite()));
            }
            _ => {}
        }
    }

    /// Returns the metric; `None` for a family without series.
    fn finish(self) -> Option<Metric> {
        let data = match self.kind {
            _ if self.numbers.is_empty() && self.histograms.is_empty() => return None,
            Kind::Counter => Data::Sum(Sum {
                data_points: self.numbers,
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
            Kind::Histogram => Data::Histogram(Histogram {
                data_points: self.histograms,
                aggregation_temporality: CUMULATIVE,
            }),
            Kind::Gauge | Kind::Info => Data::Gauge(Gauge {
                data_points: self.numbers,
            }),
        };
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        Some(Metric {
            name: self.name + suffix,
            description: self.description,
            unit: self.unit,
            data: Some(data),
        })
    }
}

fn attributes(labels: Vec<(&str, String)>) -> Vec<KeyValue> {
    let attributes = labels.into_iter();
    attributes
        .map(|(name, value)| KeyValue::new(name, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Labelled;
    use prometheus_client::metrics::gauge::Gauge as OneGauge;
    use prometheus_client::metrics::histogram::Histogram as OneHistogram;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};

    const TIMES: Times = Times { start: 7, now: 9 };

    /// Converts what is registered, by way of its text.
    fn converted(register: impl FnOnce(&mut Registry)) -> Vec<Metric> {
        let mut registry = Registry::with_prefix("x");
        register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string");
        metrics(&text, TIMES)
    }

    #[test]
    fn a_counter_is_a_monotonic_sum_under_the_name_of_its_series() {
        let found = converted(|registry| {
            let counter = Labelled::<Vec<(String, String)>, Counter>::default();
            registry.register("calls", "Calls", counter.clone());
            let labels = vec![("who".to_owned(), "a\"b\\c\nd, e}".to_owned())];
            counter.get_or_create(&labels).inc_by(3);
        });
        let point = NumberPoint {
            attributes: vec![KeyValue::new("who", "a\"b\\c\nd, e}")],
            start_time_unix_nano: 7,
            time_unix_nano: 9,
            value: Some(Number::Int(3)),
        };
        let expected = Metric {
            name: "x_calls_total".to_owned(),
            description: "Calls.".to_owned(),
            unit: String::new(),
            data: Some(Data::Sum(Sum {
                data_points: vec![point],
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            })),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn buckets_of_a_histogram_count_what_lies_between_their_bounds() {
        let found = converted(|registry| {
            let of = || OneHistogram::new([0.1, 1.0]);
            let family =
                Labelled::<Vec<(String, String)>, _, fn() -> OneHistogram>::new_with_constructor(
                    of,
                );
            registry.register_with_unit("took", "Time", Unit::Seconds, family.clone());
            for (who, values) in [("a", [0.05, 0.5].as_slice()), ("b", &[2.0])] {
                let labels = vec![("who".to_owned(), who.to_owned())];
                let one = family.get_or_create(&labels);
                values.iter().for_each(|value| one.observe(*value));
            }
        });
        let [metric] = found.try_into().expect("one metric");
        assert_eq!((&*metric.name, &*metric.unit), ("x_took_seconds", "s"));
        let Some(Data::Histogram(histogram)) = metric.data else {
            panic!("{metric:?}");
        };
        let mut points = histogram.data_points;
        points.sort_by_key(|point| point.count);
        assert_eq!(points.len(), 2, "{points:?}");
        for (point, sum, counts) in [(&points[0], 2.0, [0, 0, 1]), (&points[1], 0.55, [1, 1, 0])] {
            assert_eq!(
                (point.sum, point.bucket_counts.as_slice()),
                (Some(sum), &counts[..])
            );
            assert_eq!(point.explicit_bounds, [0.1, 1.0]);
        }
    }

    #[test]
    fn gauges_and_infos_are_gauges_and_a_family_without_series_is_left_out() {
        let found = converted(|registry| {
            let gauge = OneGauge::<i64>::default();
            gauge.set(-4);
            registry.register("level", "Level", gauge);
            registry.register("build", "Build", Info::new([("version", "1")]));
            let none = Labelled::<Vec<(String, String)>, Counter>::default();
            registry.register("nothing", "Nothing", none);
        });
        let names: Vec<_> = found.iter().map(|metric| &*metric.name).collect();
        assert_eq!(names, ["x_level", "x_build_info"]);
        let Some(Data::Gauge(level)) = &found[0].data else {
            panic!("{found:?}");
        };
        assert_eq!(level.data_points[0].value, Some(Number::Int(-4)));
        assert_eq!(level.data_points[0].start_time_unix_nano, 0);
    }
}
