//! What reaches people's terminals and logs: lines without control characters or text that reorders itself, and not too long.

use crate::contract::verdict::Violation;
use crate::printable::printable;
use std::cmp::Ordering;
use std::fmt::Write as _;

/// `[policy] field: message; fix`.
pub(super) fn line(policy: &str, violation: &Violation) -> String {
    let mut line = format!("[{policy}] ");
    if !violation.field.is_empty() {
        let _ = write!(line, "{}: ", violation.field);
    }
    line.push_str(&violation.message);
    if !violation.fix.is_empty() {
        let _ = write!(line, "; {}", violation.fix);
    }
    printable(&line).into_owned()
}

/// At most so many characters, with an ellipsis where some were cut.
pub(super) fn cut(text: String, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((end, _)) if text.chars().count() > most => format!("{}…", &text[..end]),
        _ => text,
    }
}

/// Order of field paths in which `ports[2]` comes before `ports[10]`.
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

/// The digits at the beginning, or what stands before the first digit.
fn part(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_ordered_by_index_as_a_number() {
        let mut paths = ["spec.ports[10].x", "spec.type", "spec.ports[2].x", "spec.ports[2]", "a"];
        paths.sort_by(|a, b| by_path(a, b));
        assert_eq!(paths, ["a", "spec.ports[2]", "spec.ports[2].x", "spec.ports[10].x", "spec.type"]);
    }

    #[test]
    fn a_cut_text_says_so_and_never_splits_a_character() {
        assert_eq!(cut("äöü".into(), 3), "äöü");
        assert_eq!(cut("äöüß".into(), 3), "äö…");
    }
}
