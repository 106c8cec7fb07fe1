//! Times on the command line.

use std::time::Duration;

/// Parses a time from 1 ms to an hour, such as `500ms` or `5s`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => 0,
    };
    let time = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis);
    let allowed = Duration::from_millis(1)..=Duration::from_secs(3600);
    time.filter(|time| allowed.contains(time))
        .ok_or_else(|| "expected a time from 1ms to 60m, such as 500ms or 5s".to_owned())
}
