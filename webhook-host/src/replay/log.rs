//! A recorded log, read line by line: a log of gigabytes is never in memory, and a line that can't
//! be read is reported and skipped.

use crate::record::Record;
use std::io::{BufRead, Read as _, Result};

/// The longest line in bytes. A body has 8 MiB by default, and escapes can double it.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// The records of one file.
pub struct Lines<R> {
    reader: R,
    line: u64,
    buffer: Vec<u8>,
}

/// A line of a log.
#[derive(Debug)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// The record, or the reason for which it can't be read.
    pub record: std::result::Result<Box<Record>, String>,
}

impl<R: BufRead> Lines<R> {
    /// Creates an iterator over the lines of a reader.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            line: 0,
            buffer: vec![],
        }
    }

    fn read(&mut self) -> Result<Option<std::result::Result<Box<Record>, String>>> {
        self.buffer.clear();
        let read = self
            .reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if read as u64 == MAX_LINE_BYTES && !self.buffer.ends_with(b"\n") {
            self.reader.skip_until(b'\n')?;
            return Ok(Some(Err(format!(
                "it is longer than {MAX_LINE_BYTES} bytes"
            ))));
        }
        let record = serde_json::from_slice(&self.buffer).map(Box::new);
        Ok(Some(record.map_err(|error| {
            format!("it is no recorded review: {error}")
        })))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line>;

    /// Returns the next line that is not empty. Errors come from the reader.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = self.read().transpose()?;
            if !self.buffer.trim_ascii().is_empty() || read.is_err() {
                return Some(read.map(|record| Line {
                    number: self.line,
                    record,
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_read_is_passed_over_with_its_number() {
        let lines: Vec<_> = Lines::new(&b"{}\n\nnonsense\n"[..])
            .map(|line| line.expect("memory"))
            .collect();
        let numbers: Vec<_> = lines
            .iter()
            .map(|line| (line.number, line.record.is_err()))
            .collect();
        assert_eq!(numbers, [(1, true), (3, true)]);
        let error = lines[0].record.as_ref().expect_err("no record");
        assert!(
            error.starts_with("it is no recorded review: missing field"),
            "{error}"
        );
    }
}
