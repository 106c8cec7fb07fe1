//! From the policies' opinions to the cluster's answer: mode, failurePolicy, and who may deny what.
//!
//! `/mutate` never denies. Policies in mode Audit or Warn never deny, evaluation errors included.
//! One response names the first ten violations by field path and counts the rest.

use super::break_glass::{Effect, Grant};
use super::outcome::{AdmissionResponse, Cause, Denial, Evaluation, Outcome};
use super::request::AdmissionRequest;
use super::{Function, text};
use crate::contract::verdict::Violation;
use crate::excerpt::{MAX_MESSAGE, MAX_VALUE, excerpt};
use crate::manifest::{FailurePolicy, Mode, Reason};
use crate::policy::{EvaluationError, Policy};
use crate::service::Malformed;
use std::collections::BTreeMap;

/// Violations or warnings that a response lists. More help nobody, and a status has no room for
/// thousands.
const MAX_LISTED: usize = 10;

/// API servers cut a warning after about 256 characters, and all of them together after 4,096
/// (k8s.io/apiserver `pkg/endpoints/filters/warning.go`).
const WARNING: usize = 256;
const WARNINGS: usize = 4096;

/// Bytes of an audit annotation's key: the last part of a qualified name.
const AUDIT_KEY: usize = 63;

/// Bytes of one audit annotation, and how many there may be.
const AUDIT_VALUE: usize = 4096;
const AUDIT_ENTRIES: usize = 32;

/// The name before messages of the host itself, in place of a policy's name.
const HOST: &str = "sallyport";

pub(super) fn validated(
    request: &AdmissionRequest<'_>,
    policies: &[&Policy],
    evaluations: Vec<Evaluation>,
    effect: Effect,
    strictest: Mode,
) -> Outcome {
    let mut response = ResponseBuilder::default();
    for (policy, evaluation) in policies.iter().zip(&evaluations) {
        let mode = policy.manifest().spec.mode;
        response.reason = policy.manifest().spec.reason;
        for violation in &evaluation.violations {
            response.add_violation(mode, mode == Mode::Enforce, &evaluation.policy, violation);
        }
        for violation in &evaluation.kept {
            response.add_violation(mode, false, &evaluation.policy, violation);
        }
        if let Some(error) = &evaluation.error {
            let denies = mode == Mode::Enforce
                && policy.manifest().spec.failure_policy == FailurePolicy::Fail;
            response.add_violation(mode, denies, &evaluation.policy, &unevaluated(error));
        }
        response.add_remarks(mode, evaluation);
    }
    response.reason = Reason::default();
    let break_glass = match effect {
        Effect::Absent | Effect::Carried => None,
        Effect::Granted(grant) => response.excuse(&grant).then_some(grant),
        Effect::Refused(why) => {
            let denied = !response.denials.is_empty();
            response.add_violation(
                if denied { strictest } else { Mode::Warn },
                denied,
                HOST,
                &why,
            );
            None
        }
        Effect::Reserved(why) => {
            response.add_violation(strictest, strictest == Mode::Enforce, HOST, &why);
            None
        }
    };
    Outcome {
        response: response.into_response(&request.uid),
        evaluations,
        break_glass,
        ..Outcome::allow(request)
    }
}

pub(super) fn mutated(
    request: &AdmissionRequest<'_>,
    policies: &[&Policy],
    evaluations: Vec<Evaluation>,
    patch: Option<String>,
) -> Outcome {
    let mut response = ResponseBuilder::default();
    for (policy, evaluation) in policies.iter().zip(&evaluations) {
        let mode = policy.manifest().spec.mode;
        if let Some(error) = &evaluation.error {
            response.add_violation(mode, false, &evaluation.policy, &unevaluated(error));
        }
        response.add_remarks(mode, evaluation);
    }
    let response = AdmissionResponse {
        patch,
        ..response.into_response(&request.uid)
    };
    Outcome {
        response,
        evaluations,
        ..Outcome::allow(request)
    }
}

/// Answers for an object that is no Service (rule S16). Without a matching policy, and in the
/// mutating phase, it allows: the API server itself rejects malformed objects next.
pub(super) fn malformed(
    function: Function,
    request: &AdmissionRequest<'_>,
    policies: &[&Policy],
    malformed: Malformed,
) -> Outcome {
    let mut response = ResponseBuilder::default();
    if function != Function::Mutate && !policies.is_empty() {
        let enforced = policies
            .iter()
            .any(|policy| policy.manifest().spec.mode == Mode::Enforce);
        let mode = if enforced { Mode::Enforce } else { Mode::Warn };
        response.add_violation(mode, enforced, HOST, &misfit(&malformed));
    }
    let response = response.into_response(&request.uid);
    Outcome {
        response,
        malformed: Some(malformed),
        ..Outcome::allow(request)
    }
}

fn misfit(malformed: &Malformed) -> Violation {
    let path = excerpt(&malformed.field)
        .split('.')
        .map(|step| step.split('[').next().unwrap_or(step))
        .collect::<Vec<_>>()
        .join(".");
    let explain = if path.is_empty() {
        String::new()
    } else {
        format!(".{path}")
    };
    Violation {
        rule: "S16".to_owned(),
        key: String::new(),
        field: malformed.field.clone(),
        message: malformed.problem.clone(),
        fix: format!("see `kubectl explain service{explain}`"),
    }
}

/// Makes a message for an evaluation error. Authors of Services can't mend a policy, so the paths
/// and settings of one that could not be loaded are left to the log and `/readyz?verbose`.
fn unevaluated(error: &EvaluationError) -> Violation {
    let (why, fix) = match error {
        EvaluationError::Load(_) => (
            "it could not be loaded".to_owned(),
            "tell those who run this cluster's policies; the host's log and /readyz?verbose say \
             why",
        ),
        error => (
            error.to_string(),
            "tell those who run this cluster's policies",
        ),
    };
    Violation {
        rule: "EvaluationError".to_owned(),
        key: String::new(),
        field: String::new(),
        message: format!("no verdict: {why}"),
        fix: fix.to_owned(),
    }
}

/// An AdmissionResponse under construction.
#[derive(Default)]
struct ResponseBuilder {
    /// The reason of the denials that are added next.
    reason: Reason,
    denials: Vec<(Cause, Reason)>,
    warnings: Vec<String>,
    audit: BTreeMap<String, String>,
}

impl ResponseBuilder {
    /// Adds one violation: as a denial, a warning or, in mode Audit, an audit annotation.
    fn add_violation(&mut self, mode: Mode, denies: bool, policy: &str, violation: &Violation) {
        let line = text::line(policy, violation);
        if denies {
            let cause = Cause {
                reason: text::clean_cut(&violation.rule, MAX_VALUE),
                message: line,
                field: text::clean_cut(&violation.field, MAX_VALUE),
            };
            self.denials.push((cause, self.reason));
        } else if mode == Mode::Audit {
            self.annotate(policy, "violations", &line);
        } else {
            self.warnings.push(line);
        }
    }

    /// Turns all denials into warnings and records the grant as an audit annotation. Returns true
    /// if there was a denial.
    fn excuse(&mut self, grant: &Grant) -> bool {
        if self.denials.is_empty() {
            return false;
        }
        let until = grant.until;
        self.annotate(
            HOST,
            "break-glass",
            &text::clean_cut(&format!("until {until}: {}", grant.reason), MAX_MESSAGE),
        );
        self.warnings.push(format!(
            "[{HOST}] break-glass until {until} excuses {} of these",
            self.denials.len()
        ));
        self.warnings.extend(
            std::mem::take(&mut self.denials)
                .into_iter()
                .map(|(cause, _)| cause.message),
        );
        true
    }

    /// Adds a policy's own warnings and audit annotations.
    fn add_remarks(&mut self, mode: Mode, evaluation: &Evaluation) {
        for warning in &evaluation.warnings {
            let line = format!(
                "[{}] {}",
                evaluation.policy,
                text::clean_cut(warning, AUDIT_VALUE)
            );
            if mode == Mode::Audit {
                self.annotate(&evaluation.policy, "warnings", &line)
            } else {
                self.warnings.push(line)
            }
        }
        for (key, value) in &evaluation.audit_annotations {
            self.annotate(
                &evaluation.policy,
                key,
                &text::clean_cut(value, AUDIT_VALUE),
            );
        }
    }

    fn annotate(&mut self, policy: &str, key: &str, line: &str) {
        annotate(&mut self.audit, policy, key, line);
    }

    fn into_response(mut self, uid: &str) -> AdmissionResponse {
        self.denials.sort_by(|(a, _), (b, _)| {
            text::by_path(&a.field, &b.field).then_with(|| a.message.cmp(&b.message))
        });
        let denial = (!self.denials.is_empty()).then(|| deny(self.denials));
        AdmissionResponse {
            allowed: denial.is_none(),
            denial,
            warnings: bounded(self.warnings),
            audit_annotations: self.audit,
            ..AdmissionResponse::allow(uid)
        }
    }
}

/// Adds a line to an audit annotation. The API server puts the webhook's name before the key,
/// and drops a key that is no qualified name.
pub(super) fn annotate(audit: &mut BTreeMap<String, String>, policy: &str, key: &str, line: &str) {
    let key: String = [policy, ".", key]
        .into_iter()
        .flat_map(str::chars)
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '_'
            }
        })
        .take(AUDIT_KEY)
        .collect();
    if audit.len() == AUDIT_ENTRIES && !audit.contains_key(&key) {
        return;
    }
    let noted = audit.entry(key).or_default();
    if noted.len() + line.len() < AUDIT_VALUE {
        let separator = if noted.is_empty() { "" } else { "\n" };
        *noted = format!("{noted}{separator}{line}");
    }
}

/// Makes a denial of the first causes, a line each: at most ten, and no more than fit into a
/// message, but at least one. The reason is that of the first one.
fn deny(denials: Vec<(Cause, Reason)>) -> Denial {
    let reason = denials.first().map(|(_, reason)| *reason);
    let mut causes: Vec<Cause> = denials.into_iter().map(|(cause, _)| cause).collect();
    let mut length = 0;
    let fits = |cause: &&Cause| {
        let is_first = length == 0;
        length += cause.message.len() + 1;
        is_first || length <= MAX_MESSAGE
    };
    let listed = causes.iter().take(MAX_LISTED).take_while(fits).count();
    let more = causes.len() - listed;
    causes.truncate(listed);
    let mut message = causes
        .iter()
        .map(|cause| cause.message.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    if more > 0 {
        message.push_str(&format!("\nand {more} more"));
    }
    Denial {
        reason: reason.unwrap_or_default(),
        message,
        causes,
    }
}

/// Cuts warnings to the sizes that an API server passes on whole.
fn bounded(warnings: Vec<String>) -> Vec<String> {
    let (mut listed, mut length) = (vec![], 0);
    let all = warnings.len();
    for warning in warnings {
        let warning = text::cut_to_characters(warning, WARNING);
        length += warning.len();
        if listed.len() == MAX_LISTED || length > WARNINGS {
            listed.push(format!("[{HOST}] and {} more warnings", all - listed.len()));
            break;
        }
        listed.push(warning);
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::LoadError;

    fn violation(index: usize) -> Violation {
        Violation {
            rule: "S02".into(),
            key: String::new(),
            field: format!("spec.ports[{index}].nodePort"),
            message: "bad".into(),
            fix: String::new(),
        }
    }

    #[test]
    fn the_first_ten_violations_by_path_are_listed_and_the_rest_counted() {
        let mut response = ResponseBuilder::default();
        for index in (0..3000).rev() {
            response.add_violation(Mode::Enforce, true, "p", &violation(index));
        }
        let denial = response.into_response("u").denial.expect("denied");
        assert!(
            denial
                .message
                .starts_with("[p] spec.ports[0].nodePort: bad\n"),
            "{}",
            denial.message
        );
        assert!(
            denial
                .message
                .ends_with("[p] spec.ports[9].nodePort: bad\nand 2990 more"),
            "{}",
            denial.message
        );
        assert_eq!(denial.causes.len(), 10);
    }

    #[test]
    fn a_denial_has_some_kib_whatever_guests_say() {
        let mut response = ResponseBuilder::default();
        let long = "x".repeat(1 << 20);
        for index in 0..100 {
            let violation = Violation {
                message: long.clone(),
                fix: long.clone(),
                rule: long.clone(),
                ..violation(index)
            };
            response.add_violation(Mode::Enforce, true, "p", &violation);
            response.annotate("p", &format!("{index}"), &long[..4000]);
        }
        let response = response.into_response("u");
        let size = response.to_json().len();
        let denial = response.denial.expect("denied");
        assert!(
            denial.message.len() < 2 * MAX_MESSAGE,
            "{}",
            denial.message.len()
        );
        assert!(
            denial
                .message
                .ends_with(&format!("\nand {} more", 100 - denial.causes.len())),
            "{}",
            denial.message
        );
        assert!(size < 200 << 10, "{size}");
    }

    #[test]
    fn warnings_stay_within_what_an_api_server_passes_on() {
        let mut response = ResponseBuilder::default();
        for _ in 0..100 {
            response.warnings.push("w".repeat(1000));
        }
        let warnings = response.into_response("u").warnings;
        assert!(
            warnings
                .iter()
                .all(|warning| warning.chars().count() <= WARNING)
        );
        assert!(warnings.iter().map(String::len).sum::<usize>() < WARNINGS);
        assert_eq!(
            warnings.last().map(String::as_str),
            Some("[sallyport] and 90 more warnings")
        );
    }

    #[test]
    fn errors_of_malformed_input_name_kubectl_explain() {
        let malformed = Malformed {
            field: "spec.ports[0].nodePort".into(),
            problem: "expected integer".into(),
        };
        assert_eq!(
            text::line(HOST, &misfit(&malformed)),
            "[sallyport] spec.ports[0].nodePort: expected integer; see `kubectl explain \
             service.spec.ports.nodePort`"
        );
    }

    #[test]
    fn a_denial_by_a_broken_policy_shows_neither_paths_nor_settings() {
        let error = LoadError::settings("unknown key \"rangs\"").in_manifest("/etc/p.yaml");
        let violation = unevaluated(&EvaluationError::Load(error.into()));
        let line = text::line("p", &violation);
        assert_eq!(
            line,
            "[p] no verdict: it could not be loaded; tell those who run this cluster's policies; \
             the host's log and /readyz?verbose say why"
        );
    }
}
