//! Explains a watcher's failure: the reason, as `/readyz` and metrics name it, and what to do about
//! it.

use super::Resource;
use crate::kube_error;
use crate::watchers::Trouble;
use kube::core::Status;
use kube::runtime::watcher;

/// The HTTP status of an expired resourceVersion: the API server has dropped the changes since
/// then.
const GONE: u16 = 410;

pub(super) fn explain(resource: Resource, error: &watcher::Error) -> Trouble {
    match error {
        watcher::Error::InitialListFailed(error) => failed(resource, "list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            failed(resource, "watch", error)
        }
        watcher::Error::WatchError(status) => answered(resource, "watch", status),
        watcher::Error::NoResourceVersion => {
            let message =
                "the API server's answer has no resourceVersion; does something stand in between?";
            Trouble {
                reason: "unreadable",
                message: message.to_owned(),
            }
        }
    }
}

/// Returns true when the watcher can't resume and has to list again.
pub(super) fn ends_watch(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == GONE,
        watcher::Error::NoResourceVersion => true,
        _ => false,
    }
}

fn failed(resource: Resource, verb: &str, error: &kube::Error) -> Trouble {
    let Resource { plural, .. } = resource;
    match error {
        kube::Error::Api(status) => answered(resource, verb, status),
        kube::Error::SerdeError(error) => Trouble {
            reason: "unreadable",
            message: format!("can't {verb} {plural}: the answer is not what was expected: {error}"),
        },
        error => {
            let message = format!("can't {verb} {plural}: {}", kube_error::causes(error));
            Trouble {
                reason: "unreachable",
                message,
            }
        }
    }
}

fn answered(resource: Resource, verb: &str, status: &Status) -> Trouble {
    let (Resource { group, plural }, said) = (resource, &status.message);
    let (reason, message) = match status.code {
        401 => (
            "forbidden",
            format!(
                "can't {verb} {plural}: the API server does not know who asks; check the token or \
                 --kubeconfig: {said}"
            ),
        ),
        403 => (
            "forbidden",
            format!(
                "may not {verb} {plural}; a ClusterRole needs {{apiGroups: [\"{group}\"], \
                 resources: [{plural}], verbs: [list, watch]}}, see deploy/base/rbac.yaml: {said}"
            ),
        ),
        404 => (
            "missing",
            format!("the API server has no {plural}; apply its CustomResourceDefinition: {said}"),
        ),
        GONE => (
            "expired",
            format!(
                "the API server has forgotten the changes of {plural} since last time; listing \
                 again: {said}"
            ),
        ),
        429 | 503 => (
            "busy",
            format!("the API server is too busy to {verb} {plural} now; asking again: {said}"),
        ),
        code => (
            "refused",
            format!("can't {verb} {plural}: the API server answered {code}: {said}"),
        ),
    };
    Trouble { reason, message }
}
