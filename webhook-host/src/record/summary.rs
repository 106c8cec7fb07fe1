//! The parts of a request that observers report for each review, read once while it is answered.

use sallyport_core::admission::{AdmissionRequest, Operation};
use sallyport_core::excerpt::{MAX_MESSAGE, cut, excerpt};

/// A request without its objects. Texts of any length are shortened.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) uid: String,
    pub(crate) operation: Operation,
    pub(crate) sub_resource: Option<String>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) is_dry_run: bool,
    /// True if the objects are core/v1 Services, or their status.
    pub(crate) is_service: bool,
}

impl Summary {
    /// Reads a request.
    pub(crate) fn of(request: &AdmissionRequest<'_>) -> Self {
        let kind = [
            &*request.kind.group,
            &*request.kind.version,
            &*request.kind.kind,
        ];
        let sub_resource = request.sub_resource.as_deref();
        Self {
            uid: request.uid.as_ref().to_owned(),
            operation: request.operation,
            sub_resource: sub_resource.map(|name| excerpt(name).into_owned()),
            namespace: excerpt(request.namespace()).into_owned(),
            name: excerpt(request.name()).into_owned(),
            user: cut(&request.user_info.username, MAX_MESSAGE).into_owned(),
            is_dry_run: request.dry_run.unwrap_or_default(),
            is_service: kind == ["", "v1", "Service"]
                && matches!(sub_resource, None | Some("" | "status")),
        }
    }
}
