//! Reports: the results of checks, tests and inspections for people, for programs and for CI
//! systems.
//!
//! Role: each format is one file and a pure function from findings to text.

pub mod check;
pub mod github;
pub mod gitlab;
pub mod inspection;
pub mod lint;
mod rules;
pub mod sarif;
pub mod tests;
mod view;

pub use view::{Detail, View};

use crate::excerpt::excerpt;
use crate::printable::printable;

/// Cuts and escapes a text of a user's object for a report that people read.
pub fn shown(text: &str) -> String {
    printable(&excerpt(text)).into_owned()
}

/// Returns a number with a word that agrees with it: `1 error`, `2 errors`.
pub fn counted(count: usize, word: &str) -> String {
    counted_as(count, word, &format!("{word}s"))
}

/// Returns a number with one of two words: `1 policy`, `2 policies`.
pub fn counted_as(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
