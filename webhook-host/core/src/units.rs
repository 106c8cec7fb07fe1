//! Durations and sizes: one notation for manifests, command lines and requests.
//!
//! Durations are written as `500ms`, `5s`, `1m30s`, `12h` or `90d`, sizes as `64Mi`, `512Ki` or
//! plain bytes: whole numbers in the spellings of Kubernetes (`metav1.Duration`,
//! `resource.Quantity`). [`duration`] and [`size`] are the only parsers. The types [`Millis`] and
//! [`Bytes`] can't hold a value out of their range.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// No value takes more characters. A bound for parsers and schemas.
const MAX_TEXT: usize = 24;

/// Units of time in milliseconds, the longest first.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Units of memory in bytes, the largest first.
const SIZES: [(&str, u64); 4] = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("", 1)];

/// Parses a duration such as `500ms`, `5s`, `1m30s`, `12h` or `90d`.
///
/// Units stand in falling order, the first number of several is not 0, and each number after it is
/// less than one of the unit before it: `1m30s`, not `30s1m`, `0m30s` or `1m90s`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = Some(text).filter(|text| text.len() <= MAX_TEXT && !text.is_empty())?;
    let mut total: u64 = 0;
    let mut limit = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let end = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at(end);
        let millis = of(&TIMES, unit)?;
        let term = number.checked_mul(millis)?;
        let is_first_of_several = limit == u64::MAX && !after.is_empty();
        if millis >= limit || term >= limit || (is_first_of_several && term == 0) {
            return None;
        }
        total = total.checked_add(term)?;
        (limit, rest) = (millis, after);
    }
    Some(Duration::from_millis(total))
}

/// Parses a number of bytes such as `64Mi`, `512Ki`, `1Gi` or `65536`.
pub fn size(text: &str) -> Option<u64> {
    let text = Some(text).filter(|text| text.len() <= MAX_TEXT)?;
    let (number, unit) = number(text)?;
    number.checked_mul(of(&SIZES, unit)?)
}

/// `16Mi` is 16 and `Mi`.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

fn of(units: &[(&str, u64)], name: &str) -> Option<u64> {
    let unit = units.iter().find(|(unit, _)| *unit == name);
    unit.map(|(_, value)| *value)
}

/// Writes a duration in the largest unit up to hours that leaves a whole number: `72h`, `90m`.
pub fn display(duration: Duration) -> impl fmt::Display {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    written(&TIMES[1..], millis)
}

fn written(units: &[(&str, u64)], value: u64) -> String {
    let whole = units.iter().find(|(_, unit)| value.is_multiple_of(*unit));
    whole.map_or_else(String::new, |(name, unit)| {
        format!("{}{name}", value / unit)
    })
}

/// A whole number of milliseconds, from 1 ms to 10 s: nothing that the API server waits for takes
/// longer, since a webhook's `timeoutSeconds` is 10 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(u32);

impl Millis {
    const MAX: u32 = 10_000;

    /// Creates a constant that is known to be in range.
    ///
    /// # Panics
    ///
    /// When it is not, which the compiler tells for a `const`.
    pub const fn new(millis: u32) -> Self {
        assert!(millis >= 1 && millis <= Self::MAX);
        Self(millis)
    }

    /// Converts into the standard library's type.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0.into())
    }
}

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let millis = duration(text)
            .and_then(|time| u32::try_from(time.as_millis()).ok())
            .filter(|millis| (1..=Self::MAX).contains(millis));
        millis
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no duration from 1ms to 10s, such as 50ms or 2s"))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self.duration()).fmt(f)
    }
}

/// A number of bytes, from 64 KiB (one page of WebAssembly memory) to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(u32);

impl Bytes {
    const MIN: u32 = 64 << 10;
    const MAX: u32 = 1 << 30;

    /// Creates a constant that is known to be in range.
    ///
    /// # Panics
    ///
    /// When it is not, which the compiler tells for a `const`.
    pub const fn new(bytes: u32) -> Self {
        assert!(bytes >= Self::MIN && bytes <= Self::MAX);
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = size(text)
            .and_then(|bytes| u32::try_from(bytes).ok())
            .filter(|bytes| (Self::MIN..=Self::MAX).contains(bytes));
        bytes
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no memory size from 64Ki to 1Gi, such as 16Mi"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(&SIZES, self.0.into()))
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

as_text!(Millis, Bytes);

/// Matches exactly what the parser accepts: an API server knows no range of a text.
macro_rules! as_pattern {
    ($type:ty, $pattern:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "maxLength": MAX_TEXT, "pattern": $pattern})
            }
        }
    };
}

as_pattern!(
    Millis,
    "^0*(([1-9][0-9]{0,3}|10000)ms|([1-9]|10)s|[1-9]s0*[0-9]{1,3}ms|10s0+ms)$"
);
as_pattern!(
    Bytes,
    concat!(
        "^0*((6[4-9]|[7-9][0-9]|[1-9][0-9]{2,5}|10[0-3][0-9]{4}|104[0-7][0-9]{3}|1048[0-4][0-9]{2}|\
         10485[0-6][0-9]|104857[0-6])Ki",
        "|([1-9][0-9]{0,2}|10[01][0-9]|102[0-4])Mi|1Gi",
        "|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4}|[1-9][0-9]{5,8}",
        "|10[0-6][0-9]{7}|107[0-2][0-9]{6}|1073[0-6][0-9]{5}|10737[0-3][0-9]{4}",
        "|1073740[0-9]{3}|1073741[0-7][0-9]{2}|10737418[01][0-9]|107374182[0-4])$"
    )
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_notation() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("5s", 5000),
            ("1s500ms", 1500),
            ("1m0s", 60_000),
            ("1m30s", 90_000),
            ("1h1m1s", 3_661_000),
            ("12h", 43_200_000),
            ("90d", 7_776_000_000),
            ("1d12h", 129_600_000),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "5S",
            "1y",
            "30s1m",
            "0m30s",
            "1m90s",
            "1s1s",
            "1m30",
            "99999999999999999999s",
            "99999999999999999d",
            "00000000000000000000000000001s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_one_notation() {
        for (text, bytes) in [
            ("0", 0),
            ("8388608", 8 << 20),
            ("512Ki", 512 << 10),
            ("64Mi", 64 << 20),
            ("1Gi", 1 << 30),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "Mi",
            "16M",
            "16 Mi",
            "-1",
            "1.5Mi",
            "1Gi1Mi",
            "9999999999999Gi",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn a_deadline_is_written_as_it_is_read() {
        for text in ["1ms", "50ms", "2s", "10s"] {
            assert_eq!(text.parse::<Millis>().expect(text).to_string(), text);
        }
        for text in ["0ms", "11s", "50", "1m"] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_memory_size_is_written_as_it_is_read() {
        for text in ["64Ki", "16Mi", "1Gi", "65537"] {
            assert_eq!(text.parse::<Bytes>().expect(text).to_string(), text);
        }
        for text in ["63Ki", "2Gi", "16", "16M"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
