//! The addresses that spans and metrics go to, and the lists of names and values of OpenTelemetry's
//! environment variables.

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use sallyport_core::excerpt::excerpt;
use std::fmt;

/// The URL of a collector: `http` or `https`, with a host, without user, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected a URL such as http://otel-collector.observability:4318";
        let url = text
            .parse::<Uri>()
            .map_err(|error| format!("{EXPECTED}: {error}"))?;
        match (url.scheme_str(), url.authority()) {
            (Some("http" | "https"), Some(host)) if host.as_str().contains('@') => Err(
                "it holds a user or a password, which would be in the list of processes; send a \
                 header, by the variable OTEL_EXPORTER_OTLP_HEADERS"
                    .to_owned(),
            ),
            (Some("http" | "https"), Some(_)) if url.query().is_some() => Err(format!(
                "{EXPECTED}, without a query; a header can carry a token, by the variable \
                 OTEL_EXPORTER_OTLP_HEADERS"
            )),
            (Some("http" | "https"), Some(_)) => Ok(Self(url)),
            _ => Err(format!("{EXPECTED}, found {:?}", excerpt(text))),
        }
    }

    /// Returns the address of a signal below this one: `v1/traces` or `v1/metrics`.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let mut parts = self.0.clone().into_parts();
        let joined = format!("{}/{path}", self.0.path().trim_end_matches('/'));
        parts.path_and_query = joined.parse().ok();
        Self(Uri::from_parts(parts).unwrap_or_else(|_| self.0.clone()))
    }

    /// Returns true if the connection is over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    pub(super) fn uri(&self) -> Uri {
        self.0.clone()
    }

    /// Returns true for the port that collectors have for gRPC.
    pub(super) fn has_port_of_grpc(&self) -> bool {
        self.0.port_u16() == Some(4317)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Parses `NAME=VALUE,NAME=VALUE` with percent-encoded values, the notation of
/// `OTEL_RESOURCE_ATTRIBUTES`.
///
/// # Errors
///
/// Names the pair that is malformed, without its value.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                "expected NAME=VALUE,NAME=VALUE; one of them has no `=`".to_owned()
            })?;
            let decode = |text: &str| percent_decode_str(text.trim()).decode_utf8_lossy().into();
            match decode(name) {
                name if String::is_empty(&name) => {
                    Err("expected NAME=VALUE,NAME=VALUE; a name is empty".to_owned())
                }
                name => Ok((name, decode(value))),
            }
        })
        .collect()
}

/// Parses headers in the notation of `OTEL_EXPORTER_OTLP_HEADERS`.
///
/// # Errors
///
/// Names the header that is malformed. Its value may be secret and is left out.
pub fn headers(text: &str) -> Result<HeaderMap, String> {
    let pairs = pairs(text)?.into_iter();
    pairs
        .map(|(name, value)| {
            let parsed = HeaderName::try_from(&name)
                .map_err(|_| format!("{:?} is not a valid header name", excerpt(&name)))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                format!("the value of {parsed} has characters that no header may have")
            })?;
            value.set_sensitive(true);
            Ok((parsed, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_below_the_base() {
        for (base, expected) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("https://[::1]/otlp/", "https://[::1]/otlp/v1/traces"),
        ] {
            let base = Endpoint::parse(base).expect("valid");
            assert_eq!(base.join("v1/traces").to_string(), expected);
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_an_example() {
        for text in [
            "collector:4318",
            "collector",
            "grpc://c:4317",
            "/v1",
            "http://",
            "",
            "a b",
        ] {
            let error = Endpoint::parse(text).expect_err(text);
            assert!(error.contains("http://otel-collector"), "{text}: {error}");
        }
        for text in ["http://jane:secret@c", "http://c/?token=secret"] {
            let error = Endpoint::parse(text).expect_err(text);
            assert!(
                error.contains("OTEL_EXPORTER_OTLP_HEADERS"),
                "{text}: {error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn values_are_percent_encoded() {
        let found = headers("authorization=Bearer%20abc, x-scope=a=b,").expect("valid");
        assert_eq!(found["authorization"], "Bearer abc");
        assert_eq!(found["x-scope"], "a=b");
        assert_eq!(headers(""), Ok(HeaderMap::new()));
        for text in ["abc", "=abc", "a b=abc", "a=abc%0A"] {
            let error = headers(text).expect_err(text);
            assert!(!error.contains("abc"), "{error}");
        }
    }
}
