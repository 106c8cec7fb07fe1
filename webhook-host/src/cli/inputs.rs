//! Arguments that several commands share: which files they read, and which policies they ask.

use crate::engine::Engine;
use crate::registry::Session;
use crate::shipped;
use crate::sources::load::Loader;
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files and directories to read, by position or as kubectl has it with `-f`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct PathArgs {
    /// Files, directories of them with all below, or - for standard input
    #[arg(value_name = "FILE|DIR|-", required_unless_present = "filename")]
    paths: Vec<PathBuf>,
    /// Another way to name a file or directory. May be repeated
    #[arg(long, short = 'f', value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,
}

impl PathArgs {
    pub(super) fn all(&self) -> Vec<PathBuf> {
        [&*self.paths, &*self.filename].concat()
    }
}

/// The policies of an offline command, and what they may know.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct PolicyArgs {
    /// Directory of ServicePolicy manifests, or one manifest [default: the shipped ones, beside the
    /// program or in target/policies of a clone]
    #[arg(long, value_name = "PATH", env = "SALLYPORT_POLICIES")]
    policies: Option<PathBuf>,
    /// Directory of the modules that the manifests name [default: that of --policies, then that of
    /// the shipped ones]
    #[arg(long, value_name = "DIR", env = "SALLYPORT_MODULES")]
    modules: Option<PathBuf>,
    /// HostConfig manifest: what policies may know about the cluster, and what is exempt
    #[arg(long, value_name = "FILE", env = "SALLYPORT_CONFIG")]
    config: Option<PathBuf>,
}

impl PolicyArgs {
    pub(super) fn are_given(&self) -> bool {
        self.policies.is_some()
    }

    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The directory of the manifests, where one is named.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.policies.as_deref()
    }

    /// The directory of the modules, where it or that of the manifests is named.
    pub(super) fn modules(&self) -> Option<&Path> {
        self.modules.as_deref().or(self.directory())
    }

    /// The manifests of `--policies`, by default the shipped ones, with their modules.
    ///
    /// # Errors
    ///
    /// When nothing is named and no policies are beside the program or in a clone.
    pub(super) fn files(&self) -> Result<PolicyFiles> {
        if let Some(directory) = &self.policies {
            return Ok(self.files_in(directory));
        }
        let shipped = shipped::policies().with_context(|| {
            let places: Vec<_> = shipped::places()
                .iter()
                .map(|place| place.display().to_string())
                .collect();
            format!(
                "which policies? Name a directory of ServicePolicy manifests with --policies (or \
                 SALLYPORT_POLICIES), and with --modules the directory of their .wasm files. \
                 Without it the shipped ones are taken, but none of these directories exists: {}; \
                 scripts/build-policies.sh makes the last one in a clone of Sallyport",
                places.join(", ")
            )
        })?;
        Ok(self.files_in(&shipped))
    }

    /// The manifests of another directory or file, with the same modules.
    pub(super) fn files_in(&self, manifests: &Path) -> PolicyFiles {
        let beside = || match manifests.parent() {
            Some(directory) if manifests.is_file() => directory,
            _ => manifests,
        };
        let shipped = self.modules.is_none().then(shipped::policies);
        PolicyFiles {
            manifests: manifests.to_owned(),
            modules: self.modules.as_deref().unwrap_or_else(beside).to_owned(),
            shipped: shipped.flatten(),
        }
    }
}

/// The places that policies are loaded from.
#[derive(Debug, Clone)]
pub(super) struct PolicyFiles {
    /// The directory of manifests, or one manifest.
    pub(super) manifests: PathBuf,
    /// The directory of the components that they name by file.
    modules: PathBuf,
    /// The directory of the shipped components, unless the user has named another one.
    shipped: Option<PathBuf>,
}

impl PolicyFiles {
    pub(super) fn loader<'a>(
        &'a self,
        engine: &'a Arc<Engine>,
        session: &'a Session,
    ) -> Loader<'a> {
        Loader {
            engine,
            modules: &self.modules,
            shipped: self.shipped.as_deref(),
            session,
        }
    }
}
