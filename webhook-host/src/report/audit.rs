//! The report of `sallyport audit`: a table, JSON, SARIF and OpenReports.

use super::table::Table;
use crate::audit::{Changes, Results, Row, open_report};
use sallyport_core::check::stored::{OnUpdate, StoredFinding};
use sallyport_core::printable::printable;
use sallyport_core::report::check::{CheckReport, Finding, Level, Subject};
use sallyport_core::report::{Detail, View, counted, counted_as, sarif};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// An audit, and what was asked of it.
pub struct AuditReport<'a> {
    /// What was found.
    pub results: &'a Results,
    /// The time of the audit, RFC 3339.
    pub time: String,
    /// True if the policies were compared with others.
    pub compares: bool,
}

/// For people: a line for each finding, then what was not seen, then a summary.
pub fn table(report: &AuditReport<'_>, view: View) -> String {
    let results = report.results;
    let mut text = if report.compares {
        changes_table(results, view)
    } else {
        findings_table(results, view)
    };
    if view.detail != Detail::Quiet && !report.compares {
        text += &exempt(results);
    }
    for gap in results.gaps() {
        let _ = writeln!(text, "{} {}", view.bad("NOT SEEN"), printable(&gap));
    }
    if view.detail != Detail::Quiet {
        text += &summary(report);
    }
    text
}

/// Returns the lines of one Service, for what changes while somebody watches.
pub fn lines(row: &Row) -> BTreeSet<String> {
    let told = row
        .findings
        .iter()
        .filter(|finding| is_told(finding, Detail::Ordinary));
    let line = |finding: &StoredFinding| {
        let on_update = match on_update(finding) {
            "" => String::new(),
            on_update => format!(" ({on_update})"),
        };
        format!(
            "{} {} {} {}: {}{on_update}",
            word(finding.level),
            printable(&row.service),
            policy(finding),
            printable(&finding.rule),
            finding.sentence(),
        )
    };
    told.map(line).collect()
}

fn findings_table(results: &Results, view: View) -> String {
    let mut table = Table::new([
        "SERVICE",
        "VERDICT",
        "ON UPDATE",
        "POLICY",
        "RULE",
        "FINDING",
    ]);
    let mut levels = vec![];
    for row in results.rows() {
        let told = row.findings.iter();
        for finding in told.filter(|finding| is_told(finding, view.detail)) {
            levels.push(finding.level);
            table.add([
                row.service.clone(),
                word(finding.level).to_owned(),
                on_update(finding).to_owned(),
                policy(finding).to_owned(),
                finding.rule.clone(),
                finding.sentence(),
            ]);
        }
    }
    if table.is_empty() {
        return String::new();
    }
    table.text(|row, column, cell| match (column, levels[row]) {
        (1, Level::Error | Level::Unjudged) => view.bad(&cell),
        (1, Level::Warning) => view.odd(&cell),
        _ => cell,
    })
}

fn changes_table(results: &Results, view: View) -> String {
    let mut table = Table::new(["SERVICE", "CHANGE", "POLICY", "RULE", "FINDING"]);
    let mut bad = vec![];
    for row in results.rows() {
        let Some(Changes { appear, disappear }) = &row.changes else {
            continue;
        };
        for (findings, is_new) in [(appear, true), (disappear, false)] {
            for finding in findings
                .iter()
                .filter(|finding| is_told(finding, view.detail))
            {
                bad.push(is_new && finding.level != Level::Warning);
                table.add([
                    row.service.clone(),
                    change(finding, is_new).to_owned(),
                    policy(finding).to_owned(),
                    finding.rule.clone(),
                    finding.sentence(),
                ]);
            }
        }
    }
    if table.is_empty() {
        return String::new();
    }
    table.text(|row, column, cell| match (column, bad[row]) {
        (1, true) => view.bad(&cell),
        (1, false) => view.good(&cell),
        _ => cell,
    })
}

fn change(finding: &StoredFinding, is_new: bool) -> &'static str {
    match (finding.level, is_new) {
        (Level::Error, true) if finding.on_update == Some(OnUpdate::Kept) => {
            "denied (kept on update)"
        }
        (Level::Error, true) => "denied",
        (Level::Error, false) => "no longer denied",
        (Level::Unjudged, true) => "error",
        (Level::Unjudged, false) => "no longer an error",
        (Level::Warning, true) => "warning",
        (Level::Warning, false) => "no longer a warning",
        (Level::Note, true) => "note",
        (Level::Note, false) => "no longer a note",
    }
}

fn is_told(finding: &StoredFinding, detail: Detail) -> bool {
    match detail {
        Detail::Quiet => matches!(finding.level, Level::Error | Level::Unjudged),
        Detail::Ordinary => finding.level != Level::Note,
        Detail::Verbose => true,
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Unjudged => "ERROR",
        Level::Error => "DENY",
        Level::Warning => "WARN",
        Level::Note => "NOTE",
    }
}

fn on_update(finding: &StoredFinding) -> &'static str {
    match finding.on_update {
        _ if finding.patched_on_create => "patched on create",
        Some(OnUpdate::Kept) => "kept on update",
        Some(OnUpdate::Denied) => "denied on update",
        None => "",
    }
}

fn policy(finding: &StoredFinding) -> &str {
    if finding.policy.is_empty() {
        "sallyport"
    } else {
        &finding.policy
    }
}

/// Counts the Services that no policy is asked about, by the reason.
fn exempt(results: &Results) -> String {
    let mut reasons = BTreeMap::<&str, usize>::new();
    for reason in results.rows().filter_map(|row| row.exempt.as_deref()) {
        let reason = match reason.starts_with("in deletion") {
            true => "in deletion",
            false => reason,
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let lines = reasons
        .iter()
        .map(|(reason, count)| format!("{}: {}\n", counted(*count, "Service"), printable(reason)));
    lines.collect()
}

/// `5000 Services, 17 policies: 12 would be denied (11 kept on update), 3 with warnings, 4 exempt,
/// 0 with errors`.
fn summary(report: &AuditReport<'_>) -> String {
    let results = report.results;
    let counts = results.counts();
    let head = format!(
        "{}, {}",
        counted(results.services(), "Service"),
        counted_as(results.policies, "policy", "policies")
    );
    if report.compares {
        let changed = results.rows().filter(|row| row.changes.is_some()).count();
        return format!(
            "{head}: the other policies change {}\n",
            counted(changed, "Service")
        );
    }
    format!(
        "{head}: {} would be denied ({} kept on update), {} with warnings, {} exempt, {} with \
         errors\n",
        counts.denied, counts.kept, counts.warned, counts.exempt, counts.unjudged
    )
}

/// For programs.
pub fn json(report: &AuditReport<'_>) -> Value {
    let results = report.results;
    let counts = results.counts();
    json!({
        "time": report.time,
        "exitCode": results.exit_code(),
        "services": results.services(),
        "policies": results.policies,
        "counts": {
            "denied": counts.denied,
            "keptOnUpdate": counts.kept,
            "warned": counts.warned,
            "exempt": counts.exempt,
            "unjudged": counts.unjudged,
        },
        "gaps": results.gaps(),
        "rows": results.rows().collect::<Vec<_>>(),
    })
}

/// For code scanning services. A Service stands for a file, `services/NAMESPACE/NAME`. With
/// policies to compare with, the findings that they add.
pub fn sarif(report: &AuditReport<'_>) -> String {
    let subject = |row: &Row| {
        let findings = match &row.changes {
            Some(changes) => changes.appear.iter(),
            None => row.findings.iter(),
        };
        Subject {
            service: Some(row.service.clone()),
            findings: findings.cloned().map(Finding::from).collect(),
            ..Subject::unread(&format!("services/{}", row.service), String::new())
        }
    };
    let gaps = report.results.gaps();
    let gaps = gaps.into_iter().map(|gap| Subject::unread("services", gap));
    sarif::sarif(&CheckReport {
        subjects: report.results.rows().map(subject).chain(gaps).collect(),
        ..CheckReport::default()
    })
}

/// The Reports of OpenReports that a host would write, as a List.
pub fn open_reports(results: &Results) -> Value {
    let reports: Vec<_> = results.rows().filter_map(open_report::report).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": reports})
}
