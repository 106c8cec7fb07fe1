//! GitHub workflow commands: annotations on the lines of a pull request.
//!
//! Escaping as in actions/toolkit `packages/core/src/command.ts`: without it, a Service's name
//! could issue commands. GitHub shows ten errors and ten warnings of a step as annotations, and the
//! rest in the log alone: so commands print the summary of the text report beside these lines.

use super::check::{CheckReport, Finding, Level, Subject};
use crate::printable::printable;
use crate::suite::TestReport;
use std::path::Path;

/// Returns one command for each finding.
pub fn commands(report: &CheckReport) -> String {
    let all = report.subjects.iter().flat_map(|subject| {
        subject
            .findings
            .iter()
            .map(move |finding| (subject, finding))
    });
    all.map(|(subject, finding)| command(subject, finding))
        .collect()
}

/// Returns one command for each case that failed, and for each suite that can't be run.
pub fn failures(report: &TestReport) -> String {
    let mut text = String::new();
    for suite in &report.suites {
        if let Some(problem) = &suite.problem {
            text += &failure(&suite.path, 1, &suite.name, problem);
        }
        for case in &suite.cases {
            if let Some(problem) = &case.failure {
                text += &failure(&suite.path, case.line, &case.name, problem);
            }
        }
    }
    text
}

fn failure(file: &Path, line: usize, title: &str, problem: &str) -> String {
    let file = file.display().to_string();
    format!(
        "::error file={},line={line},title={}::{}\n",
        property(file.strip_prefix("./").unwrap_or(&file)),
        property(&printable(title)),
        data(&lines(problem))
    )
}

fn command(subject: &Subject, finding: &Finding) -> String {
    let word = match finding.level {
        Level::Unjudged | Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let title = [
        subject.service.as_deref().unwrap_or("sallyport"),
        &finding.rule,
    ]
    .join(" ");
    format!(
        "::{word} file={},line={},title={}::{}\n",
        property(subject.source.strip_prefix("./").unwrap_or(&subject.source)),
        finding.line,
        property(&printable(title.trim())),
        data(&finding.line_of_text())
    )
}

/// Escapes the lines of a text, and keeps them apart.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_neither_end_a_command_nor_begin_one() {
        let finding = Finding {
            message: "100%\n::error::x".into(),
            line: 3,
            rule: "S02".into(),
            policy: "p".into(),
            ..Finding::empty(Level::Warning)
        };
        let subject = Subject {
            service: Some("a/b,c::d\n".into()),
            ..Subject::unread("x:y,z.yaml", String::new())
        };
        assert_eq!(
            command(&subject, &finding),
            "::warning file=x%3Ay%2Cz.yaml,line=3,title=a/b%2Cc%3A%3Ad\\u{a} S02::[p] \
             100%25\\u{a}::error::x\n"
        );
    }

    #[test]
    fn a_failing_case_is_an_error_on_its_line() {
        assert_eq!(
            failure(
                Path::new("./a/suite.yaml"),
                7,
                "29999: below",
                "allowed\n- true\n+ false"
            ),
            "::error file=a/suite.yaml,line=7,title=29999%3A below::allowed%0A- true%0A+ false\n"
        );
    }
}
