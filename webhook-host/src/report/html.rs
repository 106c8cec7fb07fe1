//! An audit as one HTML page without scripts: the violations, the exposure map, and what was not
//! seen. Every text of a Service is escaped.

use super::audit::AuditReport;
use super::exposures::{Entry, age, entries, policies, writer};
use jiff::Timestamp;
use sallyport_core::check::stored::{OnUpdate, StoredFinding};
use sallyport_core::printable::printable;
use sallyport_core::report::check::Level;
use std::fmt::Write as _;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}\
    table{border-collapse:collapse;width:100%;margin:1rem 0}\
    th,td{border-bottom:1px solid #ddd;padding:.35rem .6rem;text-align:left;vertical-align:top}\
    th{background:#f4f4f4}.deny,.error,.public{color:#a40000;font-weight:600}\
    .warn{color:#8f5902}.gap{color:#a40000}td{overflow-wrap:anywhere}";

/// Returns the page.
pub fn page(report: &AuditReport<'_>, now: Timestamp) -> String {
    let results = report.results;
    let counts = results.counts();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <title>Sallyport audit</title>\n<style>{STYLE}</style></head>\n<body>\n\
         <h1>Sallyport audit</h1>\n<p>{} · {} Services, {} policies: {} would be denied ({} kept \
         on update), {} with warnings, {} exempt, {} with errors</p>\n",
        escaped(&report.time),
        results.services(),
        results.policies,
        counts.denied,
        counts.kept,
        counts.warned,
        counts.exempt,
        counts.unjudged,
    );
    for gap in results.gaps() {
        let _ = writeln!(page, "<p class=\"gap\">Not seen: {}</p>", escaped(&gap));
    }
    violations(report, &mut page);
    exposures(report, now, &mut page);
    page += "</body></html>\n";
    page
}

fn violations(report: &AuditReport<'_>, page: &mut String) {
    page.push_str("<h2>Violations</h2>\n");
    let head = [
        "Service",
        "Verdict",
        "On update",
        "Policy",
        "Rule",
        "Finding",
    ];
    let rows = report.results.rows().flat_map(|row| {
        let findings = row.findings.iter();
        findings.map(move |finding| (row, finding))
    });
    let rows = rows.map(|(row, finding)| {
        let (class, word) = match finding.level {
            Level::Error => ("deny", "denied"),
            Level::Unjudged => ("error", "error"),
            Level::Warning => ("warn", "warning"),
            Level::Note => ("note", "note"),
        };
        let cells = [
            row.service.clone(),
            word.to_owned(),
            on_update(finding).to_owned(),
            finding.policy.clone(),
            finding.rule.clone(),
            finding.sentence(),
        ];
        (class, cells)
    });
    table(&head, rows, page);
}

fn on_update(finding: &StoredFinding) -> &'static str {
    match finding.on_update {
        _ if finding.patched_on_create => "patched on create",
        Some(OnUpdate::Kept) => "kept",
        Some(OnUpdate::Denied) => "denied",
        None => "",
    }
}

fn exposures(report: &AuditReport<'_>, now: Timestamp, page: &mut String) {
    page.push_str("<h2>Exposure map</h2>\n");
    let head = [
        "Service",
        "Opens to",
        "Door",
        "Ports",
        "Address",
        "Policies",
        "Written by",
        "Age",
        "Why",
    ];
    let entries = entries(report.results);
    let rows = entries.iter().map(|Entry { row, exposure }| {
        let door = &exposure.door;
        let class = if door.opens <= crate::exposure::Opens::PerhapsPublic {
            "public"
        } else {
            "door"
        };
        let created = row.created.as_deref();
        let cells = [
            row.service.clone(),
            door.opens.text().to_owned(),
            door.kind.text().to_owned(),
            door.ports.join(", "),
            door.address.clone(),
            policies(exposure),
            writer(exposure, now),
            created.map_or_else(String::new, |created| age(created, now)),
            format!("{}: {}", door.field, door.reason),
        ];
        (class, cells)
    });
    table(&head, rows, page);
}

/// Writes a table; the class of a row is that of its second cell.
fn table<const N: usize>(
    head: &[&str; N],
    rows: impl Iterator<Item = (&'static str, [String; N])>,
    page: &mut String,
) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        page.push_str("<p>None.</p>\n");
        return;
    }
    page.push_str("<table><thead><tr>");
    head.iter()
        .for_each(|head| page.push_str(&format!("<th>{head}</th>")));
    page.push_str("</tr></thead><tbody>\n");
    for (class, cells) in rows {
        page.push_str("<tr>");
        for (index, cell) in cells.iter().enumerate() {
            let class = match index {
                1 => format!(" class=\"{class}\""),
                _ => String::new(),
            };
            let _ = write!(page, "<td{class}>{}</td>", escaped(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n");
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_holds_is_no_markup() {
        assert_eq!(
            escaped("<img src=x onerror='a'>&\"\u{202e}"),
            "&lt;img src=x onerror=&#39;a&#39;&gt;&amp;&quot;\\u{202e}"
        );
    }
}
