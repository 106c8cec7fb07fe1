//! Prints the findings of `sallyport doctor`, as text and as JSON.

use crate::doctor::{Diagnosis, PAGE, Severity};
use crate::printable::printable;
use sallyport_core::report::counted;
use serde_json::json;
use std::fmt::Write as _;

/// Prints the findings of each configuration as text.
pub fn text(diagnoses: &[Diagnosis]) -> String {
    let mut text = recognised(diagnoses);
    for diagnosis in diagnoses
        .iter()
        .filter(|diagnosis| !diagnosis.findings.is_empty())
    {
        let _ = writeln!(
            text,
            "{} {}",
            diagnosis.kind.name(),
            printable(&diagnosis.name)
        );
        for finding in &diagnosis.findings {
            let (path, found) = (printable(&finding.path), printable(&finding.found));
            let _ = writeln!(text, "  {} {path}: {found}", word(finding.severity));
            let _ = writeln!(text, "          {} ({})", finding.why, finding.item);
            let _ = writeln!(text, "          {}", printable(&finding.fix));
        }
    }
    let [errors, warnings, notes] = counts(diagnoses);
    let configurations = counted(diagnoses.len(), "configuration");
    let (counted_errors, counted_warnings) =
        (counted(errors, "error"), counted(warnings, "warning"));
    let _ = writeln!(
        text,
        "{configurations}: {counted_errors}, {counted_warnings}, {}",
        counted(notes, "note")
    );
    if errors + warnings + notes > 0 {
        let _ = writeln!(text, "Items in brackets: {PAGE}");
    }
    text
}

/// Prints the findings as JSON.
pub fn json(diagnoses: &[Diagnosis]) -> String {
    let [errors, warnings, notes] = counts(diagnoses);
    let counts = json!({"errors": errors, "warnings": warnings, "notes": notes});
    format!(
        "{:#}\n",
        json!({"page": PAGE, "counts": counts, "configurations": diagnoses})
    )
}

/// Counts the findings of each severity, the worst first.
pub fn counts(diagnoses: &[Diagnosis]) -> [usize; 3] {
    let findings = || diagnoses.iter().flat_map(|diagnosis| &diagnosis.findings);
    [Severity::Error, Severity::Warning, Severity::Note].map(|severity| {
        findings()
            .filter(|finding| finding.severity == severity)
            .count()
    })
}

fn recognised(diagnoses: &[Diagnosis]) -> String {
    let ours: Vec<String> = diagnoses
        .iter()
        .filter(|diagnosis| diagnosis.ours)
        .map(|diagnosis| format!("{} {}", diagnosis.kind.name(), printable(&diagnosis.name)))
        .collect();
    if ours.is_empty() {
        return "None of these registers a Sallyport.\n".to_owned();
    }
    format!("Sallyport is registered by {}.\n", ours.join(" and "))
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error  ",
        Severity::Warning => "warning",
        Severity::Note => "note   ",
    }
}
