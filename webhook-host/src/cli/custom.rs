//! ServicePolicies of the cluster, loaded: each for itself.
//!
//! Files are swapped in as a whole or not at all, since they are one release that somebody made. Custom resources are written
//! by several hands at several times, so that a broken one must not hold up the others' changes: it keeps its own last good
//! version, or without one answers with evaluation errors under its failurePolicy, and its status says so. The webhook for
//! ServicePolicies refuses it up front, most of the time.

use super::load;
use crate::cluster::{Found, Report, Reports, Serves, TAKEN};
use crate::engine::Engine;
use crate::manifest::{API_VERSION, ComponentStatus, ServicePolicy};
use crate::policy::{LoadError, Policy};
use crate::server::{Live, PolicyCheck};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What came of the ServicePolicies of a cluster.
#[derive(Default)]
pub(super) struct Custom {
    pub(super) policies: Vec<Arc<Policy>>,
    /// Of each, whether it is in `policies` or not.
    pub(super) reports: Reports,
    /// Of those that serve as they are written: who has a candidate.
    tried: Vec<ServicePolicy>,
}

/// Loads them beside policies that are `taken` already; those that served `before` are what broken ones fall back on.
pub(super) fn policies(
    engine: &Arc<Engine>,
    modules: &Path,
    found: BTreeMap<String, Found>,
    taken: &[Arc<Policy>],
    before: &[Arc<Policy>],
) -> Custom {
    let mut custom = Custom::default();
    for (name, Found { manifest, generation, .. }) in found {
        let (policy, serves) = if taken.iter().any(|policy| **policy.name() == *name) {
            (None, Serves::Taken)
        } else {
            match try_load(engine, modules, &manifest, before) {
                Ok(policy) => (Some(policy), Serves::AsWritten),
                Err(error) => fall_back(&name, &manifest, error, before),
            }
        };
        if let Serves::AsWritten = serves {
            custom.tried.extend(ServicePolicy::from_value(&manifest).ok().filter(|read| read.spec.candidate.is_some()));
        }
        let component = policy.as_ref().and_then(|policy| component(policy));
        custom.policies.extend(policy);
        custom.reports.insert(name, Report { generation, component, serves });
    }
    custom
}

/// What the webhook for ServicePolicies asks: whether the policy could be loaded now. What it compiles is kept on disk, so that
/// the reload that follows need not.
pub(super) fn check(engine: Arc<Engine>, modules: PathBuf, live: Arc<Live>) -> PolicyCheck {
    Arc::new(move |manifest| {
        load::component(&engine, &modules, &manifest.split().0, live.admission().policies()).map(drop)
    })
}

impl Custom {
    /// Their next versions. One that can't be loaded is broken and says why.
    pub(super) fn candidates(&self, engine: &Arc<Engine>, modules: &Path, before: &[Arc<Policy>]) -> Vec<Arc<Policy>> {
        let load = |manifest: &ServicePolicy| {
            let place = format!("servicepolicies/{}", manifest.metadata.name);
            load::candidate(engine, modules, &place, manifest.clone(), before)
        };
        self.tried.iter().filter_map(load).collect()
    }

    /// What is not as it was written, a line each.
    pub(super) fn setbacks(&self) -> Vec<String> {
        let line = |(name, report): (&String, &Report)| match &report.serves {
            Serves::AsWritten => None,
            Serves::AsBefore(error) => {
                Some(format!("servicepolicies/{name}: its version from before serves on: {error}"))
            }
            Serves::Nothing(error) => Some(format!("servicepolicies/{name}: {error}")),
            Serves::Taken => Some(format!("servicepolicies/{name}: {TAKEN}")),
        };
        self.reports.iter().filter_map(line).collect()
    }
}

fn try_load(
    engine: &Arc<Engine>,
    modules: &Path,
    manifest: &Value,
    before: &[Arc<Policy>],
) -> Result<Arc<Policy>, LoadError> {
    let manifest = ServicePolicy::from_value(manifest).map_err(|error| LoadError::new(error.to_string()))?;
    load::component(engine, modules, &manifest.split().0, before)
}

fn fall_back(name: &str, manifest: &Value, error: LoadError, before: &[Arc<Policy>]) -> (Option<Arc<Policy>>, Serves) {
    let text = error.to_string();
    let last = before.iter().find(|policy| **policy.name() == *name && policy.load_error().is_none());
    match last {
        Some(last) => (Some(Arc::clone(last)), Serves::AsBefore(text)),
        None => {
            let broken = readable(name, manifest).map(|manifest| Arc::new(Policy::broken(manifest, error)));
            (broken, Serves::Nothing(text))
        }
    }
}

/// As much of a manifest as can be read: what a policy that can't be loaded means should be what its author said. `None` when
/// not even its name can be used.
fn readable(name: &str, manifest: &Value) -> Option<ServicePolicy> {
    let mut least = json!({
        "apiVersion": API_VERSION, "kind": ServicePolicy::KIND, "metadata": {"name": name},
        "spec": {"module": {"file": "unreadable.wasm"}},
    });
    for key in ["module", "mode", "failurePolicy", "match"] {
        let mut more = least.clone();
        more["spec"][key] = manifest["spec"][key].clone();
        if ServicePolicy::from_value(&more).is_ok() {
            least = more;
        }
    }
    ServicePolicy::from_value(&least).ok()
}

fn component(policy: &Policy) -> Option<ComponentStatus> {
    let (digest, description) = (policy.digest()?.to_owned(), policy.description()?);
    Some(ComponentStatus { digest, name: description.name.clone(), version: description.version.clone() })
}
