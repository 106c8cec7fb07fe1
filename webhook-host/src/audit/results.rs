//! The rows of an audit, and what could not be judged.

use super::row::{Audit, Row};
use super::scope::Scope;
use sallyport_core::check::stored::OnUpdate;
use sallyport_core::report::check::Level;
use sallyport_core::report::counted;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// The most objects without a name that are told one by one.
const MAX_UNREAD: usize = 20;

/// The most names that a gap lists.
const MAX_NAMES: usize = 20;

/// Lists names with commas, the first ones of many.
pub fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    let shown = names[..names.len().min(MAX_NAMES)].join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Everything that an audit found.
#[derive(Debug, Default)]
pub struct Results {
    rows: BTreeMap<String, Row>,
    /// The number of judged Services by namespace.
    services: BTreeMap<String, usize>,
    unread: Vec<String>,
    unknown_namespaces: BTreeSet<String>,
    /// The Services that were looked at.
    pub scope: Scope,
    /// What could not be read or known, each told once.
    pub problems: Vec<String>,
    /// The number of policies.
    pub policies: usize,
    /// True if warnings count for the exit code.
    pub strict: bool,
}

/// Services by what is found about them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// A create would be denied.
    pub denied: usize,
    /// Of these, an update that changes nothing is allowed.
    pub kept: usize,
    /// Warnings, and no denial.
    pub warned: usize,
    /// No policy is asked.
    pub exempt: usize,
    /// Some policy has no verdict.
    pub unjudged: usize,
}

impl Results {
    /// Begins an audit by so many policies.
    pub fn new(policies: usize, strict: bool) -> Self {
        Self {
            policies,
            strict,
            ..Self::default()
        }
    }

    /// Judges one Service, and keeps what there is to tell. With policies to compare with, only
    /// changes are kept.
    ///
    /// Returns `namespace/name`; `None` where the text is no Service.
    pub fn add(&mut self, audit: &Audit<'_>, object: &RawValue) -> Option<String> {
        match audit.row(object) {
            Ok(row) => {
                *self.services.entry(row.namespace().to_owned()).or_default() += 1;
                let service = row.service.clone();
                if row.lacks_namespace {
                    self.unknown_namespaces.insert(row.namespace().to_owned());
                }
                let is_told = match audit.against {
                    Some(_) => row.changes.is_some() || row.has(Level::Unjudged),
                    None => !row.is_empty(),
                };
                if is_told {
                    self.rows.insert(row.service.clone(), row);
                } else {
                    self.rows.remove(&row.service);
                }
                Some(service)
            }
            Err(problem) => {
                self.unread.push(problem);
                self.unread.truncate(MAX_UNREAD);
                None
            }
        }
    }

    /// Forgets the Services of a namespace, or all: their list begins anew.
    pub fn restart(&mut self, namespace: Option<&str>) {
        let Some(namespace) = namespace else {
            self.rows.clear();
            self.services.clear();
            self.unread.clear();
            self.unknown_namespaces.clear();
            return;
        };
        self.rows.retain(|_, row| row.namespace() != namespace);
        self.services.remove(namespace);
        self.unknown_namespaces.remove(namespace);
    }

    /// Forgets one Service, and returns its row.
    pub fn remove(&mut self, service: &str) -> Option<Row> {
        self.rows.remove(service)
    }

    /// Returns the row of a Service, if there is anything to tell about it.
    pub fn row(&self, service: &str) -> Option<&Row> {
        self.rows.get(service)
    }

    /// Returns the rows, by namespace and name.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Returns the number of Services that were judged.
    pub fn services(&self) -> usize {
        self.services.values().sum()
    }

    /// Returns everything that keeps this audit from being complete.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = self.problems.clone();
        gaps.extend(self.unread.iter().cloned());
        if !self.unknown_namespaces.is_empty() {
            let names = self.unknown_namespaces.iter().map(String::as_str);
            gaps.push(format!(
                "the labels of {} are not known, and policies go by them: {}",
                counted(self.unknown_namespaces.len(), "namespace"),
                listed(names)
            ));
        }
        gaps
    }

    /// Counts the Services by what is found.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for row in self.rows() {
            let errors = || {
                let findings = row.findings.iter();
                findings.filter(|finding| finding.level == Level::Error)
            };
            let is_kept = |on_update| on_update == Some(OnUpdate::Kept);
            let has_errors = errors().next().is_some();
            counts.unjudged += usize::from(row.has(Level::Unjudged));
            counts.denied += usize::from(has_errors);
            counts.kept +=
                usize::from(has_errors && errors().all(|finding| is_kept(finding.on_update)));
            counts.warned += usize::from(!has_errors && row.has(Level::Warning));
            counts.exempt += usize::from(row.exempt.is_some());
        }
        counts
    }

    /// 0 clean, 1 violations (where it is strict, warnings too), 2 something could not be judged.
    /// With policies to compare with, only their new denials are violations.
    pub fn exit_code(&self) -> u8 {
        let counts = self.counts();
        let appears = |row: &Row, level| {
            let changes = row.changes.iter().flat_map(|changes| &changes.appear);
            changes.clone().any(|finding| finding.level == level)
        };
        let compares = self.rows().any(|row| row.changes.is_some());
        let (denied, warned) = if compares {
            let any = |level| self.rows().any(|row| appears(row, level));
            (any(Level::Error), any(Level::Warning))
        } else {
            (counts.denied > 0, counts.warned > 0)
        };
        match () {
            () if counts.unjudged > 0 || !self.gaps().is_empty() => 2,
            () if denied || self.strict && warned => 1,
            () => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Changes;
    use sallyport_core::report::check::Finding;

    fn results(row: Row) -> Results {
        let mut results = Results::new(1, false);
        results.rows.insert(row.service.clone(), row);
        results
    }

    fn row(level: Level) -> Row {
        Row {
            service: "n/w".to_owned(),
            findings: vec![Finding::empty(level).into()],
            ..Row::default()
        }
    }

    #[test]
    fn the_exit_code_says_clean_violations_or_incomplete() {
        assert_eq!(Results::new(1, false).exit_code(), 0);
        assert_eq!(results(row(Level::Note)).exit_code(), 0);
        assert_eq!(results(row(Level::Error)).exit_code(), 1);
        assert_eq!(results(row(Level::Unjudged)).exit_code(), 2);
        let mut warned = results(row(Level::Warning));
        assert_eq!(warned.exit_code(), 0);
        warned.strict = true;
        assert_eq!(warned.exit_code(), 1);
        warned.problems.push("something is hidden".to_owned());
        assert_eq!(warned.exit_code(), 2);
    }

    #[test]
    fn with_other_policies_only_their_new_denials_count() {
        let changed = |appear: Vec<Level>| {
            let findings = appear.into_iter().map(|level| Finding::empty(level).into());
            results(Row {
                changes: Some(Changes {
                    appear: findings.collect(),
                    disappear: vec![],
                }),
                ..row(Level::Error)
            })
        };
        assert_eq!(changed(vec![]).exit_code(), 0);
        assert_eq!(changed(vec![Level::Error]).exit_code(), 1);
    }

    #[test]
    fn a_list_that_begins_anew_replaces_its_own_namespace_alone() {
        let mut both = results(row(Level::Error));
        let other = Row {
            service: "m/w".to_owned(),
            ..row(Level::Error)
        };
        both.rows.insert(other.service.clone(), other);
        both.restart(Some("n"));
        let left: Vec<_> = both.rows().map(|row| row.service.as_str()).collect();
        assert_eq!(left, ["m/w"]);
        both.restart(None);
        assert_eq!(both.rows().count(), 0);
    }

    #[test]
    fn many_names_are_cut() {
        let names: Vec<_> = (0..25).map(|number| number.to_string()).collect();
        let listed = listed(names.iter().map(String::as_str));
        assert!(listed.ends_with("19 and 5 more"), "{listed}");
    }
}
