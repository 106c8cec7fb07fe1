//! Judges the manifests of the page's editors: what `sallyport check` says, and the answer that a
//! client of the API server would get (`messages.rs`).
//!
//! Invariant: a fault of the input is part of the answer, with its editor and line, and never an
//! error: the page lives on.

use crate::messages::{
    Answer, AppliedService, Configuration, Input, LoadedPolicy, Problem, Request,
};
use sallyport_core::admission::Admission;
use sallyport_core::check::{self, Applied, Circumstances, Manifests, Origin, Rejection};
use sallyport_core::contract::description::Context;
use sallyport_core::decode::DecodeError;
use sallyport_core::inventory::{ClusterData, Inventory, InventoryData};
use sallyport_core::manifest::{HostConfig, HostConfigSpec, ServicePolicy};
use sallyport_core::policy::Policy;
use sallyport_core::report::check::{Finding, Level, Subject};
use sallyport_core::yaml::{self, Located};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Policies that are kept from one question to the next. A preset has twelve.
const MAX_KEPT: usize = 64;

/// The name of the file that findings are about, as the command line calls its standard input.
const SOURCE: &str = "service.yaml";

/// The author of findings about what the API server itself refuses.
const API_SERVER: &str = "kubernetes";

/// The rule of findings about an object that is no Service.
const MALFORMED: &str = "S16";

/// The configuration of a host without `--config`.
const DEFAULT_CONFIG: &str = include_str!("../../../src/sources/default-config.yaml");

thread_local! {
    /// Loaded policies by their manifests: a keystroke in the Service loads nothing.
    static POLICIES: RefCell<HashMap<String, Arc<Policy>>> = RefCell::default();
}

/// Answers a request.
///
/// # Errors
///
/// When it is not JSON of this form.
pub(crate) fn run(request: &str) -> Result<String, String> {
    let request: Request = serde_json::from_str(request).map_err(|error| error.to_string())?;
    serde_json::to_string(&judge(&request)).map_err(|error| error.to_string())
}

fn judge(request: &Request) -> Answer {
    let mut problems = vec![];
    let (config, is_default) = config(&request.config, &mut problems);
    let policies = policies(&request.policies, &mut problems);
    let mut manifests = Manifests::default();
    manifests.add(SOURCE, Origin::Named, Ok(request.objects.clone().into()));
    let mut old = Manifests::default();
    old.add("old.yaml", Origin::Named, Ok(request.old.clone().into()));
    problems.extend(unread(Input::Old, std::mem::take(&mut old.unread)));
    problems.extend(unread(
        Input::Objects,
        std::mem::take(&mut manifests.unread),
    ));
    let mut inventory = config.inventory;
    let unread_namespaces = check::namespaces(&manifests.namespaces, &mut inventory);
    problems.extend(unread(Input::Objects, unread_namespaces));
    let known = inventory.clone();
    let mut inventory = Inventory::from(inventory);
    if is_default {
        inventory = inventory.assumed();
    }
    let loaded = policies
        .iter()
        .map(|(line, it)| LoadedPolicy::new(*line, it));
    let loaded = loaded.collect();
    let policies: Vec<_> = policies.into_iter().map(|(_, policy)| policy).collect();
    let admission = Admission::new(policies, inventory, config.exemptions);
    let circumstances = Circumstances {
        admission: &admission,
        namespace: "default",
        user: request.user.clone().into(),
        now: SystemTime::UNIX_EPOCH + Duration::from_millis(request.now),
        old: &old,
        progress: &mut |_, _| {},
    };
    let config = Configuration {
        cluster: (&known.cluster).into(),
        inventory: needed(known, admission.policies()),
        exemptions: admission.exemptions().clone(),
    };
    let ignored = manifests.ignored;
    let applied = check::apply(&circumstances, &manifests);
    let mut subjects = check::check(circumstances, manifests);
    for applied in &applied {
        let own = |subject: &&mut Subject| {
            subject.line == applied.line && subject.service.as_ref() == Some(&applied.service)
        };
        if let Some(subject) = subjects.iter_mut().find(own) {
            let more = unnamed(applied, subject);
            subject.findings.extend(more);
        }
    }
    Answer {
        problems,
        applied: applied.into_iter().map(AppliedService::from).collect(),
        subjects,
        policies: loaded,
        ignored,
        config,
    }
}

/// Returns findings for what only this cluster's API server refuses, such as a node port outside of
/// its range: `check` does not report it.
fn unnamed(applied: &Applied, subject: &Subject) -> Vec<Finding> {
    let named = |finding: &Finding| finding.policy == API_SERVER || finding.rule == MALFORMED;
    if subject.findings.iter().any(named) {
        return vec![];
    }
    let problems = applied.rejection.iter().flat_map(Rejection::problems);
    let finding = |problem: &check::Problem| Finding {
        policy: API_SERVER.to_owned(),
        field: problem.field.clone(),
        message: format!("the API server would refuse this: {}", problem.text),
        line: problem.line,
        ..Finding::empty(Level::Error)
    };
    problems.map(finding).collect()
}

/// Leaves out the facts that no policy asks for: a suite must not have them.
fn needed(mut inventory: InventoryData, policies: &[Arc<Policy>]) -> InventoryData {
    let needs = |context| policies.iter().any(|policy| policy.needs(context));
    let mut matches = policies.iter().map(|it| &it.manifest().spec.r#match);
    let labels = needs(Context::Namespace) || matches.any(|it| it.goes_by_labels());
    for namespace in inventory.namespaces.values_mut() {
        if !labels {
            namespace.labels.clear();
        }
        if !needs(Context::NamespaceAnnotations) {
            namespace.annotations = None;
        }
    }
    if !needs(Context::Cluster) {
        inventory.cluster = ClusterData::default();
    }
    if !needs(Context::Pods) {
        inventory.pods = None;
    }
    inventory
}

/// Reads the HostConfig, or takes the host's default, which is not a cloud.
fn config(text: &str, problems: &mut Vec<Problem>) -> (HostConfigSpec, bool) {
    let fail = |line, message| Problem {
        input: Input::Config,
        line,
        message,
        policy: None,
    };
    let documents = match yaml::located_documents(text) {
        Ok(documents) => documents,
        Err(error) => {
            problems.push(fail(error.line(), error.problem().to_owned()));
            return (HostConfigSpec::default(), true);
        }
    };
    match documents.as_slice() {
        [] if text != DEFAULT_CONFIG => (config(DEFAULT_CONFIG, problems).0, true),
        [] => (HostConfigSpec::default(), true),
        [document] => match HostConfig::from_value(&document.value()) {
            Ok(config) => (config.spec, false),
            Err(error) => {
                problems.push(fail(document.line_of(&error.path), error.to_string()));
                (HostConfigSpec::default(), true)
            }
        },
        [_, second, ..] => {
            let message = "expected one HostConfig, found several documents".to_owned();
            problems.push(fail(second.line(), message));
            (HostConfigSpec::default(), true)
        }
    }
}

/// Loads the policies that the manifests name. One that can't be loaded is a broken policy, as at a
/// host's start.
fn policies(text: &str, problems: &mut Vec<Problem>) -> Vec<(usize, Arc<Policy>)> {
    let documents = match yaml::located_documents(text) {
        Ok(documents) => documents,
        Err(error) => {
            problems.push(Problem {
                input: Input::Policies,
                line: error.line(),
                message: error.problem().to_owned(),
                policy: None,
            });
            return vec![];
        }
    };
    let mut policies: Vec<(usize, Arc<Policy>)> = vec![];
    for document in documents.iter().filter(|document| !document.is_null()) {
        let name = name_of(document);
        let mut fail = |path: &str, message: String| {
            problems.push(Problem {
                input: Input::Policies,
                line: document.line_of(path),
                message,
                policy: Some(name.clone()),
            });
        };
        match manifest(document) {
            Err(error) => fail(&error.path, error.to_string()),
            Ok(manifest) => {
                let policy = policy(&manifest);
                if policies
                    .iter()
                    .any(|(_, other)| other.name() == policy.name())
                {
                    let message = format!("{} is defined twice; rename one", policy.name());
                    fail("metadata.name", message);
                    continue;
                }
                for (path, message) in policy.load_error().into_iter().flat_map(|e| e.places()) {
                    fail(&path, format!("{}: {path}: {message}", policy.name()));
                }
                policies.push((document.line(), policy));
            }
        }
    }
    policies
}

/// Returns the name of the policy that a document is meant to be.
fn name_of(document: &Located) -> String {
    let value = document.value();
    let name = value.pointer("/metadata/name").and_then(Value::as_str);
    name.map_or_else(|| format!("of line {}", document.line()), str::to_owned)
}

fn manifest(document: &Located) -> Result<ServicePolicy, DecodeError> {
    ServicePolicy::from_value(&document.value())
}

/// Loads a policy, or returns it as it was loaded before.
fn policy(manifest: &ServicePolicy) -> Arc<Policy> {
    let key = serde_json::to_string(manifest).unwrap_or_default();
    POLICIES.with_borrow_mut(|kept| {
        if let Some(policy) = kept.get(&key) {
            return Arc::clone(policy);
        }
        let policy = crate::evaluator::load(manifest.clone())
            .unwrap_or_else(|error| Policy::broken(manifest.clone(), error));
        let policy = Arc::new(policy);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&policy));
        policy
    })
}

fn unread(input: Input, subjects: Vec<Subject>) -> impl Iterator<Item = Problem> {
    let findings = subjects.into_iter().flat_map(|subject| subject.findings);
    findings.map(move |finding| Problem {
        input,
        line: finding.line,
        message: finding.message,
        policy: None,
    })
}
