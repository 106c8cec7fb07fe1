//! Runs cases: one host for each distinct setup, one review for each case, and the checks that
//! every mutation must pass.
//!
//! The runner never compares; it renders what happened as an [`Expect`] seen through the case's
//! own, and equality decides.

use super::context;
use super::expect::{self, Expect, TextPattern, Told};
use super::model::{Case, Setup, Source, Suite};
use crate::admission::{Admission, AdmissionRequest, Clock, Evaluation, Function, Outcome};
use crate::api_server::{self, defaults};
use crate::contract::review::Phase;
use crate::contract::verdict::Violation;
use crate::inventory::Inventory;
use crate::policy::{Deadline, LoadError, LogLine, Policy};
use crate::printable::sentence;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Long, so that a busy machine causes no missed deadlines; the policies' own limits still hold.
const MAX_EVALUATION: Duration = Duration::from_secs(30);

/// The word of a case about which no policy is asked.
const UNMATCHED: &str = "unmatched";

/// Runs the cases of suites.
pub struct Runner {
    load: Box<Load>,
    hosts: HashMap<String, Host>,
}

/// Loads the component of a source with its manifest.
pub type Load = dyn Fn(&Source) -> Result<Policy, LoadError>;

#[derive(Debug)]
struct Host {
    admission: Admission,
    refused: Option<LoadError>,
}

/// The outcome of one case.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The answer, in the words of the expectation.
    pub got: Expect,
    /// The reason why a policy could not be loaded, where the case expects no such error. It is the
    /// whole failure: a comparison would say nothing more.
    pub unloaded: Option<String>,
    /// Problems that fail a case whatever it expects: a mutation that is not idempotent.
    pub problems: Vec<String>,
    /// Explanations of the answer: the text of an evaluation error.
    pub details: Vec<String>,
    /// The lines that policies logged, each with the policy's name.
    pub log: Vec<(Arc<str>, LogLine)>,
}

/// Everything that was run.
#[derive(Debug, Clone, Default)]
pub struct TestReport {
    /// In the order of their files.
    pub suites: Vec<SuiteReport>,
}

/// One suite.
#[derive(Debug, Clone)]
pub struct SuiteReport {
    /// The file.
    pub path: PathBuf,
    /// `metadata.name`; the path where the suite can't be read.
    pub name: String,
    /// The reason why it could not be run.
    pub problem: Option<String>,
    /// Its cases.
    pub cases: Vec<CaseReport>,
}

/// One case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// The case's name.
    pub name: String,
    /// The line at which it begins in its file.
    pub line: usize,
    /// `None`: passed. Else why not, with a unified diff of expectation and answer.
    pub failure: Option<String>,
    /// Loading included, for the first case of a setup.
    pub elapsed: Duration,
    /// The lines that policies logged, each with the policy's name.
    pub log: Vec<(Arc<str>, LogLine)>,
}

impl TestReport {
    /// Counts the cases that were run.
    pub fn cases(&self) -> usize {
        self.suites.iter().map(|suite| suite.cases.len()).sum()
    }

    /// Counts the cases that passed, and the cases and suites that failed.
    pub fn count(&self) -> (usize, usize) {
        let cases = || self.suites.iter().flat_map(|suite| &suite.cases);
        let failed = cases().filter(|case| case.failure.is_some()).count();
        let broken = self
            .suites
            .iter()
            .filter(|suite| suite.problem.is_some())
            .count();
        (cases().count() - failed, failed + broken)
    }
}

impl Finding {
    /// Returns true if `--bless` may write it down: an answer was got, and nothing is wrong that no
    /// expectation can excuse.
    pub fn can_be_blessed(&self) -> bool {
        let is_answer = self.unloaded.is_none() || self.got.settings_error.is_some();
        is_answer && self.problems.is_empty() && self.got != Expect::default()
    }

    /// Returns the reason why the case fails, if it does.
    pub fn failure(&self, case: &Case) -> Option<String> {
        if self.unloaded.is_some() {
            return self.unloaded.clone();
        }
        let mut parts = vec![];
        if let Some(silence) = &case.silence {
            parts.push(silence.clone());
        }
        if self.got != case.expect {
            let (expected, got) = (case.expect.to_yaml(), self.got.to_yaml());
            let mut options = diffy::DiffOptions::new();
            options
                .set_context_len(5)
                .set_original_filename("expected")
                .set_modified_filename("got");
            parts.push(options.create_patch(&expected, &got).to_string());
        }
        parts.extend(self.problems.iter().cloned());
        if parts.is_empty() {
            return None;
        }
        parts.extend(self.details.iter().cloned());
        Some(
            parts
                .iter()
                .map(|part| part.trim_end())
                .collect::<Vec<_>>()
                .join("\n"),
        )
    }
}

impl Runner {
    /// Makes a runner that loads policies by `load`, once for each setup.
    pub fn new(load: impl Fn(&Source) -> Result<Policy, LoadError> + 'static) -> Self {
        Self {
            load: Box::new(load),
            hosts: HashMap::new(),
        }
    }

    /// Runs the cases of a suite whose `suite/case` name contains the filter, one whenever the
    /// caller asks for the next. Returns each case's index in the suite and its result.
    pub fn run_suite<'a>(
        &'a mut self,
        suite: &'a Suite,
        filter: &'a str,
    ) -> impl Iterator<Item = (usize, Finding)> {
        // Another suite is about another policy; the hosts of the last one would only take memory.
        self.hosts.clear();
        let chosen = suite.chosen(filter);
        chosen.map(|(index, case)| (index, self.run(case)))
    }

    /// Runs one case.
    pub fn run(&mut self, case: &Case) -> Finding {
        let host = self
            .hosts
            .entry(case.setup.fingerprint())
            .or_insert_with(|| Host::new(&self.load, &case.setup));
        host.answer(case)
    }
}

impl Host {
    fn new(load: &Load, setup: &Setup) -> Self {
        let mut refused = None;
        let mut load = |source: &Source| {
            load(source).unwrap_or_else(|error| {
                refused.get_or_insert(error.clone());
                Policy::broken(source.manifest.clone(), error)
            })
        };
        let policies = setup.policies.iter().map(&mut load).collect();
        let inventory = Inventory::from(setup.inventory.clone());
        Self {
            admission: Admission::new(policies, inventory, setup.exemptions.clone()).thorough(),
            refused,
        }
    }

    fn answer(&self, case: &Case) -> Finding {
        self.admission
            .policies()
            .iter()
            .for_each(|policy| policy.forget_misses());
        let expected = &case.expect;
        match (&self.refused, &expected.settings_error) {
            // A policy that can't be loaded answers with an evaluation error; a case may be about
            // that.
            (Some(_), None) if expected.error.as_deref() == Some("load") => self.review(case),
            (Some(error), None) => Finding::unloaded(error),
            (Some(error), pattern) => {
                let text = error.of_settings().unwrap_or_else(|| error.to_string());
                Finding::refused_settings(&text, pattern.as_ref())
            }
            (None, Some(_)) => Finding {
                problems: vec!["the settings are accepted".to_owned()],
                ..Finding::got(Expect::default())
            },
            (None, None) => {
                let mut finding = self.review(case);
                let policies = self.admission.policies();
                let unasked = context::unasked(&case.setup.inventory, policies);
                finding.problems.extend(unasked);
                finding
            }
        }
    }

    fn review(&self, case: &Case) -> Finding {
        let body = case.review_body();
        let outcome = match self.ask(case, case.function, &body) {
            Ok(outcome) => outcome,
            Err(refusal) => return Finding::refused_body(&refusal, case.expect.refused.as_ref()),
        };
        let mut finding = Finding::of(case, &outcome);
        if finding.got.exempt.as_deref() == Some(UNMATCHED) {
            finding.details.extend(self.unmatched(case, &body));
        }
        if case.function == Function::Mutate {
            self.hold_mutation(case, &body, &outcome, &mut finding);
        }
        finding
    }

    fn ask(&self, case: &Case, function: Function, body: &[u8]) -> Result<Outcome, String> {
        let request = AdmissionRequest::parse(body).map_err(|error| error.to_string())?;
        let clock = Clock {
            now: case.time,
            deadline: Deadline::Each(MAX_EVALUATION),
        };
        Ok(self.admission.review(function, &request, clock))
    }

    fn unmatched(&self, case: &Case, body: &[u8]) -> Vec<String> {
        let request = AdmissionRequest::parse(body);
        let unmatched = |request| self.admission.unmatched(case.function, &request);
        request.map(unmatched).unwrap_or_default()
    }

    /// Checks the patch of every mutation: it must apply, a second `mutate` must add nothing, and
    /// the same policy must accept the result (or violate it as the case says).
    fn hold_mutation(&self, case: &Case, body: &[u8], outcome: &Outcome, finding: &mut Finding) {
        let expected = &case.expect;
        let Some(patch) = &outcome.response.patch else {
            let says =
                expected.patch.is_some() || case.silence.is_some() && finding.got.exempt.is_none();
            finding.got.patch = says.then(Vec::new);
            return;
        };
        let operations: Vec<Value> = serde_json::from_str(patch).unwrap_or_default();
        match apply(body, patch) {
            Err(error) => finding
                .problems
                .push(format!("the patch does not apply: {error}")),
            Ok(object) => {
                if !case.is_raw {
                    finding.problems.extend(refused_patch(body, &object));
                }
                self.hold_result(case, &object, finding);
                finding.got.patched_object = expected.patched_object.is_some().then_some(object);
            }
        }
        // An expectation of the object alone leaves the operations open.
        finding.got.patch =
            (expected.patched_object.is_none() || expected.patch.is_some()).then_some(operations);
    }

    fn hold_result(&self, case: &Case, object: &Value, finding: &mut Finding) {
        let body = case.review_body_of(object);
        match self.ask(case, Function::Mutate, &body) {
            Ok(Outcome { response, .. }) if response.patch.is_none() => {}
            Ok(Outcome { response, .. }) => {
                let again = response.patch.unwrap_or_default();
                finding.problems.push(format!(
                    "not idempotent: the patched object is patched again with {again}"
                ));
            }
            Err(error) => finding
                .problems
                .push(format!("the patched object can't be reviewed: {error}")),
        }
        if let Ok(outcome) = self.ask(case, Function::Validate(Phase::Validating), &body) {
            let violations = violations(Function::Validate(Phase::Validating), &outcome);
            finding.got.violations =
                expect::seen_violations(&violations, case.expect.violations.as_ref());
            let errors = errors(&outcome);
            if !errors.is_empty() {
                finding.details.extend(errors);
                finding.log.extend(log(&outcome));
            }
        }
    }
}

/// Says what the API server refuses in a patched object, and not in the object itself.
fn refused_patch(body: &[u8], patched: &Value) -> Vec<String> {
    let review: Value = serde_json::from_slice(body).unwrap_or_default();
    let request = &review["request"];
    let old = Some(&request["oldObject"]).filter(|old| !old.is_null());
    let refusals = |object: &Value| {
        let mut object = object.clone();
        defaults::apply(&mut object);
        api_server::refusals(&object, old)
    };
    let before = refusals(&request["object"]);
    let after = refusals(patched).into_iter();
    after
        .filter(|refusal| !refusal.is_among(&before))
        .map(|refusal| {
            let why = sentence(&refusal.field, &refusal.problem, &refusal.fix);
            format!("the API server would refuse the patched object: {why}")
        })
        .collect()
}

fn apply(body: &[u8], patch: &str) -> Result<Value, String> {
    let review: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let patch: json_patch::Patch =
        serde_json::from_str(patch).map_err(|error| error.to_string())?;
    let mut object = review
        .pointer("/request/object")
        .cloned()
        .unwrap_or_default();
    json_patch::patch(&mut object, &patch).map_err(|error| error.to_string())?;
    Ok(object)
}

impl Finding {
    fn got(got: Expect) -> Self {
        Self {
            got,
            problems: vec![],
            unloaded: None,
            details: vec![],
            log: vec![],
        }
    }

    fn unloaded(error: &LoadError) -> Self {
        let got = match error.of_settings() {
            Some(text) => Self::refused_settings(&text, None),
            None => Self::got(Expect {
                error: Some("load".to_owned()),
                ..Expect::default()
            }),
        };
        Self {
            unloaded: Some(format!("the policy can't be loaded: {error}")),
            ..got
        }
    }

    fn refused_settings(error: &str, expected: Option<&TextPattern>) -> Self {
        Self::got(Expect {
            settings_error: Some(TextPattern::seen(error, expected)),
            ..Expect::default()
        })
    }

    fn refused_body(refusal: &str, expected: Option<&TextPattern>) -> Self {
        Self::got(Expect {
            refused: Some(TextPattern::seen(refusal, expected)),
            ..Expect::default()
        })
    }

    fn of(case: &Case, outcome: &Outcome) -> Self {
        let expected = &case.expect;
        let exempt = exempt(case.function, outcome);
        let mutates = case.function == Function::Mutate;
        let says = expected.allowed.is_some() || !(mutates || exempt.is_some());
        let kept = told(outcome, |evaluation| &evaluation.kept);
        let error = outcome
            .evaluations
            .iter()
            .find_map(|evaluation| evaluation.error.as_ref());
        let got = Expect {
            allowed: says.then_some(outcome.response.allowed),
            exempt: exempt.map(str::to_owned),
            error: error.map(|error| error.kind().to_owned()),
            violations: expect::seen_violations(
                &violations(case.function, outcome),
                expected.violations.as_ref(),
            )
            .filter(|_| expected.message.is_none() || expected.violations.is_some()),
            message: expected.message.as_ref().map(|message| {
                let told = outcome
                    .response
                    .denial
                    .as_ref()
                    .map_or("", |denial| &denial.message);
                TextPattern::seen(told, Some(message))
            }),
            kept: expected
                .kept
                .as_ref()
                .and_then(|expected| expect::seen_violations(&kept, Some(expected))),
            warnings: expect::seen_texts(&outcome.response.warnings, expected.warnings.as_ref()),
            ..Expect::default()
        };
        Self {
            details: errors(outcome),
            log: log(outcome),
            ..Self::got(got)
        }
    }
}

fn errors(outcome: &Outcome) -> Vec<String> {
    let errors = outcome
        .evaluations
        .iter()
        .filter_map(|evaluation| evaluation.error.as_ref());
    errors.map(|error| format!("no verdict: {error}")).collect()
}

fn log(outcome: &Outcome) -> Vec<(Arc<str>, LogLine)> {
    let of = |evaluation: &Evaluation| {
        let lines = evaluation.log.clone().into_iter();
        let policy = Arc::clone(&evaluation.policy);
        lines.map(move |line| (Arc::clone(&policy), line))
    };
    outcome.evaluations.iter().flat_map(of).collect()
}

/// All violations, before mode, with the name of their policy; malformed input is rule S16's.
fn violations(function: Function, outcome: &Outcome) -> Vec<Told> {
    let malformed = outcome
        .malformed
        .as_ref()
        .filter(|_| function != Function::Mutate);
    let malformed = malformed
        .filter(|_| exempt(function, outcome).is_none())
        .map(|malformed| {
            let violation = Violation {
                rule: "S16".to_owned(),
                key: String::new(),
                field: malformed.field.clone(),
                message: malformed.problem.clone(),
                fix: String::new(),
            };
            ("sallyport".into(), violation)
        });
    malformed
        .into_iter()
        .chain(told(outcome, |evaluation| &evaluation.violations))
        .collect()
}

fn told(outcome: &Outcome, which: impl Fn(&Evaluation) -> &Vec<Violation>) -> Vec<Told> {
    let of = |evaluation| {
        which(evaluation)
            .iter()
            .map(|violation| (Arc::clone(&evaluation.policy), violation.clone()))
    };
    outcome.evaluations.iter().flat_map(of).collect()
}

/// Returns the reason why the policy was not asked. A case must name it, or it proves nothing.
fn exempt(function: Function, outcome: &Outcome) -> Option<&'static str> {
    if let Some(exemption) = outcome.exemption {
        return Some(exemption.name());
    }
    if let ([(_, exemption), ..], false) = (&outcome.exempted[..], outcome.matched) {
        return Some(exemption.name());
    }
    if outcome.malformed.is_some() {
        let told = outcome.response.denial.is_some() || !outcome.response.warnings.is_empty();
        return match function {
            Function::Mutate => Some("malformed"),
            Function::Validate(_) => (!told).then_some(UNMATCHED),
        };
    }
    (!outcome.matched && outcome.response.denial.is_none()).then_some(UNMATCHED)
}
