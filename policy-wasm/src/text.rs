//! Other people's text in our messages.

/// A value as a message shows it: in quotes, escaped, cut after 64 characters. Whoever writes a Service could otherwise forge
/// lines in a log, or hide a part of a message by bidirectional controls.
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
            _ if c.is_control() || is_invisible(c) => quoted.extend(c.escape_unicode()),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A JSON string.
pub(crate) fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\u{0}'..='\u{1f}' => {
                const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
                let code = c as usize;
                json.push_str("\\u00");
                json.extend([HEX[code >> 4], HEX[code & 15]]);
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_can_forge_nothing() {
        assert_eq!(quote("plain"), "\"plain\"");
        assert_eq!(quote("a\"b\\\n\u{202e}"), "\"a\\\"b\\\\\\u{a}\\u{202e}\"");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 64 + 3);
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(json_string("a\"\\\n\u{1f}ü"), r#""a\"\\\u000a\u001fü""#);
    }
}
