//! The words of Go's `netip.ParseAddr` for a text that is no IP address.
//!
//! Role: a denial contains the words that an API server would have used. `core::net` decides if a
//! text is an address; this module explains only texts that are none.

use alloc::format;
use alloc::string::String;

/// The groups of an IPv6 address.
const GROUPS: usize = 8;

/// Returns what is wrong with a text that is no address: `IPv4 address too short`.
pub(crate) fn problem(text: &str) -> String {
    let problem = match text.find(['.', ':', '%']) {
        Some(at) if text.as_bytes()[at] == b'.' => ipv4(text),
        Some(at) if text.as_bytes()[at] == b':' => ipv6(text),
        Some(_) => Some("missing IPv6 address".into()),
        None => None,
    };
    format!(
        "ParseAddr({text:?}): {}",
        problem.unwrap_or_else(|| "unable to parse IP".into())
    )
}

/// Names a problem and the text where it is.
fn at(problem: &str, rest: &str) -> Option<String> {
    Some(format!("{problem} (at {rest:?})"))
}

fn ipv4(text: &str) -> Option<String> {
    let (mut value, mut digits, mut dots) = (0, 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '0'..='9' if digits == 1 && value == 0 => {
                return Some("IPv4 field has octet with leading zero".into());
            }
            '0'..='9' => {
                value = value * 10 + u32::from(c) - u32::from('0');
                digits += 1;
                if value > 255 {
                    return Some("IPv4 field has value >255".into());
                }
            }
            '.' if digits == 0 || i + 1 == text.len() => {
                return at("IPv4 field must have at least one digit", &text[i..]);
            }
            '.' if dots == 3 => return Some("IPv4 address too long".into()),
            '.' => (value, digits, dots) = (0, 0, dots + 1),
            _ => return at("unexpected character", &text[i..]),
        }
    }
    (dots < 3).then(|| "IPv4 address too short".into())
}

fn ipv6(text: &str) -> Option<String> {
    let mut rest = text;
    if let Some((address, zone)) = text.split_once('%') {
        if zone.is_empty() {
            return Some("zone must be a non-empty string".into());
        }
        rest = address;
    }
    let mut gap = None;
    if let Some(after) = rest.strip_prefix("::") {
        gap = Some(0);
        rest = after;
    }
    let mut groups = 0;
    while groups < GROUPS && !(rest.is_empty() && gap == Some(groups)) {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit());
        let end = end.unwrap_or(rest.len());
        if end > 4 {
            return at("each group must have 4 or less digits", rest);
        }
        if end == 0 {
            let problem = "each colon-separated field must have at least one digit";
            return at(problem, rest);
        }
        if rest[end..].starts_with('.') {
            return embedded(rest, groups, gap);
        }
        groups += 1;
        rest = &rest[end..];
        if rest.is_empty() {
            break;
        }
        let Some(after) = rest.strip_prefix(':') else {
            return at("unexpected character, want colon", rest);
        };
        if after.is_empty() {
            return at("colon must be followed by more characters", rest);
        }
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            if gap.is_some() {
                return at("multiple :: in address", rest);
            }
            gap = Some(groups);
            rest = after;
        }
    }
    if !rest.is_empty() {
        return at("trailing garbage after address", rest);
    }
    match gap {
        None if groups < GROUPS => Some("address string too short".into()),
        Some(_) if groups == GROUPS => {
            Some("the :: must expand to at least one field of zeros".into())
        }
        _ => None,
    }
}

/// Returns what is wrong with an address that ends in the form of IPv4, after some groups.
fn embedded(rest: &str, groups: usize, gap: Option<usize>) -> Option<String> {
    if gap.is_none() && groups != GROUPS - 2 {
        let problem = "embedded IPv4 address must replace the final 2 fields of the address";
        return at(problem, rest);
    }
    if groups + 2 > GROUPS {
        let problem = "too many hex fields to fit an embedded IPv4 at the end of the address";
        return at(problem, rest);
    }
    ipv4(rest).or_else(|| {
        let is_full = gap.is_some() && groups + 2 == GROUPS;
        is_full.then(|| "the :: must expand to at least one field of zeros".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    #[test]
    fn texts_that_are_no_address_have_gos_words() {
        for (text, expected) in [
            ("", "unable to parse IP"),
            ("x", "unable to parse IP"),
            ("1.2.3", "IPv4 address too short"),
            ("1.2.3.4.5", "IPv4 address too long"),
            ("01.2.3.4", "IPv4 field has octet with leading zero"),
            ("1.2.3.256", "IPv4 field has value >255"),
            (
                "1..2.3",
                r#"IPv4 field must have at least one digit (at ".2.3")"#,
            ),
            (
                "1.2.3.",
                r#"IPv4 field must have at least one digit (at ".")"#,
            ),
            ("1.2.3.4/8", r#"unexpected character (at "/8")"#),
            ("1::2::3", r#"multiple :: in address (at ":3")"#),
            ("1:2", "address string too short"),
            (
                "1:2:3:4:5:6:7:8:9",
                r#"trailing garbage after address (at "9")"#,
            ),
            (
                "12345::",
                r#"each group must have 4 or less digits (at "12345::")"#,
            ),
            (
                "1:",
                r#"colon must be followed by more characters (at ":")"#,
            ),
            ("::1%", "zone must be a non-empty string"),
            ("%eth0", "missing IPv6 address"),
            (
                "1:2:3:4:5:6:7::8",
                "the :: must expand to at least one field of zeros",
            ),
            ("::1.2.3", "IPv4 address too short"),
        ] {
            assert_eq!(problem(text), format!("ParseAddr({text:?}): {expected}"));
            assert!(text.parse::<IpAddr>().is_err(), "{text}");
        }
    }
}
