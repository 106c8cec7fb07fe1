//! Suites on disk: finds them, and reads them with the manifests and components that they name.
//! Used by `test`, `lint` and the self-tests of `serve`.

use crate::engine::Engine;
use crate::evaluator;
use crate::shipped;
use sallyport_core::manifest::{Mode, Module, Reference};
use sallyport_core::policy::LoadError;
use sallyport_core::suite::{self, Files, Runner, Source, Suite, SuiteError};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// In bytes. The limit keeps a typo from reading a disk image.
const MAX_SUITE: u64 = 16 << 20;

/// The places where components are searched: the given directory alone; without one, the manifest's
/// directory, cargo's target directory of a crate there, and that of the shipped policies.
#[derive(Debug, Clone, Default)]
pub struct ModuleSearch {
    /// `--modules`.
    pub directory: Option<PathBuf>,
}

impl ModuleSearch {
    /// Finds the component `file` of a manifest in `beside`.
    ///
    /// # Errors
    ///
    /// A sentence that lists the places that were searched.
    pub fn find(&self, file: &str, beside: &Path) -> Result<PathBuf, String> {
        let places = match &self.directory {
            Some(directory) => vec![directory.clone()],
            None => [
                beside.to_owned(),
                beside.join("target/wasm32-unknown-unknown/release"),
            ]
            .into_iter()
            .chain(shipped::policies())
            .collect(),
        };
        let found = places
            .iter()
            .map(|place| place.join(file))
            .find(|path| path.is_file());
        found.ok_or_else(|| {
            let places: Vec<_> = places.iter().map(|place| shown(place)).collect();
            format!(
                "{file} is not in {}; build the policy, or name its directory with --modules",
                places.join(" or ")
            )
        })
    }
}

fn shown(place: &Path) -> String {
    if place.as_os_str().is_empty() {
        ".".to_owned()
    } else {
        place.display().to_string()
    }
}

/// Lists the suite files under the paths, with all sub-directories.
///
/// The second list has each path that can't be read or holds no suite, and each file that looks
/// like a suite but is none.
pub fn find(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<SuiteError>) {
    let (mut files, mut errors) = (vec![], vec![]);
    for path in paths {
        if path.is_file() {
            files.push(path.clone());
            continue;
        }
        let before = files.len() + errors.len();
        if let Err(error) = walk(path, &mut files, &mut errors) {
            errors.push(SuiteError::new(path, error.to_string()));
        }
        if files.len() + errors.len() == before {
            errors.push(SuiteError::new(
                path,
                "no suites here; a suite is a .yaml file with `kind: Suite`",
            ));
        }
    }
    files.sort();
    files.dedup();
    (files, errors)
}

fn walk(
    directory: &Path,
    files: &mut Vec<PathBuf>,
    errors: &mut Vec<SuiteError>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Symbolic links to directories are not followed, because they make cycles.
        if entry.file_type()?.is_dir() {
            let name = entry.file_name();
            let hidden = name.to_string_lossy().starts_with('.');
            if !hidden && name != "target" && name != "node_modules" {
                walk(&path, files, errors)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            match holds_suite(&path) {
                Ok(true) => files.push(path),
                Ok(false) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    Ok(())
}

fn holds_suite(path: &Path) -> Result<bool, SuiteError> {
    suite::holds_suite(path, &text(path)?)
}

/// A component, or the reason why there is none.
type Pulled = Result<Vec<u8>, LoadError>;

/// Returns a runner of suites that loads components into an engine. `pull` gets those of
/// registries.
pub fn runner(engine: Arc<Engine>, pull: impl Fn(&Reference, Mode) -> Pulled + 'static) -> Runner {
    Runner::new(move |source| {
        let component = component(source, &pull)?;
        evaluator::load(&engine, source.manifest.clone(), &component)
    })
}

fn component(source: &Source, pull: &dyn Fn(&Reference, Mode) -> Pulled) -> Pulled {
    let spec = &source.manifest.spec;
    match (&source.component, &spec.module) {
        (Some(file), _) => fs::read(file)
            .map_err(|error| LoadError::component(format!("{}: {error}", file.display()))),
        (None, Module::Oci(reference)) => pull(reference, spec.mode),
        (None, Module::File(_)) => unreachable!("a suite that names a file was read with it"),
    }
}

/// Reads one suite with the files that it names.
///
/// # Errors
///
/// The first fault that keeps the suite from being run.
pub fn read(path: &Path, files: &dyn Files) -> Result<Suite, SuiteError> {
    suite::parse(path, &text(path)?, files)
}

/// Returns the command that builds the component of a suite, if the suite names one.
///
/// # Errors
///
/// When the file can't be read.
pub fn build_command(path: &Path) -> Result<Option<String>, SuiteError> {
    Ok(suite::build_command(&text(path)?))
}

/// A search that remembers the files that suites named.
#[derive(Debug, Default)]
pub struct RecordingSearch {
    search: ModuleSearch,
    named: RefCell<BTreeSet<PathBuf>>,
}

impl RecordingSearch {
    /// Starts without a file.
    pub fn new(search: ModuleSearch) -> Self {
        Self {
            search,
            named: RefCell::default(),
        }
    }

    /// Returns the files that the suites named: manifests, components, objects.
    pub fn into_named(self) -> BTreeSet<PathBuf> {
        self.named.into_inner()
    }
}

impl Files for RecordingSearch {
    fn text(&self, path: &Path) -> io::Result<String> {
        self.named.borrow_mut().insert(path.to_owned());
        self.search.text(path)
    }

    fn set(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.search.set(path)
    }

    fn component(&self, file: &str, beside: &Path) -> Result<PathBuf, String> {
        let component = self.search.find(file, beside)?;
        self.named.borrow_mut().insert(component.clone());
        Ok(component)
    }
}

fn text(path: &Path) -> Result<String, SuiteError> {
    let fail = |error: io::Error| SuiteError::new(path, error.to_string());
    let size = fs::metadata(path).map_err(fail)?.len();
    if size > MAX_SUITE {
        return Err(SuiteError::new(
            path,
            format!("{size} bytes; a suite has at most {MAX_SUITE}"),
        ));
    }
    fs::read_to_string(path).map_err(fail)
}

impl Files for ModuleSearch {
    fn text(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn set(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        manifest_files(path)
    }

    fn component(&self, file: &str, beside: &Path) -> Result<PathBuf, String> {
        self.find(file, beside)
    }
}

/// Lists the manifests of a path: the file itself, or the files of a directory except
/// kustomizations.
fn manifest_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = vec![];
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_manifest = file
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml");
        if is_manifest && file.file_stem().is_none_or(|stem| stem != "kustomization") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: &str = "apiVersion: sallyport.dev/v1alpha1\nkind: Suite\nmetadata: {name: s}\n";

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a place to write");
        for (name, text) in files {
            fs::write(directory.path().join(name), text).expect("writable");
        }
        directory
    }

    #[test]
    fn a_directory_holds_its_suites() {
        let directory = directory(&[("s.yaml", SUITE), ("service.yaml", "kind: Service")]);
        let (files, errors) = find(&[directory.path().to_owned()]);
        assert_eq!(
            (files, errors),
            (vec![directory.path().join("s.yaml")], vec![])
        );
    }

    #[test]
    fn a_path_without_suites_is_an_error() {
        let (files, errors) = find(&[directory(&[]).path().to_owned()]);
        assert!(files.is_empty());
        assert!(
            errors[0].problem.starts_with("no suites here"),
            "{errors:?}"
        );
    }

    #[test]
    fn a_kustomization_beside_manifests_is_no_manifest() {
        let directory = directory(&[("both.yaml", ""), ("kustomization.yaml", "")]);
        assert_eq!(
            manifest_files(directory.path()).expect("readable"),
            [directory.path().join("both.yaml")]
        );
    }
}
