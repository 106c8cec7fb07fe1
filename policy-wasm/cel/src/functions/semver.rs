//! Semantic versions, as Kubernetes reads them with the Go package `blang/semver`.

use crate::error::EvalError;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// A version.
pub struct Version {
    /// Major, minor and patch.
    numbers: [u64; 3],
    pre_release: Vec<Identifier>,
}

enum Identifier {
    Number(u64),
    Text(Box<str>),
}

impl Version {
    /// Reads a version.
    pub(crate) fn parse(text: &str) -> Result<Self, EvalError> {
        if text.is_empty() {
            return Err(EvalError::of("Version string empty"));
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(patch)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(EvalError::of("No Major.Minor.Patch elements found"));
        };
        let (patch, build) = match patch.split_once('+') {
            Some((patch, build)) => (patch, Some(build)),
            None => (patch, None),
        };
        let (patch, pre_release) = match patch.split_once('-') {
            Some((patch, pre_release)) => (patch, Some(pre_release)),
            None => (patch, None),
        };
        let numbers = [
            number("Major", major)?,
            number("Minor", minor)?,
            number("Patch", patch)?,
        ];
        let identifiers = pre_release.iter().flat_map(|text| text.split('.'));
        let pre_release = identifiers
            .map(Identifier::parse)
            .collect::<Result<_, _>>()?;
        for text in build.iter().flat_map(|text| text.split('.')) {
            if text.is_empty() {
                return Err(EvalError::of("Build meta data is empty"));
            }
            if !is_identifier(text) {
                return Err(EvalError::of(format!(
                    "Invalid character(s) found in build meta data {text:?}"
                )));
            }
        }
        Ok(Self {
            numbers,
            pre_release,
        })
    }

    /// Reads a version after taking off `v` and leading zeros, and adding what is missing.
    pub(crate) fn parse_tolerant(text: &str) -> Result<Self, EvalError> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(without_leading_zeros).collect();
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return Err(EvalError::of(
                    "short version cannot contain PreRelease/Build meta data",
                ));
            }
            parts.resize(3, "0".to_owned());
        }
        Self::parse(&parts.join("."))
    }

    /// Returns major (0), minor (1) or patch (2).
    pub(crate) fn number(&self, index: usize) -> i64 {
        self.numbers[index] as i64
    }

    /// Returns the order of two versions. Build metadata doesn't count.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let numbers = self.numbers.cmp(&other.numbers);
        // A release comes after its pre-releases.
        let releases = self
            .pre_release
            .is_empty()
            .cmp(&other.pre_release.is_empty());
        let identifiers = || {
            let pairs = self.pre_release.iter().zip(&other.pre_release);
            pairs
                .map(|(a, b)| a.order(b))
                .find(|order| order.is_ne())
                .unwrap_or(self.pre_release.len().cmp(&other.pre_release.len()))
        };
        numbers.then(releases).then_with(identifiers)
    }
}

fn without_leading_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let trimmed = part.trim_start_matches('0');
    if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
        trimmed.to_owned()
    } else {
        format!("0{trimmed}")
    }
}

fn number(name: &str, text: &str) -> Result<u64, EvalError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(EvalError::of(format!(
            "Invalid character(s) found in {} number {text:?}",
            name.to_ascii_lowercase()
        )));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(EvalError::of(format!(
            "{name} number must not contain leading zeroes {text:?}"
        )));
    }
    text.parse().map_err(|_| {
        EvalError::of(format!(
            "strconv.ParseUint: parsing {text:?}: value out of range"
        ))
    })
}

fn is_identifier(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Identifier {
    fn parse(text: &str) -> Result<Self, EvalError> {
        if text.is_empty() {
            return Err(EvalError::of("Prerelease is empty"));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            if text.len() > 1 && text.starts_with('0') {
                return Err(EvalError::of(format!(
                    "Numeric PreRelease version must not contain leading zeroes {text:?}"
                )));
            }
            return text.parse().map(Self::Number).map_err(|_| {
                EvalError::of(format!(
                    "strconv.ParseUint: parsing {text:?}: value out of range"
                ))
            });
        }
        if is_identifier(text) {
            return Ok(Self::Text(text.into()));
        }
        Err(EvalError::of(format!(
            "Invalid character(s) found in prerelease {text:?}"
        )))
    }

    /// Numbers come before texts.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_order_of_the_specification() {
        let versions = [
            "0.9.9",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-beta",
            "1.0.0",
            "1.0.1",
            "1.2.0",
            "10.0.0",
        ];
        let parsed: Vec<_> = versions
            .iter()
            .map(|text| Version::parse(text).expect("valid"))
            .collect();
        for pair in parsed.windows(2) {
            assert_eq!(pair[0].order(&pair[1]), Ordering::Less);
        }
    }

    #[test]
    fn normalization_fills_up_and_takes_off() {
        for (text, expected) in [("v1.0.0", "1.0.0"), ("1", "1.0.0"), ("01.01.01", "1.1.1")] {
            let found = Version::parse_tolerant(text).expect("valid");
            let expected = Version::parse(expected).expect("valid");
            assert_eq!(found.order(&expected), Ordering::Equal, "{text}");
        }
        assert!(Version::parse_tolerant("1.2-rc").is_err());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "1.0.0-ä",
        ] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }
}
