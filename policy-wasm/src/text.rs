//! Text: ours, put together without formatting machinery, and other people's in it.

/// Puts a text together from its parts: texts and whole numbers.
///
/// What `format!` brings along for widths and alignments is 3 KiB of a component's 64, so that the
/// SDK and the shipped policies do without it. A policy with room to spare may use either.
///
/// ```
/// use sallyport_policy::text;
///
/// let (index, name) = (1, "web".to_owned());
/// assert_eq!(text!["spec.ports[", index, "] of ", name], "spec.ports[1] of web");
/// ```
#[macro_export]
macro_rules! text {
    ($($part:expr),+ $(,)?) => {{
        let mut text = ::std::string::String::new();
        $($crate::Part::push_to(&$part, &mut text);)+
        text
    }};
}

/// Something that [`text!`] takes.
pub trait Part {
    /// Adds it to the end.
    fn push_to(&self, text: &mut String);
}

impl Part for str {
    #[inline(never)]
    fn push_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl Part for String {
    fn push_to(&self, text: &mut String) {
        self.as_str().push_to(text);
    }
}

impl<T: Part + ?Sized> Part for &T {
    fn push_to(&self, text: &mut String) {
        (**self).push_to(text);
    }
}

impl Part for crate::service::ServiceType {
    fn push_to(&self, text: &mut String) {
        self.as_str().push_to(text);
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Part for $number {
            fn push_to(&self, text: &mut String) {
                // Every one of these types fits, but a usize of 64 bits, which counts no more than
                // memory holds.
                push_decimal(i64::try_from(*self).unwrap_or(i64::MAX), text);
            }
        })*
    };
}

numbers!(u16, i32, u32, usize);

#[inline(never)]
fn push_decimal(number: i64, text: &mut String) {
    if number < 0 {
        text.push('-');
    }
    let mut digits = [0; 20];
    let mut rest = number.unsigned_abs();
    let mut length = 0;
    for digit in &mut digits {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    for digit in digits.iter().take(length).rev() {
        text.push(char::from(*digit));
    }
}

/// A value as a message shows it: in quotes, escaped, cut after 64 characters. Whoever writes a
/// Service could otherwise forge lines in a log, hide a part of a message by bidirectional
/// controls, or pass one name off as another by letters that look alike. What the API server admits
/// as a name, a label or a class is ASCII, so everything else is escaped.
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
            _ => {
                quoted.push_str("\\u{");
                push_hex(&mut quoted, u32::from(c), 1);
                quoted.push('}');
            }
        }
    }
    quoted.push('"');
    quoted
}

/// A JSON string.
pub(crate) fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\u{0}'..='\u{1f}' => {
                json.push_str("\\u");
                push_hex(&mut json, u32::from(c), 4);
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

/// A number in hexadecimal, with at least so many digits. (What `fmt` has for that is larger.)
fn push_hex(text: &mut String, number: u32, digits: u32) {
    for digit in (0..8).rev() {
        let rest = number >> (4 * digit);
        if rest > 0 || digit < digits {
            text.push(char::from(b"0123456789abcdef"[(rest & 15) as usize]));
        }
    }
}

/// A JSON list of strings.
pub(crate) fn json_list(texts: &[String]) -> String {
    let mut json = String::from("[");
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(&json_string(text));
    }
    json.push(']');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        assert_eq!(
            text![0, " ", -1, " ", i32::MIN, " ", i32::MAX],
            "0 -1 -2147483648 2147483647"
        );
        assert_eq!(
            text![u16::MAX, ":", 1_000_usize, ":", &String::from("x")],
            "65535:1000:x"
        );
    }

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
