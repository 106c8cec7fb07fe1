//! The report of `sallyport test`: text, JSON, JUnit. A policy's log lines stand below each case
//! that failed, in detail also below those that passed.

use super::{Detail, View};
use crate::policy::LogLine;
use crate::printable::{printable, printable_json};
use crate::suite::{Case, CaseReport, Suite, SuiteReport, TestReport};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// For people: failures with their diffs, in detail also what passed, then one line of summary.
pub fn text(report: &TestReport, view: View) -> String {
    let mut text = String::new();
    for suite in &report.suites {
        if let Some(problem) = &suite.problem {
            let path = suite.path.display();
            let _ = writeln!(text, "{} {path}: {problem}\n", view.bad("FAIL"));
        }
        let mut before = None;
        for case in &suite.cases {
            case_lines(suite, case, before, view, &mut text);
            before = case.failure.as_deref();
        }
    }
    if view.detail != Detail::Quiet {
        text += &summary(report);
        text.push('\n');
    }
    text
}

/// Counts in a line without its end: `7 passed, 0 failed`.
pub fn summary(report: &TestReport) -> String {
    let (passed, failed) = report.count();
    format!("{passed} passed, {failed} failed")
}

/// Returns the names of the cases, a line each, with their places.
pub fn list(suites: &[Suite], filter: &str) -> String {
    let mut text = String::new();
    for suite in suites {
        for (_, case) in suite.chosen(filter) {
            let (path, line) = (suite.path.display(), case.line);
            let _ = writeln!(text, "{}/{} ({path}:{line})", suite.name, case.name);
        }
    }
    text
}

/// Returns the names of the cases, for programs.
pub fn json_list(suites: &[Suite], filter: &str) -> String {
    let of = |suite: &Suite| {
        let case = |(_, case): (usize, &Case)| json!({"name": case.name, "line": case.line});
        let cases: Vec<_> = suite.chosen(filter).map(case).collect();
        json!({"name": suite.name, "file": suite.path.display().to_string(), "cases": cases})
    };
    let suites: Vec<_> = suites.iter().map(of).collect();
    printable_json(format!("{:#}\n", json!({"suites": suites})))
}

/// `before` is the failure of the case before it. If it is this one's too, it is not written again.
fn case_lines(
    suite: &SuiteReport,
    case: &CaseReport,
    before: Option<&str>,
    view: View,
    text: &mut String,
) {
    let word = match &case.failure {
        Some(_) => view.bad("FAIL"),
        None if view.detail == Detail::Verbose => view.good("PASS"),
        None => return,
    };
    let (path, line) = (suite.path.display(), case.line);
    let _ = writeln!(text, "{word} {}/{} ({path}:{line})", suite.name, case.name);
    if case.failure.is_some() && case.failure.as_deref() == before {
        let _ = writeln!(text, "     for the same reason");
    } else if let Some(failure) = &case.failure {
        failure.lines().for_each(|line| {
            let _ = writeln!(text, "     {line}");
        });
    }
    for line in log(case) {
        let _ = writeln!(text, "     log {line}");
    }
    if case.failure.is_some() {
        text.push('\n');
    }
}

/// Returns the logged lines. Those of a stack trace stay lines, indented.
fn log(case: &CaseReport) -> impl Iterator<Item = String> {
    case.log.iter().map(|(policy, line)| {
        let lines: Vec<_> = line.message.split('\n').map(printable).collect();
        let message = lines.join("\n           ");
        format!("[{policy}] {}: {message}", line.severity())
    })
}

/// For programs.
pub fn json(report: &TestReport) -> String {
    let (passed, failed) = report.count();
    let suites: Vec<Value> = report.suites.iter().map(json_suite).collect();
    printable_json(format!(
        "{:#}\n",
        json!({"passed": passed, "failed": failed, "suites": suites})
    ))
}

fn json_suite(suite: &SuiteReport) -> Value {
    let case = |case: &CaseReport| {
        json!({
            "name": case.name,
            "line": case.line,
            "passed": case.failure.is_none(),
            "failure": case.failure,
            "seconds": case.elapsed.as_secs_f64(),
            "log": case.log.iter().map(json_line).collect::<Vec<_>>(),
        })
    };
    let cases: Vec<Value> = suite.cases.iter().map(case).collect();
    json!({"name": suite.name, "file": suite.path.display().to_string(), "problem": suite.problem,
        "cases": cases})
}

fn json_line((policy, line): &(Arc<str>, LogLine)) -> Value {
    json!({"policy": **policy, "level": line.severity(), "message": line.message})
}

/// For CI systems.
pub fn junit(report: &TestReport) -> String {
    let mut junit = Report::new("sallyport");
    junit.add_test_suites(report.suites.iter().map(junit_suite));
    junit
        .to_string()
        .unwrap_or_else(|error| format!("<!-- {error} -->\n"))
}

fn junit_suite(suite: &SuiteReport) -> TestSuite {
    let mut junit = TestSuite::new(suite.name.as_str());
    if let Some(problem) = &suite.problem {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(problem.as_str());
        junit.add_test_case(TestCase::new("the suite can be run", status));
    }
    junit.add_test_cases(suite.cases.iter().map(|case| {
        let status = match &case.failure {
            None => TestCaseStatus::success(),
            Some(failure) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_description(failure.as_str());
                status
            }
        };
        let mut test = TestCase::new(case.name.as_str(), status);
        test.set_classname(suite.name.as_str())
            .set_time(case.elapsed);
        if !case.log.is_empty() {
            test.set_system_out(log(case).collect::<Vec<_>>().join("\n"));
        }
        test
    }));
    junit
}
