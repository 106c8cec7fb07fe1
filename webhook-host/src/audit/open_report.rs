//! A Report of OpenReports (`openreports.io/v1alpha1`) for one Service.
//!
//! It says nothing that changes by itself, such as a time, so that an equal one need not be written
//! again. It is owned by its Service, so that it goes with it. Its size is bounded, whatever the
//! findings: a report that etcd can't take would be worse than a short one.

use super::row::Row;
use sallyport_core::check::stored::{OnUpdate, StoredFinding};
use sallyport_core::excerpt::excerpt;
use sallyport_core::report::check::Level;
use serde_json::{Value, json};

/// Group and version.
pub const API_VERSION: &str = "openreports.io/v1alpha1";

/// The kind.
pub const KIND: &str = "Report";

/// The label by which the host recognises its own Reports, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "sallyport");

/// `source` of every Report.
const SOURCE: &str = "sallyport";

/// Results of one Report. Texts are cut at 400 bytes, so that it stays below 32 KiB.
const MAX_RESULTS: usize = 10;

/// Returns the name of a Service's Report.
pub fn name(service: &str) -> String {
    format!("sallyport-{service}")
}

/// Returns the Report of a Service with denials, warnings or errors; `None` for all others.
pub fn report(row: &Row) -> Option<Value> {
    let told = |finding: &&StoredFinding| finding.level != Level::Note;
    let findings: Vec<_> = row.findings.iter().filter(told).collect();
    if findings.is_empty() {
        return None;
    }
    let (namespace, name) = row.service.split_once('/')?;
    let count = |level| {
        let of_level = findings.iter().filter(|finding| finding.level == level);
        of_level.count()
    };
    let mut results: Vec<_> = findings
        .iter()
        .take(MAX_RESULTS)
        .map(|finding| result(finding))
        .collect();
    if let Some(more) = findings.len().checked_sub(MAX_RESULTS + 1) {
        results.push(json!({"policy": "sallyport", "result": "skip",
            "message": format!("and {} more; see `sallyport audit`", more + 1)}));
    }
    let mut metadata = json!({
        "name": self::name(name),
        "namespace": namespace,
        "labels": {MANAGED_BY.0: MANAGED_BY.1},
    });
    let mut scope =
        json!({"apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": name});
    if !row.uid.is_empty() {
        metadata["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Service", "name": name, "uid": row.uid}]);
        scope["uid"] = row.uid.as_str().into();
    }
    Some(json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "source": SOURCE,
        "scope": scope,
        "summary": {"pass": 0, "fail": count(Level::Error), "warn": count(Level::Warning),
            "error": count(Level::Unjudged), "skip": 0},
        "results": results,
    }))
}

fn result(finding: &StoredFinding) -> Value {
    let (result, severity) = match finding.level {
        Level::Error => ("fail", "high"),
        Level::Warning => ("warn", "medium"),
        Level::Unjudged => ("error", "high"),
        Level::Note => ("skip", "info"),
    };
    let policy = if finding.policy.is_empty() {
        "sallyport"
    } else {
        &finding.policy
    };
    let mut properties = json!({"field": excerpt(&finding.field)});
    if !finding.fix.is_empty() {
        properties["fix"] = excerpt(&finding.fix).into();
    }
    if let Some(on_update) = finding.on_update {
        properties["onUpdate"] = match on_update {
            OnUpdate::Kept => "kept",
            OnUpdate::Denied => "denied",
        }
        .into();
    }
    if finding.patched_on_create {
        properties["onCreate"] = "patched".into();
    }
    let mut result = json!({
        "policy": excerpt(policy),
        "result": result,
        "severity": severity,
        "scored": finding.level == Level::Error,
        "message": excerpt(&finding.message),
        "properties": properties,
    });
    if !finding.rule.is_empty() {
        result["rule"] = excerpt(&finding.rule).into();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::report::check::Finding;

    fn row(levels: &[Level]) -> Row {
        let finding = |level: &Level| {
            Finding {
                message: "m".repeat(10_000),
                ..Finding::empty(*level)
            }
            .into()
        };
        Row {
            service: "n/w".to_owned(),
            uid: "u".to_owned(),
            findings: levels.iter().map(finding).collect(),
            ..Row::default()
        }
    }

    #[test]
    fn only_violations_make_a_report() {
        assert_eq!(report(&row(&[])), None);
        assert_eq!(report(&row(&[Level::Note])), None);
        let report = report(&row(&[Level::Error, Level::Warning, Level::Note])).expect("one");
        assert_eq!(report["summary"]["fail"], 1);
        assert_eq!(report["summary"]["warn"], 1);
        assert_eq!(report["metadata"]["name"], "sallyport-w");
        assert_eq!(report["metadata"]["ownerReferences"][0]["uid"], "u");
    }

    #[test]
    fn a_report_stays_small_whatever_the_findings() {
        let report = report(&row(&[Level::Error; 5000])).expect("one");
        assert_eq!(report["summary"]["fail"], 5000);
        let results = report["results"].as_array().expect("results");
        assert_eq!(results.len(), MAX_RESULTS + 1);
        assert_eq!(
            results[MAX_RESULTS]["message"],
            "and 4990 more; see `sallyport audit`"
        );
        assert!(report.to_string().len() < 32 << 10);
    }
}
