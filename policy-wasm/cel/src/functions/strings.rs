//! The functions of strings. Indexes count characters.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::{List, Value};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

fn out_of_range(index: i64) -> EvalError {
    EvalError::of(format!("index out of range: {index}"))
}

/// Returns the offset in bytes of a character; the length for the one behind the last.
fn byte_offset(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    if text.is_ascii() {
        return (index <= text.len()).then_some(index);
    }
    let mut offsets = text.char_indices().map(|(offset, _)| offset);
    match offsets.nth(index) {
        Some(offset) => Some(offset),
        None => (text.chars().count() == index).then_some(text.len()),
    }
}

/// Returns the number of characters.
pub(crate) fn size(text: &str) -> i64 {
    if text.is_ascii() {
        return text.len() as i64;
    }
    text.chars().count() as i64
}

pub(crate) fn char_at(text: &str, index: i64) -> Result<String, EvalError> {
    let offset = byte_offset(text, index).ok_or_else(|| out_of_range(index))?;
    Ok(text[offset..].chars().take(1).collect())
}

/// Returns the index of a text in another one, from an index on; -1 if it isn't there.
pub(crate) fn index_of(text: &str, part: &str, from: i64) -> Result<i64, EvalError> {
    if from < 0 {
        return Err(out_of_range(from));
    }
    if part.is_empty() {
        return Ok(from);
    }
    let Some(offset) = byte_offset(text, from) else {
        return Ok(-1);
    };
    let found = text[offset..].find(part);
    Ok(found.map_or(-1, |found| size(&text[..offset + found])))
}

/// Returns the last index of a text in another one that is at most an index.
pub(crate) fn last_index_of(text: &str, part: &str, to: Option<i64>) -> Result<i64, EvalError> {
    let length = size(text);
    let to = match to {
        Some(to) if to < 0 => return Err(out_of_range(to)),
        Some(to) => to,
        None => length,
    };
    if part.is_empty() {
        return Ok(to);
    }
    // As in cel-go: an offset behind the text finds nothing.
    if to > length || to == length && length > 0 && text.len() < part.len() {
        return Ok(-1);
    }
    let end = byte_offset(text, to).map_or(text.len(), |offset| offset + part.len());
    let mut end = end.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let found = text[..end].rfind(part);
    Ok(found.map_or(-1, |found| size(&text[..found])))
}

pub(crate) fn substring(text: &str, start: i64, end: Option<i64>) -> Result<&str, EvalError> {
    if let Some(end) = end
        && start > end
    {
        return Err(EvalError::of(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    let from = byte_offset(text, start).ok_or_else(|| out_of_range(start))?;
    let to = match end {
        Some(end) => byte_offset(text, end).ok_or_else(|| out_of_range(end))?,
        None => text.len(),
    };
    Ok(&text[from..to])
}

/// Replaces the first occurrences of a text; all of them if there is no limit.
pub(crate) fn replace(
    text: &str,
    old: &str,
    new: &str,
    limit: i64,
    budget: &Budget,
) -> Result<String, EvalError> {
    let count = if old.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(old).count()
    };
    let count = usize::try_from(limit).map_or(count, |limit| count.min(limit));
    budget.spend_bytes(text.len().saturating_add(count.saturating_mul(new.len())))?;
    Ok(text.replacen(old, new, count))
}

/// Splits a text; into its characters by an empty separator.
pub(crate) fn split<'t>(text: &'t str, separator: &str, limit: i64) -> Vec<&'t str> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Vec::new();
    }
    if !separator.is_empty() {
        return text.splitn(limit, separator).collect();
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 == limit {
            parts.push(rest);
            return parts;
        }
        let (first, after) = rest.split_at(c.len_utf8());
        parts.push(first);
        rest = after;
    }
    parts
}

pub(crate) fn join(list: &List<'_>, separator: &str, budget: &Budget) -> Result<String, EvalError> {
    let mut out = String::new();
    let mut is_first = true;
    list.each(&mut |element| {
        let Value::String(text) = &element else {
            return Err(EvalError::of(format!(
                "join: invalid input: {}",
                super::printf::shown(&element)
            )));
        };
        budget.spend_bytes(8 + text.len() + separator.len())?;
        if !core::mem::take(&mut is_first) {
            out.push_str(separator);
        }
        out.push_str(text);
        Ok(())
    })?;
    Ok(out)
}

/// Trims Unicode's white space, as Go's `strings.TrimSpace` does.
pub(crate) fn trim(text: &str) -> &str {
    text.trim()
}

/// Quotes a text as a CEL literal.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let escape = match c {
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{b}' => "\\v",
            '\\' => "\\\\",
            '"' => "\\\"",
            c => {
                out.push(c);
                continue;
            }
        };
        out.push_str(escape);
    }
    out.push('"');
    out
}

/// Escapes a key for a JSON Pointer.
pub(crate) fn escape_key(key: &str) -> String {
    key.replace("~", "~0").replace("/", "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned as _;

    #[test]
    fn indexes_count_characters() {
        assert_eq!(index_of("tacocat", "ac", 0), Ok(1));
        assert_eq!(index_of("tacocat", "none", 0), Ok(-1));
        assert_eq!(index_of("tacocat", "", 3), Ok(3));
        assert_eq!(index_of("tacocat", "a", 3), Ok(5));
        assert_eq!(index_of("ta©o©αT", "©", 3), Ok(4));
        assert_eq!(index_of("ta©o©αT", "αT", 30), Ok(-1));
        assert!(index_of("tacocat", "a", -1).is_err());
        assert_eq!(last_index_of("tacocat", "at", None), Ok(5));
        assert_eq!(last_index_of("tacocat", "", None), Ok(7));
        assert_eq!(last_index_of("tacocat", "a", Some(4)), Ok(1));
        assert_eq!(last_index_of("ta©o©αT", "©", None), Ok(4));
        assert_eq!(last_index_of("ta©o©αT", "©", Some(3)), Ok(2));
        assert_eq!(last_index_of("a", "ab", None), Ok(-1));
        assert_eq!(substring("ta©o©αT", 2, Some(6)), Ok("©o©α"));
        assert_eq!(substring("abc", 3, None), Ok(""));
        assert!(substring("abc", 4, None).is_err());
        assert!(substring("abc", 2, Some(1)).is_err());
        assert_eq!(char_at("ta©", 2), Ok("©".to_owned()));
        assert_eq!(char_at("ta©", 3), Ok(String::new()));
        assert!(char_at("ta©", 4).is_err());
    }

    #[test]
    fn texts_are_split_and_replaced_as_go_does() {
        assert_eq!(split("a,b,c", ",", -1), ["a", "b", "c"]);
        assert_eq!(split("a,b,c", ",", 2), ["a", "b,c"]);
        assert_eq!(split("a,b", ",", 0), Vec::<&str>::new());
        assert_eq!(split("aé", "", -1), ["a", "é"]);
        assert_eq!(split("abc", "", 2), ["a", "bc"]);
        assert_eq!(split("", ",", -1), [""]);
        assert_eq!(split("", "", -1), Vec::<&str>::new());
        let budget = Budget::new(1000);
        let replaced = |limit| replace("hello hello", "he", "we", limit, &budget);
        assert_eq!(replaced(-1), Ok("wello wello".to_owned()));
        assert_eq!(replaced(1), Ok("wello hello".to_owned()));
        assert_eq!(replaced(0), Ok("hello hello".to_owned()));
        assert_eq!(replace("ab", "", "-", -1, &budget), Ok("-a-b-".to_owned()));
        assert_eq!(quote("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(escape_key("a/b~c"), "a~1b~0c");
    }
}
