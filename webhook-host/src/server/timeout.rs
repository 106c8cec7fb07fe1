//! The API server's `?timeout=`: how long it waits for an answer. It is written as Go prints
//! durations, which for the whole seconds that API servers send (`10s`, `1m0s`) is the notation of
//! [`units`].

use sallyport_core::units;
use std::time::Duration;

/// What a webhook configuration has when it says nothing, and the most that it can say
/// (admissionregistration.k8s.io/v1 `timeoutSeconds`).
const DEFAULT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// What is kept back for the way to the API server.
const MARGIN: Duration = Duration::from_millis(100);

/// How long policies have, by the query of a request's URL. A timeout that doesn't parse is the
/// client's mistake.
pub(super) fn time_to_answer(query: Option<&str>) -> Result<Duration, String> {
    let mut pairs = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let written = pairs
        .rfind(|(key, _)| *key == "timeout")
        .map(|(_, value)| value);
    let asked = written.map_or(Ok(DEFAULT), |text| {
        units::duration(text).ok_or_else(|| {
            format!("timeout: {text:?} is no duration; write it as in 10s, 1m0s or 500ms")
        })
    })?;
    let asked = asked.min(MAX_TIMEOUT);
    // Half of a very short timeout is better than nothing.
    Ok(asked.saturating_sub(MARGIN).max(asked / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

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
