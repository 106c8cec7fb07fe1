//! Findings about one review: what policies and the host said, as `check` and `audit` report it.
//! The caller says on which line of its input a field stands.

use crate::admission::{Evaluation, Exemption, Outcome};
use crate::contract::verdict::Violation;
use crate::manifest::Mode;
use crate::policy::LogLine;
use crate::report::check::{Finding, Level};
use serde_json::Value;
use std::sync::Arc;

/// Returns the line of a field, from 1.
pub(super) type LineOf<'a> = &'a dyn Fn(&str) -> usize;

/// Returns what one policy in this mode said.
pub(super) fn of_evaluation(evaluation: &Evaluation, mode: Mode, line: LineOf<'_>) -> Vec<Finding> {
    let (level, kept) = levels(mode);
    let policy = evaluation.policy.as_ref();
    let violations = evaluation
        .violations
        .iter()
        .map(|violation| found(level, policy, violation, line));
    let kept = evaluation.kept.iter().map(|violation| {
        let finding = found(kept, policy, violation, line);
        Finding {
            message: format!("{} (kept: the old Service has it too)", finding.message),
            ..finding
        }
    });
    let warnings = evaluation
        .warnings
        .iter()
        .map(|warning| warned(policy, warning, line));
    let error = evaluation.error.iter().map(|error| {
        let message = format!("no verdict: {error}{}", logged(&evaluation.log));
        Finding::unjudged(policy, message, line(""))
    });
    violations
        .chain(kept)
        .chain(warnings)
        .chain(error)
        .collect()
}

/// Returns the last line of a policy without a verdict, which mostly says why: `; it logged: …`.
fn logged(log: &[LogLine]) -> String {
    let text = |line: &LogLine| format!("; it logged: {line}");
    log.last().map(text).unwrap_or_default()
}

/// Returns the levels of a new violation, and of one that an update keeps.
fn levels(mode: Mode) -> (Level, Level) {
    match mode {
        Mode::Enforce => (Level::Error, Level::Warning),
        Mode::Warn => (Level::Warning, Level::Warning),
        Mode::Audit => (Level::Note, Level::Note),
    }
}

pub(super) fn in_deletion(since: &Value, line: LineOf<'_>) -> Finding {
    let field = "metadata.deletionTimestamp";
    let since = since.as_str().unwrap_or_default();
    Finding {
        rule: "in-deletion".to_owned(),
        field: field.to_owned(),
        message: format!(
            "in deletion since {since}, so it is not judged: a cluster lets its finalizers be \
             removed, and can't create it anew"
        ),
        line: line(field),
        ..Finding::empty(Level::Note)
    }
}

fn found(level: Level, policy: &str, violation: &Violation, line: LineOf<'_>) -> Finding {
    Finding {
        level,
        policy: policy.to_owned(),
        rule: violation.rule.clone(),
        line: line(&violation.field),
        field: violation.field.clone(),
        message: violation.message.clone(),
        fix: violation.fix.clone(),
    }
}

/// Makes a finding of a policy's own warning, which begins with the field.
fn warned(policy: &str, warning: &str, line: LineOf<'_>) -> Finding {
    let (field, message) = split_field(warning);
    Finding {
        policy: policy.to_owned(),
        field: field.to_owned(),
        message: message.to_owned(),
        line: line(field),
        ..Finding::empty(Level::Warning)
    }
}

/// Splits off the path of a field at the beginning of a text; empty if there is none.
fn split_field(text: &str) -> (&str, &str) {
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    let Some(end) = end else { return ("", text) };
    let field = text[..end].trim_end_matches(':');
    let root = field.split(['.', '[']).next().unwrap_or_default();
    let is_path = ["metadata", "spec", "status"].contains(&root) && field.len() > root.len();
    if is_path {
        (field, text[end..].trim_start())
    } else {
        ("", text)
    }
}

/// Returns the findings of the host itself, about break-glass.
pub(super) fn of_host(outcome: &Outcome, line: LineOf<'_>) -> Vec<Finding> {
    const HOST: &str = "[sallyport] ";
    let causes = outcome
        .response
        .denial
        .iter()
        .flat_map(|denial| &denial.causes);
    let denials = causes.filter_map(|cause| {
        let (_, message) = split_field(cause.message.strip_prefix(HOST)?);
        Some(Finding {
            rule: cause.reason.clone(),
            field: cause.field.clone(),
            message: message.to_owned(),
            line: line(&cause.field),
            ..Finding::empty(Level::Error)
        })
    });
    let warnings = outcome
        .response
        .warnings
        .iter()
        .filter_map(|warning| warning.strip_prefix(HOST));
    let warnings = warnings
        .filter(|warning| !warning.starts_with("and "))
        .map(|warning| warned("", warning, line));
    denials.chain(warnings).collect()
}

/// Returns a note for each policy that is not asked because of its own exemptions.
pub(super) fn exempt_policies(outcome: &Outcome, line: LineOf<'_>) -> Vec<Finding> {
    let note = |(policy, exemption): &(Arc<str>, Exemption)| Finding {
        policy: policy.to_string(),
        rule: "exempt".to_owned(),
        message: format!(
            "exempt from this policy ({}) by its spec.exemptions",
            exemption.name()
        ),
        line: line(""),
        ..Finding::empty(Level::Note)
    };
    outcome.exempted.iter().map(note).collect()
}

/// Returns the finding about the object as a whole: it is no Service, or no policy is asked.
pub(super) fn whole(outcome: &Outcome, line: LineOf<'_>) -> Option<Finding> {
    if let Some(malformed) = &outcome.malformed {
        let finding = Finding::unjudged("", malformed.problem.clone(), line(&malformed.field));
        return Some(Finding {
            rule: "S16".to_owned(),
            field: malformed.field.clone(),
            ..finding
        });
    }
    let reason = match outcome.exemption {
        Some(exemption) => format!("exempt ({}); no policy is asked", exemption.name()),
        None if !outcome.matched && outcome.exempted.is_empty() => {
            "no policy matches, by namespace, operation and resource".to_owned()
        }
        None => return None,
    };
    Some(Finding {
        rule: "exempt".to_owned(),
        message: reason,
        line: line(""),
        ..Finding::empty(Level::Note)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_at_the_beginning_of_a_warning_is_told_apart() {
        for (text, expected) in [
            (
                "spec.ports[0].port: 5432 is a database's",
                ("spec.ports[0].port", "5432 is a database's"),
            ),
            (
                "spec.loadBalancerIP is deprecated",
                ("spec.loadBalancerIP", "is deprecated"),
            ),
            (
                r#"metadata.annotations["a b/c"]: x y"#,
                (r#"metadata.annotations["a b/c"]"#, "x y"),
            ),
            ("spec is odd", ("", "spec is odd")),
            ("specification: none", ("", "specification: none")),
            ("word", ("", "word")),
        ] {
            assert_eq!(split_field(text), expected);
        }
    }
}
