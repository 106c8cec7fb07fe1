//! Arguments that several commands share: the files that they read, and the policies that they ask.

use crate::engine::Engine;
use crate::registry::Session;
use crate::shipped;
use crate::sources::load::{self, Loader};
use anyhow::{Context as _, Result};
use clap::Args;
use sallyport_core::yaml;
use serde_json::Value;
use std::io::Read as _;
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

    /// Returns the directory of the manifests, where one is named.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.policies.as_deref()
    }

    /// Returns the directory of the modules, where it or that of the manifests is named.
    pub(super) fn modules(&self) -> Option<&Path> {
        self.modules.as_deref().or(self.directory())
    }

    /// Returns the manifests of `--policies`, by default the shipped ones, with their modules.
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
                 `make policies` makes the last one in a clone of Sallyport of Sallyport",
                places.join(", ")
            )
        })?;
        Ok(self.files_in(&shipped))
    }

    /// Returns the manifests of another directory or file, with the same modules.
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

/// Bytes of standard input. A cluster's configurations are some hundred kilobytes.
const MAX_INPUT: u64 = 64 << 20;

/// Reads the objects of a file or of standard input; those of a List one by one.
///
/// # Errors
///
/// When the file can't be read, or is no YAML.
pub(super) fn objects(path: &Path) -> Result<Vec<Value>> {
    let (text, name) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .context("can't read standard input")?;
        (text, "<stdin>".to_owned())
    } else {
        (load::read_text(path)?, path.display().to_string())
    };
    let documents = yaml::documents(&text).with_context(|| name)?;
    let is_list = |object: &Value| {
        object["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("List"))
    };
    let flat = documents
        .into_iter()
        .flat_map(|mut object| match is_list(&object) {
            true => items(&mut object),
            false => vec![object],
        });
    Ok(flat.collect())
}

/// Returns the items of a list. Items of a list of one kind, such as ServiceList, get their kind
/// and apiVersion from the list.
fn items(list: &mut Value) -> Vec<Value> {
    let kind = list["kind"]
        .as_str()
        .and_then(|kind| kind.strip_suffix("List"))
        .unwrap_or_default()
        .to_owned();
    let version = list["apiVersion"].clone();
    let Value::Array(mut items) = list["items"].take() else {
        return vec![];
    };
    for item in items
        .iter_mut()
        .filter(|item| item.is_object() && item.get("kind").is_none())
    {
        item["kind"] = kind.as_str().into();
        item["apiVersion"] = version.clone();
    }
    items
}
