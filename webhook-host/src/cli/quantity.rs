//! Parsers of durations and sizes on the command line: the notation of [`units`], within the range
//! of a flag.

use sallyport_core::units;
use std::time::Duration;

/// Parses a duration from 1 ms to an hour.
pub(super) fn short_time(text: &str) -> Result<Duration, String> {
    units::duration(text)
        .filter(|time| (Duration::from_millis(1)..=Duration::from_hours(1)).contains(time))
        .ok_or_else(|| "expected a duration from 1ms to 1h, such as 500ms, 5s or 1m30s".to_owned())
}

/// Parses a duration from 0 to an hour. A plain number counts seconds, as it did before flags took
/// durations.
pub(super) fn drain_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs).ok();
    seconds
        .or_else(|| units::duration(text))
        .filter(|time| *time <= Duration::from_hours(1))
        .ok_or_else(|| "expected a duration from 0s to 1h, such as 10s or 1m30s".to_owned())
}

/// Parses a duration from a second to ten years.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    units::duration(text)
        .filter(|time| (Duration::from_secs(1)..=Duration::from_hours(87_600)).contains(time))
        .ok_or_else(|| "expected a duration from 1s to 3650d, such as 12h or 90d".to_owned())
}

/// Parses the size of a request's body, from 1 byte to 1 GiB.
pub(super) fn body_size(text: &str) -> Result<usize, String> {
    units::size(text)
        .filter(|size| (1..=1 << 30).contains(size))
        .and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| "expected a size from 1 byte to 1Gi, such as 8Mi or 65536".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_of_drain_flags_are_seconds() {
        assert_eq!(drain_time("10"), Ok(Duration::from_secs(10)));
        assert_eq!(drain_time("10s"), drain_time("10"));
        assert_eq!(drain_time("0"), Ok(Duration::ZERO));
        assert!(drain_time("3601").is_err());
        assert!(short_time("5").is_err());
    }

    #[test]
    fn sizes_of_bodies_are_plain_bytes_or_have_a_unit() {
        assert_eq!(body_size("8Mi"), body_size("8388608"));
        for text in ["0", "2Gi", "8M"] {
            assert!(body_size(text).is_err(), "{text}");
        }
    }
}
