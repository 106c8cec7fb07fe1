//! Problems that an operator must fix, found in the host's status.

use crate::cluster::{Policies, Reports, Serves, Watchers};
use crate::status::Status;
use k8s_openapi::api::core::v1::ObjectReference;
use sallyport_core::manifest::{API_VERSION, ServicePolicy};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) regarding: Regarding,
    pub(super) reason: &'static str,
    pub(super) action: &'static str,
    pub(super) note: String,
}

/// The object that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Regarding {
    /// The host itself.
    Host,
    /// A ServicePolicy of the cluster.
    Policy {
        name: String,
        /// `None` if the cluster does not say.
        uid: Option<String>,
    },
}

/// The state of the cluster's ServicePolicies, by the watchers.
pub(super) struct Cluster {
    policies: Option<Arc<Policies>>,
    reports: Option<watch::Receiver<Reports>>,
}

impl Cluster {
    pub(super) fn of(watchers: Option<&Watchers>) -> Self {
        Self {
            policies: watchers.and_then(Watchers::policies).cloned(),
            reports: watchers.map(Watchers::reported),
        }
    }

    /// Returns the ServicePolicies that can't be loaded, each with the reason.
    fn broken(&self) -> BTreeSet<(String, String)> {
        let Some(reports) = &self.reports else {
            return BTreeSet::new();
        };
        let reports = reports.borrow();
        let broken = reports.iter().filter_map(|(name, report)| {
            let note = match &report.serves {
                Serves::AsBefore(error) => {
                    format!("{error}. What was written before judges requests until it is mended")
                }
                Serves::Nothing(error) => {
                    format!("{error}. Each review is an evaluation error, under its failurePolicy")
                }
                Serves::AsWritten | Serves::Taken => return None,
            };
            Some((name.clone(), note))
        });
        broken.collect()
    }

    fn regarding(&self, name: &str) -> Regarding {
        let policies = self.policies.as_ref().map(|policies| policies.all());
        let found = policies.and_then(|mut policies| policies.remove(name));
        Regarding::Policy {
            name: name.to_owned(),
            uid: found.and_then(|found| found.uid),
        }
    }
}

/// Returns all current problems.
pub(super) fn current(status: &Status, cluster: &Cluster) -> BTreeSet<Problem> {
    let mut problems = BTreeSet::new();
    let broken = cluster.broken();
    for (name, note) in &broken {
        problems.insert(Problem {
            regarding: cluster.regarding(name),
            reason: "PolicyNotLoaded",
            action: "Load",
            note: note.clone(),
        });
    }
    let mut host = |reason, action, note: String| {
        problems.insert(Problem {
            regarding: Regarding::Host,
            reason,
            action,
            note,
        });
    };
    for policy in &status.policies {
        let is_of_cluster = broken.iter().any(|(name, _)| *name == policy.name);
        if let Some(error) = policy.error.as_ref().filter(|_| !is_of_cluster) {
            host(
                "PolicyNotLoaded",
                "Load",
                format!("{}: {error}", policy.name),
            );
        }
    }
    let reload = status.last_reload.as_ref();
    // Broken ServicePolicies of the cluster have Events of their own.
    let error = reload.and_then(|reload| reload.error.as_ref());
    if let Some(error) = error.filter(|_| broken.is_empty()) {
        host("ReloadFailed", "Reload", error.clone());
    }
    let certificate = status.certificate.as_ref();
    if let Some(trouble) = certificate.and_then(|certificate| certificate.trouble.as_ref()) {
        host("CertificateTrouble", "Renew", trouble.clone());
    }
    problems
}

/// Returns the reference to a ServicePolicy. Its Events are in the namespace `default`, as those of
/// all cluster-wide objects.
pub(super) fn service_policy(name: &str, uid: &Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some(API_VERSION.to_owned()),
        kind: Some(ServicePolicy::KIND.to_owned()),
        name: Some(name.to_owned()),
        uid: uid.clone(),
        ..ObjectReference::default()
    }
}
