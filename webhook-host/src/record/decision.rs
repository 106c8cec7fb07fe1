//! A line of the decision log: the verdict on one review and the policies' parts in it.
//!
//! It has neither the object nor messages, so it is small, and it is redacted as a record is: the
//! user's name is hashed unless a policy or an exemption compares it, and so are texts of the
//! Service that a violation's key quotes. Fields are added, never renamed.

use super::compared::{Compared, Subjects};
use super::redaction::{self, Redaction};
use super::{HashKey, RecordedFunction, rfc_3339};
use sallyport_core::admission::{Admission, AdmissionRequest, Evaluation, Function, Outcome};
use sallyport_core::contract::verdict::Violation;
use sallyport_core::excerpt::excerpt;
use sallyport_core::manifest::Mode;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision<'a> {
    #[serde(with = "rfc_3339")]
    time: SystemTime,
    function: RecordedFunction,
    uid: &'a str,
    operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_resource: Option<String>,
    namespace: String,
    name: String,
    user: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    /// The result by which the review is counted in the metrics.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exemption: Option<&'static str>,
    /// True if the object is no Service that policies could be asked about (rule S16).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    malformed: bool,
    latency_micros: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// The digest of the Set that answered.
    set: &'a str,
    generation: u64,
    policies: Vec<PolicyDecision<'a>>,
}

/// One policy's part.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyDecision<'a> {
    policy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    mode: Mode,
    latency_micros: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Finding<'a>>,
    /// Violations that the old object has too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    warnings: usize,
    #[serde(skip_serializing_if = "is_zero")]
    patch_operations: usize,
    /// The kind of an evaluation error.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// One violation.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    rule: &'a str,
    field: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    key: Value,
}

/// What is known of an answered review.
pub(crate) struct Decided<'a> {
    pub(crate) function: Function,
    pub(crate) body: &'a [u8],
    pub(crate) now: SystemTime,
    pub(crate) admission: &'a Admission,
    pub(crate) set: &'a str,
    pub(crate) generation: u64,
    pub(crate) outcome: &'a Outcome,
    pub(crate) verdict: &'static str,
    pub(crate) took: Duration,
    pub(crate) trace_id: Option<String>,
}

/// Makes lines. Keeps what they need of the Set that answers, since deriving it takes longer than
/// a line.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    generation: u64,
    subjects: Subjects,
    policies: BTreeMap<Arc<str>, AskedPolicy>,
}

#[derive(Debug)]
struct AskedPolicy {
    digest: Option<String>,
    mode: Mode,
    compares_user: bool,
}

impl Decisions {
    /// Returns the line of an answered review.
    ///
    /// # Errors
    ///
    /// Fails when the body nests too deeply for a JSON value.
    pub(crate) fn line(
        &mut self,
        decided: Decided<'_>,
        key: &HashKey,
    ) -> serde_json::Result<Vec<u8>> {
        if self.generation != decided.generation {
            *self = Self::of(decided.admission, decided.generation);
        }
        // It was parsed before it was answered, so this never fails.
        let request = AdmissionRequest::parse(decided.body)
            .map_err(|error| serde::ser::Error::custom(error.to_string()))?;
        let Outcome {
            evaluations,
            exemption,
            malformed,
            ..
        } = decided.outcome;
        let mut policies: Vec<_> = evaluations.iter().map(|part| self.policy(part)).collect();
        self.scrub(&mut policies, &decided, key)?;
        serde_json::to_vec(&Decision {
            time: decided.now,
            function: decided.function.into(),
            uid: &request.uid,
            operation: request.operation.as_str(),
            sub_resource: request.sub_resource.as_deref().map(shortened),
            namespace: shortened(request.namespace()),
            name: shortened(request.name()),
            user: self.user(&request.user_info.username, evaluations, key),
            dry_run: request.dry_run.unwrap_or_default(),
            verdict: decided.verdict,
            exemption: exemption.map(|exemption| exemption.name()),
            malformed: malformed.is_some(),
            latency_micros: micros(decided.took),
            trace_id: decided.trace_id,
            set: decided.set,
            generation: decided.generation,
            policies,
        })
    }

    fn of(admission: &Admission, generation: u64) -> Self {
        let policies = admission.policies().iter().map(|policy| {
            let asked = AskedPolicy {
                digest: policy.digest().map(str::to_owned),
                mode: policy.manifest().spec.mode,
                compares_user: Compared::by(policy).user(),
            };
            (Arc::clone(policy.name()), asked)
        });
        Self {
            generation,
            subjects: Subjects::of(admission.exemptions(), admission.policies()),
            policies: policies.collect(),
        }
    }

    fn policy<'a>(&'a self, evaluation: &'a Evaluation) -> PolicyDecision<'a> {
        let asked = self.policies.get(&evaluation.policy);
        let findings = |violations: &'a [Violation]| violations.iter().map(Finding::from).collect();
        PolicyDecision {
            policy: &evaluation.policy,
            digest: asked.and_then(|asked| asked.digest.as_deref()),
            mode: asked.map(|asked| asked.mode).unwrap_or_default(),
            latency_micros: micros(evaluation.elapsed),
            violations: findings(&evaluation.violations),
            kept: findings(&evaluation.kept),
            warnings: evaluation.warnings.len(),
            patch_operations: evaluation.patch.len(),
            error: evaluation.error.as_ref().map(|error| error.kind()),
        }
    }

    fn user(&self, name: &str, evaluations: &[Evaluation], key: &HashKey) -> String {
        let asked = |part: &Evaluation| self.policies.get(&part.policy);
        let mut asked = evaluations.iter().filter_map(asked);
        let is_compared = asked.any(|asked| asked.compares_user);
        if name.is_empty() || redaction::keeps_user(name, is_compared, &self.subjects) {
            shortened(name)
        } else {
            key.hash(name)
        }
    }

    /// Hashes texts of the Service in the keys of violations. Most reviews have no violation, and
    /// then the object is not parsed.
    fn scrub(
        &self,
        policies: &mut [PolicyDecision<'_>],
        decided: &Decided<'_>,
        key: &HashKey,
    ) -> serde_json::Result<()> {
        let mut keys = policies
            .iter_mut()
            .flat_map(PolicyDecision::keys)
            .peekable();
        if keys.peek().is_none() {
            return Ok(());
        }
        let mut review: Value = serde_json::from_slice(decided.body)?;
        let compared = super::compared(decided.admission, decided.outcome);
        let redaction = Redaction::of(&mut review, key, &compared, &self.subjects);
        keys.for_each(|key| redaction.scrub(key));
        Ok(())
    }
}

impl PolicyDecision<'_> {
    fn keys(&mut self) -> impl Iterator<Item = &mut Value> {
        let findings = self.violations.iter_mut().chain(&mut self.kept);
        findings.map(|finding| &mut finding.key)
    }
}

impl<'a> From<&'a Violation> for Finding<'a> {
    fn from(violation: &'a Violation) -> Self {
        let key = match violation.key.as_str() {
            "" => Value::Null,
            key => key.into(),
        };
        Self {
            rule: &violation.rule,
            field: &violation.field,
            key,
        }
    }
}

fn shortened(text: &str) -> String {
    excerpt(text).into_owned()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
