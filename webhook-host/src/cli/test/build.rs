//! The commands that build components before `sallyport test` runs their suites.

use crate::suites;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Commands, each with the directory in which a shell runs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Build {
    commands: Vec<(PathBuf, String)>,
}

impl Build {
    /// Creates one command in the current directory.
    pub(super) fn here(command: &str) -> Self {
        Self {
            commands: vec![(PathBuf::from("."), command.to_owned())],
        }
    }

    /// Returns the commands of the suites below the paths, each once. Suites that can't be read
    /// have none; the run reports them.
    pub(super) fn of_suites(paths: &[PathBuf]) -> Self {
        let (files, _) = suites::find(paths);
        let mut commands = vec![];
        for file in files {
            let Ok(Some(command)) = suites::build_command(&file) else {
                continue;
            };
            let command = (directory(&file), command);
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        Self { commands }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Runs the commands one after the other. Their output goes to standard error.
    ///
    /// # Errors
    ///
    /// When there is none, or one can't be started or fails; those after it are not run.
    pub(super) fn run(&self) -> Result<()> {
        if self.is_empty() {
            bail!(
                "nothing to build: no suite names a command; write `build: COMMAND` into its spec, \
                 or give the command as --build='COMMAND'"
            );
        }
        for (directory, command) in &self.commands {
            let status = Command::new("sh")
                .args(["-c", command])
                .current_dir(directory)
                .stdin(Stdio::null())
                .stdout(std::io::stderr())
                .status()
                .with_context(|| format!("can't run the build command {command:?}"))?;
            if !status.success() {
                bail!(
                    "the build command {command:?} failed in {} ({status})",
                    directory.display()
                );
            }
        }
        Ok(())
    }
}

/// Returns the directory of a suite.
pub(super) fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
