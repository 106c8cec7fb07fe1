//! Text that is safe on a terminal and in a log line.
//!
//! The author of a Service chooses texts that end up in messages, logs and reports. [`printable`]
//! escapes every character that could forge a line, reorder it or hide a part of it. This is the
//! host's only list of such characters: admission and all reports use it.

use std::borrow::Cow;

/// Escapes deceptive characters of a text as `\u{…}`. Borrows where there are none.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_deceptive(c) {
            shown.extend(c.escape_unicode())
        } else {
            shown.push(c)
        }
    }
    Cow::Owned(shown)
}

/// Escapes deceptive characters in the text of indented JSON as JSON does, so that a program reads
/// the values as they are, and a person sees that they are odd. Such characters stand in strings
/// alone, and a line feed between values alone.
pub fn printable_json(json: String) -> String {
    let is_odd = |c: char| c != '\n' && is_deceptive(c);
    if !json.contains(is_odd) {
        return json;
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_odd(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown += &format!("\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Joins the parts of a finding into `field: message; fix`, the form of denials, warnings and
/// reports. Field and fix may be empty.
pub fn sentence(field: &str, message: &str, fix: &str) -> String {
    let colon = if field.is_empty() { "" } else { ": " };
    let semicolon = if fix.is_empty() { "" } else { "; " };
    format!("{field}{colon}{message}{semicolon}{fix}")
}

/// Returns true if a character is not displayed as itself: control characters, line and paragraph
/// separators, bidirectional controls, and Unicode's `Default_Ignorable_Code_Point`
/// (DerivedCoreProperties.txt, Unicode 16), which covers zero-width characters, fillers, variation
/// selectors and tags. The interlinear annotations and the blank braille pattern are invisible,
/// too.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed_as_it_stands() {
        let text = "plain ünïcode, naïve e\u{301}, 漢字";
        assert!(matches!(printable(text), Cow::Borrowed(shown) if shown == text));
    }

    #[test]
    fn a_sentence_leaves_out_what_is_empty() {
        assert_eq!(sentence("a.b", "1", "use 2"), "a.b: 1; use 2");
        assert_eq!(sentence("", "1", ""), "1");
    }

    #[test]
    fn json_says_the_same_without_deceptive_characters() {
        let value = serde_json::json!({"name": "a\u{1b}b\u{202e}c\u{e0041}d\u{9b}e\nf", "ü": [1]});
        let shown = printable_json(format!("{value:#}\n"));
        assert!(
            shown.contains(r"a\u001bb\u202ec\udb40\udc41d\u009be\nf"),
            "{shown}"
        );
        let read: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(read, value);
        assert!(shown.contains('ü'));
    }

    #[test]
    fn characters_that_forge_reorder_or_hide_are_escaped() {
        assert_eq!(
            printable("a\nb\u{202e}c\u{200b}"),
            "a\\u{a}b\\u{202e}c\\u{200b}"
        );
        for c in [
            '\u{61c}',
            '\u{e0041}',
            '\u{1b}',
            '\u{85}',
            '\u{2029}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{e0100}',
        ] {
            assert_eq!(
                printable(&format!("a{c}b")),
                format!("a{}b", c.escape_unicode())
            );
        }
    }
}
