//! `--bless`: replaces the expectations of failing cases by the actual outcomes, and changes
//! nothing else in the file.
//!
//! Line-based: the lines of a case's `expect` are replaced. Afterwards the new text is read again;
//! if anything but those expectations is different, nothing is written.

use super::expect::Expect;
use super::model::Suite;
use super::places::{self, Place};
use crate::yaml;
use serde_json::Value;
use std::collections::BTreeMap;

/// New expectations for some cases of one suite.
#[derive(Debug)]
pub struct Blessing<'a> {
    suite: &'a Suite,
    expectations: BTreeMap<usize, Written>,
}

/// An expectation as it is written, and as it must read afterwards.
#[derive(Debug, Clone)]
struct Written {
    text: String,
    value: Value,
}

/// The reason why a suite can't be rewritten; it is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlessError {
    /// The expectation doesn't stand on lines of its own.
    #[error(
        "line {line}: this case can't be rewritten; write it in block style, `expect:` on a line \
         of its own"
    )]
    Layout {
        /// The line of the case.
        line: usize,
    },
    /// Some layout that line-based rewriting doesn't understand.
    #[error("rewriting would change more than the expectations; edit them by hand")]
    Unsafe,
}

impl<'a> Blessing<'a> {
    /// Nothing blessed yet.
    pub fn new(suite: &'a Suite) -> Self {
        Self {
            suite,
            expectations: BTreeMap::new(),
        }
    }

    /// Blesses the case at an index of `suite.cases`.
    pub fn add(&mut self, index: usize, got: &Expect) {
        let value = serde_json::to_value(got).expect("an expectation has a JSON form");
        self.expectations.insert(
            index,
            Written {
                text: got.to_yaml(),
                value,
            },
        );
    }

    /// Returns the suite's new text.
    ///
    /// # Errors
    ///
    /// When it can't be made without touching anything else.
    pub fn text(&self) -> Result<String, BlessError> {
        rewrite(&self.suite.text, &self.expectations)
    }
}

fn rewrite(text: &str, expectations: &BTreeMap<usize, Written>) -> Result<String, BlessError> {
    let places = places::places(text);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    // From the end, so that the lines of earlier cases stay where they are.
    for (index, written) in expectations.iter().rev() {
        let place = places.get(*index).ok_or(BlessError::Unsafe)?;
        splice(&mut lines, place, &written.text).ok_or(BlessError::Layout { line: place.line })?;
    }
    let rewritten = lines.concat();
    let same = outcome_of(text, expectations) == yaml::documents(&rewritten).ok();
    same.then_some(rewritten).ok_or(BlessError::Unsafe)
}

/// The values that the rewritten text must have.
fn outcome_of(text: &str, expectations: &BTreeMap<usize, Written>) -> Option<Vec<Value>> {
    let mut documents = yaml::documents(text).ok()?;
    for (index, written) in expectations {
        let case = documents
            .first_mut()?
            .pointer_mut(&format!("/spec/cases/{index}"))?;
        case.as_object_mut()?
            .insert("expect".to_owned(), written.value.clone());
    }
    Some(documents)
}

fn splice(lines: &mut Vec<String>, place: &Place, body: &str) -> Option<()> {
    if let Some(last) = lines.last_mut().filter(|line| !line.ends_with('\n')) {
        last.push('\n');
    }
    let (start, indent) = (place.line - 1, place.column - 1);
    let (from, to, dash) = match place.expect {
        Some(at) => {
            let (from, dash) = key_line(lines, start, at - 1, indent)?;
            (from, end_of_block(lines, from + 1, indent + 1), dash)
        }
        None => {
            let end = end_of_block(lines, start + 1, indent);
            (end, end, false)
        }
    };
    let block = render(body, indent, dash.then(|| lines[from][..indent].to_owned()));
    lines.splice(from..to, [block]);
    Some(())
}

/// Returns the line of the key `expect`, at or above the line of its value, and whether it opens
/// the list item.
fn key_line(lines: &[String], start: usize, value: usize, indent: usize) -> Option<(usize, bool)> {
    (start..=value).rev().find_map(|at| {
        let line = lines.get(at)?;
        let (lead, rest) = (line.get(..indent)?, line.get(indent..)?);
        let blank = lead.chars().all(|c| c == ' ');
        let dash = at == start && lead.trim() == "-";
        (rest.starts_with("expect:") && (blank || dash)).then_some((at, dash))
    })
}

/// One past the last line that is indented at least so far; blank lines and comments at the end
/// belong to what follows.
fn end_of_block(lines: &[String], from: usize, indent: usize) -> usize {
    let mut end = from;
    for (at, line) in lines.iter().enumerate().skip(from) {
        let content = line.trim_start_matches(' ');
        if content.trim().is_empty() || content.starts_with('#') {
            continue;
        }
        if line.len() - content.len() < indent {
            break;
        }
        end = at + 1;
    }
    end
}

fn render(body: &str, indent: usize, lead: Option<String>) -> String {
    let pad = " ".repeat(indent);
    let lead = lead.unwrap_or_else(|| pad.clone());
    let indented = body.lines().map(|line| {
        if line.is_empty() {
            "\n".to_owned()
        } else {
            format!("{pad}  {line}\n")
        }
    });
    format!("{lead}expect:\n{}", indented.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SUITE: &str = "\
# head
kind: Suite
spec:
  cases:
  # first
  - name: a
    object: {spec: {type: NodePort}}  # kept
    expect: # why
      allowed: true
      # inner
      warnings: [x]

  # second
  - expect: {allowed: true}
    name: \"b: quoted\"

  - name: c
    object:
      metadata: {name: x}
# tail
";

    fn bless(text: &str, expectations: &[(usize, Value)]) -> Result<String, BlessError> {
        let written = |value: &Value| Written {
            text: yaml::to_string(value),
            value: value.clone(),
        };
        rewrite(
            text,
            &expectations
                .iter()
                .map(|(index, value)| (*index, written(value)))
                .collect(),
        )
    }

    #[test]
    fn only_the_lines_of_the_expectation_change() {
        let new = json!({"allowed": false, "violations": [{"rule": "S02"}]});
        let text = bless(SUITE, &[(0, new)]).expect("block style");
        let expected = SUITE.replace(
            "    expect: # why\n      allowed: true\n      # inner\n      warnings: [x]\n",
            "    expect:\n      allowed: false\n      violations:\n      - rule: S02\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn an_expectation_that_opens_its_case_keeps_the_dash_and_a_missing_one_is_added() {
        let text = bless(
            SUITE,
            &[
                (1, json!({"allowed": false})),
                (2, json!({"allowed": true})),
            ],
        )
        .expect("block style");
        assert!(
            text.contains(
                "  # second\n  - expect:\n      allowed: false\n    name: \"b: quoted\"\n"
            ),
            "{text}"
        );
        assert!(
            text.ends_with("      metadata: {name: x}\n    expect:\n      allowed: true\n# tail\n"),
            "{text}"
        );
    }

    #[test]
    fn a_case_in_flow_style_is_left_alone() {
        let text = "spec:\n  cases:\n  - {name: a, expect: {allowed: true}}\n";
        assert_eq!(
            bless(text, &[(0, json!({"allowed": false}))]),
            Err(BlessError::Layout { line: 3 })
        );
    }

    #[test]
    fn text_inside_a_block_scalar_is_no_key() {
        let text = "spec:\n  cases:\n  - name: a\n    rawObject: |\n      expect: \
            1\n    expect:\n      allowed: true\n";
        let text = bless(text, &[(0, json!({"allowed": false}))]).expect("block style");
        assert!(
            text.contains("      expect: 1\n    expect:\n      allowed: false\n"),
            "{text}"
        );
    }

    #[test]
    fn a_text_of_several_lines_survives() {
        let value = json!({"allowed": false, "violations": [{"message": "a\n\n  b: # c\n"}]});
        let text = bless(SUITE, &[(0, value.clone())]).expect("block style");
        let got = &yaml::documents(&text).expect("valid")[0]["spec"]["cases"][0]["expect"];
        assert_eq!(got, &value);
    }
}
