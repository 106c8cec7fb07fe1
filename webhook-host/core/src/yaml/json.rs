//! JSON text into a tree with lines.
//!
//! Each value has been validated by serde_json before; the walk only finds their lines.

use super::node::{Keys, Located, Node};
use super::scalar::float;
use super::{MAX_DEPTH, YamlError};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// Reads one JSON value, given a text that begins with a valid one. `line` is that of the text's
/// beginning, from 1.
///
/// # Errors
///
/// A duplicate key (`kubectl` takes the last one), a number or a text that can't be
/// expressed, and too deep nesting.
pub(super) fn read(text: &str, line: usize, keys: &mut Keys) -> Result<Located, YamlError> {
    Walk {
        text,
        place: 0,
        line,
        keys,
    }
    .value(0)
}

struct Walk<'a> {
    text: &'a str,
    place: usize,
    line: usize,
    keys: &'a mut Keys,
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Result<Located, YamlError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let line = self.line;
        let node = match self.peek() {
            b'{' => self.object(depth)?,
            b'[' => self.list(depth)?,
            _ => Node::Scalar(self.scalar()?),
        };
        Ok(Located::new(line, node))
    }

    fn object(&mut self, depth: usize) -> Result<Node, YamlError> {
        let (mut entries, mut keys) = (vec![], HashSet::new());
        self.place += 1;
        while self.peek() != b'}' {
            let Value::String(key) = self.scalar()? else {
                return Err(self.error("a key must be a string"));
            };
            let key = self.keys.share(&key);
            if !keys.insert(Arc::clone(&key)) {
                return Err(self.error(format!("the key {key:?} stands twice; keep one")));
            }
            self.skip(b':');
            let value = self.value(depth + 1)?;
            entries.push((key, value));
            self.skip(b',');
        }
        self.place += 1;
        Ok(Node::Object(entries.into()))
    }

    fn list(&mut self, depth: usize) -> Result<Node, YamlError> {
        let mut items = vec![];
        self.place += 1;
        while self.peek() != b']' {
            items.push(self.value(depth + 1)?);
            self.skip(b',');
        }
        self.place += 1;
        Ok(Node::List(items.into()))
    }

    fn scalar(&mut self) -> Result<Value, YamlError> {
        self.peek();
        let rest = &self.text[self.place..];
        let end = match rest.strip_prefix('"') {
            Some(string) => string_end(string) + 1,
            None => rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
                .unwrap_or(rest.len()),
        };
        let text = &rest[..end];
        let value = if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            text.parse::<i64>()
                .ok()
                .map(Value::from)
                .or_else(|| float(text))
        } else {
            serde_json::from_str(text).ok()
        };
        let value = value.ok_or_else(|| {
            self.error(format!(
                "{text} can't be read: a number that is too large, or half of a surrogate pair"
            ))
        })?;
        self.place += end;
        Ok(value)
    }

    /// Returns the next byte that is no blank; a valid value has one.
    fn peek(&mut self) -> u8 {
        loop {
            match self.text.as_bytes().get(self.place) {
                Some(b'\n') => self.line += 1,
                Some(b' ' | b'\t' | b'\r') => {}
                Some(byte) => return *byte,
                None => return b'}',
            }
            self.place += 1;
        }
    }

    fn skip(&mut self, separator: u8) {
        if self.peek() == separator {
            self.place += 1;
        }
    }

    fn error(&self, problem: impl Into<String>) -> YamlError {
        YamlError {
            line: self.line,
            problem: problem.into(),
        }
    }
}

/// Bytes up to and with the closing quote.
fn string_end(string: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in string.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    string.len()
}
