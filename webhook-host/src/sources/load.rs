//! Loads policies, candidates and the HostConfig from files. Used by `source` for `serve`, and by
//! the commands that evaluate offline.

use crate::engine::Engine;
use crate::evaluator;
use crate::registry::Session;
use crate::shipped;
use anyhow::{Context as _, Result, anyhow, bail};
use sallyport_core::decode;
use sallyport_core::manifest::{HostConfig, HostConfigSpec, Module, Reference, ServicePolicy};
use sallyport_core::policy::{LoadError, Policy};
use sallyport_core::yaml;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration of a host without `--config`: not a cloud.
const DEFAULT_CONFIG: &str = include_str!("default-config.yaml");

/// The assumption behind [`DEFAULT_CONFIG`], as commands print it.
pub(crate) const DEFAULT_CONFIG_IN_WORDS: &str = "no --config, so the built-in default holds: \
    environment onPrem, node ports 30000-32767, no known namespaces";

/// The largest module in bytes: five times the size of one that carries a JavaScript engine.
/// Compiling takes many times as much memory.
const MAX_MODULE: u64 = 64 << 20;

/// Reads a host's configuration from a file, or returns the embedded default.
pub(crate) fn host_config(file: Option<&Path>) -> Result<HostConfigSpec> {
    let text = match file {
        None => DEFAULT_CONFIG.to_owned(),
        Some(file) => read_text(file)?,
    };
    let name = || {
        file.map_or_else(
            || "the embedded default configuration".to_owned(),
            |file| file.display().to_string(),
        )
    };
    let documents = yaml::documents(&text).with_context(name)?;
    let [document] = documents.as_slice() else {
        bail!(
            "{}: expected one HostConfig, found {} documents",
            name(),
            documents.len()
        );
    };
    Ok(HostConfig::from_value(document).with_context(name)?.spec)
}

/// Loads every ServicePolicy of a directory. A policy that can't be loaded becomes a broken policy
/// with the reason. A file that holds no ServicePolicy at all is an error: a typo must not switch a
/// rule off. Policies that equal those of `before` are kept.
pub(crate) fn policies(
    loader: &Loader<'_>,
    directory: &Path,
    before: &[Arc<Policy>],
) -> Result<Vec<Arc<Policy>>> {
    let load = |(file, manifest): (PathBuf, ServicePolicy)| {
        let (live, _) = manifest.split();
        loader.policy(&live, before).unwrap_or_else(|error| {
            Policy::broken(live, error.in_manifest(file.display().to_string())).into()
        })
    };
    Ok(manifests(directory)?.into_iter().map(load).collect())
}

/// Loads every ServicePolicy of a directory, for a command that needs all of them.
///
/// # Errors
///
/// One error that lists all policies that can't be loaded.
pub(crate) fn sound_policies(loader: &Loader<'_>, directory: &Path) -> Result<Vec<Arc<Policy>>> {
    let manifests = manifests(directory)?;
    let modules: BTreeSet<_> = manifests
        .iter()
        .filter_map(|(_, manifest)| manifest.spec.module.file())
        .collect();
    let missing: Vec<_> = modules
        .iter()
        .filter(|file| !loader.module(file).exists())
        .collect();
    if !missing.is_empty() {
        let near = |file: &&&str| format!("{file}{}", nearest_module(loader.modules, file));
        let named = missing
            .iter()
            .take(MAX_LISTED_NAMES)
            .map(near)
            .collect::<Vec<_>>()
            .join(", ");
        let is = if missing.len() == 1 { "is" } else { "are" };
        let more = missing.len().saturating_sub(MAX_LISTED_NAMES);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let such = shipped::policies().unwrap_or_else(|| "target/policies".into());
        bail!(
            "{} of {} modules {is} not in {}: {named}{more}; name the directory of the modules \
             with --modules, such as --modules {}",
            missing.len(),
            modules.len(),
            loader.modules.display(),
            such.display()
        );
    }
    let policies = policies(loader, directory, &[])?;
    let broken = policies
        .iter()
        .filter_map(|policy| Some(format!("{}: {}", policy.name(), policy.load_error()?)));
    let broken: Vec<_> = broken.collect();
    if !broken.is_empty() {
        bail!(
            "{} of {} policies can't be loaded:\n  {}",
            broken.len(),
            policies.len(),
            broken.join("\n  ")
        );
    }
    Ok(policies)
}

/// The most names that an error lists.
const MAX_LISTED_NAMES: usize = 10;

/// Returns ` (did you mean "x.wasm"?)` when a directory has a component with nearly this name, else
/// nothing.
pub(crate) fn nearest_module(directory: &Path, file: &str) -> String {
    let names = modules_in(directory);
    decode::suggestion(file, names.iter().map(String::as_str))
}

/// Returns true when a directory holds any component.
pub(crate) fn has_modules(directory: &Path) -> bool {
    !modules_in(directory).is_empty()
}

fn modules_in(directory: &Path) -> Vec<String> {
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".wasm")).collect()
}

/// Loads every ServicePolicy of a directory with its candidate, if it has one, in its place.
///
/// # Errors
///
/// One error that lists all policies that can't be loaded; another one when there is no candidate
/// at all.
pub(crate) fn promoted(loader: &Loader<'_>, directory: &Path) -> Result<Vec<Arc<Policy>>> {
    let manifests = manifests(directory)?;
    if manifests
        .iter()
        .all(|(_, manifest)| manifest.spec.candidate.is_none())
    {
        bail!(
            "no ServicePolicy in {} has a candidate; see spec.candidate",
            directory.display()
        );
    }
    let load = |(file, manifest): (PathBuf, ServicePolicy)| {
        let (live, next) = manifest.split();
        let next = next.unwrap_or(live);
        loader.policy(&next, &[]).unwrap_or_else(|error| {
            Policy::broken(next, error.in_manifest(file.display().to_string())).into()
        })
    };
    Ok(manifests.into_iter().map(load).collect())
}

/// Loads the candidates of a directory's ServicePolicies, for a host that serves. A candidate that
/// can't be loaded becomes a broken policy with the reason.
pub(crate) fn candidates(
    loader: &Loader<'_>,
    directory: &Path,
    before: &[Arc<Policy>],
) -> Result<Vec<Arc<Policy>>> {
    let load = |(file, manifest): (PathBuf, ServicePolicy)| {
        loader.candidate(&file.display().to_string(), manifest, before)
    };
    Ok(manifests(directory)?.into_iter().filter_map(load).collect())
}

/// Reads the ServicePolicies of a directory, sorted by name, each with its file.
fn manifests(directory: &Path) -> Result<Vec<(PathBuf, ServicePolicy)>> {
    let mut manifests = BTreeMap::<String, (PathBuf, ServicePolicy)>::new();
    for file in manifest_files(directory)? {
        for manifest in manifests_of(&file)? {
            let name = manifest.metadata.name.clone();
            if let Some((other, _)) = manifests.insert(name.clone(), (file.clone(), manifest)) {
                bail!(
                    "{}: the ServicePolicy {name:?} is already in {}; rename one",
                    file.display(),
                    other.display()
                );
            }
        }
    }
    if manifests.is_empty() {
        bail!(
            "no ServicePolicy in {}; expected manifests (*.yaml, *.yml, *.json)",
            directory.display()
        );
    }
    Ok(manifests.into_values().collect())
}

/// Returns the file of a directory that has a ServicePolicy with this name; `None` also when the
/// directory can't be read.
pub(crate) fn file_with(directory: &Path, name: &str) -> Option<PathBuf> {
    let (file, _) = manifests(directory)
        .ok()?
        .into_iter()
        .find(|(_, manifest)| manifest.metadata.name == name)?;
    Some(file)
}

/// Loads single policies, with components of files and of registries.
pub(crate) struct Loader<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    /// The directory of the components that manifests name by file.
    pub(crate) modules: &'a Path,
    /// The directory of the shipped components, where one that is missing there is looked for.
    pub(crate) shipped: Option<&'a Path>,
    /// Pulls the others.
    pub(crate) session: &'a Session,
}

impl Loader<'_> {
    /// Loads the policy of a manifest. One that equals a policy of `before` is kept.
    pub(crate) fn policy(
        &self,
        manifest: &ServicePolicy,
        before: &[Arc<Policy>],
    ) -> Result<Arc<Policy>, LoadError> {
        self.load(manifest, before, |policy| policy)
    }

    /// Loads the candidate of a manifest, if it has one.
    pub(crate) fn candidate(
        &self,
        place: &str,
        manifest: ServicePolicy,
        before: &[Arc<Policy>],
    ) -> Option<Arc<Policy>> {
        let stated = manifest.spec.candidate.clone()?;
        let next = manifest.split().1?;
        let broken = |error: LoadError| error.in_candidate(&stated).in_manifest(place);
        let loaded = self.load(&next, before, Policy::as_candidate);
        Some(
            loaded
                .unwrap_or_else(|error| Policy::broken(next, broken(error)).as_candidate().into()),
        )
    }

    fn load(
        &self,
        manifest: &ServicePolicy,
        before: &[Arc<Policy>],
        named: impl Fn(Policy) -> Policy,
    ) -> Result<Arc<Policy>, LoadError> {
        let module = &manifest.spec.module;
        let (component, shown) = match module {
            Module::File(file) => {
                let file = self.module(file);
                let shown = file.display().to_string();
                let bytes = module_bytes(&file).map_err(|problem| {
                    LoadError::field(module.field(), format!("can't read {shown}: {problem}"))
                })?;
                (bytes, shown)
            }
            Module::Oci(reference) => {
                if let Some(policy) = self.unchanged(manifest, reference, before) {
                    return Ok(policy);
                }
                let pulled = self.session.pull(reference, manifest.spec.mode);
                let pulled =
                    pulled.map_err(|error| LoadError::field(module.field(), error.to_string()))?;
                (pulled.component, reference.to_string())
            }
        };
        if let Some(policy) = before.iter().find(|policy| policy.is(manifest, &component)) {
            return Ok(Arc::clone(policy));
        }
        let loaded = evaluator::load(self.engine, manifest.clone(), &component);
        loaded
            .map(|policy| named(policy).into())
            .map_err(|error| error.in_module(module, shown))
    }

    /// Returns the path of a component that a manifest names.
    fn module(&self, file: &str) -> PathBuf {
        let named = self.modules.join(file);
        let shipped = || Some(self.shipped?.join(file)).filter(|shipped| shipped.exists());
        if named.exists() {
            return named;
        }
        shipped().unwrap_or(named)
    }

    /// Returns the policy of `before` with the same manifest, when its component is pinned by a
    /// digest, so that nothing has to be pulled to know that it is the same.
    fn unchanged(
        &self,
        manifest: &ServicePolicy,
        reference: &Reference,
        before: &[Arc<Policy>],
    ) -> Option<Arc<Policy>> {
        let component = self.session.known(reference, manifest.spec.mode)?;
        let is_same = |policy: &&Arc<Policy>| {
            policy.manifest() == manifest && policy.digest() == Some(component.as_str())
        };
        before.iter().find(is_same).cloned()
    }
}

/// Reads a module of at most [`MAX_MODULE`] bytes.
pub(crate) fn module_bytes(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = vec![];
    let file = File::open(file).map_err(|error| error.to_string())?;
    file.take(MAX_MODULE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_MODULE {
        return Err(format!(
            "it is larger than {} MiB, the most that a module may have",
            MAX_MODULE >> 20
        ));
    }
    Ok(bytes)
}

/// Reads the ServicePolicies of one file.
pub(crate) fn manifests_of(file: &Path) -> Result<Vec<ServicePolicy>> {
    let name = file.display();
    let documents = yaml::documents(&read_text(file)?).with_context(|| name.to_string())?;
    let several = documents.len() > 1;
    let read = |document: &Value| {
        // An error in one of several documents names its policy.
        let of = document
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .filter(|_| several);
        let place = || of.map_or_else(|| name.to_string(), |of| format!("{name} ({of})"));
        if document.get("apiVersion").is_none() && document.get("kind").is_none() {
            bail!(
                "{name}: no manifest of Kubernetes; a directory of policies holds manifests and \
                 modules alone, so put this file elsewhere, or name one manifest in place of the \
                 directory"
            );
        }
        ServicePolicy::from_value(document).with_context(place)
    };
    documents.iter().map(read).collect()
}

fn manifest_files(directory: &Path) -> Result<Vec<PathBuf>> {
    // kustomize's own file lists manifests and is none.
    let is_list = |file: &PathBuf| file.file_stem().is_some_and(|stem| stem == "kustomization");
    Ok(files(directory)?
        .into_iter()
        .filter(|file| !is_suite(file) && !is_list(file))
        .collect())
}

/// Returns true when a directory has no manifest, and a kustomization that says so. Without that,
/// an empty directory counts as not mounted or not written yet.
pub(crate) fn is_empty_on_purpose(directory: &Path) -> Result<bool> {
    let is_there = directory.join("kustomization.yaml").exists();
    Ok(is_there && manifest_files(directory)?.is_empty())
}

/// Lists the suites of a directory of policies: `suite.yaml` and `*.suite.yaml`. They are
/// recognized by name, since a ConfigMap has no sub-directories.
pub(crate) fn suite_files(directory: &Path) -> Result<Vec<PathBuf>> {
    Ok(files(directory)?
        .into_iter()
        .filter(|file| is_suite(file))
        .collect())
}

/// Returns true for a file with the name of a suite.
pub(crate) fn is_suite(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| {
        let end = Path::new(stem).extension();
        stem == "suite" || end.is_some_and(|end| end == "suite")
    })
}

/// Returns true for hidden files. A mounted ConfigMap holds a hidden directory, and links into it.
pub(crate) fn is_hidden(file: &Path) -> bool {
    file.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Lists the manifests of a directory, sorted; a file is its own list.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    if directory.is_file() {
        return Ok(vec![directory.to_owned()]);
    }
    let entries = std::fs::read_dir(directory).map_err(|error| {
        let directory = directory.display();
        anyhow!(
            "can't read the directory of policies, {directory}: {error}; name another one with \
            --policies"
        )
    })?;
    let mut files = vec![];
    for entry in entries {
        let path = entry
            .with_context(|| format!("can't read {}", directory.display()))?
            .path();
        let manifest = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if manifest && !is_hidden(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a text file; its name is in the error.
pub(crate) fn read_text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))
}
