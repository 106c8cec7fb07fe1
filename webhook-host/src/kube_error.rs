//! Errors of the API server as text: the refused or failed request, and the fix. Used by
//! `certificates`, `cluster`, `console`, `events` and `webhooks`.

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
                "somebody else wrote first; it is read again".to_owned(),
            ),
            _ => (TroubleReason::Refused, status.message.clone()),
        },
        error => (
            TroubleReason::Unreachable,
            format!("the API server can't be asked: {}", causes(error)),
        ),
    }
}

/// The text of an error and of its causes, without texts that only repeat the last one.
pub(crate) fn causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let mut texts: Vec<String> = chain.map(ToString::to_string).collect();
    let last = texts.pop().unwrap_or_default();
    texts.truncate(1);
    texts.retain(|text| !text.contains(&last));
    texts.push(last);
    texts.join(": ")
}
