//! What a watcher's failure means, and what to do about it.

use crate::inventory::{Kind, Trouble};
use kube::core::Status;
use kube::runtime::watcher;

/// The code of what the API server forgot: changes since a resourceVersion.
const GONE: u16 = 410;

pub(super) fn of(kind: Kind, error: &watcher::Error) -> Trouble {
    match error {
        watcher::Error::InitialListFailed(error) => failed(kind, "list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => failed(kind, "watch", error),
        watcher::Error::WatchError(status) => answered(kind, "watch", status),
        watcher::Error::NoResourceVersion => {
            let message = "the API server's answer has no resourceVersion; does something stand in between?";
            Trouble { reason: "unreadable", message: message.to_owned() }
        }
    }
}

fn failed(kind: Kind, verb: &str, error: &kube::Error) -> Trouble {
    let resource = kind.resource();
    match error {
        kube::Error::Api(status) => answered(kind, verb, status),
        kube::Error::SerdeError(error) => Trouble {
            reason: "unreadable",
            message: format!("can't {verb} {resource}: the answer is not what was expected: {error}"),
        },
        error => {
            let causes: Vec<_> = causes(error).collect();
            let message = format!("can't {verb} {resource}: {}", causes.join(": "));
            Trouble { reason: "unreachable", message }
        }
    }
}

fn answered(kind: Kind, verb: &str, status: &Status) -> Trouble {
    let (resource, said) = (kind.resource(), &status.message);
    let (reason, message) = match status.code {
        401 => (
            "forbidden",
            format!(
                "can't {verb} {resource}: the API server does not know who asks; check the token or --kubeconfig: {said}"
            ),
        ),
        403 => (
            "forbidden",
            format!(
                "may not {verb} {resource}; a ClusterRole needs {{apiGroups: [\"\"], resources: [{resource}], verbs: [list, watch]}}, see deploy/base/rbac.yaml: {said}"
            ),
        ),
        GONE => (
            "expired",
            format!("the API server has forgotten the changes of {resource} since last time; listing again: {said}"),
        ),
        code => ("refused", format!("can't {verb} {resource}: the API server answered {code}: {said}")),
    };
    Trouble { reason, message }
}

/// An error and what caused it, without those that only repeat it.
fn causes(error: &dyn std::error::Error) -> impl Iterator<Item = String> {
    let mut next = Some(error);
    let chain = std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error.to_string())
    });
    let mut texts: Vec<String> = chain.collect();
    let last = texts.pop();
    texts.truncate(1);
    texts.retain(|text| last.as_ref().is_none_or(|last| !text.contains(last.as_str())));
    texts.into_iter().chain(last)
}
