//! Reports: what the harness found, for people, for programs, for CI systems.
//!
//! Each format is one file and a pure function from findings to text; `cli` prints it.

pub mod check;
pub mod diagnosis;
pub mod explanation;
pub mod github;
pub mod inspection;
pub mod lint;
pub mod live;
mod reach;
pub mod registration;
pub mod replay;
mod rules;
pub mod sarif;
pub mod tests;

/// A text for a terminal: what could move the cursor or reorder the line is escaped.
fn printable(text: &str) -> String {
    let deceives = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if deceives(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// A number with a word that agrees with it: `1 error`, `2 errors`.
fn counted(count: usize, word: &str) -> String {
    counted_as(count, word, &format!("{word}s"))
}

/// As [`counted`], with a plural of its own.
fn counted_as(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
