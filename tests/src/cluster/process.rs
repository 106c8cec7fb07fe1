//! A program in the background that logs to a file.
//!
//! A shell stands between the test and the program. It kills the program as soon as its own
//! standard input ends: when the value is dropped, and also when the test binary ends without
//! dropping it, as it does with statics.

use crate::wait_for;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A background process. Dropping it kills the process.
pub struct Process {
    guard: Child,
    /// The program's process id, not the shell's.
    pid: u32,
    log: PathBuf,
}

/// The shell's script. `$1` is the log; the rest is the program with its arguments.
const GUARD: &str =
    r#"log=$1; shift; "$@" >"$log" 2>&1 & echo $!; read -r _; kill -KILL $! 2>/dev/null; wait"#;

impl Process {
    /// Starts the program in the workspace.
    ///
    /// # Panics
    ///
    /// When there is no shell.
    pub fn start(program: &Path, log: PathBuf, arguments: &[String]) -> Self {
        let mut guard = Command::new("sh")
            .current_dir(crate::root())
            .args(["-c", GUARD, "guard"])
            .args([log.as_path(), program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell runs");
        let mut pid = String::new();
        BufReader::new(guard.stdout.take().expect("piped"))
            .read_line(&mut pid)
            .expect("the shell prints it");
        Self {
            guard,
            pid: pid.trim().parse().expect("a number"),
            log,
        }
    }

    /// Ends the program by SIGTERM, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    pub fn terminate(self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.pid.to_string()])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "it is gone already:\n{}",
            self.log()
        );
        wait_for("the end of a process", || {
            if self.has_ended() {
                Ok(())
            } else {
                Err(self.log())
            }
        });
    }

    /// Returns true once the shell has ended, which waits for the program.
    fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, state)| state.starts_with('Z'))
    }

    /// Returns the resident memory in KiB.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        crate::resident(self.pid)
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the word that the log has after `words`, up to the next space or quote.
    pub fn logged(&self, words: &str) -> String {
        wait_for(words, || {
            let log = self.log();
            let logged = log.lines().find_map(|line| {
                Some(
                    line.split_once(words)?
                        .1
                        .split([' ', '"'])
                        .next()?
                        .to_owned(),
                )
            });
            logged.ok_or(log)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
