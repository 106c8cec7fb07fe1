//! Times in whole seconds. As text they are RFC 3339 in UTC, which Kubernetes' `metav1.Time` is:
//! `2026-01-01T12:00:00Z`.

use jiff::Timestamp;
use std::time::SystemTime;

/// Returns the current time.
pub(crate) fn now() -> Timestamp {
    whole_second(SystemTime::now())
}

/// Returns a time without its fraction of a second. A clock that is out of all range gives the
/// epoch.
pub(crate) fn whole_second(time: SystemTime) -> Timestamp {
    let second = Timestamp::try_from(time).map_or(0, Timestamp::as_second);
    Timestamp::from_second(second).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_written_as_kubernetes_writes_it() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_577_836_800_999);
        assert_eq!(whole_second(time).to_string(), "2020-01-01T00:00:00Z");
    }
}
