//! The envelope: an AdmissionReview of `admission.k8s.io/v1`, its object kept as raw JSON.
//!
//! Role: [`AdmissionRequest::parse`] reads what an API server, a suite or a check sends. Invariant:
//! everything that stays text borrows from the body.

use crate::excerpt::excerpt;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The only version since Kubernetes 1.22, and the only one that is supported here.
const API_VERSION: &str = "admission.k8s.io/v1";

/// Bytes of a request's uid, which is echoed and logged. An API server's is a UUID, of 36.
const MAX_UID: usize = 128;

/// The reason why a body is no AdmissionReview that this host can answer (HTTP 400).
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not JSON, or a member of the envelope has the wrong type. The parser's quote of the body is
    /// shortened.
    #[error("the body is no AdmissionReview: {0}")]
    Json(String),
    /// Another kind.
    #[error("kind: expected AdmissionReview, found {0:?}")]
    Kind(String),
    /// Another version.
    #[error(
        "apiVersion: expected admission.k8s.io/v1, found {0:?}; list only v1 in the webhook's \
         admissionReviewVersions"
    )]
    ApiVersion(String),
    /// The AdmissionReview has no request.
    #[error("request: required, but missing; an AdmissionReview without a request asks nothing")]
    NoRequest,
    /// Longer than any that an API server makes. It is not repeated.
    #[error("request.uid: expected at most {MAX_UID} bytes, found {0}; an API server sends 36")]
    Uid(usize),
}

/// The whole envelope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<AdmissionRequest<'a>>,
}

/// The envelope before its version is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    request: Option<&'a RawValue>,
}

/// `request` of an AdmissionReview: one write that the API server asks about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionRequest<'a> {
    /// Echoed in the response.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// The object's kind.
    #[serde(borrow)]
    pub kind: GroupVersionKind<'a>,
    /// Absent, or such as `status`.
    #[serde(borrow, default)]
    pub sub_resource: Option<Cow<'a, str>>,
    /// Empty while the name is to be generated. An API server leaves it out on the deletion of a
    /// collection; it is the deleted object's then.
    #[serde(borrow, default)]
    pub name: Option<Cow<'a, str>>,
    /// The object's namespace; absent for cluster-scoped objects.
    #[serde(borrow, default)]
    pub namespace: Option<Cow<'a, str>>,
    /// The operation.
    pub operation: Operation,
    /// The user who sends the request.
    #[serde(default)]
    pub user_info: UserInfo,
    /// Null on DELETE.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
    /// Null on CREATE.
    #[serde(borrow, default)]
    pub old_object: Option<&'a RawValue>,
    /// True if the API server will not store the object.
    #[serde(default)]
    pub dry_run: Option<bool>,
}

/// An object, of which only the name is read.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    metadata: NamedMetadata<'a>,
}

#[derive(Default, Deserialize)]
struct NamedMetadata<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
}

/// metav1.GroupVersionKind.
#[derive(Debug, Deserialize)]
pub struct GroupVersionKind<'a> {
    /// Empty for the core group.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// Such as `v1`.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// Such as `Service`.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
}

/// The operation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// Stores a new object.
    Create,
    /// Changes an object or a sub-resource; a patch is an update too.
    Update,
    /// Deletes one object or a collection.
    Delete,
    /// Uses a sub-resource such as `services/proxy`.
    Connect,
}

impl Operation {
    /// Returns the word of an AdmissionReview.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// authenticationv1.UserInfo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    /// Such as `system:serviceaccount:team:deployer`.
    pub username: String,
    /// Such as `system:authenticated`.
    pub groups: Vec<String>,
    /// Empty where the authenticator sets none.
    pub uid: String,
    /// Further facts that the authenticator adds, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl From<serde_json::Error> for ReviewError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(excerpt(&error.to_string()).into_owned())
    }
}

impl<'a> AdmissionRequest<'a> {
    /// Reads the body of a webhook call.
    ///
    /// # Errors
    ///
    /// When the body is no AdmissionReview v1 with a request.
    pub fn parse(body: &'a [u8]) -> Result<Self, ReviewError> {
        let mut request = match Self::at_once(body) {
            Some(request) => request,
            None => Self::in_two_passes(body)?,
        };
        request.take_name_of_deleted();
        Ok(request)
    }

    /// Takes the name of a Service that is deleted with its collection or its namespace from the
    /// Service itself: the request has none.
    fn take_name_of_deleted(&mut self) {
        if self.operation != Operation::Delete || !self.name().is_empty() {
            return;
        }
        let old = self.old_object.map(RawValue::get);
        let named = old.and_then(|old| serde_json::from_str::<Named<'a>>(old).ok());
        self.name = named.and_then(|named| named.metadata.name);
    }

    fn in_two_passes(body: &'a [u8]) -> Result<Self, ReviewError> {
        // Version first: the members of another version's request may have other types.
        let head: Head<'_> = serde_json::from_slice(body)?;
        if head.kind != "AdmissionReview" {
            return Err(ReviewError::Kind(excerpt(&head.kind).into_owned()));
        }
        if head.api_version != API_VERSION {
            return Err(ReviewError::ApiVersion(
                excerpt(&head.api_version).into_owned(),
            ));
        }
        let request = head.request.ok_or(ReviewError::NoRequest)?;
        let request: Self = serde_json::from_str(request.get())?;
        if request.uid.len() > MAX_UID {
            return Err(ReviewError::Uid(request.uid.len()));
        }
        Ok(request)
    }

    /// Reads a review as API servers send it in one pass. `None` for every other body, which is
    /// read once more for its error.
    fn at_once(body: &'a [u8]) -> Option<Self> {
        let review: Review<'_> = serde_json::from_slice(body).ok()?;
        let is_known = review.kind == "AdmissionReview" && review.api_version == API_VERSION;
        review
            .request
            .filter(|request| is_known && request.uid.len() <= MAX_UID)
    }

    /// Returns the namespace, empty when there is none.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// Returns the name, empty when there is none yet.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}
