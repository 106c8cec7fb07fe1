//! One Service: its findings, its doors, and what other policies would change.

use super::ruling::{Exposure, Ruling};
use crate::exposure::{State, doors};
use sallyport_core::check::stored::{Auditor, Identity, Judgement, StoredFinding};
use sallyport_core::contract::review::ProviderId;
use sallyport_core::report::check::Level;
use sallyport_core::service;
use serde::Serialize;
use serde_json::value::RawValue;

/// Judges Services by policies, and perhaps by those that are to replace them.
pub struct Audit<'a> {
    /// The policies that serve.
    pub auditor: Auditor<'a>,
    /// The policies to compare with.
    pub against: Option<Auditor<'a>>,
    /// The providerIDs of the cluster's Nodes, for the doors; `None` where nobody asks for doors.
    pub doors: Option<Vec<ProviderId>>,
}

/// What is told about one Service.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// `namespace/name`.
    pub service: String,
    /// `metadata.uid`; empty in files.
    #[serde(skip)]
    pub uid: String,
    /// `metadata.creationTimestamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The reason why no policy is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exempt: Option<String>,
    /// What policies and host say.
    pub findings: Vec<StoredFinding>,
    /// Findings of other policies that these don't have, and the other way round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// Its doors, where somebody asks for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doors: Vec<Exposure>,
    /// The state that decides how far they open; `None` without doors.
    #[serde(skip)]
    pub state: Option<State>,
    /// True if policies go by labels of its namespace that are not known.
    #[serde(skip)]
    pub lacks_namespace: bool,
}

/// What other policies would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Their findings that the present policies don't have.
    pub appear: Vec<StoredFinding>,
    /// The present findings that they don't have.
    pub disappear: Vec<StoredFinding>,
}

impl Row {
    /// Returns true if there is a finding of this level.
    pub fn has(&self, level: Level) -> bool {
        self.findings.iter().any(|finding| finding.level == level)
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        self.service.split('/').next().unwrap_or_default()
    }

    /// Returns true if there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty()
            && self.exempt.is_none()
            && self.doors.is_empty()
            && self.changes.is_none()
            && !self.lacks_namespace
    }
}

impl Changes {
    fn between(before: &Judgement, after: &Judgement) -> Option<Self> {
        let lacks = |findings: &[StoredFinding], finding: &StoredFinding| {
            !findings.iter().any(|other| other.is_like(finding))
        };
        let only = |these: &Judgement, those: &Judgement| {
            let these = these.findings.iter();
            these
                .filter(|finding| lacks(&those.findings, finding))
                .cloned()
                .collect::<Vec<_>>()
        };
        let changes = Self {
            appear: only(after, before),
            disappear: only(before, after),
        };
        (changes != Self::default()).then_some(changes)
    }
}

impl Audit<'_> {
    /// Judges one Service.
    ///
    /// # Errors
    ///
    /// When the text is no Service with a name.
    pub fn row(&self, object: &RawValue) -> Result<Row, String> {
        let (identity, judgement) = self.auditor.judge(object)?;
        let changes = match &self.against {
            Some(auditor) => Changes::between(&judgement, &auditor.judge(object)?.1),
            None => None,
        };
        let Identity {
            namespace,
            name,
            uid,
            created,
        } = identity;
        let (doors, state) = match &self.doors {
            Some(nodes) => exposures(object, nodes, &judgement),
            None => (vec![], None),
        };
        Ok(Row {
            service: format!("{namespace}/{name}"),
            uid,
            created,
            exempt: judgement.exempt,
            findings: judgement.findings,
            changes,
            doors,
            state,
            lacks_namespace: judgement.lacks_namespace,
        })
    }
}

/// Returns the doors of a Service with what the policies say of each, and its state if it has any.
/// An object that is no Service has none; its findings say what it is.
fn exposures(
    object: &RawValue,
    nodes: &[ProviderId],
    judgement: &Judgement,
) -> (Vec<Exposure>, Option<State>) {
    let Ok(service) = service::parse(object.get()) else {
        return (vec![], None);
    };
    let doors = doors(&service, object, nodes);
    let state = (!doors.is_empty()).then(|| State::of(&service));
    let fields: Vec<_> = doors.iter().map(|door| door.field.clone()).collect();
    let exposures = doors.into_iter().map(|door| Exposure {
        policy: Ruling::of(&door, &fields, judgement),
        door,
    });
    (exposures.collect(), state)
}
