//! Texts for people's terminals and logs: lines without control characters or text that reorders
//! itself, and not too long.

use crate::contract::verdict::Violation;
use crate::excerpt::{cut, excerpt};
use crate::printable::{printable, sentence};
use std::cmp::Ordering;

/// Bytes of one line of a denial or a warning; a shipped policy's have some hundred.
const MAX_LINE: usize = 1500;

/// `[policy] field: message; fix`, cut to [`MAX_LINE`].
pub(super) fn line(policy: &str, violation: &Violation) -> String {
    let Violation {
        field,
        message,
        fix,
        ..
    } = violation;
    let (message, fix) = (cut(message, MAX_LINE), cut(fix, MAX_LINE));
    let sentence = sentence(&excerpt(field), &message, &fix);
    clean_cut(&format!("[{policy}] {sentence}"), MAX_LINE)
}

/// Cuts and escapes a text of a client or a guest. Cutting comes first, so that nothing large is
/// escaped.
pub(super) fn clean_cut(text: &str, most: usize) -> String {
    let cut_text = cut(text, most);
    let clean = printable(&cut_text);
    // Escapes are longer than what they stand for.
    if clean.len() <= 2 * most {
        clean.into_owned()
    } else {
        cut(&clean, most).into_owned()
    }
}

/// Cuts a text to a number of characters, as API servers count them, with an ellipsis for the rest.
pub(super) fn cut_to_characters(text: String, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((end, _)) if text.chars().count() > most => format!("{}…", &text[..end]),
        _ => text,
    }
}

/// Compares field paths so that `ports[2]` comes before `ports[10]`.
pub(super) fn by_path(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (part_a, rest_a) = part(a);
        let (part_b, rest_b) = part(b);
        let order = match (part_a.parse::<u64>(), part_b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => part_a.cmp(part_b),
        };
        if order != Ordering::Equal || rest_a.is_empty() || rest_b.is_empty() {
            return order.then(rest_a.len().cmp(&rest_b.len()));
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// Splits off the digits at the beginning, or the text before the first digit.
fn part(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(
        text.find(|c: char| c.is_ascii_digit() != digits)
            .unwrap_or(text.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_whatever_a_guest_says() {
        let long = |c: char| c.to_string().repeat(1 << 20);
        let violation = Violation {
            rule: "S02".into(),
            key: String::new(),
            field: long('f'),
            message: long('\u{200b}'),
            fix: long('x'),
        };
        let line = line("p", &violation);
        assert!(line.len() < 2 * MAX_LINE + 200, "{}", line.len());
        assert!(
            line.starts_with("[p] ffff") && line.contains("… (1048576 bytes): \\u{200b}"),
            "{line}"
        );
    }

    #[test]
    fn paths_are_ordered_by_index_as_a_number() {
        let mut paths = [
            "spec.ports[10].x",
            "spec.type",
            "spec.ports[2].x",
            "spec.ports[2]",
            "a",
        ];
        paths.sort_by(|a, b| by_path(a, b));
        assert_eq!(
            paths,
            [
                "a",
                "spec.ports[2]",
                "spec.ports[2].x",
                "spec.ports[10].x",
                "spec.type"
            ]
        );
    }

    #[test]
    fn a_cut_text_says_so_and_never_splits_a_character() {
        assert_eq!(cut_to_characters("äöü".into(), 3), "äöü");
        assert_eq!(cut_to_characters("äöüß".into(), 3), "äö…");
    }
}
