//! Kubernetes' named formats: `format.dns1123Label().validate(x)`.

use super::time::days_in_month;
use super::url;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A named format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NamedFormat {
    /// `dns1123Label`.
    Dns1123Label,
    /// `dns1123Subdomain`.
    Dns1123Subdomain,
    /// `dns1035Label`.
    Dns1035Label,
    /// `qualifiedName`.
    QualifiedName,
    /// `dns1123LabelPrefix`.
    Dns1123LabelPrefix,
    /// `dns1123SubdomainPrefix`.
    Dns1123SubdomainPrefix,
    /// `dns1035LabelPrefix`.
    Dns1035LabelPrefix,
    /// `labelValue`.
    LabelValue,
    /// `uri`.
    Uri,
    /// `uuid`.
    Uuid,
    /// `byte`.
    Byte,
    /// `date`.
    Date,
    /// `datetime`.
    Datetime,
}

const FORMATS: [(&str, NamedFormat); 13] = [
    ("dns1123Label", NamedFormat::Dns1123Label),
    ("dns1123Subdomain", NamedFormat::Dns1123Subdomain),
    ("dns1035Label", NamedFormat::Dns1035Label),
    ("qualifiedName", NamedFormat::QualifiedName),
    ("dns1123LabelPrefix", NamedFormat::Dns1123LabelPrefix),
    (
        "dns1123SubdomainPrefix",
        NamedFormat::Dns1123SubdomainPrefix,
    ),
    ("dns1035LabelPrefix", NamedFormat::Dns1035LabelPrefix),
    ("labelValue", NamedFormat::LabelValue),
    ("uri", NamedFormat::Uri),
    ("uuid", NamedFormat::Uuid),
    ("byte", NamedFormat::Byte),
    ("date", NamedFormat::Date),
    ("datetime", NamedFormat::Datetime),
];

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
    or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
    regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
    'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
    '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
    'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
    'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
    and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex \
    used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_NAME: &str = "a valid label key must consist of alphanumeric characters, '-', \
    '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or \
    'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS \
    subdomain prefix and '/' (e.g. 'example.com/MyName')";

impl NamedFormat {
    /// Returns the format of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let format = FORMATS.iter().find(|(found, _)| *found == name);
        format.map(|(_, format)| *format)
    }

    /// Returns what is wrong with a text, in Kubernetes' words. Empty: nothing.
    pub(crate) fn problems(self, text: &str) -> Vec<String> {
        match self {
            Self::Dns1123Label => label(text),
            Self::Dns1123Subdomain => subdomain(text),
            Self::Dns1035Label => label_1035(text),
            Self::Dns1123LabelPrefix => label(&masked(text)),
            Self::Dns1123SubdomainPrefix => subdomain(&masked(text)),
            Self::Dns1035LabelPrefix => label_1035(&masked(text)),
            Self::QualifiedName => qualified_name(text),
            Self::LabelValue => label_value(text),
            Self::Uri => url::validate(text).err().into_iter().collect(),
            Self::Uuid => unless(is_uuid(text), "does not match the UUID format"),
            Self::Byte => unless(is_base64(text), "invalid base64"),
            Self::Date => unless(is_date(text), "invalid date"),
            Self::Datetime => unless(is_datetime(text), "invalid datetime"),
        }
    }
}

fn unless(is_valid: bool, problem: &str) -> Vec<String> {
    if is_valid {
        vec![]
    } else {
        vec![problem.to_owned()]
    }
}

fn too_long(text: &str, most: usize) -> Vec<String> {
    unless(
        text.len() <= most,
        &format!("must be no more than {most} bytes"),
    )
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Returns whether a text has at least one character, begins and ends with one of a kind, and has
/// only those and some more in between.
fn is_framed(text: &str, ends: fn(u8) -> bool, between: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    let mut all = bytes.iter();
    ends(*first) && ends(*last) && all.all(|byte| ends(*byte) || between.contains(byte))
}

fn is_label(text: &str) -> bool {
    is_framed(text, is_lower, b"-")
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn label(text: &str) -> Vec<String> {
    let mut problems = too_long(text, 63);
    if !is_label(text) {
        problems.push(
            if is_subdomain(text) {
                "must not contain dots"
            } else {
                LABEL
            }
            .to_owned(),
        );
    }
    problems
}

fn subdomain(text: &str) -> Vec<String> {
    let mut problems = too_long(text, 253);
    problems.extend(unless(is_subdomain(text), SUBDOMAIN));
    problems
}

fn label_1035(text: &str) -> Vec<String> {
    let mut problems = too_long(text, 63);
    let is_valid = is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    problems.extend(unless(is_valid, LABEL_1035));
    problems
}

fn is_name(text: &str) -> bool {
    is_framed(text, |byte| byte.is_ascii_alphanumeric(), b"-_.")
}

fn label_value(text: &str) -> Vec<String> {
    let mut problems = too_long(text, 63);
    problems.extend(unless(text.is_empty() || is_name(text), LABEL_VALUE));
    problems
}

fn qualified_name(text: &str) -> Vec<String> {
    let mut problems = vec![];
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                let prefix = subdomain(prefix);
                problems.extend(
                    prefix
                        .iter()
                        .map(|problem| format!("prefix part {problem}")),
                );
            }
            name
        }
        _ => return vec![QUALIFIED_NAME.to_owned()],
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_name(name) {
        problems.push(format!("name part {NAME_PART}"));
    }
    problems
}

/// Puts a letter in place of the last two characters if the last one is `-`, as Kubernetes does
/// for names to which something will be added.
fn masked(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let mut chars = rest.chars();
            chars.next_back();
            format!("{}a", chars.as_str())
        }
        _ => text.to_owned(),
    }
}

/// Returns true for a UUID. Each hyphen is optional.
fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (index, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((part, after)) = rest.split_at_checked(digits) else {
            return false;
        };
        if !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(is_digit)
}

fn is_date(text: &str) -> bool {
    date(text).is_some_and(str::is_empty)
}

/// Reads a date, and returns what follows it.
fn date(text: &str) -> Option<&str> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let is_valid = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    is_valid.then_some(rest)
}

fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| is_number)?, rest))
}

fn is_datetime(text: &str) -> bool {
    time_after_date(text).is_some()
}

fn time_after_date(text: &str) -> Option<()> {
    let rest = date(text)?.strip_prefix(['t', 'T'])?;
    let (hour, rest) = digits(rest, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Kubernetes takes any character as the decimal point.
    let mut fraction = rest.chars();
    fraction.next();
    let after = fraction
        .as_str()
        .trim_start_matches(|c: char| c.is_ascii_digit());
    let has_fraction = after.len() < fraction.as_str().len();
    (is_zone(rest) || has_fraction && is_zone(after)).then_some(())
}

fn is_zone(text: &str) -> bool {
    let offset = || {
        let (_, rest) = digits(text.strip_prefix(['+', '-'])?, 2)?;
        let (_, rest) = digits(rest.strip_prefix(':')?, 2)?;
        Some(rest.is_empty())
    };
    text == "z" || text == "Z" || offset().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_tell_texts_apart() {
        use NamedFormat as F;
        let long = "a".repeat(64);
        for (format, valid, invalid) in [
            (
                F::Dns1123Label,
                vec!["a", "a-1", "1a"],
                vec!["", "-a", "a-", "A", "a.b", &long],
            ),
            (
                F::Dns1123Subdomain,
                vec!["a.b", "a"],
                vec!["a..b", ".a", "a_b"],
            ),
            (F::Dns1035Label, vec!["a-1"], vec!["1a", "a.b"]),
            (F::Dns1123LabelPrefix, vec!["ab-", "a"], vec!["-", "A-b"]),
            (
                F::QualifiedName,
                vec!["a/B_c.d", "B"],
                vec!["a/b/c", "/a", "a/", "A/b"],
            ),
            (F::LabelValue, vec!["", "A_b"], vec!["-a", "ä"]),
            (F::Uri, vec!["https://x/", "/p"], vec!["x", ""]),
            (
                F::Uuid,
                vec!["123e4567-e89b-12d3-a456-426614174000"],
                vec!["123e4567", "123e4567-e89b-12d3-a456-42661417400g"],
            ),
            (F::Byte, vec!["aGVsbG8="], vec!["", "aGVsbG8", "a==="]),
            (F::Date, vec!["2024-02-29"], vec!["2023-02-29", "2023-2-1"]),
            (
                F::Datetime,
                vec!["2021-01-01T00:00:00Z", "2021-01-01T00:00:00.5+01:00"],
                vec!["2021-01-01", "2021-01-01T00:00:00"],
            ),
        ] {
            for text in valid {
                assert_eq!(format.problems(text), Vec::<String>::new(), "{text}");
            }
            for text in invalid {
                assert!(!format.problems(text).is_empty(), "{text}");
            }
        }
    }
}
