//! The detail and the colours of a report for people.

use anstyle::{AnsiColor, Style};

/// The detail of a report for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Denials and errors alone.
    Quiet,
    /// All findings and a summary.
    Ordinary,
    /// Also cases and objects that passed.
    Verbose,
}

/// The detail and the colours of a report.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The detail.
    pub detail: Detail,
    /// True if results are coloured with ANSI escapes, for a terminal.
    pub colours: bool,
}

impl View {
    /// Red, for what fails.
    pub fn bad(self, word: &str) -> String {
        self.painted(AnsiColor::Red, word)
    }

    /// Yellow, for what passes with a warning.
    pub fn odd(self, word: &str) -> String {
        self.painted(AnsiColor::Yellow, word)
    }

    /// Green, for what passes.
    pub fn good(self, word: &str) -> String {
        self.painted(AnsiColor::Green, word)
    }

    fn painted(self, colour: AnsiColor, word: &str) -> String {
        let style = Style::new().bold().fg_color(Some(colour.into()));
        match self.colours {
            true => format!("{style}{word}{style:#}"),
            false => word.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_coloured_only_where_colours_are_wanted() {
        let view = |colours| View {
            detail: Detail::Ordinary,
            colours,
        };
        assert_eq!(view(false).bad("DENY"), "DENY");
        assert_eq!(view(true).bad("DENY"), "\u{1b}[1m\u{1b}[31mDENY\u{1b}[0m");
    }
}
