//! Judges Services that a cluster stores, as if they were created today.
//!
//! Each is judged as it stands, with the node ports that the API server allocated; its
//! managedFields tell these from chosen ones. One that would be denied is judged twice more: as an
//! update of itself, to learn what the ratchet keeps, and with the patch of `/mutate`, which would
//! mend it on its way. Nothing of the object is kept: what is returned is as large as the findings.

use super::findings::{exempt_policies, in_deletion, whole};
use super::reviewer::Reviewer;
use crate::admission::{
    Admission, AdmissionRequest, Function, GroupVersionKind, Operation, Outcome, UserInfo,
};
use crate::contract::review::Phase;
use crate::printable::{printable, sentence};
use crate::report::check::{Finding, Level};
use crate::suite::User;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

const VALIDATE: Function = Function::Validate(Phase::Validating);

/// Judges the Services of one moment for one user.
pub struct Auditor<'a> {
    reviewer: Reviewer<'a>,
    user: UserInfo,
}

/// The Service that a judgement is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty in files.
    pub uid: String,
    /// `metadata.creationTimestamp`, RFC 3339.
    pub created: Option<String>,
}

/// The findings about one Service.
#[derive(Debug, Clone, Default)]
pub struct Judgement {
    /// What policies and host said.
    pub findings: Vec<StoredFinding>,
    /// The reason why no policy was asked.
    pub exempt: Option<String>,
    /// The policies that were asked.
    pub asked: BTreeSet<Arc<str>>,
    /// True if some policy goes by labels of the namespace, which are not known.
    pub lacks_namespace: bool,
}

/// One finding about a stored Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredFinding {
    /// Its severity. `error`: a create would be denied.
    pub level: Level,
    /// The policy that says so; empty for the host.
    pub policy: String,
    /// Such as `S02`; empty where no rule is concerned.
    pub rule: String,
    /// JSON path from the Service's root; empty for the whole.
    pub field: String,
    /// The value found and what is allowed.
    pub message: String,
    /// The fix; may be empty.
    pub fix: String,
    /// The effect on an update that leaves it as it is; `None` where a create is not denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_update: Option<OnUpdate>,
    /// True if `/mutate` would mend it on create.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub patched_on_create: bool,
}

/// The effect of a violation on an update that leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUpdate {
    /// The ratchet keeps it.
    Kept,
    /// The update is denied.
    Denied,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
}

impl StoredFinding {
    /// `field: message; fix`, as a denial says it.
    pub fn sentence(&self) -> String {
        printable(&sentence(&self.field, &self.message, &self.fix)).into_owned()
    }

    /// Returns true if it is about the same thing, whatever its words.
    pub fn is_like(&self, other: &Self) -> bool {
        let of = |finding: &Self| {
            (
                finding.level,
                finding.policy.clone(),
                finding.rule.clone(),
                finding.field.clone(),
                finding.on_update == Some(OnUpdate::Denied),
            )
        };
        of(self) == of(other)
    }
}

impl From<Finding> for StoredFinding {
    fn from(finding: Finding) -> Self {
        Self {
            level: finding.level,
            policy: finding.policy,
            rule: finding.rule,
            field: finding.field,
            message: finding.message,
            fix: finding.fix,
            on_update: None,
            patched_on_create: false,
        }
    }
}

impl From<StoredFinding> for Finding {
    fn from(finding: StoredFinding) -> Self {
        Self {
            level: finding.level,
            policy: finding.policy,
            rule: finding.rule,
            field: finding.field,
            message: finding.message,
            fix: finding.fix,
            line: 1,
        }
    }
}

impl Judgement {
    /// Returns true if there is a finding of this level.
    pub fn has(&self, level: Level) -> bool {
        self.findings.iter().any(|finding| finding.level == level)
    }
}

impl<'a> Auditor<'a> {
    /// Judges by these policies and exemptions, as if this user created the Services.
    pub fn new(admission: &'a Admission, user: User, now: SystemTime) -> Self {
        Self {
            reviewer: Reviewer::new(admission, now),
            user: UserInfo {
                username: user.username,
                groups: user.groups,
                uid: user.uid,
                extra: user.extra,
            },
        }
    }

    /// Judges by policies that serve requests meanwhile, and disturbs none of these: a policy that
    /// misses its deadline here is not held to have missed it.
    pub fn aside(admission: &'a Admission, now: SystemTime) -> Self {
        Self {
            reviewer: Reviewer::aside(admission, now),
            user: UserInfo::default(),
        }
    }

    /// Judges the JSON text of one Service. `kind` and `apiVersion` may be missing, as in a list.
    ///
    /// # Errors
    ///
    /// When the text is no object with a name.
    pub fn judge(&self, object: &RawValue) -> Result<(Identity, Judgement), String> {
        let head: Head<'_> =
            serde_json::from_str(object.get()).map_err(|error| format!("no Service: {error}"))?;
        let meta = head.metadata;
        let identity = Identity {
            namespace: meta.namespace.unwrap_or_default(),
            name: meta
                .name
                .filter(|name| !name.is_empty())
                .ok_or("no Service: metadata.name is missing")?,
            uid: meta.uid.unwrap_or_default(),
            created: meta.creation_timestamp,
        };
        if let Some(since) = meta.deletion_timestamp {
            let note = in_deletion(&since.into(), &|_| 1);
            let judgement = Judgement {
                exempt: Some(note.message.clone()),
                findings: vec![note.into()],
                ..Judgement::default()
            };
            return Ok((identity, judgement));
        }
        let object = match head.kind {
            Some(_) => Cow::Borrowed(object),
            None => Cow::Owned(with_kind(object)?),
        };
        let judgement = self.judgement(&identity, &object);
        Ok((identity, judgement))
    }

    fn judgement(&self, identity: &Identity, object: &RawValue) -> Judgement {
        let create = self.request(identity, object, None);
        let outcome = self.reviewer.review(VALIDATE, &create);
        let lacks_namespace = self.reviewer.admission.lacks_namespace(VALIDATE, &create);
        let asked = outcome
            .evaluations
            .iter()
            .map(|evaluation| Arc::clone(&evaluation.policy))
            .collect();
        let mut judgement = Judgement {
            findings: exempt_policies(&outcome, &|_| 1)
                .into_iter()
                .map(Into::into)
                .collect(),
            asked,
            lacks_namespace,
            ..Judgement::default()
        };
        if let Some(whole) = whole(&outcome, &|_| 1) {
            let is_exempt = whole.level == Level::Note;
            judgement.exempt = is_exempt.then(|| whole.message.clone());
            judgement.findings.push(whole.into());
            return judgement;
        }
        let found = self.found(&outcome);
        judgement.findings.extend(found);
        if judgement.has(Level::Error) {
            self.mark_kept(&mut judgement, identity, object);
            self.mark_patched(&mut judgement, identity, object);
        }
        judgement
    }

    fn request<'b>(
        &self,
        identity: &'b Identity,
        object: &'b RawValue,
        old: Option<&'b RawValue>,
    ) -> AdmissionRequest<'b> {
        AdmissionRequest {
            uid: identity.uid.as_str().into(),
            kind: GroupVersionKind {
                group: "".into(),
                version: "v1".into(),
                kind: "Service".into(),
            },
            sub_resource: None,
            name: Some(identity.name.as_str().into()),
            namespace: Some(identity.namespace.as_str().into()),
            operation: match old {
                Some(_) => Operation::Update,
                None => Operation::Create,
            },
            user_info: self.user.clone(),
            object: Some(object),
            old_object: old,
            dry_run: Some(false),
        }
    }

    fn found(&self, outcome: &Outcome) -> Vec<StoredFinding> {
        let findings = self.reviewer.findings(outcome, &|_| 1);
        findings.into_iter().map(Into::into).collect()
    }

    /// Marks what an update that changes nothing may keep.
    fn mark_kept(&self, judgement: &mut Judgement, identity: &Identity, object: &RawValue) {
        let update = self.request(identity, object, Some(object));
        let denied = self.found(&self.reviewer.review(VALIDATE, &update));
        for finding in errors(judgement) {
            let is_denied = denied.iter().any(|other| other.is_like(finding));
            finding.on_update = Some(if is_denied {
                OnUpdate::Denied
            } else {
                OnUpdate::Kept
            });
        }
    }

    /// Marks what the patch of `/mutate` would mend: that is no denial.
    fn mark_patched(&self, judgement: &mut Judgement, identity: &Identity, object: &RawValue) {
        let create = self.request(identity, object, None);
        let mutated = self.reviewer.review(Function::Mutate, &create);
        let patch = mutated.response.patch.as_deref();
        let Some(patched) = patch.and_then(|patch| patched(object, patch)) else {
            return;
        };
        let create = self.request(identity, &patched, None);
        let denied = self.found(&self.reviewer.review(VALIDATE, &create));
        for finding in errors(judgement) {
            let of = |finding: &StoredFinding| (finding.policy.clone(), finding.rule.clone());
            let stays =
                |other: &StoredFinding| other.level == Level::Error && of(other) == of(finding);
            if !denied.iter().any(stays) {
                finding.level = Level::Warning;
                finding.patched_on_create = true;
            }
        }
    }
}

fn errors(judgement: &mut Judgement) -> impl Iterator<Item = &mut StoredFinding> {
    judgement
        .findings
        .iter_mut()
        .filter(|finding| finding.level == Level::Error)
}

/// Adds kind and version, which the items of a list lack.
fn with_kind(object: &RawValue) -> Result<Box<RawValue>, String> {
    let rest = object
        .get()
        .strip_prefix('{')
        .ok_or("no Service: no object")?;
    let comma = if rest.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    RawValue::from_string(format!(
        r#"{{"kind":"Service","apiVersion":"v1"{comma}{rest}"#
    ))
    .map_err(|error| error.to_string())
}

/// Applies a patch of `/mutate`; `None` where it does not apply.
fn patched(object: &RawValue, patch: &str) -> Option<Box<RawValue>> {
    let mut value: Value = serde_json::from_str(object.get()).ok()?;
    let patch: json_patch::Patch = serde_json::from_str(patch).ok()?;
    json_patch::patch(&mut value, &patch).ok()?;
    RawValue::from_string(value.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Inventory, InventoryData};
    use crate::manifest::Exemptions;
    use crate::policy::Policy;
    use serde_json::json;

    fn raw(value: &Value) -> Box<RawValue> {
        RawValue::from_string(value.to_string()).expect("JSON")
    }

    fn judged(value: &Value) -> Result<(Identity, Judgement), String> {
        let admission = Admission::new(
            Vec::<Policy>::new(),
            Inventory::from(InventoryData::default()),
            Exemptions::default(),
        );
        let auditor = Auditor::new(&admission, User::default(), SystemTime::UNIX_EPOCH);
        auditor.judge(&raw(value))
    }

    #[test]
    fn an_item_of_a_list_gets_its_kind_and_version() {
        for (object, expected) in [
            (
                json!({"a": 1}),
                json!({"kind": "Service", "apiVersion": "v1", "a": 1}),
            ),
            (json!({}), json!({"kind": "Service", "apiVersion": "v1"})),
        ] {
            let value: Value =
                serde_json::from_str(with_kind(&raw(&object)).expect("made").get()).expect("JSON");
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn a_service_that_no_policy_matches_is_told_as_exempt() {
        let (identity, judgement) =
            judged(&json!({"metadata": {"name": "w", "namespace": "n"}})).expect("judged");
        assert_eq!(
            (identity.namespace.as_str(), identity.name.as_str()),
            ("n", "w")
        );
        assert_eq!(
            judgement.exempt.as_deref(),
            Some("no policy matches, by namespace, operation and resource")
        );
    }

    #[test]
    fn a_service_in_deletion_is_told_and_not_judged() {
        let service = json!({"metadata": {"name": "w", "namespace": "n",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let (_, judgement) = judged(&service).expect("judged");
        let exempt = judgement.exempt.as_deref().expect("exempt");
        assert!(
            exempt.starts_with("in deletion since 2026-01-01"),
            "{exempt}"
        );
        assert!(judgement.has(Level::Note));
    }

    #[test]
    fn an_object_without_a_name_is_an_error() {
        for value in [json!({}), json!([]), json!({"metadata": {"name": ""}})] {
            judged(&value).expect_err("no Service");
        }
    }
}
