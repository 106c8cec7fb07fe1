//! Text that clients wrote, quoted in messages and in JSON.

use std::fmt::Write as _;

/// Returns a value as a message shows it: in quotes, escaped, cut after 64 characters.
///
/// The author of a Service could otherwise forge lines in a log, hide a part of a message by
/// bidirectional controls, or pass one name off as another by letters that look alike. Names,
/// labels and classes that the API server admits are ASCII, so everything else is escaped.
///
/// ```
/// use sallyport_policy::quote;
///
/// assert_eq!(quote("web"), r#""web""#);
/// assert_eq!(quote("w\u{435}b\n"), r#""w\u{435}b\u{a}""#);
/// ```
pub fn quote(text: &str) -> String {
    const SHOWN: usize = 64;
    let mut quoted = String::with_capacity(text.len().min(4 * SHOWN) + 2);
    quoted.push('"');
    for (index, c) in text.chars().enumerate() {
        if index == SHOWN {
            quoted.push('…');
            break;
        }
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.extend(c.escape_unicode()),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a JSON string.
pub(crate) fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\u{0}'..='\u{1f}' => {
                write!(json, "\\u{:04x}", u32::from(c)).expect("a String takes all");
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Returns a JSON list of strings.
pub(crate) fn json_list(texts: &[String]) -> String {
    let strings: Vec<_> = texts.iter().map(|text| json_string(text)).collect();
    format!("[{}]", strings.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_can_forge_nothing() {
        assert_eq!(quote("plain"), "\"plain\"");
        assert_eq!(
            quote("\u{430}\u{5d0}\u{e0041}"),
            "\"\\u{430}\\u{5d0}\\u{e0041}\""
        );
        assert_eq!(quote("a\"b\\\n\u{202e}"), "\"a\\\"b\\\\\\u{a}\\u{202e}\"");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 64 + 3);
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(json_string("a\"\\\n\u{1f}ü"), r#""a\"\\\u000a\u001fü""#);
    }
}
