//! Loads the ServicePolicies of the cluster, each independently of the others.
//!
//! Files are replaced as a whole or not at all, since they are one release made by one author.
//! Custom resources have several authors, so a broken one must not block the others' changes. It
//! keeps its last good version; without one, its reviews are evaluation errors under its
//! failurePolicy. Its status says so. In most cases the webhook for ServicePolicies refuses a
//! broken one before it is stored.

use super::load;
use crate::cluster::{ClusterPolicy, Report, Reports, Serves, TAKEN};
use crate::engine::Engine;
use crate::live::Live;
use sallyport_core::manifest::{API_VERSION, ComponentStatus, ServicePolicy};
use sallyport_core::policy::{LoadError, Policy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The loaded ServicePolicies of the cluster.
#[derive(Default)]
pub(crate) struct Custom {
    pub(crate) policies: Vec<Arc<Policy>>,
    /// The load results of all of them, whether they are in `policies` or not.
    pub(crate) reports: Reports,
    /// The manifests that serve as written and have a candidate.
    with_candidate: Vec<ServicePolicy>,
}

/// Loads the ServicePolicies. Names that are `taken` are skipped; a broken one falls back to its
/// version in `before`.
pub(crate) fn policies(
    engine: &Arc<Engine>,
    modules: &Path,
    found: BTreeMap<String, ClusterPolicy>,
    taken: &[Arc<Policy>],
    before: &[Arc<Policy>],
) -> Custom {
    let mut custom = Custom::default();
    for (
        name,
        ClusterPolicy {
            manifest,
            generation,
            ..
        },
    ) in found
    {
        let (policy, serves) = if taken.iter().any(|policy| **policy.name() == *name) {
            (None, Serves::Taken)
        } else {
            match try_load(engine, modules, &manifest, before) {
                Ok(policy) => (Some(policy), Serves::AsWritten),
                Err(error) => fall_back(&name, &manifest, error, before),
            }
        };
        if let Serves::AsWritten = serves {
            custom.with_candidate.extend(
                ServicePolicy::from_value(&manifest)
                    .ok()
                    .filter(|read| read.spec.candidate.is_some()),
            );
        }
        let component = policy.as_ref().and_then(|policy| component(policy));
        custom.policies.extend(policy);
        custom.reports.insert(
            name,
            Report {
                generation,
                component,
                serves,
                candidate: None,
            },
        );
    }
    custom
}

/// Checks for the webhook for ServicePolicies that a policy and its candidate can be loaded and
/// would serve. The compiled code is cached on disk, so that the reload that follows need not
/// compile.
///
/// A name that a file of `--policies` has is allowed with a warning, because its author may be
/// about to remove the file.
pub(crate) fn check(
    engine: Arc<Engine>,
    modules: PathBuf,
    manifests: Option<PathBuf>,
    live: Arc<Live>,
) -> impl Fn(ServicePolicy) -> Result<Vec<String>, LoadError> + Send + Sync + 'static {
    move |manifest: ServicePolicy| {
        let name = &manifest.metadata.name;
        let file = manifests
            .as_deref()
            .and_then(|directory| load::file_with(directory, name));
        let taken = |file: PathBuf| {
            let file = file.display();
            format!(
                "[sallyport] it does not serve: {file} of the host has a ServicePolicy named \
                 {name:?}; rename one, or remove the file's"
            )
        };
        let warnings = file.map(taken).into_iter().collect();
        let admission = live.admission();
        let stated = manifest.spec.candidate.clone();
        let (serves, next) = manifest.split();
        load::component(&engine, &modules, &serves, admission.policies())?;
        let (Some(stated), Some(next)) = (stated, next) else {
            return Ok(warnings);
        };
        let loaded = load::component(&engine, &modules, &next, admission.candidates());
        loaded
            .map(|_| warnings)
            .map_err(|error| error.in_candidate(&stated))
    }
}

impl Custom {
    /// Loads the candidates. One that can't be loaded is broken and says why, and so does the
    /// report of its policy.
    pub(crate) fn candidates(
        &mut self,
        engine: &Arc<Engine>,
        modules: &Path,
        before: &[Arc<Policy>],
    ) -> Vec<Arc<Policy>> {
        let Self {
            with_candidate,
            reports,
            ..
        } = self;
        let load = |manifest: &ServicePolicy| {
            let name = &manifest.metadata.name;
            let candidate = load::candidate(
                engine,
                modules,
                &format!("servicepolicies/{name}"),
                manifest.clone(),
                before,
            )?;
            if let (Some(error), Some(report)) = (candidate.load_error(), reports.get_mut(name)) {
                report.candidate = Some(error.to_string());
            }
            Some(candidate)
        };
        with_candidate.iter().filter_map(load).collect()
    }

    /// Returns one line for each ServicePolicy that does not serve as written.
    pub(crate) fn setbacks(&self) -> Vec<String> {
        let line = |(name, report): (&String, &Report)| match &report.serves {
            Serves::AsWritten => report.candidate.clone(),
            Serves::AsBefore(error) => Some(format!(
                "servicepolicies/{name}: its version from before serves on: {error}"
            )),
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
    let manifest = ServicePolicy::from_value(manifest)?;
    load::component(engine, modules, &manifest.split().0, before)
}

fn fall_back(
    name: &str,
    manifest: &Value,
    error: LoadError,
    before: &[Arc<Policy>],
) -> (Option<Arc<Policy>>, Serves) {
    let text = error.to_string();
    let last = before
        .iter()
        .find(|policy| **policy.name() == *name && policy.load_error().is_none());
    match last {
        Some(last) => (Some(Arc::clone(last)), Serves::AsBefore(text)),
        None => {
            let broken =
                readable(name, manifest).map(|manifest| Arc::new(Policy::broken(manifest, error)));
            (broken, Serves::Nothing(text))
        }
    }
}

/// Decodes as much of a manifest as possible, so that a policy that can't be loaded still has the
/// match rules and failurePolicy of its author. `None` when its name is unusable.
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
    Some(ComponentStatus {
        digest,
        name: description.name.clone(),
        version: description.version.clone(),
    })
}
