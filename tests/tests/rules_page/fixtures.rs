//! Runs the fixtures for each component's messages and covered conformance cases.

use super::root;
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport::suites::{self, ModuleSearch};
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Outcome};
use sallyport_core::inventory::Inventory;
use sallyport_core::policy::{Deadline, Policy};
use sallyport_core::suite::{self, Case, Setup};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The messages and cases of one component.
#[derive(Default)]
pub(super) struct FixtureResults {
    /// Messages by rule: each form once, as the first fixture shows it.
    pub(super) messages: BTreeMap<String, Vec<String>>,
    /// Ids of conformance cases, such as `B17`.
    pub(super) cases: BTreeSet<(char, u32)>,
    forms: BTreeSet<(String, String)>,
}

/// The owner of the cases below `fixtures/host`.
pub(super) const HOST: &str = "host";

/// The most messages that are listed for a rule.
const MESSAGES: usize = 8;

/// Runs every fixture of a single policy. Returns the results by the component's name, or [`HOST`].
pub(super) fn run() -> BTreeMap<String, FixtureResults> {
    let engine = Arc::new(
        Engine::new(&EngineConfig {
            concurrency: 1,
            cache: Some(sallyport_tests::compiled()),
            snapshots: false,
            ..EngineConfig::default()
        })
        .expect("an engine"),
    );
    let (files, errors) = suites::find(&[root().join("tests/fixtures")]);
    assert!(errors.is_empty(), "{errors:?}");
    let search = ModuleSearch {
        directory: Some(root().join("target/policies")),
    };
    let mut results = BTreeMap::<String, FixtureResults>::new();
    for file in files {
        let suite = suites::read(&file, &search)
            .unwrap_or_else(|error| panic!("{error}; run `make policies`"));
        let mut hosts = HashMap::new();
        for case in &suite.cases {
            let about = about(&file, &case.setup);
            let results = results.entry(about.clone()).or_default();
            results.cases.extend(id(&case.name));
            if case.setup.policies.len() > 1 || case.expect.settings_error.is_some() {
                continue;
            }
            let host = hosts
                .entry(case.setup.fingerprint())
                .or_insert_with(|| admission(&engine, &case.setup));
            if let Some(outcome) = review(host, case) {
                results.add(&outcome, about == HOST);
            }
        }
    }
    results
}

/// Returns the component's name, from its folder.
fn about(file: &Path, setup: &Setup) -> String {
    let folder = file
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match setup.policies.as_slice() {
        [source] if folder != HOST => source
            .manifest
            .spec
            .module
            .to_string()
            .trim_end_matches(".wasm")
            .replace('_', "-"),
        _ => HOST.to_owned(),
    }
}

fn admission(engine: &Arc<Engine>, setup: &Setup) -> Admission {
    let load = |source: &suite::Source| {
        let file = source.component.as_ref().expect("components are files");
        let component = std::fs::read(file).expect("a component");
        evaluator::load(engine, source.manifest.clone(), &component)
            .unwrap_or_else(|error| Policy::broken(source.manifest.clone(), error))
    };
    let policies: Vec<_> = setup.policies.iter().map(load).collect();
    Admission::new(
        policies,
        Inventory::from(setup.inventory.clone()),
        setup.exemptions.clone(),
    )
}

fn review(host: &Admission, case: &Case) -> Option<Outcome> {
    let body = case.review_body();
    let request = AdmissionRequest::parse(&body).ok()?;
    let clock = Clock {
        now: case.time,
        deadline: Deadline::Each(Duration::from_secs(30)),
    };
    Some(host.review(case.function, &request, clock))
}

impl FixtureResults {
    fn add(&mut self, outcome: &Outcome, is_host: bool) {
        if is_host {
            for cause in outcome
                .response
                .denial
                .iter()
                .flat_map(|denial| &denial.causes)
            {
                let by_host = cause.message.starts_with("[sallyport] ");
                if by_host {
                    self.keep(&cause.reason, cause.message.clone());
                }
            }
            return;
        }
        for evaluation in &outcome.evaluations {
            for violation in evaluation.violations.iter().chain(&evaluation.kept) {
                let fix = if violation.fix.is_empty() {
                    String::new()
                } else {
                    format!("; {}", violation.fix)
                };
                self.keep(
                    &violation.rule,
                    format!("{}: {}{fix}", violation.field, violation.message),
                );
            }
            for warning in &evaluation.warnings {
                self.keep("warnings", warning.clone());
            }
        }
    }

    /// Keeps a message of a new form. Messages have the same form when they differ only in numbers
    /// and quoted text.
    fn keep(&mut self, rule: &str, message: String) {
        let is_new = self.forms.insert((rule.to_owned(), form(&message)));
        let messages = self.messages.entry(rule.to_owned()).or_default();
        if is_new && messages.len() < MESSAGES {
            messages.push(message);
        }
    }
}

fn form(message: &str) -> String {
    let quoted = message
        .split('"')
        .enumerate()
        .map(|(index, part)| if index % 2 == 0 { part } else { "" });
    quoted
        .collect::<Vec<_>>()
        .join("\"")
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .collect()
}

/// Returns `(B, 17)` for `B17: …`.
fn id(name: &str) -> Option<(char, u32)> {
    let id = name.split_once(':')?.0;
    let group = id.chars().next().filter(char::is_ascii_uppercase)?;
    Some((group, id[1..].parse().ok()?))
}
