//! A stream of documents, split as `kubectl` splits it (`YAMLOrJSONDecoder` in
//! k8s.io/apimachinery).
//!
//! A text that begins with `{` is a series of JSON values and nothing else: kubectl before 1.34
//! reads no YAML behind them. Elsewhere, lines that begin with `---` separate YAML documents,
//! whatever stands around them. Each document is read for itself, so memory is bounded by the
//! largest one.

use super::document::Shared;
use super::node::Located;
use super::{YamlError, document, json};
use serde::de::IgnoredAny;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The documents of a text that hold something, in their order. After an error within a document
/// the next one follows.
pub struct Documents<'a> {
    rest: &'a str,
    /// The line at which the rest begins, from 1.
    line: usize,
    format: Format,
    shared: Shared,
}

enum Format {
    Json,
    Yaml,
    Ended,
}

impl<'a> Documents<'a> {
    /// Creates the documents of a file's text.
    pub fn new(text: &'a str) -> Self {
        let rest = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let format = if rest.trim_start().starts_with('{') {
            Format::Json
        } else {
            Format::Yaml
        };
        Self {
            rest,
            line: 1,
            format,
            shared: Shared::default(),
        }
    }

    fn json(&mut self) -> Option<Result<Located, YamlError>> {
        let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<IgnoredAny>();
        Some(match values.next()? {
            Ok(_) => {
                let end = values.byte_offset();
                self.take(blank);
                let (line, text) = (self.line, self.take(end - blank));
                json::read(text, line, &mut self.shared.keys)
            }
            Err(error) => {
                self.format = Format::Ended;
                let line = self.line + error.line().saturating_sub(1);
                let problem = format!(
                    "not valid JSON, though the text begins with {{: {error}; begin YAML with a \
                     line ---"
                );
                Err(YamlError { line, problem })
            }
        })
    }

    fn yaml(&mut self) -> Option<Result<Located, YamlError>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let (line, text) = match self.chunk() {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.format = Format::Ended;
                    return Some(Err(error));
                }
            };
            // Like bufio's ReadLine, this takes one carriage return with each line break.
            let normal = if text.contains('\r') {
                &text.replace("\r\n", "\n")
            } else {
                text
            };
            match document::compose(normal, line, &mut self.shared) {
                Ok(Some(document)) if !document.is_null() => return Some(Ok(document)),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Takes the lines up to the next separator, and that separator away. One that comes first
    /// belongs to the document.
    fn chunk(&mut self) -> Result<(usize, &'a str), YamlError> {
        let (mut end, mut line) = (0, self.line);
        for text in self.rest.split_inclusive('\n') {
            let separator = separator(text, line)?;
            if separator && end > 0 {
                let chunk = (self.line, self.take(end));
                self.take(text.len());
                return Ok(chunk);
            }
            if let Some(place) = text.find(BYTE_ORDER_MARK) {
                let problem = format!(
                    "a byte order mark (U+FEFF) in column {}; remove it",
                    place + 1
                );
                return Err(YamlError { line, problem });
            }
            end += text.len();
            line += 1;
        }
        Ok((self.line, self.take(end)))
    }

    fn take(&mut self, end: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        taken
    }
}

/// Returns true if a line separates documents.
fn separator(text: &str, line: usize) -> Result<bool, YamlError> {
    let Some(rest) = text.strip_prefix("---") else {
        return Ok(false);
    };
    let rest = rest.trim();
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(true);
    }
    let problem =
        "kubectl takes no line that begins with --- and goes on; begin the document on the next \
         line"
            .to_owned();
    Err(YamlError { line, problem })
}

impl Iterator for Documents<'_> {
    type Item = Result<Located, YamlError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.format {
            Format::Json => self.json(),
            Format::Yaml => self.yaml(),
            Format::Ended => None,
        }
    }
}
