//! Loads the ServicePolicies of the cluster, each independently of the others.
//!
//! Files are replaced as a whole or not at all, since they are one release made by one author.
//! Custom resources have several authors, so a broken one must not block the others' changes. It
//! keeps its last good version; without one, its reviews are evaluation errors under its
//! failurePolicy. Its status says so. In most cases the webhook for ServicePolicies refuses a
//! broken one before it is stored.

use super::load::{self, Loader};
use crate::cluster::{ClusterPolicy, Report, Reports, Serves, TAKEN};
use crate::engine::Engine;
use crate::live::Live;
use crate::registry::{Registry, SourcePolicy};
use sallyport_core::manifest::{API_VERSION, ComponentStatus, Module, ServicePolicy};
use sallyport_core::policy::{LoadError, Policy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
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
    loader: &Loader<'_>,
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
            match try_load(loader, &manifest, before) {
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
/// Nothing is pulled for a request: if the component is in a registry, only its reference is
/// checked.
pub(crate) struct Check {
    pub(crate) engine: Arc<Engine>,
    pub(crate) modules: PathBuf,
    /// The directory of the manifests in files, if there are any.
    pub(crate) manifests: Option<PathBuf>,
    /// The HostConfig, read for each check, as each reload reads it.
    pub(crate) config: Option<PathBuf>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) live: Arc<Live>,
}

impl Check {
    /// Returns the warnings about a manifest that can serve.
    ///
    /// A name that a file of `--policies` has is allowed with a warning, because its author may be
    /// about to remove the file.
    pub(crate) fn check(&self, manifest: ServicePolicy) -> Result<Vec<String>, LoadError> {
        let name = &manifest.metadata.name;
        let file = self
            .manifests
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
        let admission = self.live.admission();
        let stated = manifest.spec.candidate.clone();
        let (serves, next) = manifest.split();
        self.version(&serves, admission.policies())?;
        let (Some(stated), Some(next)) = (stated, next) else {
            return Ok(warnings);
        };
        self.version(&next, admission.candidates())
            .map(|()| warnings)
            .map_err(|error| error.in_candidate(&stated))
    }

    fn version(&self, manifest: &ServicePolicy, before: &[Arc<Policy>]) -> Result<(), LoadError> {
        let module = &manifest.spec.module;
        let fail = |problem: String| LoadError::field(module.field(), problem);
        let rules = match module {
            Module::File(_) => SourcePolicy::default(),
            Module::Oci(_) => {
                let config = load::host_config(self.config.as_deref());
                SourcePolicy::of_host(&config.map_err(|error| fail(format!("{error:#}")))?)
            }
        };
        let session = self.registry.session(rules);
        if let Module::Oci(reference) = module {
            let checked = session.check(reference, manifest.spec.mode);
            return checked.map_err(|error| fail(error.to_string()));
        }
        let loader = Loader {
            engine: &self.engine,
            modules: &self.modules,
            shipped: None,
            session: &session,
        };
        loader.policy(manifest, before).map(drop)
    }
}

impl Custom {
    /// Loads the candidates. A candidate that can't be loaded becomes a broken policy with the
    /// reason, which its policy's report gets too.
    pub(crate) fn candidates(
        &mut self,
        loader: &Loader<'_>,
        before: &[Arc<Policy>],
    ) -> Vec<Arc<Policy>> {
        let Self {
            with_candidate,
            reports,
            ..
        } = self;
        let load = |manifest: &ServicePolicy| {
            let name = &manifest.metadata.name;
            let place = format!("servicepolicies/{name}");
            let candidate = loader.candidate(&place, manifest.clone(), before)?;
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
    loader: &Loader<'_>,
    manifest: &Value,
    before: &[Arc<Policy>],
) -> Result<Arc<Policy>, LoadError> {
    let manifest = ServicePolicy::from_value(manifest)?;
    loader.policy(&manifest.split().0, before)
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
