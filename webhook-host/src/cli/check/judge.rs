//! One Service, judged as the cluster would: defaulted, mutated, validated.

use super::defaults;
use super::located::Located;
use crate::admission::{Admission, AdmissionRequest, Clock, Evaluation, Function, Outcome};
use crate::contract::review::Phase;
use crate::contract::verdict::Violation;
use crate::manifest::Mode;
use crate::report::check::{Finding, Level, Subject};
use crate::suite::{Asked, User};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

/// Nobody waits at the other end; the policies' own limits still hold.
const PATIENCE: Duration = Duration::from_secs(30);

/// Judges Services that are about to be created.
pub(super) struct Judge<'a> {
    pub(super) admission: &'a Admission,
    /// Of Services that name none.
    pub(super) namespace: &'a str,
}

impl Judge<'_> {
    pub(super) fn judge(&self, source: &str, located: &Located) -> Subject {
        let mut service = located.value();
        let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let namespace = text("/metadata/namespace").unwrap_or(self.namespace).to_owned();
        let name = text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or_default().to_owned();
        let mut subject = Subject {
            source: source.to_owned(),
            line: located.line(),
            service: Some(format!("{namespace}/{}", if name.is_empty() { "(unnamed)" } else { &name })),
            findings: vec![],
            patch: vec![],
        };
        defaults::apply(&mut service);
        let place = |field: &str| located.line_of(field);
        if let Err(problem) = self.review(&namespace, &name, service, &mut subject, &place) {
            subject.findings.push(Finding::unjudged("", problem, located.line()));
        }
        subject
    }

    fn review(
        &self,
        namespace: &str,
        name: &str,
        mut service: Value,
        subject: &mut Subject,
        place: &dyn Fn(&str) -> usize,
    ) -> Result<(), String> {
        let mutated = self.ask(Function::Mutate, namespace, name, &service)?;
        if let Some(patch) = &mutated.response.patch {
            subject.patch = serde_json::from_str(patch).map_err(|error| error.to_string())?;
            let patch: json_patch::Patch = serde_json::from_str(patch).map_err(|error| error.to_string())?;
            json_patch::patch(&mut service, &patch).map_err(|error| error.to_string())?;
        }
        let validated = self.ask(Function::Validate(Phase::Validating), namespace, name, &service)?;
        for evaluation in mutated.evaluations.iter().chain(&validated.evaluations) {
            subject.findings.extend(self.findings(evaluation, place));
        }
        subject.findings.extend(whole(&validated, place));
        if validated.matched {
            subject.findings.extend(unallocated(&service, place));
        }
        Ok(())
    }

    fn ask(&self, function: Function, namespace: &str, name: &str, service: &Value) -> Result<Outcome, String> {
        let asked = Asked {
            kind: (String::new(), "v1".to_owned(), "Service".to_owned()),
            operation: "CREATE",
            sub_resource: None,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            user: User::default(),
            dry_run: false,
            object: None,
            old_object: None,
        };
        let body = asked.body(&service.to_string());
        let request = AdmissionRequest::parse(&body).map_err(|error| error.to_string())?;
        let clock = Clock { now: SystemTime::now(), deadline: Instant::now() + PATIENCE };
        Ok(self.admission.review(function, &request, clock))
    }

    fn findings(&self, evaluation: &Evaluation, place: &dyn Fn(&str) -> usize) -> Vec<Finding> {
        let policy = self.admission.policies().iter().find(|policy| *policy.name() == evaluation.policy);
        let level = match policy.map(|policy| policy.manifest().spec.mode).unwrap_or_default() {
            Mode::Enforce => Level::Error,
            Mode::Warn => Level::Warning,
            Mode::Audit => Level::Note,
        };
        let policy = evaluation.policy.as_ref();
        let violations = evaluation.violations.iter().map(|violation| found(level, policy, violation, place));
        let warnings = evaluation.warnings.iter().map(|warning| {
            let message = warning.clone();
            Finding { policy: policy.into(), message, line: place(""), ..Finding::empty(Level::Warning) }
        });
        let error =
            evaluation.error.iter().map(|error| Finding::unjudged(policy, format!("no verdict: {error}"), place("")));
        violations.chain(warnings).chain(error).collect()
    }
}

fn found(level: Level, policy: &str, violation: &Violation, place: &dyn Fn(&str) -> usize) -> Finding {
    Finding {
        level,
        policy: policy.to_owned(),
        rule: violation.rule.clone(),
        line: place(&violation.field),
        field: violation.field.clone(),
        message: violation.message.clone(),
        fix: violation.fix.clone(),
    }
}

/// What concerns the object as a whole: it is no Service, or nobody has a say.
fn whole(outcome: &Outcome, place: &dyn Fn(&str) -> usize) -> Option<Finding> {
    if let Some(malformed) = &outcome.malformed {
        let finding = Finding::unjudged("", malformed.problem.clone(), place(&malformed.field));
        return Some(Finding { rule: "S16".to_owned(), field: malformed.field.clone(), ..finding });
    }
    let reason = match outcome.exemption {
        Some(exemption) => format!("exempt ({}); no policy is asked", exemption.name()),
        None if !outcome.matched => "no policy matches this namespace".to_owned(),
        None => return None,
    };
    Some(Finding { message: reason, line: place(""), ..Finding::empty(Level::Note) })
}

fn unallocated(service: &Value, place: &dyn Fn(&str) -> usize) -> Option<Finding> {
    let fields = defaults::unallocated(service);
    let first = fields.first()?;
    let message = match fields.len() {
        1 => "not set, so the API server will allocate a node port; whether the policies accept it shows only then"
            .into(),
        count => format!(
            "not set here and on {} more, so the API server will allocate node ports; whether the policies accept them shows only then",
            count - 1
        ),
    };
    let fix = "set it to know now".to_owned();
    Some(Finding { field: first.clone(), message, fix, line: place(first), ..Finding::empty(Level::Warning) })
}
