//! The flags for OpenTelemetry, each also by the environment variable that OpenTelemetry's
//! specification gives it.

use super::quantity::short_time;
use crate::authorities::client_config;
use crate::live::Live;
use crate::telemetry::{self, Config, Endpoint, Sampler, Target, Telemetry};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "OpenTelemetry")]
#[group(skip)]
pub(super) struct OtlpArgs {
    /// Send spans and metrics to this OpenTelemetry collector, as protobuf over HTTP: to v1/traces
    /// and v1/metrics below a URL such as http://otel-collector.observability:4318. A review gets a
    /// span in the trace of the API server, if that is sampled; the metrics are those of /metrics.
    /// The variable OTEL_EXPORTER_OTLP_HEADERS holds headers, such as one with a token [default:
    /// nothing is sent]
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true
    )]
    otlp_endpoint: Option<String>,
    /// Send spans to this URL, as it stands. Without --otlp-endpoint, no metrics are sent
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        hide_env_values = true
    )]
    otlp_traces_endpoint: Option<String>,
    /// Send metrics to this URL, as it stands. Without --otlp-endpoint, no spans are sent
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        hide_env_values = true
    )]
    otlp_metrics_endpoint: Option<String>,
    /// PEM file with the authorities of the collector's certificate [default: the system's, or
    /// those that are built in where it has none]
    #[arg(long, value_name = "FILE", env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    otlp_ca: Option<PathBuf>,
    /// For one request to the collector. A plain number counts milliseconds
    #[arg(long, value_name = "TIME", env = "OTEL_EXPORTER_OTLP_TIMEOUT", default_value = "10s",
        value_parser = milliseconds)]
    otlp_timeout: Duration,
    /// Interval at which metrics are sent. A plain number counts milliseconds
    #[arg(long, value_name = "TIME", env = "OTEL_METRIC_EXPORT_INTERVAL", default_value = "60s",
        value_parser = milliseconds)]
    otlp_metrics_interval: Duration,
    /// Which reviews get a span
    #[arg(long, value_enum, value_name = "NAME", env = "OTEL_TRACES_SAMPLER",
        default_value_t = SamplerName::ParentbasedAlwaysOff)]
    otlp_sampler: SamplerName,
    /// Share of reviews that get a span by a sampler with `traceidratio`, from 0 to 1
    #[arg(long, value_name = "SHARE", env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1",
        value_parser = share)]
    otlp_sampler_arg: f64,
}

/// Exporters that can be started.
pub(super) struct Otlp(Config);

impl Otlp {
    /// Starts them.
    pub(super) fn start(self, live: &Arc<Live>) -> Result<Arc<Telemetry>> {
        let Self(config) = self;
        for (noun, target) in [("spans", &config.traces), ("metrics", &config.metrics)] {
            if let Some(target) = target {
                tracing::info!("{noun} are sent to {}", target.endpoint);
            }
        }
        let telemetry = Telemetry::start(config, live)
            .context("can't start the threads that send spans and metrics")?;
        Ok(Arc::new(telemetry))
    }
}

/// The samplers of OpenTelemetry's specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum SamplerName {
    /// Those whose API server samples its request.
    ParentbasedAlwaysOff,
    /// Those as well that come without a trace.
    ParentbasedAlwaysOn,
    /// A share of those as well that come without a trace.
    ParentbasedTraceidratio,
    /// All, whatever the API server does.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A share of all, whatever the API server does.
    Traceidratio,
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain {
        short_time(&format!("{text}ms"))
    } else {
        short_time(text)
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1, such as 0.1".to_owned())
}

impl OtlpArgs {
    /// Reads flags and environment. `None` if nothing is to be sent.
    pub(super) fn prepare(&self) -> Result<Option<Otlp>> {
        let config = self.config(&|name| std::env::var(name).ok())?;
        Ok(config.map(Otlp))
    }

    fn config(&self, variable: Variables<'_>) -> Result<Option<Config>> {
        let is_disabled = set(variable, "OTEL_SDK_DISABLED");
        if is_disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let traces = self.target(variable, &TRACES, self.otlp_traces_endpoint.as_deref())?;
        let metrics = self.target(variable, &METRICS, self.otlp_metrics_endpoint.as_deref())?;
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let targets = [&traces, &metrics].into_iter().flatten();
        let is_https = targets.into_iter().any(|target| target.endpoint.is_https());
        // The system's authorities are read only where they count.
        let bundle = self.otlp_ca.as_deref().filter(|_| is_https);
        let tls = client_config(bundle, "--otlp-ca").map_err(|error| anyhow!(error))?;
        Ok(Some(Config {
            traces,
            metrics,
            tls,
            timeout: self.otlp_timeout,
            interval: self.otlp_metrics_interval,
            sampler: self.sampler(),
            resource: resource(variable)?,
        }))
    }

    /// Returns where a signal goes. `None` if it is not wanted.
    fn target(
        &self,
        variable: Variables<'_>,
        Signal {
            name: signal,
            flag,
            path,
        }: &Signal,
        exact: Option<&str>,
    ) -> Result<Option<Target>> {
        let exact = endpoint(flag, exact)?;
        let base = endpoint("--otlp-endpoint", self.otlp_endpoint.as_deref())?;
        let endpoint = exact.or_else(|| Some(base?.join(path)));
        let exporter = set(variable, &format!("OTEL_{signal}_EXPORTER"));
        let Some(endpoint) = endpoint.filter(|_| exporter.as_deref() != Some("none")) else {
            return Ok(None);
        };
        let of_signal = |what| {
            let names = [
                format!("OTEL_EXPORTER_OTLP_{signal}_{what}"),
                format!("OTEL_EXPORTER_OTLP_{what}"),
            ];
            names
                .into_iter()
                .find_map(|name| Some((set(variable, &name)?, name)))
        };
        if let Some((protocol, name)) = of_signal("PROTOCOL")
            && protocol != "http/protobuf"
        {
            bail!(
                "{name}={protocol}: this host sends http/protobuf; set that or leave the variable \
                 out, and name the collector's port for HTTP, 4318 by default"
            );
        }
        let headers = match of_signal("HEADERS") {
            Some((text, name)) => {
                telemetry::headers(&text).map_err(|error| anyhow!("{name}: {error}"))?
            }
            None => Default::default(),
        };
        Ok(Some(Target { endpoint, headers }))
    }

    fn sampler(&self) -> Sampler {
        match self.otlp_sampler {
            SamplerName::ParentbasedAlwaysOff => Sampler::following(0.0),
            SamplerName::ParentbasedAlwaysOn => Sampler::following(1.0),
            SamplerName::ParentbasedTraceidratio => Sampler::following(self.otlp_sampler_arg),
            SamplerName::AlwaysOn => Sampler::ignoring(1.0),
            SamplerName::AlwaysOff => Sampler::ignoring(0.0),
            SamplerName::Traceidratio => Sampler::ignoring(self.otlp_sampler_arg),
        }
    }
}

/// A signal by its names: in variables, its flag, and below the base.
struct Signal {
    name: &'static str,
    flag: &'static str,
    path: &'static str,
}

const TRACES: Signal = Signal {
    name: "TRACES",
    flag: "--otlp-traces-endpoint",
    path: "v1/traces",
};

const METRICS: Signal = Signal {
    name: "METRICS",
    flag: "--otlp-metrics-endpoint",
    path: "v1/metrics",
};

/// Parses a URL. An empty variable counts as one that is not set. The error does not repeat the
/// URL, which may hold a password.
fn endpoint(flag: &str, text: Option<&str>) -> Result<Option<Endpoint>> {
    let given = text.filter(|text| !text.is_empty());
    let parsed = given.map(Endpoint::parse).transpose();
    parsed.map_err(|error| anyhow!("{flag}: {error}"))
}

/// Looks up an environment variable.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Returns a variable that is not empty.
fn set(variable: Variables<'_>, name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}

/// Returns the attributes of this host: those of the environment over its own.
fn resource(variable: Variables<'_>) -> Result<BTreeMap<String, String>> {
    let own = [
        ("service.name", "sallyport"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", "sallyport"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    let mut attributes: BTreeMap<_, _> = own
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    // Series of two replicas must differ.
    let pod = set(variable, "POD_UID");
    let instance = pod
        .clone()
        .unwrap_or_else(|| format!("{:016x}", telemetry::random()));
    attributes.insert("service.instance.id".to_owned(), instance);
    attributes.extend(pod.map(|pod| ("k8s.pod.uid".to_owned(), pod)));
    if let Some(text) = set(variable, "OTEL_RESOURCE_ATTRIBUTES") {
        let pairs = telemetry::pairs(&text);
        attributes.extend(pairs.map_err(|error| anyhow!("OTEL_RESOURCE_ATTRIBUTES: {error}"))?);
    }
    let name = set(variable, "OTEL_SERVICE_NAME");
    attributes.extend(name.map(|name| ("service.name".to_owned(), name)));
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        otlp: OtlpArgs,
    }

    /// Returns the result of a command line and an environment.
    fn config(flags: &[&str], variables: &[(&str, &str)]) -> Result<Option<Config>> {
        let flags = [&["serve"], flags].concat();
        let command = Command::try_parse_from(flags)?;
        command.otlp.config(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn addresses(flags: &[&str], variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let config = config(flags, variables).expect("valid");
        let Some(Config {
            traces, metrics, ..
        }) = config
        else {
            return [None, None];
        };
        [traces, metrics].map(|target| target.map(|target| target.endpoint.to_string()))
    }

    const BASE: &[&str] = &["--otlp-endpoint=http://c:4318"];

    #[test]
    fn a_signal_is_off_without_an_endpoint_of_its_own_or_a_base() {
        let traces = Some("http://c:4318/v1/traces".to_owned());
        let metrics = Some("http://c:4318/v1/metrics".to_owned());
        assert_eq!(addresses(&[], &[]), [None, None]);
        assert_eq!(addresses(&["--otlp-endpoint="], &[]), [None, None]);
        assert_eq!(addresses(BASE, &[]), [traces.clone(), metrics.clone()]);
        assert_eq!(
            addresses(BASE, &[("OTEL_METRICS_EXPORTER", "none")]),
            [traces, None]
        );
        assert_eq!(
            addresses(BASE, &[("OTEL_TRACES_EXPORTER", "none")]),
            [None, metrics]
        );
        assert_eq!(
            addresses(BASE, &[("OTEL_SDK_DISABLED", "true")]),
            [None, None]
        );
        let exact = addresses(&["--otlp-traces-endpoint=http://t/in"], &[]);
        assert_eq!(exact, [Some("http://t/in".to_owned()), None]);
    }

    #[test]
    fn another_protocol_and_headers_that_are_none_are_refused() {
        for (name, value, expected) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "4318"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "http/json",
                "http/protobuf",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "token", "NAME=VALUE"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a", "NAME=VALUE"),
        ] {
            let error = config(BASE, &[(name, value)])
                .err()
                .expect(name)
                .to_string();
            assert!(
                error.starts_with(name) && error.contains(expected),
                "{error}"
            );
            assert!(config(&[], &[(name, value)]).is_ok_and(|config| config.is_none()));
        }
        let one = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=1");
        let all = ("OTEL_EXPORTER_OTLP_HEADERS", "b=2");
        let config = config(BASE, &[one, all]).expect("valid").expect("on");
        let headers = |target: Option<Target>| target.expect("on").headers;
        assert_eq!(
            headers(config.metrics)
                .keys()
                .map(|name| name.as_str())
                .collect::<Vec<_>>(),
            ["a"]
        );
        assert_eq!(
            headers(config.traces)
                .keys()
                .map(|name| name.as_str())
                .collect::<Vec<_>>(),
            ["b"]
        );
    }

    #[test]
    fn replicas_differ_and_the_environment_names_the_service() {
        let of = |variables| {
            resource(&|name| {
                let variables: &[(&str, &str)] = variables;
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let (one, other) = (of(&[]).expect("valid"), of(&[]).expect("valid"));
        assert_eq!(one["service.name"], "sallyport");
        assert_ne!(one["service.instance.id"], other["service.instance.id"]);
        let named = of(&[
            ("POD_UID", "uid"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=a,deployment.environment.name=a%20b",
            ),
            ("OTEL_SERVICE_NAME", "gate"),
        ]);
        let named = named.expect("valid");
        assert_eq!(named["service.name"], "gate");
        assert_eq!(named["deployment.environment.name"], "a b");
        assert_eq!(named["service.instance.id"], "uid");
    }

    #[test]
    fn plain_numbers_are_milliseconds() {
        assert_eq!(milliseconds("1500"), Ok(Duration::from_millis(1500)));
        assert_eq!(milliseconds("1s"), milliseconds("1000"));
        assert!(milliseconds("0").is_err() && milliseconds("").is_err());
    }
}
