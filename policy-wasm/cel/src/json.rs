//! JSON text as a flat list of nodes that borrows from it.
//!
//! A document is parsed once and read through [`Node`], without a tree of boxes: the nodes of an
//! array or an object follow it, and each node knows where the next one begins. Invariants: `end`
//! of a node lies behind all of its children, and every string is valid UTF-8 of the text or of
//! `unescaped`.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The deepest nesting that a document may have. Kubernetes' objects have about ten levels.
pub const MAX_DEPTH: usize = 64;

/// A parsed document.
pub struct Document<'a> {
    text: &'a str,
    nodes: Vec<Entry>,
    /// Strings that have escapes in the text.
    unescaped: Vec<Box<str>>,
}

/// A reason why a text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// The offset in bytes.
    pub offset: usize,
    /// The problem.
    pub problem: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.problem, self.offset)
    }
}

/// A value of a document.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    document: &'a Document<'a>,
    at: u32,
}

/// A value of a document, opened one level.
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction or exponent that fits.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// A string.
    String(&'a str),
    /// An array; see [`Node::elements`].
    Array(Node<'a>),
    /// An object; see [`Node::members`].
    Object(Node<'a>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Null,
    False,
    True,
    Int,
    Double,
    /// A string that stands in the text: offset and length.
    Plain,
    /// A string in `unescaped`.
    Unescaped,
    Array,
    Object,
}

#[derive(Clone, Copy)]
struct Entry {
    tag: Tag,
    /// The index of the node that follows this one and its children.
    end: u32,
    /// The bits of a number, the place of a string, or the number of children.
    data: u64,
}

impl<'a> Document<'a> {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// The text is no JSON, is larger than 4 GiB, or is nested deeper than [`MAX_DEPTH`].
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        let mut parser = Parser {
            text,
            bytes: text.as_bytes(),
            at: 0,
            document: Self {
                text,
                // A Service has a node for about ten bytes.
                nodes: Vec::with_capacity(text.len() / 12 + 4),
                unescaped: Vec::new(),
            },
        };
        if u32::try_from(text.len()).is_err() {
            return Err(parser.error("a text of more than 4 GiB"));
        }
        parser.value(0)?;
        parser.blank();
        if parser.at < parser.bytes.len() {
            return Err(parser.error("more text after the value"));
        }
        Ok(parser.document)
    }

    /// Returns the whole document as a value.
    pub fn root(&'a self) -> Node<'a> {
        Node {
            document: self,
            at: 0,
        }
    }

    /// Returns the number of values.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }
}

impl<'a> Node<'a> {
    fn entry(self) -> Entry {
        self.document.nodes[self.at as usize]
    }

    /// Opens the value.
    pub fn open(self) -> Json<'a> {
        let entry = self.entry();
        match entry.tag {
            Tag::Null => Json::Null,
            Tag::False => Json::Bool(false),
            Tag::True => Json::Bool(true),
            Tag::Int => Json::Int(entry.data.cast_signed()),
            Tag::Double => Json::Double(f64::from_bits(entry.data)),
            Tag::Plain | Tag::Unescaped => Json::String(self.string()),
            Tag::Array => Json::Array(self),
            Tag::Object => Json::Object(self),
        }
    }

    fn string(self) -> &'a str {
        let entry = self.entry();
        if entry.tag == Tag::Unescaped {
            return self
                .document
                .unescaped
                .get(entry.data as usize)
                .map_or("", |text| text);
        }
        let start = (entry.data >> 32) as usize;
        let length = (entry.data & u64::from(u32::MAX)) as usize;
        self.document
            .text
            .get(start..start + length)
            .unwrap_or_default()
    }

    /// Returns the number of elements of an array, or of members of an object.
    pub fn len(self) -> usize {
        match self.entry().tag {
            Tag::Array => self.entry().data as usize,
            Tag::Object => self.entry().data as usize / 2,
            _ => 0,
        }
    }

    /// Returns whether an array or an object has nothing in it.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Iterates over the elements of an array, in order; over keys and values of an object.
    fn children(self) -> impl Iterator<Item = Node<'a>> {
        let document = self.document;
        let end = self.entry().end;
        let mut at = self.at + 1;
        core::iter::from_fn(move || {
            (at < end).then(|| {
                let node = Node { document, at };
                at = node.entry().end;
                node
            })
        })
    }

    /// Iterates over the elements of an array, in order.
    pub fn elements(self) -> impl Iterator<Item = Node<'a>> {
        self.children()
    }

    /// Returns an element of an array.
    pub fn element(self, index: usize) -> Option<Node<'a>> {
        self.children().nth(index)
    }

    /// Iterates over the members of an object, in the order of the text.
    pub fn members(self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        let mut children = self.children();
        core::iter::from_fn(move || {
            let key = children.next()?;
            Some((key.string(), children.next()?))
        })
    }

    /// Returns the member of an object with this key. The last one counts, as in Go.
    pub fn member(self, key: &str) -> Option<Node<'a>> {
        let members = self.members().filter(|(name, _)| *name == key);
        members.last().map(|(_, value)| value)
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    document: Document<'a>,
}

impl Parser<'_> {
    fn error(&self, problem: &'static str) -> JsonError {
        JsonError {
            offset: self.at,
            problem,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn push(&mut self, tag: Tag, data: u64) -> usize {
        let index = self.document.nodes.len();
        let end = index as u32 + 1;
        self.document.nodes.push(Entry { tag, end, data });
        index
    }

    fn close(&mut self, index: usize, children: u64) {
        let end = self.document.nodes.len() as u32;
        let entry = &mut self.document.nodes[index];
        entry.end = end;
        entry.data = children;
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > MAX_DEPTH {
            return Err(self.error("values nested too deeply"));
        }
        self.blank();
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null", Tag::Null),
            Some(b't') => self.word("true", Tag::True),
            Some(b'f') => self.word("false", Tag::False),
            _ => Err(self.error("no value")),
        }
    }

    fn word(&mut self, word: &str, tag: Tag) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("no value"));
        }
        self.at += word.len();
        self.push(tag, 0);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        let index = self.push(Tag::Array, 0);
        self.at += 1;
        self.blank();
        let mut children = 0;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            children += 1;
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.error("no `,` or `]`")),
            }
        }
        self.at += 1;
        self.close(index, children);
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        let index = self.push(Tag::Object, 0);
        self.at += 1;
        self.blank();
        let mut children = 0;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.error("no key"));
            }
            self.string()?;
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.error("no `:`"));
            }
            self.at += 1;
            self.value(depth + 1)?;
            children += 2;
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.error("no `,` or `}`")),
            }
        }
        self.at += 1;
        self.close(index, children);
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let mut whole = true;
        self.at += 1;
        while let Some(byte @ (b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) = self.peek() {
            whole &= byte.is_ascii_digit();
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        if whole && let Ok(number) = text.parse::<i64>() {
            self.push(Tag::Int, number.cast_unsigned());
            return Ok(());
        }
        let number: f64 = text.parse().map_err(|_| self.error("no number"))?;
        self.push(Tag::Double, number.to_bits());
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => return self.escaped(start),
                Some(0..=0x1f) | None => return Err(self.error("a string without an end")),
                Some(_) => self.at += 1,
            }
        }
        let length = self.at - start;
        self.at += 1;
        self.push(Tag::Plain, (start as u64) << 32 | length as u64);
        Ok(())
    }

    /// Reads the rest of a string from its first escape on.
    fn escaped(&mut self, start: usize) -> Result<(), JsonError> {
        let mut value = self.text[start..self.at].to_owned();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    value.push(escaped);
                }
                Some(0..=0x1f) | None => return Err(self.error("a string without an end")),
                Some(_) => {
                    let from = self.at;
                    while !matches!(self.peek(), Some(b'"' | b'\\' | 0..=0x1f) | None) {
                        self.at += 1;
                    }
                    value.push_str(&self.text[from..self.at]);
                }
            }
        }
        self.at += 1;
        let index = self.document.unescaped.len() as u64;
        self.document.unescaped.push(value.into_boxed_str());
        self.push(Tag::Unescaped, index);
        Ok(())
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.error("no escape"))?;
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex()?;
                self.surrogates(high)
            }
            _ => return Err(self.error("no escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(|| self.error("no four hexadecimal digits"))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.error("no four hexadecimal digits"))
    }

    /// Joins a pair of surrogates. One that stands alone becomes U+FFFD, as in Go.
    fn surrogates(&mut self, high: u32) -> char {
        if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            if let Ok(low @ 0xdc00..0xe000) = self.hex() {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
            self.at = back;
        }
        char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

/// Writes a text as a JSON string.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => {
                let digit = |value: u32| char::from_digit(value & 15, 16).unwrap_or('0');
                out.push_str("\\u00");
                out.push(digit(c as u32 >> 4));
                out.push(digit(c as u32));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: Node<'_>) -> String {
        let mut out = String::new();
        write(node, &mut out);
        out
    }

    fn write(node: Node<'_>, out: &mut String) {
        match node.open() {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            Json::Int(value) => out.push_str(&alloc::format!("{value}")),
            Json::Double(value) => out.push_str(&alloc::format!("{value:?}")),
            Json::String(value) => write_string(value, out),
            Json::Array(array) => {
                out.push('[');
                for (index, element) in array.elements().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    write(element, out);
                }
                out.push(']');
            }
            Json::Object(object) => {
                out.push('{');
                for (index, (key, value)) in object.members().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    write_string(key, out);
                    out.push(':');
                    write(value, out);
                }
                out.push('}');
            }
        }
    }

    #[test]
    fn documents_read_as_they_were_written() {
        let text = r#"{"a":[1,-2,1.5,1e3,{}],"b":{"c":null,"d":true,"e":"x\"\\\n"},"f":[]}"#;
        let document = Document::parse(text).expect("valid");
        let expected = r#"{"a":[1,-2,1.5,1000.0,{}],"b":{"c":null,"d":true,"e":"x\"\\\n"},"f":[]}"#;
        assert_eq!(show(document.root()), expected);
        let root = document.root();
        assert_eq!(root.len(), 3);
        let a = root.member("a").expect("there");
        assert_eq!(a.len(), 5);
        assert_eq!(show(a.element(4).expect("there")), "{}");
        assert!(a.element(5).is_none());
    }

    #[test]
    fn escapes_are_read_as_go_reads_them() {
        let document = Document::parse(r#""\u00e9\ud83d\ude00\ud83dx\udc00\/""#).expect("valid");
        let Json::String(text) = document.root().open() else {
            panic!("no string")
        };
        assert_eq!(text, "é😀\u{fffd}x\u{fffd}/");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(70);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "{a:1}",
            "nul",
            "\"a",
            "\"\\x\"",
            "1 2",
            "-",
            "\"\\u12\"",
            &deep,
        ] {
            assert!(Document::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_doubles() {
        let document = Document::parse("[9223372036854775807,9223372036854775808]").expect("ok");
        let root = document.root();
        assert!(matches!(
            root.element(0).expect("there").open(),
            Json::Int(i64::MAX)
        ));
        assert!(matches!(
            root.element(1).expect("there").open(),
            Json::Double(_)
        ));
    }
}
