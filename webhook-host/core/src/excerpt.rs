//! Excerpts of texts that clients send: in log lines, messages and answers, where the whole might
//! be some MiB.
//!
//! Called wherever the host repeats a client's text. Cutting comes before escaping, so nothing
//! large is ever escaped.

use std::borrow::Cow;

/// Bytes of one value in a log line or in a sentence. Names of objects have 253 at most, user names
/// of service accounts 337.
pub const MAX_VALUE: usize = 400;

/// Bytes of a sentence or a message as a whole.
pub const MAX_MESSAGE: usize = 4096;

/// Returns the first [`MAX_VALUE`] bytes of a value, and its length if it was cut.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    cut(text, MAX_VALUE)
}

/// Returns the first `most` bytes of a text. A text that was cut ends with its length,
/// which takes some more bytes.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(most);
    Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_tells_its_length() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("äöü", 3), "ä… (6 bytes)");
        assert!(excerpt(&"x".repeat(8 << 20)).len() < MAX_VALUE + 30);
    }
}
