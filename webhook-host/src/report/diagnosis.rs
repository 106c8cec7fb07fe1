//! Prints the findings of `sallyport doctor`, as text and as JSON.

use crate::doctor::Diagnosis;
use crate::doctor::Level;
use crate::doctor::PAGE;
use sallyport_core::printable::{printable, printable_json};
use sallyport_core::report::{Detail, View, counted};
use serde_json::json;
use std::fmt::Write as _;

/// Formats the diagnoses for people: the configurations that were checked, and the findings about
/// each.
pub fn text(diagnoses: &[Diagnosis], view: View) -> String {
    let is_quiet = view.detail == Detail::Quiet;
    let is_shown = |level| !is_quiet || level <= Level::Error;
    let mut text = if is_quiet {
        String::new()
    } else {
        recognised(diagnoses)
    };
    for diagnosis in diagnoses {
        let mut findings = diagnosis.findings.iter().map(|finding| finding.level);
        if view.detail != Detail::Verbose && !findings.any(is_shown) {
            continue;
        }
        let _ = writeln!(
            text,
            "{} {}{}",
            diagnosis.kind,
            printable(&diagnosis.name),
            if diagnosis.findings.is_empty() {
                ": no findings"
            } else {
                ""
            },
        );
        let shown = diagnosis
            .findings
            .iter()
            .filter(|finding| is_shown(finding.level));
        for finding in shown {
            let (field, message) = (printable(&finding.field), printable(&finding.message));
            let separator = if field.is_empty() { "" } else { ": " };
            let word = word(finding.level, view);
            let _ = writeln!(text, "  {word} {field}{separator}{message}");
            let _ = writeln!(text, "          {} ({})", finding.why, finding.item);
            let _ = writeln!(text, "          {}", printable(&finding.fix));
        }
    }
    if is_quiet {
        return text;
    }
    let [errors, warnings, notes] = counts(diagnoses);
    let is_configuration = |diagnosis: &&Diagnosis| diagnosis.kind.ends_with("Configuration");
    let of_webhooks = diagnoses.iter().filter(is_configuration).count();
    let mut seen = counted(of_webhooks, "configuration");
    if diagnoses.len() > of_webhooks {
        let _ = write!(
            seen,
            " and {}",
            counted(diagnoses.len() - of_webhooks, "other object")
        );
    }
    let (counted_errors, counted_warnings) =
        (counted(errors, "error"), counted(warnings, "warning"));
    let _ = writeln!(
        text,
        "{seen}: {counted_errors}, {counted_warnings}, {}",
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
    printable_json(format!(
        "{:#}\n",
        json!({"page": PAGE, "counts": counts, "configurations": diagnoses})
    ))
}

/// Counts errors, warnings and notes.
pub fn counts(diagnoses: &[Diagnosis]) -> [usize; 3] {
    let findings = || diagnoses.iter().flat_map(|diagnosis| &diagnosis.findings);
    [Level::Error, Level::Warning, Level::Note]
        .map(|level| findings().filter(|finding| finding.level == level).count())
}

fn recognised(diagnoses: &[Diagnosis]) -> String {
    let ours: Vec<String> = diagnoses
        .iter()
        .filter(|diagnosis| diagnosis.ours)
        .map(|diagnosis| format!("{} {}", diagnosis.kind, printable(&diagnosis.name)))
        .collect();
    if ours.is_empty() {
        return "None of these registers a Sallyport.\n".to_owned();
    }
    format!("Sallyport is registered by {}.\n", ours.join(" and "))
}

fn word(level: Level, view: View) -> String {
    match level {
        Level::Error => view.bad("error  "),
        Level::Warning => view.odd("warning"),
        Level::Note => "note   ".to_owned(),
    }
}
