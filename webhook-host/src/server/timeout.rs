//! The deadline of a review, from the API server's `?timeout=`.

use std::time::Duration;

/// The default of `timeoutSeconds` in a webhook configuration, and its maximum
/// (admissionregistration.k8s.io/v1).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// Reserved for the response's way to the API server.
const RESPONSE_MARGIN: Duration = Duration::from_millis(100);

/// Returns the time for a review, by the query of the request's URL. A timeout that doesn't parse
/// is the client's mistake.
pub(super) fn time_to_answer(query: Option<&str>) -> Result<Duration, String> {
    let mut pairs = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let parameter = pairs
        .rfind(|(key, _)| *key == "timeout")
        .map(|(_, value)| value);
    let timeout = parameter.map_or(Ok(DEFAULT_TIMEOUT), |text| {
        parse(text).ok_or_else(|| {
            format!("timeout: {text:?} is no duration; write it as Go does, such as 10s or 500ms")
        })
    })?;
    let timeout = timeout.min(MAX_TIMEOUT);
    // A timeout below twice the margin is halved instead.
    Ok(timeout.saturating_sub(RESPONSE_MARGIN).max(timeout / 2))
}

/// Parses a duration as Go prints it: `10s`, `1m0s`, `500ms`, `1.5s`.
fn parse(mut text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let number = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, rest) = text.split_at(number);
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total = total.checked_add(
            Duration::try_from_secs_f64(digits.parse::<f64>().ok()? * seconds).ok()?,
        )?;
        text = rest;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_prints_them() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m0s", 60_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("1h1m1s", 3_661_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "10x",
            "-1s",
            "1..5s",
            "99999999999999999999h",
            "10000000000000000000s10000000000000000000s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_margin_is_kept_back_and_the_longest_timeout_is_the_apis() {
        let millis = |query| time_to_answer(query).map(|time| time.as_millis());
        assert_eq!(millis(None), Ok(9900));
        assert_eq!(millis(Some("timeout=2s")), Ok(1900));
        assert_eq!(millis(Some("a=b&timeout=100ms")), Ok(50));
        assert_eq!(millis(Some("timeout=1h")), Ok(29_900));
        assert!(millis(Some("timeout=soon")).is_err());
    }
}
