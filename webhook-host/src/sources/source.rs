//! The source of a host's policies: files with policies, configuration and self-tests, and the
//! ServicePolicies of the cluster. Read at start and at each reload.
//!
//! Invariant: the files of one read are consistent. Their fingerprints are compared before and
//! after, and they are read again when they changed.

use super::custom::{self, Custom};
use super::load::{self, Loader};
use super::watch::{self, Fingerprint};
use crate::cluster::{Policies, Watchers};
use crate::engine::Engine;
use crate::registry::{Registry, Session, SourcePolicy};
use crate::suites::{self, ModuleSearch};
use anyhow::{Context as _, Result, bail};
use sallyport_core::admission::Admission;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::HostConfigSpec;
use sallyport_core::policy::Policy;
use sallyport_core::suite::Runner;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files' places, and the engine that compiles the policies.
pub(crate) struct Source {
    pub(crate) engine: Arc<Engine>,
    /// `None` when all policies come from the cluster.
    pub(crate) manifests: Option<PathBuf>,
    /// The directory of the components that manifests name.
    pub(crate) modules: PathBuf,
    pub(crate) config: Option<PathBuf>,
    /// Pulls the components that manifests name by reference.
    pub(crate) registry: Arc<Registry>,
    /// The watchers of the cluster. With them, the inventory is what they have seen.
    pub(crate) watchers: Option<Watchers>,
}

/// The result of one read.
pub(crate) struct Set {
    pub(crate) admission: Admission,
    /// Policies and candidates of the files that can't be loaded, with the reasons.
    pub(crate) broken_files: Vec<String>,
    /// The ServicePolicies of the cluster, loaded.
    pub(crate) custom: Custom,
    /// Components that a registry did not give, for a reason that may go away without a change of
    /// the policies, so that another read may succeed.
    pub(crate) unreached: Vec<String>,
}

impl Source {
    /// Returns the current fingerprint of the files. Unreadable files are left out.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let directories = self
            .manifests
            .iter()
            .chain([&self.modules])
            .map(std::fs::read_dir);
        let entries = directories
            .flatten()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let files = entries
            .filter(|path| !load::is_hidden(path))
            .chain(self.config.clone());
        Fingerprint::of(files)
            .with_revision(self.served().map_or(0, |policies| policies.revision()))
    }

    /// Runs `read` until no file changes meanwhile. Returns its result and the fingerprint it
    /// belongs to.
    pub(crate) fn settled<T>(&self, read: impl Fn() -> Result<T>) -> (Fingerprint, Result<T>) {
        let (seen, found) = watch::settled(|| self.fingerprint(), read);
        (seen, found.unwrap_or_else(|| self.restless()))
    }

    fn restless<T>(&self) -> Result<T> {
        let directory = self.manifests.as_ref().unwrap_or(&self.modules).display();
        bail!(
            "{directory}: the files changed each time while they were read; write them elsewhere, \
             and move them here when they are whole"
        )
    }

    /// Reads policies, configuration and exemptions. Unchanged policies are kept, not compiled
    /// again.
    pub(crate) fn read(&self, before: Option<&Admission>) -> Result<Set> {
        let config = self.host_config()?;
        let session = self.registry.session(SourcePolicy::of_host(&config));
        let loader = Loader {
            engine: &self.engine,
            modules: &self.modules,
            shipped: None,
            session: &session,
        };
        let old = before.map_or(&[][..], Admission::policies);
        let [mut policies, mut candidates] = self.of_files(&loader, before)?;
        let of_files = policies.iter().chain(&candidates);
        let broken_files = of_files
            .filter_map(|policy| policy.load_error())
            .map(ToString::to_string)
            .collect();
        let mut custom = match self.served() {
            Some(served) => custom::policies(&loader, served.all(), &policies, old),
            None => Custom::default(),
        };
        policies.extend(custom.policies.iter().cloned());
        let old = before.map_or(&[][..], Admission::candidates);
        candidates.extend(custom.candidates(&loader, old));
        if policies.is_empty() {
            tracing::warn!(
                "the cluster has no ServicePolicy: no request is reviewed until it has one"
            );
        }
        let knows_namespaces = self.watchers.is_some() || !config.inventory.namespaces.is_empty();
        let admission = Admission::new(
            policies,
            self.inventory(config.inventory),
            config.exemptions,
        )
        .with_candidates(candidates);
        if admission.asks_of_deletions() && !knows_namespaces {
            tracing::warn!(
                "a policy judges deletions, and this host knows no namespaces: all deletions \
                 pass, because a namespace may be in deletion; use --cluster, which watches them, \
                 or list them in spec.inventory of the HostConfig"
            );
        }
        Ok(Set {
            admission,
            broken_files,
            custom,
            unreached: session.unreached(),
        })
    }

    /// Loads the policies and candidates of the files.
    fn of_files(
        &self,
        loader: &Loader<'_>,
        before: Option<&Admission>,
    ) -> Result<[Vec<Arc<Policy>>; 2]> {
        let Some(manifests) = &self.manifests else {
            return Ok([vec![], vec![]]);
        };
        if self.served().is_some() && load::is_empty_on_purpose(manifests)? {
            return Ok([vec![], vec![]]);
        }
        let policies = load::policies(
            loader,
            manifests,
            before.map_or(&[][..], Admission::policies),
        )?;
        let candidates = load::candidates(
            loader,
            manifests,
            before.map_or(&[][..], Admission::candidates),
        )?;
        Ok([policies, candidates])
    }

    /// Returns the ServicePolicies of the cluster, when they are served.
    fn served(&self) -> Option<&Policies> {
        self.watchers.as_ref()?.policies().map(AsRef::as_ref)
    }

    fn inventory(&self, data: InventoryData) -> Inventory {
        let Some(watchers) = &self.watchers else {
            let inventory = Inventory::from(data);
            return if self.config.is_none() {
                inventory.assumed()
            } else {
                inventory
            };
        };
        if data.has_objects() {
            tracing::warn!(
                "spec.inventory: namespaces, nodes and pods of the configuration don't count with \
                 --cluster, which watches them; remove them"
            );
        }
        Inventory::of_cluster(&data, Arc::clone(watchers.watched().current()))
    }

    /// Queues the load results of the cluster's ServicePolicies, to be written into their status.
    pub(crate) fn report(&self, custom: &Custom) {
        for setback in custom.setbacks() {
            tracing::error!("{setback}");
        }
        if let Some(watchers) = &self.watchers {
            watchers.report(custom.reports.clone());
        }
    }

    /// Reads the HostConfig. The embedded one says that the cluster is no cloud; with watchers, the
    /// Nodes decide that.
    fn host_config(&self) -> Result<HostConfigSpec> {
        match (&self.config, &self.watchers) {
            (None, Some(_)) => Ok(HostConfigSpec::default()),
            (file, _) => load::host_config(file.as_deref()),
        }
    }

    /// Begins a read of components from registries, by the rules of the HostConfig as it is now.
    fn session(&self) -> Result<Session> {
        let config = self.host_config()?;
        Ok(self.registry.session(SourcePolicy::of_host(&config)))
    }

    /// Runs the suites beside the policies as self-tests.
    ///
    /// # Errors
    ///
    /// The first case that fails, or the first suite that can't be run.
    pub(crate) fn self_test(&self) -> Result<()> {
        let Some(manifests) = &self.manifests else {
            return Ok(());
        };
        let search = ModuleSearch {
            directory: Some(self.modules.clone()),
        };
        let session = self.session()?;
        let mut runner = suites::runner(Arc::clone(&self.engine), session.into_pull());
        for file in load::suite_files(manifests)? {
            self.run(&mut runner, &file, &search).context("self-test")?;
        }
        Ok(())
    }

    fn run(&self, runner: &mut Runner, file: &Path, search: &ModuleSearch) -> Result<()> {
        let suite = suites::read(file, search)?;
        for (index, finding) in runner.run_suite(&suite, "") {
            let case = &suite.cases[index];
            if finding.failure(case).is_some() {
                let (directory, place) = (self.modules.display(), file.display());
                bail!(
                    "{place}:{}: case {:?} fails; see `sallyport test {place} --policies \
                     {directory}`",
                    case.line,
                    case.name
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn source(directory: &Path) -> Source {
        let engine = Engine::new(&EngineConfig {
            concurrency: 1,
            ..EngineConfig::default()
        })
        .expect("an engine");
        Source {
            engine: Arc::new(engine),
            manifests: Some(directory.to_owned()),
            modules: directory.to_owned(),
            config: None,
            registry: Registry::offline(),
            watchers: None,
        }
    }

    #[test]
    fn the_swap_of_a_link_on_the_way_changes_the_fingerprint() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        for data in ["..1", "..2"] {
            fs::create_dir(path.join(data)).expect("made");
            fs::write(path.join(data).join("p.yaml"), "same").expect("written");
        }
        symlink("..1", path.join("..data")).expect("linked");
        symlink("..data/p.yaml", path.join("p.yaml")).expect("linked");
        let source = source(path);
        let before = source.fingerprint();
        assert_eq!(source.fingerprint(), before);
        symlink("..2", path.join("..new")).expect("linked");
        fs::rename(path.join("..new"), path.join("..data")).expect("swapped");
        assert_ne!(source.fingerprint(), before);
    }

    #[test]
    fn files_that_change_while_they_are_read_are_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let (source, reads) = (source(directory.path()), Cell::new(0));
        let read = || {
            reads.set(reads.get() + 1);
            if reads.get() < 3 {
                fs::write(directory.path().join("p.yaml"), "x".repeat(reads.get()))
                    .expect("written");
            }
            Ok(reads.get())
        };
        let (seen, found) = source.settled(read);
        assert_eq!((seen, found.expect("settled")), (source.fingerprint(), 3));
    }

    #[test]
    fn files_that_never_settle_are_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let (source, reads) = (source(directory.path()), Cell::new(0));
        let read = || {
            reads.set(reads.get() + 1);
            fs::write(directory.path().join("p.yaml"), "x".repeat(reads.get())).expect("written");
            Ok(())
        };
        let error = source
            .settled(read)
            .1
            .expect_err("it never settles")
            .to_string();
        assert!(
            error.contains("changed each time while they were read"),
            "{error}"
        );
    }
}
