//! The deadline of a review, from the API server's `?timeout=`. Go prints that duration. For the
//! whole seconds that API servers send (`10s`, `1m0s`), Go's notation is also that of [`units`].

use sallyport_core::units;
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
        units::duration(text).ok_or_else(|| {
            format!("timeout: {text:?} is no duration; write it as in 10s, 1m0s or 500ms")
        })
    })?;
    let timeout = timeout.min(MAX_TIMEOUT);
    // A timeout below twice the margin is halved instead.
    Ok(timeout.saturating_sub(RESPONSE_MARGIN).max(timeout / 2))
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
