//! A line of the decision log: the verdict on one review and the policies' parts in it.
//!
//! It has neither the object nor messages, so it is small, and it is redacted as a record is: the
//! user's name is hashed unless a policy or an exemption compares it, and so are texts of the
//! Service that a violation's key quotes. Fields are added, never renamed.

use super::compared::{Compared, Subjects};
use super::place;
use super::quotes::may_quote;
use super::redaction::Redaction;
use super::{HashKey, RecordedFunction, Summary, rfc_3339};
use sallyport_core::admission::{Admission, Evaluation, Function, Outcome};
use sallyport_core::contract::verdict::Violation;
use sallyport_core::excerpt::excerpt;
use sallyport_core::manifest::Mode;
use serde::{Serialize, ser};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
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
    sub_resource: Option<&'a str>,
    namespace: &'a str,
    name: &'a str,
    user: &'a str,
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

/// The most users whose redacted names are cached.
const MAX_USERS: usize = 256;

/// An answered review and what decided it.
pub(crate) struct Decided<'a> {
    pub(crate) function: Function,
    pub(crate) request: &'a Summary,
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

/// Makes lines. It caches what it derives from the Set that answers, because that takes longer than
/// writing a line.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    generation: u64,
    subjects: Subjects,
    policies: BTreeMap<Arc<str>, AskedPolicy>,
    /// The policies that were asked about the last denied Service, and what they compare.
    compared: Option<(Vec<Arc<str>>, Compared)>,
    /// The redacted names of users: for lines on which no asked policy compares names, and for
    /// lines on which one does.
    users: [HashMap<String, String>; 2],
}

#[derive(Debug)]
struct AskedPolicy {
    digest: Option<String>,
    mode: Mode,
    compares_user: bool,
}

impl Decisions {
    /// Appends the line of an answered review. An error may leave a part of it.
    ///
    /// # Errors
    ///
    /// Fails when the body nests too deeply for a JSON value.
    pub(crate) fn line(
        &mut self,
        decided: Decided<'_>,
        key: &HashKey,
        text: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        if self.generation != decided.generation {
            *self = Self::of(decided.admission, decided.generation);
        }
        if decided.outcome.evaluations.iter().any(has_key) {
            self.learn_compared(decided.admission, decided.outcome);
        }
        let request = decided.request;
        self.learn_user(&request.user, &decided.outcome.evaluations, key);
        let Outcome {
            evaluations,
            exemption,
            malformed,
            ..
        } = decided.outcome;
        let mut policies: Vec<_> = evaluations.iter().map(|part| self.policy(part)).collect();
        self.scrub(&mut policies, &decided, key)?;
        let decision = Decision {
            time: decided.now,
            function: decided.function.into(),
            uid: &request.uid,
            operation: request.operation.as_str(),
            sub_resource: request.sub_resource.as_deref(),
            namespace: &request.namespace,
            name: &request.name,
            user: self.user(&request.user, evaluations),
            dry_run: request.is_dry_run,
            verdict: decided.verdict,
            exemption: exemption.map(|exemption| exemption.name()),
            malformed: malformed.is_some(),
            latency_micros: micros(decided.took),
            trace_id: decided.trace_id,
            set: decided.set,
            generation: decided.generation,
            policies,
        };
        serde_json::to_writer(text, &decision)
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
            compared: None,
            users: Default::default(),
        }
    }

    /// Derives the texts that the asked policies compare, unless the last denial had the same
    /// policies.
    fn learn_compared(&mut self, admission: &Admission, outcome: &Outcome) {
        let asked = outcome.evaluations.iter().map(|part| &part.policy);
        let known = self.compared.as_ref();
        if known.is_none_or(|(known, _)| !known.iter().eq(asked.clone())) {
            let compared = super::compared(admission, outcome);
            self.compared = Some((asked.cloned().collect(), compared));
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

    /// Drops the cached names, for another hash key.
    pub(crate) fn forget_users(&mut self) {
        self.users = Default::default();
    }

    /// Redacts the name of a user and caches it: most reviews come from a few controllers.
    fn learn_user(&mut self, name: &str, evaluations: &[Evaluation], key: &HashKey) {
        let is_compared = self.compares_user(evaluations);
        let known = &mut self.users[usize::from(is_compared)];
        if known.contains_key(name) {
            return;
        }
        let keeps = name.is_empty() || place::keeps_user(name, is_compared, &self.subjects);
        let shown = if keeps {
            shortened(name)
        } else {
            key.hash(name)
        };
        if known.len() >= MAX_USERS {
            known.clear();
        }
        known.insert(name.to_owned(), shown);
    }

    /// Returns the cached name of a user.
    fn user(&self, name: &str, evaluations: &[Evaluation]) -> &str {
        let known = &self.users[usize::from(self.compares_user(evaluations))];
        known.get(name).map_or("", String::as_str)
    }

    fn compares_user(&self, evaluations: &[Evaluation]) -> bool {
        let asked = |part: &Evaluation| self.policies.get(&part.policy);
        let mut asked = evaluations.iter().filter_map(asked);
        asked.any(|asked| asked.compares_user)
    }

    /// Hashes texts of the Service in the keys of violations. Most reviews have no violation, and
    /// most keys quote only what a record keeps: then nothing is hashed.
    fn scrub(
        &self,
        policies: &mut [PolicyDecision<'_>],
        decided: &Decided<'_>,
        key: &HashKey,
    ) -> serde_json::Result<()> {
        let evaluations = decided.outcome.evaluations.iter();
        let keys: Vec<_> = evaluations.flat_map(keys).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let compared = self.compared.as_ref().map(|(_, compared)| compared);
        let compared = compared
            .ok_or_else(|| <serde_json::Error as ser::Error>::custom("nobody says what is kept"))?;
        let quotes_nothing = decided.request.is_service
            && !may_quote(decided.body, &keys, compared, &self.subjects)?;
        if quotes_nothing {
            return Ok(());
        }
        let mut review: Value = serde_json::from_slice(decided.body)?;
        let redaction = Redaction::of(&mut review, key, compared, &self.subjects);
        let keys = policies.iter_mut().flat_map(PolicyDecision::keys);
        keys.for_each(|key| redaction.scrub(key));
        Ok(())
    }
}

/// Returns the keys of the violations that a policy found.
fn keys(evaluation: &Evaluation) -> impl Iterator<Item = &str> {
    let violations = evaluation.violations.iter().chain(&evaluation.kept);
    let keys = violations.map(|violation| violation.key.as_str());
    keys.filter(|key| !key.is_empty())
}

fn has_key(evaluation: &Evaluation) -> bool {
    keys(evaluation).next().is_some()
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
