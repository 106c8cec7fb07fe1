//! The syntax of patterns.

use super::Assertion;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The largest number in `{n,m}`.
const MAX_REPEAT: u32 = 1000;
/// The deepest nesting of groups.
const MAX_DEPTH: u32 = 64;
/// The longest range of characters beyond ASCII whose other cases are looked up.
const MAX_FOLDED: u32 = 1024;

/// A part of a pattern.
pub(super) enum Part {
    Empty,
    Char(char),
    /// Sorted ranges, which do not overlap.
    Class(Vec<(char, char)>),
    Assert(Assertion),
    Sequence(Vec<Part>),
    Either(Vec<Part>),
    Repeat {
        part: Box<Part>,
        least: u32,
        most: Option<u32>,
        is_greedy: bool,
    },
}

#[derive(Clone, Copy)]
struct Flags {
    folds_case: bool,
    multi_line: bool,
    dot_matches_newline: bool,
    swaps_greed: bool,
}

/// Parses a pattern.
pub(super) fn parse(pattern: &str) -> Result<Part, String> {
    let mut parser = Parser {
        pattern,
        rest: pattern,
        depth: 0,
        flags: Flags {
            folds_case: false,
            multi_line: false,
            dot_matches_newline: false,
            swaps_greed: false,
        },
    };
    let part = parser.either()?;
    if parser.rest.is_empty() {
        Ok(part)
    } else {
        Err(error("unexpected )", pattern))
    }
}

#[cold]
fn error(problem: &str, at: &str) -> String {
    format!("error parsing regexp: {problem}: `{at}`")
}

struct Parser<'p> {
    pattern: &'p str,
    rest: &'p str,
    depth: u32,
    flags: Flags,
}

impl<'p> Parser<'p> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn either(&mut self) -> Result<Part, String> {
        let mut branches = vec![self.sequence()?];
        while self.skip("|") {
            branches.push(self.sequence()?);
        }
        Ok(match branches.len() {
            1 => branches.pop().unwrap_or(Part::Empty),
            _ => Part::Either(branches),
        })
    }

    fn sequence(&mut self) -> Result<Part, String> {
        let mut parts = Vec::new();
        loop {
            match self.peek() {
                None | Some('|' | ')') => return Ok(Part::Sequence(parts)),
                Some('*' | '+' | '?') => self.repeat(&mut parts)?,
                Some('{') if self.count().is_some() => self.repeat(&mut parts)?,
                Some('\\') if self.rest.starts_with("\\Q") => self.quoted(&mut parts),
                Some(_) => {
                    let part = self.atom()?;
                    parts.extend(part);
                }
            }
        }
    }

    fn quoted(&mut self, parts: &mut Vec<Part>) {
        self.skip("\\Q");
        let (text, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
        self.rest = rest;
        parts.extend(text.chars().map(|c| self.literal(c)));
    }

    /// Reads a repetition, and puts it around the last part.
    fn repeat(&mut self, parts: &mut Vec<Part>) -> Result<(), String> {
        let start = self.rest;
        let (least, most) = match self.count() {
            Some((least, most, rest)) => {
                self.rest = rest;
                (least, most)
            }
            None => match self.take() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                _ => (0, Some(1)),
            },
        };
        let is_lazy = self.skip("?");
        let text = &start[..start.len() - self.rest.len()];
        let is_too_many = least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT);
        if is_too_many || most.is_some_and(|most| most < least) {
            return Err(error("invalid repeat count", text));
        }
        let part = parts
            .pop()
            .ok_or_else(|| error("missing argument to repetition operator", text))?;
        let again = matches!(self.peek(), Some('*' | '+' | '?')) || self.count().is_some();
        if again {
            let mut end = self.rest.chars();
            end.next();
            let text = &start[..start.len() - end.as_str().len()];
            return Err(error("invalid nested repetition operator", text));
        }
        parts.push(Part::Repeat {
            part: Box::new(part),
            least,
            most,
            is_greedy: is_lazy == self.flags.swaps_greed,
        });
        Ok(())
    }

    /// Reads `{n}`, `{n,}` or `{n,m}`, without taking it. Anything else is literal.
    fn count(&self) -> Option<(u32, Option<u32>, &'p str)> {
        let (inside, rest) = self.rest.strip_prefix('{')?.split_once('}')?;
        let number = |text: &str| {
            let is_number = !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'));
            // A number that is too long is too large, too.
            is_number.then(|| text.parse().unwrap_or(u32::MAX))
        };
        match inside.split_once(',') {
            Some((least, "")) => Some((number(least)?, None, rest)),
            Some((least, most)) => Some((number(least)?, Some(number(most)?), rest)),
            None => Some((number(inside)?, Some(number(inside)?), rest)),
        }
    }

    /// Reads one part. None: flags that count from here on.
    fn atom(&mut self) -> Result<Option<Part>, String> {
        let start = self.rest;
        let Some(c) = self.take() else {
            return Ok(None);
        };
        Ok(Some(match c {
            '(' => return self.group(start),
            '[' => self.class(start)?,
            '.' if self.flags.dot_matches_newline => Part::Class(vec![('\0', char::MAX)]),
            '.' => Part::Class(negated(vec![('\n', '\n')])),
            '^' if self.flags.multi_line => Part::Assert(Assertion::LineStart),
            '^' => Part::Assert(Assertion::TextStart),
            '$' if self.flags.multi_line => Part::Assert(Assertion::LineEnd),
            '$' => Part::Assert(Assertion::TextEnd),
            '\\' => self.escape(start)?,
            c => self.literal(c),
        }))
    }

    fn literal(&self, c: char) -> Part {
        if !self.flags.folds_case {
            return Part::Char(c);
        }
        let mut ranges = vec![(c, c)];
        fold(&mut ranges);
        match ranges.as_slice() {
            [(only, last)] if only == last => Part::Char(*only),
            _ => Part::Class(ranges),
        }
    }

    fn group(&mut self, start: &'p str) -> Result<Option<Part>, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(error("expression nests too deeply", self.pattern));
        }
        let before = self.flags;
        if self.skip("?P<") || self.rest.starts_with("?<") && self.skip("?<") {
            self.group_name(start)?;
        } else if self.skip("?") && self.group_flags(start)? {
            // `(?i)`: the flags count up to the end of the group around it.
            self.depth -= 1;
            return Ok(None);
        }
        let part = self.either()?;
        if !self.skip(")") {
            return Err(error("missing closing )", self.pattern));
        }
        self.flags = before;
        self.depth -= 1;
        Ok(Some(part))
    }

    fn group_name(&mut self, start: &str) -> Result<(), String> {
        let named = self.rest.split_once('>');
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match named {
            Some((name, rest)) if !name.is_empty() && name.chars().all(is_word) => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(error("invalid named capture", start)),
        }
    }

    /// Reads flags. Returns whether they stand alone.
    fn group_flags(&mut self, start: &str) -> Result<bool, String> {
        let mut is_set = true;
        let mut has_flag = true;
        while let Some(c) = self.take() {
            let flag = match c {
                'i' => &mut self.flags.folds_case,
                'm' => &mut self.flags.multi_line,
                's' => &mut self.flags.dot_matches_newline,
                'U' => &mut self.flags.swaps_greed,
                '-' if is_set => {
                    is_set = false;
                    has_flag = false;
                    continue;
                }
                ':' | ')' if has_flag => return Ok(c == ')'),
                _ => break,
            };
            *flag = is_set;
            has_flag = true;
        }
        let read = &start[..start.len() - self.rest.len()];
        Err(error("invalid or unsupported Perl syntax", read))
    }

    fn escape(&mut self, start: &str) -> Result<Part, String> {
        let Some(c) = self.peek() else {
            return Err("error parsing regexp: trailing backslash at end of expression: ``".into());
        };
        let assertion = match c {
            'A' => Some(Assertion::TextStart),
            'z' => Some(Assertion::TextEnd),
            'b' => Some(Assertion::Word),
            'B' => Some(Assertion::NotWord),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.take();
            return Ok(Part::Assert(assertion));
        }
        if let Some(ranges) = perl_class(c) {
            self.take();
            return Ok(Part::Class(ranges));
        }
        let c = self.escaped_char(start)?;
        Ok(self.literal(c))
    }

    /// Reads an escaped character, whose backslash has been taken.
    fn escaped_char(&mut self, start: &str) -> Result<char, String> {
        let c = self.take();
        let invalid = |parser: &Self| {
            let read = &start[..start.len() - parser.rest.len()];
            error("invalid escape sequence", read)
        };
        let Some(c) = c else {
            return Err("error parsing regexp: trailing backslash at end of expression: ``".into());
        };
        Ok(match c {
            'p' | 'P' => {
                return Err(format!(
                    "error parsing regexp: Unicode classes such as \\pL are not supported; write a \
                     class such as [a-z]: `\\{c}`"
                ));
            }
            'a' => '\u{7}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' => return self.hexadecimal().ok_or_else(|| invalid(self)),
            '0'..='7' => {
                let is_octal = |c: Option<char>| c.is_some_and(|c| ('0'..='7').contains(&c));
                if c != '0' && !is_octal(self.peek()) {
                    return Err(invalid(self));
                }
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    if is_octal(self.peek()) {
                        let digit = self.take().and_then(|c| c.to_digit(8));
                        code = code * 8 + digit.unwrap_or(0);
                    }
                }
                return char::from_u32(code).ok_or_else(|| invalid(self));
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            _ => return Err(invalid(self)),
        })
    }

    fn hexadecimal(&mut self) -> Option<char> {
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => self.rest.split_at_checked(2)?,
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = rest;
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }

    fn class(&mut self, start: &str) -> Result<Part, String> {
        let is_negated = self.skip("^");
        let mut ranges = Vec::new();
        let mut is_first = true;
        loop {
            let missing = || error("missing closing ]", start);
            let c = self.peek().ok_or_else(missing)?;
            if c == ']' && !is_first {
                self.take();
                break;
            }
            is_first = false;
            if let Some(named) = self.posix_class()? {
                ranges.extend(named);
                continue;
            }
            if let Some(perl) = self.rest.strip_prefix('\\').and_then(|rest| {
                let c = rest.chars().next()?;
                Some((perl_class(c)?, &rest[c.len_utf8()..]))
            }) {
                ranges.extend(perl.0);
                self.rest = perl.1;
                continue;
            }
            let range_start = self.rest;
            let low = self.class_char(start)?;
            let mut high = low;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.take();
                high = self.class_char(start)?;
                if high < low {
                    let read = &range_start[..range_start.len() - self.rest.len()];
                    return Err(error("invalid character class range", read));
                }
            }
            ranges.push((low, high));
        }
        if self.flags.folds_case {
            fold(&mut ranges);
        }
        let ranges = sorted(ranges);
        Ok(Part::Class(if is_negated {
            negated(ranges)
        } else {
            ranges
        }))
    }

    fn class_char(&mut self, class: &str) -> Result<char, String> {
        let start = self.rest;
        match self.take() {
            Some('\\') => self.escaped_char(start),
            Some(c) => Ok(c),
            None => Err(error("missing closing ]", class)),
        }
    }

    /// Reads `[:alpha:]`.
    fn posix_class(&mut self) -> Result<Option<Vec<(char, char)>>, String> {
        let Some((name, rest)) = self
            .rest
            .strip_prefix("[:")
            .and_then(|rest| rest.split_once(":]"))
        else {
            return Ok(None);
        };
        let text = &self.rest[..self.rest.len() - rest.len()];
        let (is_negated, name) = match name.strip_prefix('^') {
            Some(name) => (true, name),
            None => (false, name),
        };
        let ranges: &[(char, char)] = match name {
            "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
            "alpha" => &[('A', 'Z'), ('a', 'z')],
            "ascii" => &[('\0', '\x7f')],
            "blank" => &[('\t', '\t'), (' ', ' ')],
            "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
            "digit" => &[('0', '9')],
            "graph" => &[('!', '~')],
            "lower" => &[('a', 'z')],
            "print" => &[(' ', '~')],
            "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "space" => &[('\t', '\r'), (' ', ' ')],
            "upper" => &[('A', 'Z')],
            "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
            _ => return Err(error("invalid character class range", text)),
        };
        self.rest = rest;
        Ok(Some(if is_negated {
            negated(ranges.to_vec())
        } else {
            ranges.to_vec()
        }))
    }
}

fn perl_class(c: char) -> Option<Vec<(char, char)>> {
    let ranges = match c.to_ascii_lowercase() {
        'd' => vec![('0', '9')],
        's' => vec![('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        'w' => vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    Some(if c.is_ascii_uppercase() {
        negated(ranges)
    } else {
        ranges
    })
}

/// Adds the other cases of all characters.
fn fold(ranges: &mut Vec<(char, char)>) {
    let mut more = Vec::new();
    for (low, high) in ranges.iter() {
        // Long ranges beyond ASCII stay as they are.
        let end = (*high).min(if *high as u32 - *low as u32 > MAX_FOLDED {
            '\x7f'
        } else {
            *high
        });
        for c in *low..=end {
            more.extend(other_cases(c).map(|c| (c, c)));
        }
    }
    ranges.append(&mut more);
    *ranges = sorted(core::mem::take(ranges));
}

/// Returns the other cases of a letter: of ASCII, Latin, Greek and Cyrillic, without the tables for
/// all of Unicode, which would be a twentieth of the component.
fn other_cases(c: char) -> impl Iterator<Item = char> {
    let code = c as u32;
    let swapped = match code {
        0x41..=0x5a | 0xc0..=0xd6 | 0xd8..=0xde | 0x391..=0x3a1 | 0x3a3..=0x3a9 | 0x410..=0x42f => {
            code + 32
        }
        0x61..=0x7a | 0xe0..=0xf6 | 0xf8..=0xfe | 0x3b1..=0x3c1 | 0x3c3..=0x3c9 | 0x430..=0x44f => {
            code - 32
        }
        0x400..=0x40f => code + 80,
        0x450..=0x45f => code - 80,
        // Latin Extended-A: pairs that begin with an even or an odd code.
        0x100..=0x12f | 0x132..=0x137 | 0x14a..=0x177 => code ^ 1,
        0x139..=0x148 | 0x179..=0x17e => ((code + 1) ^ 1) - 1,
        _ => code,
    };
    // Some letters have a third form.
    let third = match c {
        'k' | 'K' => Some('\u{212a}'),
        's' | 'S' => Some('\u{17f}'),
        '\u{212a}' => Some('K'),
        '\u{17f}' => Some('s'),
        _ => None,
    };
    let fourth = match c {
        '\u{212a}' => Some('k'),
        '\u{17f}' => Some('S'),
        _ => None,
    };
    [char::from_u32(swapped), third, fourth]
        .into_iter()
        .flatten()
}

fn sorted(ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    let ranges = crate::order::sorted(&ranges);
    let mut joined: Vec<(char, char)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match joined.last_mut() {
            Some(last) if low as u32 <= last.1 as u32 + 1 => last.1 = last.1.max(high),
            _ => joined.push((low, high)),
        }
    }
    joined
}

/// Returns all characters that sorted ranges don't have.
fn negated(ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    let mut rest = Vec::with_capacity(ranges.len() + 1);
    let mut next = Some('\0');
    for (low, high) in ranges {
        if let (Some(from), Some(to)) = (next, before(low))
            && from <= to
        {
            rest.push((from, to));
        }
        next = after(high);
    }
    if let Some(from) = next {
        rest.push((from, char::MAX));
    }
    rest
}

fn after(c: char) -> Option<char> {
    (c..=char::MAX).nth(1)
}

fn before(c: char) -> Option<char> {
    ('\0'..c).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_case_is_the_one_of_unicode() {
        for c in '\0'..='\u{45f}' {
            for other in other_cases(c).filter(|other| *other != c) {
                let is_case = c.to_lowercase().eq(other.to_lowercase())
                    || c.to_uppercase().eq(other.to_uppercase());
                assert!(is_case, "{c} {other}");
            }
        }
    }

    #[test]
    fn negating_twice_changes_nothing() {
        for ranges in [
            vec![('a', 'c'), ('x', 'x')],
            vec![('\0', 'z')],
            vec![('\u{d7ff}', '\u{e000}')],
            vec![('\0', char::MAX)],
            vec![],
        ] {
            assert_eq!(negated(negated(ranges.clone())), ranges);
        }
    }
}
