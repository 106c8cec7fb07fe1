//! What one pass has to change, from the Reports that stand and the rows of all Services. Pure.

use crate::audit::{Row, open_report};
use crate::metrics::{Totals, ViolationKind};
use sallyport_core::report::check::Level;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The annotation with the digest of what the host wrote. The API server may drop fields that a
/// version of the CRD does not have, so that what it returns can't be compared.
pub(super) const DIGEST: &str = "sallyport.dev/digest";

/// A Report that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Existing {
    pub(super) digest: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
}

/// A Report to write.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) report: Value,
    /// The one that it replaces.
    pub(super) existing: Option<Existing>,
}

/// What a pass changes.
#[derive(Debug)]
pub(super) struct Changes {
    /// Reports to delete, by `namespace/name`.
    pub(super) prunes: Vec<(String, Existing)>,
    pub(super) writes: Vec<Write>,
    pub(super) totals: Totals,
}

/// The state of a pass.
#[derive(Debug)]
pub(super) struct Plan {
    /// By `namespace/name`.
    existing: BTreeMap<String, Existing>,
    max: usize,
    /// Reports that stay, as they are or rewritten.
    stay: BTreeSet<String>,
    writes: Vec<Write>,
    totals: Totals,
}

impl Plan {
    pub(super) fn new(existing: BTreeMap<String, Existing>, max: usize) -> Self {
        Self {
            existing,
            max,
            stay: BTreeSet::new(),
            writes: vec![],
            totals: Totals::default(),
        }
    }

    /// Forgets the Services: their list begins anew.
    pub(super) fn restart(&mut self) {
        self.stay.clear();
        self.writes.clear();
        self.totals = Totals::default();
    }

    /// Takes the row of a Service. One that could not be judged keeps the Report that it has.
    pub(super) fn add(&mut self, row: &Row) {
        self.totals.services += 1;
        let Some(name) = name(&row.service) else {
            return;
        };
        if row.has(Level::Unjudged) || row.lacks_namespace {
            self.totals.unjudged += 1;
            if self.existing.contains_key(&name) {
                self.stay.insert(name);
            }
            return;
        }
        for finding in row
            .findings
            .iter()
            .filter(|found| found.level != Level::Note)
        {
            self.totals.count(ViolationKind {
                policy: finding.policy.clone(),
                rule: finding.rule.clone(),
                namespace: row.namespace().to_owned(),
            });
        }
        let Some(mut report) = open_report::report(row) else {
            return;
        };
        if self.stay.len() >= self.max {
            self.totals.left_out += 1;
            return;
        }
        let digest = digest(&report);
        let existing = self.existing.get(&name).cloned();
        if existing
            .as_ref()
            .is_none_or(|existing| existing.digest != digest)
        {
            report["metadata"]["annotations"] = serde_json::json!({DIGEST: digest});
            self.writes.push(Write { report, existing });
        }
        self.stay.insert(name);
    }

    /// Returns the changes. Nothing is deleted after a list that is not complete.
    pub(super) fn finish(self, is_complete: bool) -> Changes {
        let stay = &self.stay;
        let goes = |(name, _): &(String, Existing)| is_complete && !stay.contains(name);
        Changes {
            prunes: self.existing.into_iter().filter(goes).collect(),
            totals: Totals {
                reports: stay.len() as u64,
                ..self.totals
            },
            writes: self.writes,
        }
    }
}

/// Returns namespace and name of the Report of a Service.
fn name(service: &str) -> Option<String> {
    let (namespace, name) = service.split_once('/')?;
    Some(format!("{namespace}/{}", open_report::name(name)))
}

fn digest(report: &Value) -> String {
    let digest = Sha256::digest(report.to_string());
    digest
        .iter()
        .take(16)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::report::check::Finding;

    fn row(name: &str, level: Option<Level>) -> Row {
        Row {
            service: format!("n/{name}"),
            uid: "u".to_owned(),
            findings: level
                .map(|level| Finding::empty(level).into())
                .into_iter()
                .collect(),
            ..Row::default()
        }
    }

    /// Carries out the writes of a pass.
    fn stored(changes: &Changes) -> BTreeMap<String, Existing> {
        let stored = changes.writes.iter().map(|write| {
            let metadata = &write.report["metadata"];
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let existing = Existing {
                digest: text(&metadata["annotations"][DIGEST]),
                ..Existing::default()
            };
            (format!("n/{}", text(&metadata["name"])), existing)
        });
        stored.collect()
    }

    fn pass(existing: BTreeMap<String, Existing>, rows: &[Row], max: usize) -> Changes {
        let mut plan = Plan::new(existing, max);
        rows.iter().for_each(|row| plan.add(row));
        plan.finish(true)
    }

    #[test]
    fn a_second_pass_writes_nothing_and_a_mended_service_loses_its_report() {
        let rows = [
            row("a", Some(Level::Error)),
            row("b", None),
            row("c", Some(Level::Warning)),
        ];
        let first = pass(BTreeMap::new(), &rows, 10);
        assert_eq!((first.writes.len(), first.prunes.len()), (2, 0));
        assert_eq!(first.totals.reports, 2);
        let existing = stored(&first);
        let second = pass(existing.clone(), &rows, 10);
        assert_eq!((second.writes.len(), second.prunes.len()), (0, 0));
        let mended = pass(
            existing.clone(),
            &[row("a", None), row("c", Some(Level::Error))],
            10,
        );
        let pruned: Vec<_> = mended
            .prunes
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(pruned, ["n/sallyport-a"]);
        assert_eq!(mended.writes.len(), 1, "the other one has become worse");
        assert!(mended.writes[0].existing.is_some());
    }

    #[test]
    fn what_could_not_be_judged_keeps_its_report_as_it_is() {
        let existing = stored(&pass(BTreeMap::new(), &[row("a", Some(Level::Error))], 10));
        let changes = pass(existing, &[row("a", Some(Level::Unjudged))], 10);
        assert_eq!((changes.writes.len(), changes.prunes.len()), (0, 0));
        assert_eq!(changes.totals.unjudged, 1);
    }

    #[test]
    fn nothing_is_deleted_after_an_incomplete_list() {
        let existing = stored(&pass(BTreeMap::new(), &[row("a", Some(Level::Error))], 10));
        let plan = Plan::new(existing, 10);
        assert_eq!(plan.finish(false).prunes.len(), 0);
    }

    #[test]
    fn there_are_no_more_reports_than_allowed() {
        let rows: Vec<_> = (0..5)
            .map(|number| row(&number.to_string(), Some(Level::Error)))
            .collect();
        let changes = pass(BTreeMap::new(), &rows, 3);
        assert_eq!((changes.writes.len(), changes.totals.left_out), (3, 2));
        let fewer = pass(stored(&changes), &rows, 2);
        assert_eq!((fewer.writes.len(), fewer.prunes.len()), (0, 1));
    }

    #[test]
    fn a_list_that_begins_anew_counts_nothing_twice() {
        let mut plan = Plan::new(BTreeMap::new(), 10);
        plan.add(&row("a", Some(Level::Error)));
        plan.restart();
        plan.add(&row("a", Some(Level::Error)));
        let changes = plan.finish(true);
        assert_eq!((changes.writes.len(), changes.totals.services), (1, 1));
    }
}
