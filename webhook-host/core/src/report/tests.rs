//! The report of `sallyport test`: text, JSON, JUnit.

use super::{Detail, View};
use crate::suite::{CaseReport, SuiteReport, TestReport};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// For people: failures with their diffs, in detail also what passed, then one line of summary.
pub fn text(report: &TestReport, view: View) -> String {
    let mut text = String::new();
    for suite in &report.suites {
        if let Some(problem) = &suite.problem {
            let path = suite.path.display();
            let _ = writeln!(text, "{} {path}: {problem}\n", view.bad("FAIL"));
        }
        for case in &suite.cases {
            case_lines(suite, case, view, &mut text);
        }
    }
    if view.detail != Detail::Quiet {
        let (passed, failed) = report.count();
        let _ = writeln!(text, "{passed} passed, {failed} failed");
    }
    text
}

fn case_lines(suite: &SuiteReport, case: &CaseReport, view: View, text: &mut String) {
    let word = match &case.failure {
        Some(_) => view.bad("FAIL"),
        None if view.detail == Detail::Verbose => view.good("PASS"),
        None => return,
    };
    let (path, line) = (suite.path.display(), case.line);
    let _ = writeln!(text, "{word} {}/{} ({path}:{line})", suite.name, case.name);
    if let Some(failure) = &case.failure {
        failure.lines().for_each(|line| {
            let _ = writeln!(text, "     {line}");
        });
        text.push('\n');
    }
}

/// For programs.
pub fn json(report: &TestReport) -> String {
    let (passed, failed) = report.count();
    let suites: Vec<Value> = report.suites.iter().map(json_suite).collect();
    format!(
        "{:#}\n",
        json!({"passed": passed, "failed": failed, "suites": suites})
    )
}

fn json_suite(suite: &SuiteReport) -> Value {
    let case = |case: &CaseReport| {
        json!({
            "name": case.name,
            "line": case.line,
            "passed": case.failure.is_none(),
            "failure": case.failure,
            "seconds": case.elapsed.as_secs_f64(),
        })
    };
    let cases: Vec<Value> = suite.cases.iter().map(case).collect();
    json!({"name": suite.name, "file": suite.path.display().to_string(), "problem": suite.problem,
        "cases": cases})
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
        test
    }));
    junit
}
