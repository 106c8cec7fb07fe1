//! Prints the differences that `sallyport replay` found, by policy and rule with examples, as text
//! and as JSON.

use crate::replay::{Change, Difference};
use crate::timestamp;
use sallyport_core::printable::{printable, printable_json};
use sallyport_core::report::Detail;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::SystemTime;

/// The most unreadable lines that are listed.
const MAX_LISTED_LINES: usize = 10;

/// The result of a replay. Its size depends on policies and rules, not on the number of reviews.
#[derive(Debug, Clone)]
pub struct ReplayReport {
    examples: usize,
    reviews: u64,
    same: u64,
    span: Option<(SystemTime, SystemTime)>,
    /// The number of reviews with each change.
    changes: BTreeMap<Change, u64>,
    groups: BTreeMap<(Change, String, String), Group>,
    unread: u64,
    places: Vec<String>,
}

/// The differences with the same change, policy and rule.
#[derive(Debug, Clone, Default)]
struct Group {
    reviews: u64,
    examples: Vec<Example>,
}

/// One difference.
#[derive(Debug, Clone, Serialize)]
struct Example {
    service: String,
    uid: String,
    message: String,
}

/// The recorded review of a difference.
#[derive(Debug, Clone, Copy)]
pub struct Replayed<'a> {
    /// The time of the recording.
    pub time: SystemTime,
    /// Its AdmissionReview.
    pub review: &'a Value,
}

impl Replayed<'_> {
    fn text(&self, member: &str) -> &str {
        self.review["request"][member].as_str().unwrap_or_default()
    }

    fn service(&self) -> String {
        let name = match self.text("name") {
            "" => "(unnamed)",
            name => name,
        };
        format!("{}/{name}", self.text("namespace"))
    }
}

impl ReplayReport {
    /// Returns an empty report that keeps this many examples of each group.
    pub fn new(examples: usize) -> Self {
        Self {
            examples,
            reviews: 0,
            same: 0,
            span: None,
            changes: BTreeMap::new(),
            groups: BTreeMap::new(),
            unread: 0,
            places: vec![],
        }
    }

    /// Adds a review and its differences.
    pub fn add(&mut self, replayed: Replayed<'_>, differences: Vec<Difference>) {
        let time = replayed.time;
        self.reviews += 1;
        self.same += u64::from(differences.is_empty());
        self.span = Some(
            self.span
                .map_or((time, time), |(from, to)| (from.min(time), to.max(time))),
        );
        for change in differences
            .iter()
            .map(|difference| difference.change)
            .collect::<BTreeSet<_>>()
        {
            *self.changes.entry(change).or_default() += 1;
        }
        // Several ports may violate one rule; the review counts once for it.
        let mut counted = BTreeSet::new();
        for Difference {
            change,
            policy,
            rule,
            message,
        } in differences
        {
            let of = (change, policy, rule);
            let group = self.groups.entry(of.clone()).or_default();
            if !counted.insert(of) {
                continue;
            }
            group.reviews += 1;
            if group.examples.len() < self.examples {
                let (service, uid) = (replayed.service(), replayed.text("uid").to_owned());
                group.examples.push(Example {
                    service,
                    uid,
                    message,
                });
            }
        }
    }

    /// Adds a line that can't be read, with the reason.
    pub fn pass_over(&mut self, place: &str, problem: &str) {
        self.unread += 1;
        if self.places.len() < MAX_LISTED_LINES {
            self.places.push(format!("{place}: {problem}"));
        }
    }

    /// Returns the number of reviews.
    pub fn reviews(&self) -> u64 {
        self.reviews
    }

    /// Returns true when there was nothing to replay.
    pub fn is_empty(&self) -> bool {
        self.reviews == 0
    }

    /// Returns the first unreadable lines, each with its reason.
    pub fn unread(&self) -> &[String] {
        &self.places
    }

    /// Returns the exit code: 0 without differences, 1 with some.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.same < self.reviews)
    }

    fn span(&self) -> Option<[String; 2]> {
        let (from, to) = self.span?;
        Some([from, to].map(|time| timestamp::whole_second(time).to_string()))
    }
}

/// Prints a review that stays the same.
pub fn same(replayed: Replayed<'_>) -> String {
    let (service, uid) = (replayed.service(), replayed.text("uid"));
    format!("same  {} {}\n", printable(&service), printable(uid))
}

/// Prints a table of differences, examples below each row, and totals at the end; or the table
/// alone.
pub fn text(report: &ReplayReport, detail: Detail) -> String {
    let is_quiet = detail == Detail::Quiet;
    let mut text = String::new();
    let width = |pick: fn(&(Change, String, String)) -> &str, least: usize| {
        report
            .groups
            .keys()
            .map(|of| pick(of).chars().count())
            .fold(least, usize::max)
    };
    let (policies, rules) = (width(|of| &of.1, 6), width(|of| &of.2, 4));
    if !report.groups.is_empty() {
        let _ = writeln!(
            text,
            "REVIEWS  {:18}  {:policies$}  RULE",
            "CHANGE", "POLICY"
        );
    }
    for ((change, policy, rule), group) in &report.groups {
        let (policy, rule) = (printable(policy), printable(rule));
        let row = format!(
            "{:7}  {:18}  {policy:policies$}  {rule:rules$}",
            group.reviews,
            change.words()
        );
        let _ = writeln!(text, "{}", row.trim_end());
        for Example {
            service,
            uid,
            message,
        } in group.examples.iter().filter(|_| !is_quiet)
        {
            let _ = writeln!(
                text,
                "           {} {}: {}",
                printable(service),
                printable(uid),
                printable(message)
            );
        }
    }
    if is_quiet {
        return text;
    }
    for place in &report.places {
        let _ = writeln!(text, "not read: {}", printable(place));
    }
    let span = report
        .span()
        .map(|[from, to]| format!(" from {from} to {to}"))
        .unwrap_or_default();
    let count = |change: Change| {
        Some(format!(
            ", {} {}",
            report.changes.get(&change)?,
            change.words()
        ))
    };
    let changes: String = Change::ALL.into_iter().filter_map(count).collect();
    let unread = if report.unread > 0 {
        format!("; {} lines can't be read", report.unread)
    } else {
        String::new()
    };
    let _ = writeln!(
        text,
        "{} reviews{span}: {} the same{changes}{unread}",
        report.reviews, report.same
    );
    text
}

/// Prints the report as JSON.
pub fn json(report: &ReplayReport) -> String {
    let group = |((change, policy, rule), group): (&(Change, String, String), &Group)| {
        json!({
            "change": change, "policy": policy, "rule": rule, "reviews": group.reviews,
            "examples": group.examples,
        })
    };
    let changes: serde_json::Map<_, _> = report
        .changes
        .iter()
        .filter_map(|(change, reviews)| {
            Some((
                serde_json::to_value(change).ok()?.as_str()?.to_owned(),
                json!(reviews),
            ))
        })
        .collect();
    let value = json!({
        "exitCode": report.exit_code(),
        "reviews": report.reviews,
        "same": report.same,
        "recorded": report.span(),
        "changes": changes,
        "differences": report.groups.iter().map(group).collect::<Vec<_>>(),
        "unread": {"lines": report.unread, "first": report.places},
    });
    printable_json(format!("{value:#}\n"))
}
