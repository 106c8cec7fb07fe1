//! Durations and memory sizes as manifests write them: `50ms`, `16Mi`.
//!
//! Kubernetes' own spellings (`metav1.Duration`, `resource.Quantity`), reduced to what a limit can
//! be. A value out of its type's range can't be constructed.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A whole number of milliseconds, from 1 ms to 10 s: nothing that the API server waits for takes
/// longer, since a webhook's `timeoutSeconds` is 10 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(u32);

impl Millis {
    const MAX: u32 = 10_000;

    /// A constant that is known to be in range.
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
        let millis = split(text)
            .and_then(|(number, unit)| match unit {
                "ms" => Some(number),
                "s" => number.checked_mul(1000),
                _ => None,
            })
            .and_then(|millis| u32::try_from(millis).ok())
            .filter(|millis| (1..=Self::MAX).contains(millis));
        millis
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no duration from 1ms to 10s, such as 50ms or 2s"))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}s", self.0 / 1000)
        } else {
            write!(f, "{}ms", self.0)
        }
    }
}

/// A number of bytes, from 64 KiB (one page of WebAssembly memory) to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(u32);

impl Bytes {
    const MIN: u32 = 64 << 10;
    const MAX: u32 = 1 << 30;

    /// A constant that is known to be in range.
    ///
    /// # Panics
    ///
    /// When it is not, which the compiler tells for a `const`.
    pub const fn new(bytes: u32) -> Self {
        assert!(bytes >= Self::MIN && bytes <= Self::MAX);
        Self(bytes)
    }

    /// In bytes.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = split(text)
            .and_then(|(number, unit)| {
                let shift = match unit {
                    "Ki" => 10,
                    "Mi" => 20,
                    "Gi" => 30,
                    _ => return None,
                };
                number.checked_mul(1 << shift)
            })
            .and_then(|bytes| u32::try_from(bytes).ok())
            .filter(|bytes| (Self::MIN..=Self::MAX).contains(bytes));
        bytes
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no memory size from 64Ki to 1Gi, such as 16Mi"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = [(30, "Gi"), (20, "Mi"), (10, "Ki")]
            .into_iter()
            .find(|(shift, _)| self.0.is_multiple_of(1 << shift))
            .map_or((self.0, ""), |(shift, unit)| (self.0 >> shift, unit));
        write!(f, "{number}{unit}")
    }
}

/// `16Mi` is 16 and `Mi`.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
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

/// The very values that are read, for an API server, which knows no range of a text.
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
                json_schema!({"type": "string", "maxLength": 24, "pattern": $pattern})
            }
        }
    };
}

as_pattern!(Millis, "^0*(([1-9][0-9]{0,3}|10000)ms|([1-9]|10)s)$");
as_pattern!(
    Bytes,
    concat!(
        "^0*((6[4-9]|[7-9][0-9]|[1-9][0-9]{2,5}|10[0-3][0-9]{4}|104[0-7][0-9]{3}|1048[0-4][0-9]{2}|\
         10485[0-6][0-9]|104857[0-6])Ki",
        "|([1-9][0-9]{0,2}|10[01][0-9]|102[0-4])Mi|1Gi)$"
    )
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for text in ["1ms", "50ms", "2s", "10s"] {
            assert_eq!(text.parse::<Millis>().expect(text).to_string(), text);
        }
        for text in [
            "0ms",
            "11s",
            "50",
            "ms",
            "1m",
            "-1ms",
            "1.5s",
            "",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
    }

    #[test]
    fn memory_sizes_are_read_and_written_alike() {
        for text in ["64Ki", "16Mi", "1Gi"] {
            assert_eq!(text.parse::<Bytes>().expect(text).to_string(), text);
        }
        for text in ["63Ki", "2Gi", "16", "16M", "Mi", "16 Mi", ""] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
