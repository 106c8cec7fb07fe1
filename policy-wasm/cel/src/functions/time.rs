//! Timestamps and durations, as Go's package `time` reads and writes them.
//!
//! Invariant: a timestamp lies between the years 1 and 9999. Time zones are UTC and fixed offsets:
//! an evaluation has no database of names such as `Europe/Berlin`.

use crate::error::EvalError;
use alloc::format;
use alloc::string::String;
use core::cmp::Ordering;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z.
const MIN_SECONDS: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const MAX_SECONDS: i64 = 253_402_300_799;

/// A point in time, with the offset of the zone that it was written in.
#[derive(Clone, Copy)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
    /// Seconds east of UTC.
    offset: i32,
}

/// A part of a timestamp or of a duration.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// A date and a time of day.
struct Civil {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// Seconds of the day.
    seconds: i64,
}

impl Timestamp {
    /// Makes a timestamp of the seconds since the Unix epoch.
    pub(crate) fn from_seconds(seconds: i64) -> Result<Self, EvalError> {
        Self::new(seconds, 0, 0)
    }

    fn new(seconds: i64, nanos: u32, offset: i32) -> Result<Self, EvalError> {
        if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
            return Err(EvalError::of("timestamp overflow"));
        }
        Ok(Self {
            seconds,
            nanos,
            offset,
        })
    }

    /// Returns the seconds since the Unix epoch.
    pub(crate) fn seconds(&self) -> i64 {
        self.seconds
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.seconds == MIN_SECONDS && self.nanos == 0
    }

    pub(crate) fn order(&self, other: &Self) -> Ordering {
        (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos))
    }

    /// Reads RFC 3339 as Go does: one digit of the hour is enough, and a comma may begin the
    /// fraction. None: it is no timestamp.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, EvalError>> {
        let mut scan = Scan(text.as_bytes());
        let year = scan.digits(4)?;
        scan.byte(b'-')?;
        let month = scan.digits(2)?;
        scan.byte(b'-')?;
        let day = scan.digits(2)?;
        scan.byte(b'T')?;
        let hour = scan.one_or_two_digits()?;
        scan.byte(b':')?;
        let minute = scan.digits(2)?;
        scan.byte(b':')?;
        let second = scan.digits(2)?;
        let nanos = scan.fraction();
        let offset = scan.zone()?;
        if !scan.0.is_empty() || !(1..=12).contains(&month) || hour > 23 || minute > 59 {
            return None;
        }
        if second > 59 || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let seconds = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
        Some(Self::new(seconds - i64::from(offset), nanos, offset))
    }

    /// Writes RFC 3339 with as many digits of the fraction as it has.
    pub(crate) fn text(&self) -> String {
        let civil = self.civil(self.offset);
        let Civil {
            year, month, day, ..
        } = civil;
        let (hour, minute, second) = (
            civil.seconds / 3600,
            civil.seconds / 60 % 60,
            civil.seconds % 60,
        );
        let mut out = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if self.nanos > 0 {
            let fraction = format!("{:09}", self.nanos);
            out.push('.');
            out.push_str(fraction.trim_end_matches('0'));
        }
        if self.offset == 0 {
            out.push('Z');
            return out;
        }
        let minutes = self.offset.unsigned_abs() / 60;
        out.push(if self.offset < 0 { '-' } else { '+' });
        out.push_str(&format!("{:02}:{:02}", minutes / 60, minutes % 60));
        out
    }

    /// Adds nanoseconds.
    pub(crate) fn add(&self, nanos: i64) -> Result<Self, EvalError> {
        let sum = i64::from(self.nanos) + nanos % SECOND;
        let seconds = self
            .seconds
            .checked_add(nanos / SECOND + sum.div_euclid(SECOND))
            .ok_or_else(|| EvalError::of("integer overflow"))?;
        Self::new(seconds, sum.rem_euclid(SECOND) as u32, self.offset)
    }

    /// Returns the nanoseconds since another timestamp.
    pub(crate) fn since(&self, other: &Self) -> Result<i64, EvalError> {
        (self.seconds - other.seconds)
            .checked_mul(SECOND)
            .and_then(|nanos| nanos.checked_add(i64::from(self.nanos) - i64::from(other.nanos)))
            .ok_or_else(|| EvalError::of("integer overflow"))
    }

    /// Returns a part of the timestamp in a zone; in UTC if there is none.
    pub(crate) fn part(&self, part: Part, zone: Option<&str>) -> Result<i64, EvalError> {
        let civil = self.civil(zone.map_or(Ok(0), offset)?);
        Ok(match part {
            Part::FullYear => civil.year,
            Part::Month => civil.month - 1,
            Part::Date => civil.day,
            Part::DayOfMonth => civil.day - 1,
            Part::DayOfWeek => {
                (days_from_civil(civil.year, civil.month, civil.day) + 4).rem_euclid(7)
            }
            Part::DayOfYear => {
                days_from_civil(civil.year, civil.month, civil.day)
                    - days_from_civil(civil.year, 1, 1)
            }
            Part::Hours => civil.seconds / 3600,
            Part::Minutes => civil.seconds / 60 % 60,
            Part::Seconds => civil.seconds % 60,
            Part::Milliseconds => i64::from(self.nanos) / 1_000_000,
        })
    }

    fn civil(&self, offset: i32) -> Civil {
        let local = self.seconds + i64::from(offset);
        let days = local.div_euclid(DAY);
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            seconds: local.rem_euclid(DAY),
        }
    }
}

/// Returns a part of a duration.
pub(crate) fn duration_part(nanos: i64, part: Part) -> Option<i64> {
    Some(match part {
        Part::Hours => nanos / (3600 * SECOND),
        Part::Minutes => nanos / (60 * SECOND),
        Part::Seconds => nanos / SECOND,
        Part::Milliseconds => nanos / 1_000_000,
        _ => return None,
    })
}

/// Returns true unless a zone is a name other than `UTC`.
pub(crate) fn is_known_zone(zone: &str) -> bool {
    matches!(zone, "" | "UTC") || zone.contains(':')
}

/// Says that a zone is not known.
pub(crate) fn unknown_zone(zone: &str) -> String {
    format!("unknown time zone {zone}: only UTC and offsets such as +02:00 are supported")
}

/// Reads a zone: `UTC`, nothing, or `+02:00`.
fn offset(zone: &str) -> Result<i32, EvalError> {
    let Some((hours, minutes)) = zone.split_once(':') else {
        return match is_known_zone(zone) {
            true => Ok(0),
            false => Err(EvalError::of(unknown_zone(zone))),
        };
    };
    let number = |text: &str| {
        let parsed = text.parse::<i32>().ok();
        parsed
            .filter(|number| number.unsigned_abs() < 1000)
            .ok_or_else(|| {
                EvalError::of(format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))
            })
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if !(0..60).contains(&minutes) {
        return Err(EvalError::of(format!(
            "timezone offset minutes out of range [0, 59]: {zone}"
        )));
    }
    let minutes = if zone.starts_with('-') {
        hours * 60 - minutes
    } else {
        hours * 60 + minutes
    };
    Ok(minutes * 60)
}

/// Reads a duration as Go writes it: `1h30m`, `-1.5s`, `0`. None: it is none, or it is too long.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let unit = unit(&after[..end])?;
        rest = &after[end..];
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let nanos = whole.checked_mul(unit)?;
        let nanos = nanos.checked_add(fraction_of(fraction, unit))?;
        total = total.checked_add(nanos)?;
    }
    if negative {
        0_i64.checked_sub_unsigned(total)
    } else {
        i64::try_from(total).ok()
    }
}

fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Returns a decimal fraction of a unit, calculated in floating point as Go does. Digits beyond the
/// 18th don't count.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let digits = &digits[..digits.len().min(18)];
    let value: u64 = digits.parse().unwrap_or(0);
    let scale = 10_u64.pow(digits.len() as u32);
    (value as f64 * (unit as f64 / scale as f64)) as u64
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Writes a duration in seconds: `5400s`.
pub(crate) fn duration_text(nanos: i64) -> String {
    let seconds = (nanos / SECOND) as f64 + (nanos % SECOND) as f64 / 1e9;
    format!("{seconds}s")
}

struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == wanted).then_some(())
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        let mut number = 0;
        for digit in digits {
            number = number * 10 + i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
        Some(number)
    }

    fn one_or_two_digits(&mut self) -> Option<i64> {
        let two = self.0.get(1).is_some_and(u8::is_ascii_digit);
        self.digits(if two { 2 } else { 1 })
    }

    fn fraction(&mut self) -> u32 {
        let [b'.' | b',', rest @ ..] = self.0 else {
            return 0;
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return 0;
        }
        self.0 = &rest[digits..];
        let digit = |at: usize| {
            if at < digits {
                u32::from(rest[at] - b'0')
            } else {
                0
            }
        };
        (0..9).fold(0, |nanos, at| nanos * 10 + digit(at))
    }

    fn zone(&mut self) -> Option<i32> {
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match sign {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.digits(2)?;
        self.byte(b':')?;
        let minutes = self.digits(2)?;
        let seconds = hours * 3600 + minutes * 60;
        (hours <= 24 && minutes <= 60).then_some(sign * seconds as i32)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years begin in
/// March, so that the leap day is the last one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Returns year, month and day of the days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_as_they_were_read() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2009-02-13T23:31:30Z",
            "2024-02-29T23:59:59.123456789Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "2023-07-14T10:30:45.5+02:30",
            "2023-07-14T10:30:45-08:00",
        ] {
            let parsed = Timestamp::parse(text).expect("valid").expect("in range");
            assert_eq!(parsed.text(), text);
        }
    }

    #[test]
    fn texts_that_are_no_timestamps_are_refused() {
        for text in [
            "",
            "2023",
            "2023-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:60Z",
            "2023-01-01 00:00:00Z",
            "2023-01-01T00:00:00",
            "2023-01-01T00:00:00Zx",
            "2023-1-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_none(), "{text}");
        }
        assert!(
            Timestamp::parse("0000-12-31T23:59:59Z")
                .expect("valid")
                .is_err()
        );
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos) in [
            ("1h30m", 5400 * SECOND),
            ("-1.5s", -1_500_000_000),
            ("0", 0),
            ("1us2\u{b5}s", 3000),
            (".5m", 30 * SECOND),
            ("9223372036854775807ns", i64::MAX),
            ("0.999999999999999999s", SECOND),
            ("0.9999999999999999999999s", SECOND),
            (
                "2562047.788015215h",
                i64::MAX / SECOND * SECOND + 854_774_000,
            ),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            "1x",
            "-",
            "9223372036854775808ns",
            "1 s",
            "1h 1m",
            ".",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(duration_text(5400 * SECOND), "5400s");
        assert_eq!(duration_text(-1_500_000_000), "-1.5s");
    }

    #[test]
    fn every_day_of_four_centuries_converts_there_and_back() {
        for days in -146_097..146_097 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!(day <= days_in_month(year, month));
        }
    }
}
