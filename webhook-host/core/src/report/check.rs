//! The report of `sallyport check`: the model that all its formats share, text and JSON.

use super::{Detail, View, counted, counted_as, shown};
use crate::excerpt::{MAX_MESSAGE, cut, excerpt};
use crate::printable::{printable, printable_json, sentence};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// All findings of a check.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Services, and files that can't be read.
    pub subjects: Vec<Subject>,
    /// Objects of other kinds.
    pub ignored: usize,
    /// Loaded policies.
    pub policies: usize,
    /// True if warnings count as violations for the exit code.
    pub strict: bool,
}

/// A Service, or a file that can't be read.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Subject {
    /// The file as it was named, `<stdin>` for standard input.
    #[serde(rename = "file")]
    pub source: String,
    /// The line at which it begins, from 1.
    pub line: usize,
    /// `namespace/name`; `None` for a file that can't be read.
    pub service: Option<String>,
    /// The policies that were asked.
    pub policies: BTreeSet<String>,
    /// Its findings, those of the mutating phase first.
    pub findings: Vec<Finding>,
    /// The patch that `/mutate` would make.
    #[cfg_attr(feature = "typescript", ts(type = "unknown[]"))]
    pub patch: Vec<Value>,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Finding {
    /// Its severity.
    pub level: Level,
    /// The policy that says so; empty for the host.
    pub policy: String,
    /// Such as `S02`; empty where no rule is concerned.
    pub rule: String,
    /// JSON path from the Service's root; empty for the whole.
    pub field: String,
    /// The value found and what is allowed.
    pub message: String,
    /// The fix; may be empty.
    pub fix: String,
    /// The line of the field, from 1.
    pub line: usize,
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No judgement was possible.
    Unjudged,
    /// The cluster would deny it.
    Error,
    /// The cluster would warn.
    Warning,
    /// For information.
    Note,
}

impl Subject {
    /// Creates the report of a file that can't be read.
    pub fn unread(source: &str, problem: String) -> Self {
        let findings = vec![Finding::unjudged("", problem, 1)];
        let (source, policies) = (source.to_owned(), BTreeSet::new());
        Self {
            source,
            line: 1,
            service: None,
            policies,
            findings,
            patch: vec![],
        }
    }

    fn has(&self, level: Level) -> bool {
        self.findings.iter().any(|finding| finding.level == level)
    }
}

impl Finding {
    /// Makes an empty finding.
    pub fn empty(level: Level) -> Self {
        let none = String::new;
        Self {
            level,
            policy: none(),
            rule: none(),
            field: none(),
            message: none(),
            fix: none(),
            line: 1,
        }
    }

    /// Makes a finding for an object that can't be judged.
    pub fn unjudged(policy: &str, problem: String, line: usize) -> Self {
        Self {
            policy: policy.to_owned(),
            message: problem,
            line,
            ..Self::empty(Level::Unjudged)
        }
    }

    /// Returns `field: message; fix`, as a denial has it.
    pub fn sentence(&self) -> String {
        let sentence = sentence(&excerpt(&self.field), &self.message, &self.fix);
        printable(&cut(&sentence, MAX_MESSAGE)).into_owned()
    }

    /// `[policy] field: message; fix`, with `sallyport` for the host.
    pub fn line_of_text(&self) -> String {
        let policy = if self.policy.is_empty() {
            "sallyport"
        } else {
            &self.policy
        };
        format!("[{policy}] {}", self.sentence())
    }
}

impl CheckReport {
    fn count(&self, level: Level) -> usize {
        self.subjects
            .iter()
            .filter(|subject| subject.has(level))
            .count()
    }

    /// Returns 0 without findings, 1 for violations (in strict mode for warnings too), and 2 if
    /// something could not be judged.
    pub fn exit_code(&self) -> u8 {
        let warned = self.strict && self.count(Level::Warning) > 0;
        match (self.count(Level::Unjudged), self.count(Level::Error)) {
            (0, 0) if !warned => 0,
            (0, _) => 1,
            _ => 2,
        }
    }
}

/// Formats the report for people: the findings, then one line of summary.
pub fn text(report: &CheckReport, view: View) -> String {
    let mut text = String::new();
    for subject in &report.subjects {
        subject_lines(subject, view, &mut text);
    }
    if view.detail != Detail::Quiet {
        text += &summary(report);
        text.push('\n');
    }
    text
}

/// Findings of one Service that a report for people shows, if it does not want all.
const MAX_LINES: usize = 100;

/// Counts in a line those that are not shown.
fn more(all: usize, shown: usize, word: &str, text: &mut String) {
    if all > shown {
        let rest = all - shown;
        let word = format!("more {word}");
        let _ = writeln!(
            text,
            "     and {}; --verbose and --output json have all",
            counted(rest, &word)
        );
    }
}

fn subject_lines(subject: &Subject, view: View, text: &mut String) {
    let detail = view.detail;
    let is_clean = subject.findings.is_empty() && subject.patch.is_empty();
    let is_bad = subject.has(Level::Unjudged) || subject.has(Level::Error);
    let is_shown = match detail {
        Detail::Quiet => is_bad,
        Detail::Ordinary => !is_clean,
        Detail::Verbose => true,
    };
    if !is_shown {
        return;
    }
    let heading = match &subject.service {
        Some(service) => format!(
            "{} ({}:{})",
            shown(service),
            shown(&subject.source),
            subject.line
        ),
        None => shown(&subject.source),
    };
    let _ = writeln!(text, "{} {heading}", verdict(subject, view));
    let quiet = |finding: &&Finding| {
        detail != Detail::Quiet || matches!(finding.level, Level::Unjudged | Level::Error)
    };
    let most = match detail {
        Detail::Verbose => usize::MAX,
        Detail::Quiet | Detail::Ordinary => MAX_LINES,
    };
    let findings = subject.findings.iter().filter(quiet);
    for finding in findings.clone().take(most) {
        let rule = if finding.rule.is_empty() {
            String::new()
        } else {
            format!(" {}", shown(&finding.rule))
        };
        let _ = writeln!(
            text,
            "     {}{rule}: {}",
            word(finding.level),
            finding.line_of_text()
        );
    }
    more(findings.count(), most, "finding", text);
    let patch = subject.patch.iter().filter(|_| detail != Detail::Quiet);
    for operation in patch.clone().take(most) {
        let operation = operation.to_string();
        let _ = writeln!(
            text,
            "     patch {}",
            printable(&cut(&operation, MAX_MESSAGE))
        );
    }
    more(patch.count(), most, "operation", text);
    if detail == Detail::Verbose && subject.service.is_some() {
        let policies = subject
            .policies
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let _ = writeln!(
            text,
            "     asked: {}",
            if policies.is_empty() {
                "no policy"
            } else {
                &policies
            }
        );
    }
}

/// Counts in a line without its end: `5 Services, 9 of 11 policies asked: 3 denied, 1 with
/// warnings, 0 with errors; 1 other object ignored`.
pub fn summary(report: &CheckReport) -> String {
    let services = report
        .subjects
        .iter()
        .filter(|subject| subject.service.is_some())
        .count();
    let asked: BTreeSet<_> = report
        .subjects
        .iter()
        .flat_map(|subject| &subject.policies)
        .collect();
    let [denied, warned, unjudged] =
        [Level::Error, Level::Warning, Level::Unjudged].map(|level| report.count(level));
    format!(
        "{}, {} of {} asked: {denied} denied, {warned} with warnings, {unjudged} with errors; {} \
         ignored",
        counted(services, "Service"),
        asked.len(),
        counted_as(report.policies, "policy", "policies"),
        counted(report.ignored, "other object"),
    )
}

fn verdict(subject: &Subject, view: View) -> String {
    match () {
        () if subject.has(Level::Unjudged) => view.bad("ERROR"),
        () if subject.has(Level::Error) => view.bad("DENY"),
        () if subject.has(Level::Warning) => view.odd("WARN"),
        () => view.good("PASS"),
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Unjudged => "error",
        Level::Error => "denied",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

/// Formats the report as JSON.
pub fn json(report: &CheckReport) -> String {
    let value = json!({
        "exitCode": report.exit_code(),
        "ignored": report.ignored,
        "policies": report.policies,
        "subjects": report.subjects,
    });
    printable_json(format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_fail_only_where_it_is_strict() {
        let warned = Subject {
            findings: vec![Finding::empty(Level::Warning)],
            ..Subject::unread("f", String::new())
        };
        let mut report = CheckReport {
            subjects: vec![warned],
            ..CheckReport::default()
        };
        assert_eq!(report.exit_code(), 0);
        report.strict = true;
        assert_eq!(report.exit_code(), 1);
    }
}
