//! Regular expressions with the syntax of RE2, as Go has it.
//!
//! Matching takes time in proportion to the length of the text times that of the pattern, whatever
//! the pattern: all ways to match are followed at once. Of Go's syntax only Unicode's classes
//! (`\pL`) are missing; a pattern with one is refused.

mod compile;
mod parse;

use crate::budget::Budget;
use crate::error::EvalError;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A compiled pattern.
pub(crate) struct Regex {
    program: Box<[Instruction]>,
}

/// A step of a match.
enum Instruction {
    /// One character of these ranges, which are sorted.
    Class(Box<[(char, char)]>),
    Char(char),
    /// Both are tried; the first one has priority.
    Split(usize, usize),
    Jump(usize),
    Assert(Assertion),
    Match,
}

/// A condition about a place between characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assertion {
    LineStart,
    LineEnd,
    TextStart,
    TextEnd,
    Word,
    NotWord,
}

impl Regex {
    /// Compiles a pattern. The error is Go's.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let parsed = parse::parse(pattern)?;
        let program = compile::compile(&parsed)?;
        Ok(Self { program })
    }

    /// Returns about how many bytes the compiled pattern takes.
    pub(crate) fn size(&self) -> usize {
        self.program.len() * size_of::<Instruction>()
    }

    /// Returns whether the pattern matches somewhere in a text.
    pub(crate) fn is_match(&self, text: &str, budget: &Budget) -> Result<bool, EvalError> {
        Ok(self.search(text, 0, true, budget)?.is_some())
    }

    /// Returns the leftmost match at or behind an offset.
    pub(crate) fn find_at(
        &self,
        text: &str,
        from: usize,
        budget: &Budget,
    ) -> Result<Option<(usize, usize)>, EvalError> {
        self.search(text, from, false, budget)
    }

    /// Follows all ways to match at once. Those with priority come first.
    fn search(
        &self,
        text: &str,
        from: usize,
        is_any_enough: bool,
        budget: &Budget,
    ) -> Result<Option<(usize, usize)>, EvalError> {
        budget.spend_bytes(self.program.len() * 2)?;
        let mut threads = Threads::new(self.program.len());
        let mut next = Threads::new(self.program.len());
        let mut found = None;
        let mut at = from;
        loop {
            let c = text[at..].chars().next();
            if found.is_none() {
                self.follow(&mut threads, 0, at, text, at);
            }
            let is_over = found.is_some() || c.is_none() || self.is_anchored();
            if threads.list.is_empty() && is_over {
                return Ok(found);
            }
            budget.spend(1 + threads.visits / 4)?;
            next.clear();
            let behind = at + c.map_or(0, char::len_utf8);
            for &(step, start) in &threads.list {
                let matches = match &self.program[step] {
                    Instruction::Match => {
                        found = Some((start, at));
                        // The rest has less priority.
                        break;
                    }
                    Instruction::Char(wanted) => c == Some(*wanted),
                    Instruction::Class(ranges) => c.is_some_and(|c| contains(ranges, c)),
                    _ => false,
                };
                if matches {
                    self.follow(&mut next, step + 1, start, text, behind);
                }
            }
            if found.is_some() && is_any_enough {
                return Ok(found);
            }
            core::mem::swap(&mut threads, &mut next);
            if c.is_none() {
                return Ok(found);
            }
            at = behind;
        }
    }

    /// Returns whether only the start of the text can match.
    fn is_anchored(&self) -> bool {
        matches!(
            self.program.first(),
            Some(Instruction::Assert(Assertion::TextStart))
        )
    }

    /// Adds a step, and those that follow without reading a character.
    fn follow(&self, threads: &mut Threads, step: usize, start: usize, text: &str, at: usize) {
        let mut open = core::mem::take(&mut threads.open);
        open.push(step);
        while let Some(step) = open.pop() {
            if !threads.enter(step) {
                continue;
            }
            match &self.program[step] {
                Instruction::Jump(to) => open.push(*to),
                Instruction::Split(first, second) => {
                    open.push(*second);
                    open.push(*first);
                }
                Instruction::Assert(assertion) => {
                    if assertion.holds(text, at) {
                        open.push(step + 1);
                    }
                }
                _ => threads.list.push((step, start)),
            }
        }
        threads.open = open;
    }
}

fn contains(ranges: &[(char, char)], c: char) -> bool {
    // Most classes have few ranges.
    ranges.iter().any(|(low, high)| *low <= c && c <= *high)
}

/// The steps that a match may take next, by priority, with the offset where each match began.
struct Threads {
    list: Vec<(usize, usize)>,
    /// The round in which a step was entered last.
    entered: Vec<u32>,
    round: u32,
    /// The steps that were tried in this round.
    visits: u64,
    open: Vec<usize>,
}

impl Threads {
    fn new(steps: usize) -> Self {
        Self {
            list: Vec::new(),
            entered: vec![0; steps],
            round: 1,
            visits: 0,
            open: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.visits = 0;
        self.round += 1;
    }

    /// Returns whether a step is entered for the first time in this round.
    fn enter(&mut self, step: usize) -> bool {
        self.visits += 1;
        core::mem::replace(&mut self.entered[step], self.round) != self.round
    }
}

impl Assertion {
    fn holds(self, text: &str, at: usize) -> bool {
        let before = text[..at].chars().next_back();
        let after = text[at..].chars().next();
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        match self {
            Self::TextStart => at == 0,
            Self::TextEnd => after.is_none(),
            Self::LineStart => matches!(before, None | Some('\n')),
            Self::LineEnd => matches!(after, None | Some('\n')),
            Self::Word => is_word(before) != is_word(after),
            Self::NotWord => is_word(before) == is_word(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
        let regex = Regex::new(pattern).expect("valid");
        let found = regex
            .find_at(text, 0, &Budget::new(1_000_000))
            .expect("cheap");
        found.map(|(start, end)| &text[start..end])
    }

    #[test]
    fn the_leftmost_first_match_is_found() {
        for (pattern, text, expected) in [
            ("a|ab", "xab", Some("a")),
            ("ab|a", "xab", Some("ab")),
            ("a*", "baaa", Some("")),
            ("a+", "baaa", Some("aaa")),
            ("a+?", "baaa", Some("a")),
            ("a{2}", "baaa", Some("aa")),
            ("a{2,}", "baaa", Some("aaa")),
            ("a{1,2}?b", "aab", Some("aab")),
            ("^b", "ab", None),
            ("(?m)^b$", "a\nb\nc", Some("b")),
            (".+", "a\nb", Some("a")),
            ("(?s).+", "a\nb", Some("a\nb")),
            ("(?i)straSSe", "STRASSE", Some("STRASSE")),
            ("(?i)k", "\u{212a}", Some("\u{212a}")),
            (r"\bfoo\b", "a foo b", Some("foo")),
            (r"\Boo", "foo", Some("oo")),
            (r"[^a-c\d]+", "ab1xy", Some("xy")),
            (r"[[:alpha:]_-]+", "12a_-b3", Some("a_-b")),
            (r"[]a]+", "]a]", Some("]a]")),
            (r"[a\]]+", "]a", Some("]a")),
            (r"\Qa.b\E+", "a.bb", Some("a.bb")),
            (r"\x41\x{42}\103", "ABC", Some("ABC")),
            ("a{,2}", "a{,2}", Some("a{,2}")),
            ("a{x", "a{x", Some("a{x")),
            ("(?:(?P<n>x)|y)*z", "xyxz", Some("xyxz")),
            ("(?U)a+", "aaa", Some("a")),
            ("(a*)*", "b", Some("")),
            ("(|a)+", "aaa", Some("")),
            ("é+", "caféé", Some("éé")),
            (r"\<", "<", Some("<")),
            ("[a&&b]", "&", Some("&")),
            ("[[a]", "[", Some("[")),
        ] {
            assert_eq!(find(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            "(",
            ")",
            "a)",
            "[a",
            "[]",
            "*",
            "a**",
            "a{2,1}",
            "a{1001}",
            r"\",
            r"\1",
            r"\Z",
            r"\pL",
            r"[\pL]",
            "(?x)a",
            "(?<n",
            "(?=a)",
            "[z-a]",
            "[[:foo:]]",
            r"\x{110000}",
            r"\8",
            "(?i",
            "((a{100}){100}){100}",
        ] {
            assert!(Regex::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_explodes_elsewhere_takes_linear_time() {
        let text = "a".repeat(2000);
        let regex = Regex::new("(a*)*b|(a|aa)+c").expect("valid");
        let budget = Budget::new(100_000);
        assert_eq!(regex.is_match(&text, &budget), Ok(false));
        assert!(budget.left() > 0);
        assert!(regex.is_match(&text, &Budget::new(100)).is_err());
    }
}
