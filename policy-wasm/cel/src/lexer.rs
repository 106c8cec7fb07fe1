//! The tokens of an expression.

use crate::error::CompileError;
use alloc::string::String;
use alloc::vec::Vec;

/// A token.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Token<'s> {
    Identifier(&'s str),
    /// A number without its sign. Hexadecimal ones begin with `0x`.
    Int(&'s str),
    Uint(&'s str),
    Float(&'s str),
    String(String),
    Bytes(Vec<u8>),
    /// An operator, a bracket, or a keyword.
    Symbol(&'static str),
    End,
}

/// A token and its offset.
pub(crate) struct Spanned<'s> {
    pub(crate) token: Token<'s>,
    pub(crate) offset: u32,
}

/// Longer symbols stand before their prefixes.
const SYMBOLS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
    "+", "*", "/", "%", "<", ">", "@", "`",
];

const KEYWORDS: [&str; 4] = ["in", "true", "false", "null"];

/// Splits an expression into tokens. The last one is [`Token::End`].
pub(crate) fn tokens(source: &str) -> Result<Vec<Spanned<'_>>, CompileError> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::with_capacity(source.len() / 4 + 2);
    loop {
        lexer.blank();
        let offset = lexer.at as u32;
        let token = lexer.token()?;
        let is_end = token == Token::End;
        tokens.push(Spanned { token, offset });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    #[cold]
    fn error(&self, offset: usize, message: impl Into<String>) -> CompileError {
        CompileError::at(self.source, offset as u32, message)
    }

    /// Skips blanks and comments.
    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn take(&mut self, length: usize) -> &'s str {
        let taken = &self.source[self.at..self.at + length];
        self.at += length;
        taken
    }

    fn token(&mut self) -> Result<Token<'s>, CompileError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if let Some(text) = self.quoted()? {
            return Ok(text);
        }
        let second_is_digit = rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if first.is_ascii_digit() || first == '.' && second_is_digit {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let word = self.take(end);
            let keyword = KEYWORDS.iter().find(|keyword| **keyword == word);
            return Ok(keyword.map_or(Token::Identifier(word), |keyword| Token::Symbol(keyword)));
        }
        let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
        let symbol = symbol.ok_or_else(|| {
            self.error(
                self.at,
                alloc::format!("Syntax error: token recognition error at: '{first}'"),
            )
        })?;
        self.at += symbol.len();
        Ok(Token::Symbol(symbol))
    }

    fn number(&mut self) -> Result<Token<'s>, CompileError> {
        let rest = self.rest();
        let digits = |from: usize| {
            let digits = rest[from..].bytes().take_while(u8::is_ascii_digit);
            from + digits.count()
        };
        if let Some(hexadecimal) = rest.strip_prefix("0x") {
            let count = hexadecimal
                .bytes()
                .take_while(u8::is_ascii_hexdigit)
                .count();
            if count > 0 {
                let number = self.take(2 + count);
                return Ok(self.whole(number));
            }
        }
        let whole = digits(0);
        let mut end = whole;
        if rest[end..].starts_with('.') && digits(end + 1) > end + 1 {
            end = digits(end + 1);
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            if digits(end + 1 + sign) > end + 1 + sign {
                end = digits(end + 1 + sign);
            }
        }
        let number = self.take(end);
        if end > whole {
            return Ok(Token::Float(number));
        }
        Ok(self.whole(number))
    }

    fn whole(&mut self, number: &'s str) -> Token<'s> {
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1;
            return Token::Uint(number);
        }
        Token::Int(number)
    }

    /// Reads a string or bytes, if there are some.
    fn quoted(&mut self) -> Result<Option<Token<'s>>, CompileError> {
        let start = self.at;
        let mut rest = self.rest();
        let (mut is_bytes, mut is_raw) = (false, false);
        // The prefixes are `b` and `r`, in this order.
        if let Some(after) = rest.strip_prefix(['b', 'B']) {
            is_bytes = true;
            rest = after;
        }
        if let Some(after) = rest.strip_prefix(['r', 'R']) {
            is_raw = true;
            rest = after;
        }
        let Some(quote) = rest.chars().next().filter(|c| *c == '"' || *c == '\'') else {
            return Ok(None);
        };
        let triple = ["\"\"\"", "'''"];
        let triple = triple.into_iter().find(|triple| rest.starts_with(triple));
        let delimiter = triple.unwrap_or(if quote == '"' { "\"" } else { "'" });
        let body = &rest[delimiter.len()..];
        let end = self.end_of(body, delimiter, is_raw).ok_or_else(|| {
            self.error(
                start,
                alloc::format!("Syntax error: this string has no end: {quote}"),
            )
        })?;
        let body = &body[..end];
        self.at = start + (self.rest().len() - rest.len()) + 2 * delimiter.len() + end;
        let body_start = self.at - delimiter.len() - end;
        let mut out = Vec::with_capacity(body.len());
        self.unescape(body, body_start, is_bytes, is_raw, &mut out)?;
        if is_bytes {
            return Ok(Some(Token::Bytes(out)));
        }
        let text = String::from_utf8(out).map_err(|_| self.error(start, "invalid UTF-8"))?;
        Ok(Some(Token::String(text)))
    }

    fn end_of(&self, body: &str, delimiter: &str, is_raw: bool) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = &body[at..];
            if rest.starts_with(delimiter) {
                return Some(at);
            }
            let c = rest.chars().next()?;
            if delimiter.len() == 1 && (c == '\n' || c == '\r') {
                return None;
            }
            at += c.len_utf8();
            if c == '\\' && !is_raw {
                at += body[at..].chars().next()?.len_utf8();
            }
        }
    }

    fn unescape(
        &self,
        body: &str,
        start: usize,
        is_bytes: bool,
        is_raw: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), CompileError> {
        let mut at = 0;
        let push = |c: char, out: &mut Vec<u8>| {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        };
        while let Some(c) = body[at..].chars().next() {
            if c == '\r' {
                // Line ends become `\n`.
                at += if body[at..].starts_with("\r\n") { 2 } else { 1 };
                out.push(b'\n');
                continue;
            }
            if c != '\\' || is_raw {
                push(c, out);
                at += c.len_utf8();
                continue;
            }
            let escape = Escape::read(&body[at + 1..], is_bytes)
                .ok_or_else(|| self.error(start + at, "Syntax error: invalid escape"))?;
            at += 1 + escape.length;
            match escape.value {
                Escaped::Char(c) => push(c, out),
                Escaped::Byte(byte) => out.push(byte),
            }
        }
        Ok(())
    }
}

struct Escape {
    value: Escaped,
    length: usize,
}

enum Escaped {
    Char(char),
    Byte(u8),
}

impl Escape {
    /// Reads what follows a backslash.
    fn read(text: &str, is_bytes: bool) -> Option<Self> {
        let letter = text.chars().next()?;
        let simple = match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '\'' | '"' | '`' | '?' => letter,
            'x' | 'X' => return Self::number(text, 1, 2, 16, is_bytes),
            'u' if !is_bytes => return Self::number(text, 1, 4, 16, false),
            'U' if !is_bytes => return Self::number(text, 1, 8, 16, false),
            '0'..='3' => return Self::number(text, 0, 3, 8, is_bytes),
            _ => return None,
        };
        Some(Self {
            value: Escaped::Char(simple),
            length: 1,
        })
    }

    fn number(text: &str, skip: usize, digits: usize, radix: u32, is_bytes: bool) -> Option<Self> {
        let digits = text.get(skip..skip + digits)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let code = u32::from_str_radix(digits, radix).ok()?;
        let value = if is_bytes {
            Escaped::Byte(u8::try_from(code).ok()?)
        } else {
            Escaped::Char(char::from_u32(code)?)
        };
        Some(Self {
            value,
            length: skip + digits.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(source: &str) -> Vec<Token<'_>> {
        let tokens = tokens(source).expect("valid");
        tokens.into_iter().map(|spanned| spanned.token).collect()
    }

    #[test]
    fn strings_are_unescaped() {
        for (source, expected) in [
            (r#""a\n\x41\u00e9\101""#, "a\nAéA"),
            (r#"'it\'s'"#, "it's"),
            (r#"r"\d+""#, "\\d+"),
            ("\"\"\"a\"b\r\nc\"\"\"", "a\"b\nc"),
            ("''", ""),
        ] {
            assert_eq!(lex(source), [Token::String(expected.into()), Token::End]);
        }
        assert_eq!(
            lex(r#"b"\xff\303é""#),
            [
                Token::Bytes(alloc::vec![0xff, 0o303, 0xc3, 0xa9]),
                Token::End
            ]
        );
        for source in [
            "\"a",
            "'a\n'",
            r#""\q""#,
            r#""\ud800""#,
            r#"b"\u00e9""#,
            "\"\"\"a\"\"",
        ] {
            assert!(tokens(source).is_err(), "{source}");
        }
    }

    #[test]
    fn numbers_and_words_are_told_apart() {
        use Token::{End, Float, Identifier, Int, Symbol, Uint};
        assert_eq!(
            lex("0x1F 12u 1.5e-3 .5"),
            [Int("0x1F"), Uint("12"), Float("1.5e-3"), Float(".5"), End]
        );
        assert_eq!(
            lex("a.b in // c\n1.size"),
            [
                Identifier("a"),
                Symbol("."),
                Identifier("b"),
                Symbol("in"),
                Int("1"),
                Symbol("."),
                Identifier("size"),
                End
            ]
        );
    }
}
