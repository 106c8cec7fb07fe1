//! What a host serves from: files of policies, configuration and self-tests, and the
//! ServicePolicies of the cluster. Read at start and at each reload.
//!
//! What is read of the files is of one moment: they are looked at before and after, and read again
//! when they changed meanwhile.

use super::custom::{self, Custom};
use super::load::{self, PolicyFiles};
use super::watch::{self, Fingerprint};
use crate::cluster::{Policies, Watchers};
use crate::engine::Engine;
use crate::suites::{self, ModuleSearch};
use anyhow::{Context as _, Result, bail};
use sallyport_core::admission::Admission;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::HostConfigSpec;
use sallyport_core::policy::Policy;
use sallyport_core::suite::Runner;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the files are, and the engine that compiles them.
pub(crate) struct Source {
    pub(crate) engine: Arc<Engine>,
    /// `None`: all policies are the cluster's.
    pub(crate) manifests: Option<PathBuf>,
    /// The directory of the modules that manifests name.
    pub(crate) modules: PathBuf,
    pub(crate) config: Option<PathBuf>,
    /// With them, the inventory is what they know.
    pub(crate) watchers: Option<Watchers>,
}

/// What was read.
pub(crate) struct Set {
    pub(crate) admission: Admission,
    /// What can't be loaded of the files: policies and candidates.
    pub(crate) broken_files: Vec<String>,
    /// What became of the ServicePolicies of the cluster.
    pub(crate) custom: Custom,
}

impl Source {
    /// What the files look like now. What can't be looked at is absent.
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

    /// What `read` makes of the files when nothing changes meanwhile, and what they looked like
    /// then.
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

    /// Everything that decides. Policies that are as they were are kept, not compiled again.
    pub(crate) fn read(&self, before: Option<&Admission>) -> Result<Set> {
        let config = self.host_config()?;
        let old = before.map_or(&[][..], Admission::policies);
        let [mut policies, mut candidates] = self.of_files(before)?;
        let of_files = policies.iter().chain(&candidates);
        let broken_files = of_files
            .filter_map(|policy| policy.load_error())
            .map(ToString::to_string)
            .collect();
        let mut custom = match self.served() {
            Some(served) => {
                custom::policies(&self.engine, &self.modules, served.all(), &policies, old)
            }
            None => Custom::default(),
        };
        policies.extend(custom.policies.iter().cloned());
        let old = before.map_or(&[][..], Admission::candidates);
        candidates.extend(custom.candidates(&self.engine, &self.modules, old));
        if policies.is_empty() {
            tracing::warn!("the cluster has no ServicePolicy: nothing is judged until it has one");
        }
        let admission = Admission::new(
            policies,
            self.inventory(config.inventory),
            config.exemptions,
        );
        Ok(Set {
            admission: admission.with_candidates(candidates),
            broken_files,
            custom,
        })
    }

    /// Policies and candidates.
    fn of_files(&self, before: Option<&Admission>) -> Result<[Vec<Arc<Policy>>; 2]> {
        let Some(manifests) = &self.manifests else {
            return Ok([vec![], vec![]]);
        };
        if self.served().is_some() && load::is_empty_on_purpose(manifests)? {
            return Ok([vec![], vec![]]);
        }
        let files = PolicyFiles::new(manifests, Some(&self.modules));
        let policies = load::policies(
            &self.engine,
            &files,
            before.map_or(&[][..], Admission::policies),
        )?;
        let candidates = load::candidates(
            &self.engine,
            &files,
            before.map_or(&[][..], Admission::candidates),
        )?;
        Ok([policies, candidates])
    }

    /// The ServicePolicies of the cluster, when they are served.
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

    /// What became of the ServicePolicies of the cluster goes into their status.
    pub(crate) fn report(&self, custom: &Custom) {
        for setback in custom.setbacks() {
            tracing::error!("{setback}");
        }
        if let Some(watchers) = &self.watchers {
            watchers.report(custom.reports.clone());
        }
    }

    /// The embedded configuration says that the cluster is no cloud; of one that is watched, the
    /// Nodes tell.
    fn host_config(&self) -> Result<HostConfigSpec> {
        match (&self.config, &self.watchers) {
            (None, Some(_)) => Ok(HostConfigSpec::default()),
            (file, _) => load::host_config(file.as_deref()),
        }
    }

    /// Runs the suites that lie beside the policies.
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
        let mut runner = suites::runner(Arc::clone(&self.engine));
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
