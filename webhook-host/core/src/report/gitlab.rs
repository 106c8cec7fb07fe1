//! GitLab's Code Quality report, a subset of Code Climate's: annotations on the lines of a merge
//! request.
//!
//! <https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>

use super::check::{CheckReport, Finding, Level, Subject};
use super::rules;
use crate::printable::{printable, printable_json};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Returns the report of one run.
pub fn code_quality(report: &CheckReport) -> String {
    let all = report.subjects.iter().flat_map(|subject| {
        let findings = subject.findings.iter();
        findings.map(move |finding| issue(subject, finding))
    });
    printable_json(format!("{:#}\n", Value::Array(all.collect())))
}

fn issue(subject: &Subject, finding: &Finding) -> Value {
    let severity = match finding.level {
        Level::Unjudged | Level::Error => "major",
        Level::Warning => "minor",
        Level::Note => "info",
    };
    let service = subject.service.as_deref().unwrap_or_default();
    let text = finding.line_of_text();
    let description = match service {
        "" => text,
        _ => format!("{}: {text}", printable(service)),
    };
    let path = subject.source.strip_prefix("./").unwrap_or(&subject.source);
    json!({
        "description": description,
        "check_name": rules::id(finding),
        "fingerprint": fingerprint(&[path, &description]),
        "severity": severity,
        "location": {"path": path, "lines": {"begin": finding.line}},
    })
}

/// Returns what GitLab knows a finding by from one run to the next. The line is no part of it: a
/// finding that moves is the same one.
fn fingerprint(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\0"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(line: usize) -> Finding {
        Finding {
            message: "29999 is outside".into(),
            line,
            rule: "S02".into(),
            policy: "nodeport-range".into(),
            ..Finding::empty(Level::Error)
        }
    }

    #[test]
    fn a_finding_that_moves_keeps_its_fingerprint() {
        let subject = |source| Subject {
            service: Some("shop/web".into()),
            ..Subject::unread(source, String::new())
        };
        let first = issue(&subject("./a.yaml"), &finding(3));
        assert_eq!(
            first["location"],
            json!({"path": "a.yaml", "lines": {"begin": 3}})
        );
        assert_eq!(
            first["description"],
            "shop/web: [nodeport-range] 29999 is outside"
        );
        let moved = issue(&subject("a.yaml"), &finding(9));
        assert_eq!(first["fingerprint"], moved["fingerprint"]);
        let elsewhere = issue(&subject("b.yaml"), &finding(3));
        assert_ne!(first["fingerprint"], elsewhere["fingerprint"]);
    }
}
