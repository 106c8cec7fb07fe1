//! The report of `sallyport lint`, for people and for programs.

use super::check::{CheckReport, Level, Subject};
use super::counted;
use crate::printable::printable;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// For people: each manifest with findings, then one line of summary.
pub fn text(report: &CheckReport) -> String {
    let mut text = String::new();
    for subject in report
        .subjects
        .iter()
        .filter(|subject| !subject.findings.is_empty())
    {
        let what = subject.service.as_deref().unwrap_or("not read");
        let _ = writeln!(
            text,
            "{}:{}: {}",
            printable(&subject.source),
            subject.line,
            printable(what)
        );
        for finding in &subject.findings {
            let _ = writeln!(
                text,
                "  {} line {}: {}",
                word(finding.level),
                finding.line,
                finding.sentence()
            );
        }
    }
    let count = |level: Level| findings(report, level);
    let (errors, unread) = (count(Level::Error), count(Level::Unjudged));
    let (warnings, notes) = (count(Level::Warning), count(Level::Note));
    let manifests = report
        .subjects
        .iter()
        .filter(|subject| subject.service.is_some())
        .count();
    let ignored = report.ignored;
    let _ = writeln!(
        text,
        "{}: {}, {}, {}, {} unread; {} ignored",
        counted(manifests, "manifest"),
        counted(errors, "error"),
        counted(warnings, "warning"),
        counted(notes, "note"),
        counted(unread, "file"),
        counted(ignored, "other object"),
    );
    text
}

/// For programs.
pub fn json(report: &CheckReport) -> String {
    let subjects: Vec<Value> = report.subjects.iter().map(subject).collect();
    format!(
        "{:#}\n",
        json!({"ignored": report.ignored, "manifests": subjects})
    )
}

fn subject(subject: &Subject) -> Value {
    json!({"file": subject.source, "line": subject.line, "manifest": subject.service,
        "findings": subject.findings})
}

fn findings(report: &CheckReport, level: Level) -> usize {
    report
        .subjects
        .iter()
        .flat_map(|subject| &subject.findings)
        .filter(|finding| finding.level == level)
        .count()
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Unjudged => "unread",
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}
