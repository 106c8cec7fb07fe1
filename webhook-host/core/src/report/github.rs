//! GitHub workflow commands: annotations on the lines of a pull request.
//!
//! Escaping as in actions/toolkit `packages/core/src/command.ts`: without it, a Service's name
//! could issue commands.

use super::check::{CheckReport, Finding, Level, Subject};

/// One command a finding.
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
        property(title.trim()),
        data(&finding.line_of_text())
    )
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
            "::warning file=x%3Ay%2Cz.yaml,line=3,title=a/b%2Cc%3A%3Ad%0A S02::[p] \
             100%25\\u{a}::error::x\n"
        );
    }
}
