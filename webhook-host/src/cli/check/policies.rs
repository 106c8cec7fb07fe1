//! The policies of a directory: its ServicePolicy manifests, each with its component beside it.

use crate::engine::Engine;
use crate::manifest::ServicePolicy;
use crate::policy::{LoadError, Policy};
use crate::yaml;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Loads them. One that is broken answers with its error, and whatever it would have judged could not be judged.
///
/// # Errors
///
/// When a manifest can't be read, or there is none.
pub(super) fn load(directory: &Path, engine: &Arc<Engine>) -> anyhow::Result<Vec<Policy>> {
    let mut policies = vec![];
    for path in files(directory)? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("{}: can't be read", path.display()))?;
        for document in yaml::documents(&text).with_context(|| path.display().to_string())? {
            if document["kind"] == ServicePolicy::KIND {
                let manifest = ServicePolicy::from_value(&document).with_context(|| path.display().to_string())?;
                policies.push(policy(directory, manifest, engine));
            }
        }
    }
    if policies.is_empty() {
        let directory = directory.display();
        bail!("{directory}: no policies here; name a directory of ServicePolicy manifests and components with --policies");
    }
    Ok(policies)
}

fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let fail = || format!("{}: can't be read; name the directory of the policies with --policies", directory.display());
    let mut files = vec![];
    for entry in std::fs::read_dir(directory).with_context(fail)? {
        let path = entry.with_context(fail)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn policy(directory: &Path, manifest: ServicePolicy, engine: &Arc<Engine>) -> Policy {
    let path = directory.join(&manifest.spec.module.file);
    let loaded = std::fs::read(&path)
        .map_err(|error| LoadError::new(format!("{}: {error}", path.display())))
        .and_then(|component| Policy::load(engine, manifest.clone(), &component));
    loaded.unwrap_or_else(|error| Policy::broken(manifest, error))
}
