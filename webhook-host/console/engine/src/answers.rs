//! The answers to a suite's cases, complete, as JSON.
//!
//! Made here for both evaluators: in the browser's build by JavaScript, and natively by wasmtime in
//! a test. Equal text means equal behaviour: an expectation leaves parts of an answer open, so the
//! answers themselves are compared, with violations, kept violations, patches and errors of each
//! policy.

use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Evaluation, Outcome};
use sallyport_core::contract::verdict::{PatchOperation, Violation};
use sallyport_core::inventory::Inventory;
use sallyport_core::policy::{Deadline, EvaluationError, LoadError, Policy};
use sallyport_core::suite::{self, Case, Files, Runner, Setup, Source, Suite};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As the runner of suites has it.
const MAX_EVALUATION: Duration = Duration::from_secs(30);

/// Retries of a case in which a policy missed its deadline: a busy machine must not change an
/// answer.
const RETRIES: usize = 5;

/// A suite and the files that it refers to, by path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    files: BTreeMap<PathBuf, String>,
    suite: PathBuf,
    /// The cases that are not run, by `suite/case`.
    #[serde(default)]
    skipped: Vec<String>,
}

/// Runs a suite whose files are in the request. Components are the embedder's, by file name.
pub(crate) fn run(request: &str) -> Result<String, String> {
    let request: Request = serde_json::from_str(request).map_err(|error| error.to_string())?;
    let text = request.files.get(&request.suite);
    let text = text.ok_or_else(|| format!("{} is not here", request.suite.display()))?;
    let suite = suite::parse(&request.suite, text, &Memory(&request.files));
    let suite = suite.map_err(|error| error.to_string())?;
    let load = |source: &Source| crate::evaluator::load(source.manifest.clone());
    Ok(Value::from(of_suite(&suite, &request.skipped, load)).to_string())
}

/// Returns the answer to each case of a suite but the skipped ones, with the findings of
/// `sallyport test`.
pub fn of_suite(
    suite: &Suite,
    skipped: &[String],
    load: impl Fn(&Source) -> Result<Policy, LoadError> + Clone + 'static,
) -> Vec<Value> {
    let mut runner = Runner::new(load.clone());
    let mut admissions = HashMap::new();
    let name = |case: &Case| format!("{}/{}", suite.name, case.name);
    let answer = |case: &Case| {
        let admission = admissions
            .entry(case.setup.fingerprint())
            .or_insert_with(|| admission(&case.setup, &load));
        let policies = admission.policies().iter();
        policies.for_each(|policy| policy.forget_misses());
        let answer = answer(admission, case);
        let mut finding = runner.run(case);
        for _ in 0..RETRIES {
            if finding.got.error.as_deref() != Some("deadline") {
                break;
            }
            finding = runner.run(case);
        }
        json!({
            "case": name(case),
            "got": finding.got,
            "unloaded": finding.unloaded,
            "problems": finding.problems,
            "details": finding.details,
            "answer": answer,
        })
    };
    let cases = suite.cases.iter();
    let cases = cases.filter(|case| !skipped.contains(&name(case)));
    cases.map(answer).collect()
}

fn admission(setup: &Setup, load: &impl Fn(&Source) -> Result<Policy, LoadError>) -> Admission {
    let policy = |source: &Source| {
        load(source).unwrap_or_else(|error| Policy::broken(source.manifest.clone(), error))
    };
    let policies = setup.policies.iter().map(policy).collect::<Vec<_>>();
    let inventory = Inventory::from(setup.inventory.clone());
    Admission::new(policies, inventory, setup.exemptions.clone()).thorough()
}

fn answer(admission: &Admission, case: &Case) -> Value {
    let body = case.review_body();
    let request = match AdmissionRequest::parse(&body) {
        Ok(request) => request,
        Err(refusal) => return json!({"refused": refusal.to_string()}),
    };
    let clock = Clock {
        now: case.time,
        deadline: Deadline::Each(MAX_EVALUATION),
    };
    let review = || admission.review(case.function, &request, clock);
    let mut outcome = review();
    for _ in 0..RETRIES {
        let mut errors = outcome.evaluations.iter().flat_map(|it| &it.error);
        if !errors.any(|error| matches!(error, EvaluationError::Deadline(_))) {
            break;
        }
        let policies = admission.policies().iter();
        policies.for_each(|policy| policy.forget_misses());
        outcome = review();
    }
    let Outcome {
        response,
        exemption,
        evaluations,
        ..
    } = outcome;
    json!({
        "response": String::from_utf8_lossy(&response.to_json()),
        "exempt": exemption.map(|exemption| exemption.name()),
        "evaluations": evaluations.iter().map(evaluation).collect::<Vec<_>>(),
    })
}

fn evaluation(evaluation: &Evaluation) -> Value {
    let all = |violations: &[Violation]| violations.iter().map(violation).collect::<Vec<_>>();
    let patch = evaluation.patch.iter().map(|operation| match operation {
        PatchOperation::Add(at) => json!(["add", at.path, at.value]),
        PatchOperation::Replace(at) => json!(["replace", at.path, at.value]),
        PatchOperation::Remove(path) => json!(["remove", path]),
    });
    let log = evaluation.log.iter().map(ToString::to_string);
    let error = evaluation.error.as_ref();
    let error = error.map(|error| [error.kind().to_owned(), error.to_string()]);
    json!({
        "policy": &*evaluation.policy,
        "violations": all(&evaluation.violations),
        "kept": all(&evaluation.kept),
        "warnings": evaluation.warnings,
        "auditAnnotations": evaluation.audit_annotations,
        "patch": patch.collect::<Vec<_>>(),
        "error": error,
        "log": log.collect::<Vec<_>>(),
    })
}

fn violation(violation: &Violation) -> Value {
    let Violation {
        rule,
        key,
        field,
        message,
        fix,
    } = violation;
    json!([rule, key, field, message, fix])
}

/// Files in memory.
struct Memory<'a>(&'a BTreeMap<PathBuf, String>);

impl Files for Memory<'_> {
    fn text(&self, path: &Path) -> io::Result<String> {
        let text = self.0.get(&normal(path)).cloned();
        text.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let path = normal(path);
        if self.0.contains_key(&path) {
            return Ok(vec![path]);
        }
        let is_manifest = |file: &&PathBuf| {
            let ends = file
                .extension()
                .is_some_and(|end| end == "yaml" || end == "yml");
            let stem = file.file_stem().is_none_or(|stem| stem != "kustomization");
            ends && stem && file.parent() == Some(&path)
        };
        let files: Vec<_> = self.0.keys().filter(is_manifest).cloned().collect();
        if files.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(files)
    }

    fn component(&self, file: &str, _: &Path) -> Result<PathBuf, String> {
        Ok(file.into())
    }
}

/// Resolves `..` in a path: suites name files relative to themselves.
fn normal(path: &Path) -> PathBuf {
    let mut parts = vec![];
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.into_iter().collect()
}
