//! Errors of the API server as text: the refused or failed request, and the fix. Used by
//! `audit_reports`, `certificates`, `cluster`, `console`, `events` and `webhooks`.

use crate::status::TroubleReason;
use std::error::Error;

/// Explains why a request to the API server failed. A message about missing rights names `rbac`,
/// the manifest of `deploy/` that grants them.
pub(crate) fn explain(error: &kube::Error, rbac: &str) -> (TroubleReason, String) {
    match error {
        kube::Error::Api(status) => match status.code {
            403 => (
                TroubleReason::Forbidden,
                format!("{}; see {rbac}", status.message),
            ),
            409 => (
                TroubleReason::Conflict,
                "another client changed the object first; it is read again".to_owned(),
            ),
            // Only the text of etcd's own error tells it from other failures of an API server.
            500 if status.message.contains(ETCD_FULL) => (
                TroubleReason::Refused,
                format!("{}; {ETCD_FULL_FIX}", status.message),
            ),
            _ => (TroubleReason::Refused, status.message.clone()),
        },
        error => (
            TroubleReason::Unreachable,
            format!("the API server can't be asked: {}", causes(error)),
        ),
    }
}

/// The end of the error of an etcd whose `--quota-backend-bytes` is used up.
const ETCD_FULL: &str = "mvcc: database space exceeded";

const ETCD_FULL_FIX: &str = "the API server's etcd is full and takes no writes until somebody \
    deletes what fills it, compacts and defragments it, and disarms its alarm (etcdctl alarm \
    disarm), or raises --quota-backend-bytes";

/// Returns true if a request failed for a reason that concerns the API server and not the request:
/// another one would fail, too.
pub(crate) fn is_of_server(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        _ => true,
    }
}

/// Returns the text of an error and of its causes, without texts that only repeat the last one.
pub(crate) fn causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let mut texts: Vec<String> = chain.map(ToString::to_string).collect();
    let last = texts.pop().unwrap_or_default();
    texts.truncate(1);
    texts.retain(|text| !text.contains(&last));
    texts.push(last);
    texts.join(": ")
}
