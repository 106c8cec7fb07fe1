//! The report of `sallyport exposures`: the doors of a cluster, the widest first, as a table and as
//! JSON; and what was opened, widened, narrowed and closed since an earlier run.

use super::table::Table;
use crate::audit::{Changed, Exposure, Results, Row, Since, Told};
use crate::exposure::{Change, Opens, Written};
use jiff::{Timestamp, Unit};
use sallyport_core::excerpt::excerpt;
use sallyport_core::printable::printable;
use sallyport_core::report::{Detail, View, counted};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The doors of one moment.
pub struct ExposuresReport<'a> {
    /// What was found.
    pub results: &'a Results,
    /// The time of the run.
    pub time: Timestamp,
    /// The difference to an earlier run, if there is one.
    pub since: Option<Since>,
}

/// A door with its Service.
pub(super) struct Entry<'a> {
    pub(super) row: &'a Row,
    pub(super) exposure: &'a Exposure,
}

/// Returns all doors, the widest first.
pub(super) fn entries(results: &Results) -> Vec<Entry<'_>> {
    let of = |row| move |exposure| Entry { row, exposure };
    let mut entries: Vec<_> = results
        .rows()
        .flat_map(|row| row.doors.iter().map(of(row)))
        .collect();
    entries.sort_by_key(|entry| entry.exposure.door.opens);
    entries
}

/// For people.
pub fn table(report: &ExposuresReport<'_>, view: View) -> String {
    let mut text = match &report.since {
        Some(since) => since_text(since, view),
        None => doors_text(report, view),
    };
    for gap in report.results.gaps() {
        let _ = writeln!(text, "{} {}", view.bad("NOT SEEN"), printable(&gap));
    }
    if view.detail != Detail::Quiet {
        text += &summary(report);
    }
    text
}

fn doors_text(report: &ExposuresReport<'_>, view: View) -> String {
    let mut table = Table::new([
        "SERVICE",
        "OPENS TO",
        "DOOR",
        "PORTS",
        "ADDRESS",
        "POLICIES",
        "WRITTEN BY",
        "AGE",
        "WHY",
    ]);
    let entries = entries(report.results);
    for Entry { row, exposure } in &entries {
        let door = &exposure.door;
        table.add([
            row.service.clone(),
            door.opens.text().to_owned(),
            door.kind.text().to_owned(),
            door.ports.join(", "),
            door.address.clone(),
            policies(exposure),
            writer(exposure, report.time),
            row.created
                .as_deref()
                .map_or_else(String::new, |created| age(created, report.time)),
            format!("{}: {}", door.field, door.reason),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    table.text(|row, column, cell| match (column, entries[row].exposure) {
        (1, exposure) if exposure.door.opens <= Opens::PerhapsPublic => view.bad(&cell),
        (5, exposure) if !exposure.policy.refused_by.is_empty() => view.odd(&cell),
        _ => cell,
    })
}

/// Returns who would refuse a door, or who allows it.
pub(super) fn policies(exposure: &Exposure) -> String {
    let policy = &exposure.policy;
    if let Some(exempt) = &policy.exempt {
        return exempt.split(';').next().unwrap_or_default().to_owned();
    }
    let name = |name: &str| {
        if name.is_empty() {
            "sallyport".to_owned()
        } else {
            name.to_owned()
        }
    };
    let mut refused: Vec<_> = policy
        .refused_by
        .iter()
        .map(|by| {
            format!("{} {}", name(&by.policy), by.rule)
                .trim_end()
                .to_owned()
        })
        .collect();
    refused.sort();
    refused.dedup();
    let allowed: Vec<_> = policy.allowed_by.iter().map(String::as_str).collect();
    match () {
        () if !refused.is_empty() => {
            let is_kept = policy.refused_by.iter().all(|by| by.kept_on_update);
            let kept = if is_kept { " (kept)" } else { "" };
            format!("refused by {}{kept}", refused.join(", "))
        }
        () if policy.unjudged => "no verdict".to_owned(),
        () if allowed.is_empty() => "no policy is asked".to_owned(),
        () => format!("allowed by {}", allowed.join(", ")),
    }
}

/// Returns the last writer of a door, and how long ago that was.
pub(super) fn writer(exposure: &Exposure, now: Timestamp) -> String {
    let Some(Written { manager, time, .. }) = &exposure.door.written_by else {
        return String::new();
    };
    let time = time.as_deref().map(|time| age(time, now));
    let time = time.map_or_else(String::new, |time| format!(", {time} ago"));
    let allocated = if exposure.door.allocated {
        " (port allocated)"
    } else {
        ""
    };
    format!("{manager}{time}{allocated}")
}

/// Returns an age as kubectl does: the two largest units at most.
pub(super) fn age(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else {
        return String::new();
    };
    let seconds = now
        .since((Unit::Second, time))
        .map_or(0, |span| span.get_seconds());
    let seconds = u64::try_from(seconds).unwrap_or_default();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn since_text(since: &Since, view: View) -> String {
    let mut table = Table::new([
        "",
        "SERVICE",
        "OPENS TO",
        "DOOR",
        "PORTS",
        "ADDRESS",
        "WRITTEN BY",
        "CHANGE",
    ]);
    let mut wider = vec![];
    let mut add = |sign: &str, is_wider: bool, told: &Told, changes: &[Change]| {
        wider.push(is_wider);
        let door = &told.door;
        let writer = door.written_by.as_ref();
        let changes: Vec<_> = changes.iter().map(change).collect();
        table.add([
            sign.to_owned(),
            told.service.clone(),
            door.opens.text().to_owned(),
            door.kind.text().to_owned(),
            door.ports.join(", "),
            door.address.clone(),
            writer.map_or_else(String::new, |written| written.manager.clone()),
            changes.join("; "),
        ]);
    };
    for told in &since.opened {
        add("opened", true, told, &[]);
    }
    for Changed { told, changes } in &since.widened {
        add("widened", true, told, changes);
    }
    for Changed { told, changes } in &since.narrowed {
        add("narrowed", false, told, changes);
    }
    for told in &since.closed {
        add("closed", false, told, &[]);
    }
    if table.is_empty() {
        return String::new();
    }
    table.text(|row, column, cell| match (column, wider[row]) {
        (0, true) => view.bad(&cell),
        (0, false) => view.good(&cell),
        _ => cell,
    })
}

/// `source ranges: 10.0.0.0/8, now anywhere`.
fn change(change: &Change) -> String {
    let Change {
        what,
        before,
        after,
    } = change;
    let (before, after) = (excerpt(before), excerpt(after));
    format!("{what}: {before}, now {after}")
}

/// `12 doors of 5000 Services: 1 anyone, 11 nodes`, and with an earlier run what differs from it.
fn summary(report: &ExposuresReport<'_>) -> String {
    let mut by_reach = BTreeMap::<Opens, usize>::new();
    for entry in entries(report.results) {
        *by_reach.entry(entry.exposure.door.opens).or_default() += 1;
    }
    let doors: usize = by_reach.values().sum();
    let parts: Vec<_> = by_reach
        .iter()
        .map(|(opens, count)| format!("{count} {}", opens.text()))
        .collect();
    let colon = if parts.is_empty() { "" } else { ": " };
    let mut text = format!(
        "{} of {}{colon}{}\n",
        counted(doors, "door"),
        counted(report.results.services(), "Service"),
        parts.join(", ")
    );
    if let Some(since) = &report.since {
        let _ = writeln!(
            text,
            "since {}: {} opened, {} widened, {} narrowed, {} closed",
            printable(&since.time),
            since.opened.len(),
            since.widened.len(),
            since.narrowed.len(),
            since.closed.len()
        );
    }
    text
}

/// For programs, and for a later run with `--since`.
pub fn json(report: &ExposuresReport<'_>) -> Value {
    let exposures: Vec<_> = entries(report.results)
        .into_iter()
        .map(|Entry { row, exposure }| {
            let mut value = json!(exposure);
            value["service"] = row.service.as_str().into();
            if let Some(created) = &row.created {
                value["created"] = created.as_str().into();
            }
            value
        })
        .collect();
    let states = report.results.rows();
    let states: BTreeMap<_, _> = states
        .filter_map(|row| Some((row.service.as_str(), row.state.as_ref()?)))
        .collect();
    let mut value = json!({
        "time": report.time.to_string(),
        "services": report.results.services(),
        "scope": report.results.scope,
        "gaps": report.results.gaps(),
        "exposures": exposures,
        "states": states,
    });
    if let Some(since) = &report.since {
        value["since"] = json!(since);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_and_never_negative() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().expect("a time");
        for (time, expected) in [
            ("2026-01-30T23:59:01Z", "59s"),
            ("2026-01-30T23:00:00Z", "60m"),
            ("2026-01-30T00:00:00Z", "24h"),
            ("2026-01-01T00:00:00Z", "30d"),
            ("2027-01-01T00:00:00Z", "0s"),
            ("yesterday", ""),
        ] {
            assert_eq!(age(time, now), expected, "{time}");
        }
    }
}
