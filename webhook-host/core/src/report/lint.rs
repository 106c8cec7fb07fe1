//! The report of `sallyport lint`, for people and for programs.

use super::check::{CheckReport, Level, Subject};
use super::{Detail, View, counted, shown};
use crate::printable::printable_json;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// For people: each manifest with findings, in detail also those without, then one line of summary.
pub fn text(report: &CheckReport, view: View) -> String {
    let mut text = String::new();
    let is_shown = |level| view.detail != Detail::Quiet || level <= Level::Error;
    for subject in &report.subjects {
        let mut findings = subject.findings.iter().map(|finding| finding.level);
        if view.detail != Detail::Verbose && !findings.any(is_shown) {
            continue;
        }
        let what = subject.service.as_deref().unwrap_or("not read");
        let _ = writeln!(
            text,
            "{}:{}: {}{}",
            shown(&subject.source),
            subject.line,
            shown(what),
            if subject.findings.is_empty() {
                ": no findings"
            } else {
                ""
            },
        );
        let shown = subject
            .findings
            .iter()
            .filter(|finding| is_shown(finding.level));
        for finding in shown {
            let _ = writeln!(
                text,
                "  {} line {}: {}",
                word(finding.level, view),
                finding.line,
                finding.sentence()
            );
        }
    }
    if view.detail != Detail::Quiet {
        text += &summary(report);
        text.push('\n');
    }
    text
}

/// Counts in a line without its end: `3 manifests: 1 error, 0 warnings, 2 notes, 0 files unread; 0
/// other objects ignored`.
pub fn summary(report: &CheckReport) -> String {
    let count = |level: Level| findings(report, level);
    let (errors, unread) = (count(Level::Error), count(Level::Unjudged));
    let (warnings, notes) = (count(Level::Warning), count(Level::Note));
    let manifests = report
        .subjects
        .iter()
        .filter(|subject| subject.service.is_some())
        .count();
    let ignored = report.ignored;
    format!(
        "{}: {}, {}, {}, {} unread; {} ignored",
        counted(manifests, "manifest"),
        counted(errors, "error"),
        counted(warnings, "warning"),
        counted(notes, "note"),
        counted(unread, "file"),
        counted(ignored, "other object"),
    )
}

/// For programs.
pub fn json(report: &CheckReport) -> String {
    let subjects: Vec<Value> = report.subjects.iter().map(subject).collect();
    printable_json(format!(
        "{:#}\n",
        json!({"ignored": report.ignored, "manifests": subjects})
    ))
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

fn word(level: Level, view: View) -> String {
    match level {
        Level::Unjudged => view.bad("unread"),
        Level::Error => view.bad("error"),
        Level::Warning => view.odd("warning"),
        Level::Note => "note".to_owned(),
    }
}
