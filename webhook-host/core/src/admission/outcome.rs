//! The outcome of a review: the cluster's answer, and the policies' opinions behind it.
//!
//! `AdmissionResponse` is what the API server gets; `Evaluation` is what reports, metrics and tests
//! read. Only `admission` makes them.

use crate::admission::{Exemption, Function, Grant};
use crate::contract::verdict::Verdict;
use crate::contract::verdict::{PatchOperation, Violation};
use crate::manifest::Reason;
use crate::policy::{Answer, EvaluationError, LogLine, Policy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The result of one review.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The answer.
    pub response: AdmissionResponse,
    /// Why no policy was asked, if none was.
    pub exemption: Option<Exemption>,
    /// The policies that were not asked because of their own exemptions, though they match and
    /// their `about` covers the Service.
    pub exempted: Vec<(Arc<str>, Exemption)>,
    /// Why the object is no Service, if it is none (rule S16).
    pub malformed: Option<crate::service::Malformed>,
    /// The user who excused a denial, and until when.
    pub break_glass: Option<Grant>,
    /// True if some policy matches: by namespace, mode, the operations and resources of its
    /// description, and its exemptions.
    pub matched: bool,
    /// The opinions of the policies that were asked, in the order of the policies: those that match
    /// and whose `about` covers the Service.
    pub evaluations: Vec<Evaluation>,
}

/// One policy's part in a review.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The name of the ServicePolicy.
    pub policy: Arc<str>,
    /// The function that was asked.
    pub function: Function,
    /// Violations that were not ratcheted; mode is applied later.
    pub violations: Vec<Violation>,
    /// Violations that the old object has too and that the update may keep (ratchet).
    pub kept: Vec<Violation>,
    /// The policy's own warnings.
    pub warnings: Vec<String>,
    /// The policy's own audit annotations.
    pub audit_annotations: Vec<(String, String)>,
    /// The operations that were applied.
    pub patch: Vec<PatchOperation>,
    /// Why there is no opinion.
    pub error: Option<EvaluationError>,
    /// The time that the policy took, the review of the old object included.
    pub elapsed: Duration,
    /// The lines that the policy logged, where the admission keeps them.
    pub log: Vec<LogLine>,
}

/// `response` of an AdmissionReview v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionResponse {
    /// The request's uid.
    pub uid: String,
    /// True if the request may go on.
    pub allowed: bool,
    /// The reason, if it is not allowed.
    pub denial: Option<Denial>,
    /// JSON Patch (RFC 6902) text; `None`: no change.
    pub patch: Option<String>,
    /// Shown to the client.
    pub warnings: Vec<String>,
    /// For the API server's audit log.
    pub audit_annotations: BTreeMap<String, String>,
}

/// Why a request is denied: metav1.Status in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The reason, which decides about the HTTP code.
    pub reason: Reason,
    /// The first violations, a line each.
    pub message: String,
    /// The violations for programs: `status.details.causes`.
    pub causes: Vec<Cause>,
}

/// metav1.StatusCause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The rule's id, such as `S02`, or `EvaluationError`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// JSON path from the Service's root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireReview<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: WireResponse<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<WireStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct WireStatus<'a> {
    status: &'static str,
    reason: &'static str,
    code: u16,
    message: &'a str,
    details: WireDetails<'a>,
}

#[derive(Serialize)]
struct WireDetails<'a> {
    causes: &'a [Cause],
}

impl Evaluation {
    /// Starts an evaluation without findings.
    pub(super) fn of(policy: &Policy, function: Function) -> Self {
        Self {
            policy: Arc::clone(policy.name()),
            function,
            violations: vec![],
            kept: vec![],
            warnings: vec![],
            audit_annotations: vec![],
            patch: vec![],
            error: None,
            elapsed: Duration::ZERO,
            log: vec![],
        }
    }

    /// Adds the time that an answer took and its log lines, and returns its verdict.
    pub(super) fn take(&mut self, answer: Answer) -> Result<Verdict, EvaluationError> {
        self.elapsed += answer.elapsed;
        self.log.extend(answer.log);
        answer.verdict
    }
}

impl AdmissionResponse {
    /// Allows the request without a message.
    pub fn allow(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            allowed: true,
            denial: None,
            patch: None,
            warnings: vec![],
            audit_annotations: BTreeMap::new(),
        }
    }

    /// Denies the request for one reason.
    pub fn deny(uid: &str, reason: &str, message: String) -> Self {
        let cause = Cause {
            reason: reason.to_owned(),
            message: message.clone(),
            field: String::new(),
        };
        Self {
            allowed: false,
            denial: Some(Denial {
                reason: Reason::default(),
                message,
                causes: vec![cause],
            }),
            ..Self::allow(uid)
        }
    }

    /// Returns the AdmissionReview that answers the API server.
    pub fn to_json(&self) -> Vec<u8> {
        let status = self.denial.as_ref().map(|denial| WireStatus {
            status: "Failure",
            reason: denial.reason.as_str(),
            code: denial.reason.code(),
            message: &denial.message,
            details: WireDetails {
                causes: &denial.causes,
            },
        });
        let review = WireReview {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response: WireResponse {
                uid: &self.uid,
                allowed: self.allowed,
                status,
                patch: self.patch.as_ref().map(|patch| STANDARD.encode(patch)),
                patch_type: self.patch.as_ref().map(|_| "JSONPatch"),
                warnings: &self.warnings,
                audit_annotations: &self.audit_annotations,
            },
        };
        serde_json::to_vec(&review).expect("strings and numbers have a JSON form")
    }
}
