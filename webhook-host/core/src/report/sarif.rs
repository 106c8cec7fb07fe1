//! SARIF 2.1.0 (OASIS), as code scanning services read it.

use super::check::{CheckReport, Finding, Level, Subject};
use super::rules;
use crate::printable::{printable, printable_json};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Returns the report of one run.
pub fn sarif(report: &CheckReport) -> String {
    let all = || {
        report.subjects.iter().flat_map(|subject| {
            subject
                .findings
                .iter()
                .map(move |finding| (subject, finding))
        })
    };
    let judged = all().filter(|(_, finding)| finding.level != Level::Unjudged);
    let unjudged = all().filter(|(_, finding)| finding.level == Level::Unjudged);
    let results: Vec<Value> = judged
        .map(|(subject, finding)| result(subject, finding))
        .collect();
    let notifications: Vec<Value> = unjudged
        .map(|(subject, finding)| notification(subject, finding))
        .collect();
    let rules: BTreeSet<String> = all().map(|(_, finding)| rules::id(finding)).collect();
    let rules: Vec<Value> = rules.iter().map(|id| descriptor(id)).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "sallyport",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    printable_json(format!("{log:#}\n"))
}

fn descriptor(id: &str) -> Value {
    json!({"id": id, "shortDescription": {"text": rules::description(id)},
        "helpUri": rules::page(id)})
}

fn result(subject: &Subject, finding: &Finding) -> Value {
    let level = match finding.level {
        Level::Unjudged | Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    };
    json!({
        "ruleId": rules::id(finding),
        "level": level,
        "message": {"text": finding.line_of_text()},
        "locations": [location(subject, finding)],
    })
}

fn notification(subject: &Subject, finding: &Finding) -> Value {
    json!({
        "level": "error",
        "message": {"text": finding.line_of_text()},
        "locations": [location(subject, finding)],
    })
}

fn location(subject: &Subject, finding: &Finding) -> Value {
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(&subject.source)},
            "region": {"startLine": finding.line},
        },
    });
    if let Some(service) = &subject.service {
        let name = format!("{service} {}", finding.field);
        let name = printable(&name);
        location["logicalLocations"] =
            json!([{"fullyQualifiedName": name.trim_end(), "kind": "resource"}]);
    }
    location
}

/// Returns a file name as a relative URI reference (RFC 3986).
fn uri(file: &str) -> String {
    let file = file.strip_prefix("./").unwrap_or(file);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    file.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_become_uri_references() {
        assert_eq!(uri("./a b/ü:#.yaml"), "a%20b/%C3%BC%3A%23.yaml");
    }
}
