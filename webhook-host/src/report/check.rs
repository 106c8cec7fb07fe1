//! What `sallyport check` found: the model that all its formats share, text and JSON.

use crate::printable::printable;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Services, and files that can't be read.
    pub subjects: Vec<Subject>,
    /// Objects of other kinds.
    pub ignored: usize,
}

/// A Service, or a file that can't be read.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// The file as it was named, `<stdin>` for standard input.
    #[serde(rename = "file")]
    pub source: String,
    /// Where it begins, from 1.
    pub line: usize,
    /// `namespace/name`; `None` for a file that can't be read.
    pub service: Option<String>,
    /// What was found, mutation first.
    pub findings: Vec<Finding>,
    /// What `/mutate` would do.
    pub patch: Vec<Value>,
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What it means.
    pub level: Level,
    /// The policy that says so; empty for the host.
    pub policy: String,
    /// Such as `S02`; empty where no rule is concerned.
    pub rule: String,
    /// JSON path from the Service's root; empty for the whole.
    pub field: String,
    /// The value found and what is allowed.
    pub message: String,
    /// What to do; may be empty.
    pub fix: String,
    /// Of the field, from 1.
    pub line: usize,
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    /// A file that can't be read.
    pub fn unread(source: &str, problem: String) -> Self {
        let findings = vec![Finding::unjudged("", problem, 1)];
        Self { source: source.to_owned(), line: 1, service: None, findings, patch: vec![] }
    }

    fn has(&self, level: Level) -> bool {
        self.findings.iter().any(|finding| finding.level == level)
    }
}

impl Finding {
    /// Says nothing yet.
    pub fn empty(level: Level) -> Self {
        let none = String::new;
        Self { level, policy: none(), rule: none(), field: none(), message: none(), fix: none(), line: 1 }
    }

    /// Why there is no judgement.
    pub fn unjudged(policy: &str, problem: String, line: usize) -> Self {
        Self { policy: policy.to_owned(), message: problem, line, ..Self::empty(Level::Unjudged) }
    }

    /// `field: message; fix`, as a denial says it.
    pub fn sentence(&self) -> String {
        let field = if self.field.is_empty() { String::new() } else { format!("{}: ", self.field) };
        let fix = if self.fix.is_empty() { String::new() } else { format!("; {}", self.fix) };
        printable(&format!("{field}{}{fix}", self.message)).into_owned()
    }

    /// The same behind `[policy]`.
    pub fn line_of_text(&self) -> String {
        let policy = if self.policy.is_empty() { "sallyport" } else { &self.policy };
        format!("[{policy}] {}", self.sentence())
    }
}

impl CheckReport {
    fn count(&self, level: Level) -> usize {
        self.subjects.iter().filter(|subject| subject.has(level)).count()
    }

    /// 0 clean, 1 violations, 2 something could not be judged.
    pub fn exit_code(&self) -> u8 {
        match (self.count(Level::Unjudged), self.count(Level::Error)) {
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        }
    }
}

/// For people: what is wrong, then one line of summary.
pub fn text(report: &CheckReport) -> String {
    let mut text = String::new();
    for subject in &report.subjects {
        let heading = match &subject.service {
            Some(service) => format!("{} ({}:{})", printable(service), printable(&subject.source), subject.line),
            None => printable(&subject.source).into_owned(),
        };
        if subject.findings.is_empty() && subject.patch.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{} {heading}", verdict(subject));
        for finding in &subject.findings {
            let rule = if finding.rule.is_empty() { String::new() } else { format!(" {}", printable(&finding.rule)) };
            let _ = writeln!(text, "     {}{rule}: {}", word(finding.level), finding.line_of_text());
        }
        for operation in &subject.patch {
            let _ = writeln!(text, "     patch {}", printable(&operation.to_string()));
        }
    }
    let services = report.subjects.iter().filter(|subject| subject.service.is_some()).count();
    let (denied, unjudged) = (report.count(Level::Error), report.count(Level::Unjudged));
    let warned = report.count(Level::Warning);
    let ignored = report.ignored;
    let _ = writeln!(
        text,
        "{services} Services: {denied} denied, {warned} with warnings, {unjudged} could not be judged; {ignored} other objects ignored"
    );
    text
}

fn verdict(subject: &Subject) -> &'static str {
    match () {
        () if subject.has(Level::Unjudged) => "????",
        () if subject.has(Level::Error) => "DENY",
        () if subject.has(Level::Warning) => "WARN",
        () => "PASS",
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Unjudged => "could not judge",
        Level::Error => "denied",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

/// For programs.
pub fn json(report: &CheckReport) -> String {
    let value = json!({"exitCode": report.exit_code(), "ignored": report.ignored, "subjects": report.subjects});
    format!("{value:#}\n")
}
