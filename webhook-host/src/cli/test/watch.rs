//! `sallyport test --watch`: builds and tests again whenever a file changes.
//!
//! Files are polled, and read when two polls in a row agree (`sources::watch`). A file that changes
//! while the build runs may have been written by its author or by the build itself. It causes one
//! more round; if it changes in that build, too, it is the build's own and is no longer watched. So
//! no change is missed, and no build triggers itself for ever.

use super::build::{self, Build};
use super::{Round, TestArgs};
use crate::cli::output::{TestFormat, error, note};
use crate::engine::Engine;
use crate::sources::watch::{Fingerprint, Watch};
use crate::suites;
use anyhow::{Result, bail};
use sallyport_core::report::counted;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The interval at which files are polled. A change is seen after two looks at most.
const INTERVAL: Duration = Duration::from_millis(250);

/// More files than any policy's directory has: a look would take long.
const MAX_FILES: usize = 20_000;

/// Directories that hold what tools make.
const MADE: [&str; 2] = ["target", "node_modules"];

/// Runs until the process is ended.
///
/// # Errors
///
/// When there are too many files, or a suite can't be printed.
pub(super) fn run(args: &TestArgs, engine: &Arc<Engine>) -> Result<ExitCode> {
    if !matches!(args.output, TestFormat::Text) {
        bail!("--watch prints text for people; remove --output");
    }
    let (_ask, watch) = Watch::new(Some(INTERVAL));
    let mut files = Watched::new(args)?;
    loop {
        let before = files.look();
        let is_built = build(args);
        let built = files.look();
        if is_built {
            files.named = Round::run(args, engine)?.named;
        }
        if files.changed_during_build(&before, &built) {
            continue;
        }
        let seen = files.as_of(built);
        let count = counted(seen.files().len(), "file");
        note(format_args!("watching {count}; Ctrl-C ends"));
        if !watch.next(&seen, || files.look()) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Builds, and returns false when that failed. Without a command there is nothing to build.
fn build(args: &TestArgs) -> bool {
    let paths = args.paths.all();
    let build = args.build().unwrap_or_else(|| Build::of_suites(&paths));
    if build.is_empty() && args.build.is_none() {
        return true;
    }
    match build.run() {
        Ok(()) => true,
        Err(problem) => {
            error(format_args!("{problem:#}"));
            false
        }
    }
}

/// The files that cause another round.
struct Watched {
    directories: BTreeSet<PathBuf>,
    /// Files that the suites named in the last round.
    named: BTreeSet<PathBuf>,
    /// Files that changed during the last build.
    suspects: BTreeSet<PathBuf>,
    /// Files that the build writes.
    outputs: BTreeSet<PathBuf>,
}

impl Watched {
    fn new(args: &TestArgs) -> Result<Self> {
        let paths = args.paths.all();
        let (files, _) = suites::find(&paths);
        let mut directories: BTreeSet<_> =
            files.iter().map(|file| build::directory(file)).collect();
        directories.extend(paths.into_iter().filter(|path| path.is_dir()));
        if let Some(Some(_)) = args.build {
            directories.insert(PathBuf::from("."));
        }
        let watched = Self {
            directories,
            named: BTreeSet::new(),
            suspects: BTreeSet::new(),
            outputs: BTreeSet::new(),
        };
        let count = watched.look().files().len();
        if count > MAX_FILES {
            bail!(
                "--watch: {count} files are too many, {MAX_FILES} are the most; run it in the \
                 policy's own directory"
            );
        }
        Ok(watched)
    }

    fn look(&self) -> Fingerprint {
        let mut files = self.named.clone();
        for directory in &self.directories {
            list(directory, &mut files);
        }
        Fingerprint::of(files.into_iter()).without(&self.outputs)
    }

    /// Returns true if a file changed during the build, and not by the build as far as is known.
    fn changed_during_build(&mut self, before: &Fingerprint, built: &Fingerprint) -> bool {
        let is_component = |file: &Path| file.extension().is_some_and(|end| end == "wasm");
        let changed = before.changed(built).into_iter().cloned();
        let changed: BTreeSet<_> = changed.filter(|file| !is_component(file)).collect();
        let (again, new): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|file| self.suspects.contains(file));
        for file in again {
            note(format_args!(
                "{} is not watched: the build writes it",
                file.display()
            ));
            self.outputs.insert(file);
        }
        for file in &new {
            note(format_args!("{} changed during the build", file.display()));
        }
        self.suspects = BTreeSet::from_iter(new);
        !self.suspects.is_empty()
    }

    /// Returns the fingerprint to which later ones are compared: the one after the build, with the
    /// files that the suites named since then.
    fn as_of(&self, built: Fingerprint) -> Fingerprint {
        let known: BTreeSet<_> = built.files().cloned().collect();
        let new = self.named.difference(&known).cloned();
        let new = Fingerprint::of(new);
        built.and(new).without(&self.outputs)
    }
}

fn list(directory: &Path, files: &mut BTreeSet<PathBuf>) {
    // A directory that is gone, or that its user may not read, holds nothing to watch.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        match entry.file_type() {
            _ if is_hidden => {}
            // Symbolic links to directories are not followed, because they make cycles.
            Ok(kind) if kind.is_dir() && !MADE.iter().any(|made| name == *made) => {
                list(&entry.path(), files);
            }
            Ok(kind) if !kind.is_dir() && files.len() <= MAX_FILES => {
                files.insert(entry.path());
            }
            _ => {}
        }
    }
}
