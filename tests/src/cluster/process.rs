//! A program in the background, with its output in a file.
//!
//! A shell stands between the test and the program, and kills it as soon as its own standard input
//! ends: when the value is dropped, and also when the test binary ends without dropping anything,
//! as it does with what is shared by all tests.

use crate::wait_for;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Dropped, it is killed.
pub struct Process {
    guard: Child,
    /// The program's, not the shell's.
    pid: u32,
    log: PathBuf,
}

/// `$1`: the log; the rest: the program and its arguments.
const GUARD: &str =
    r#"log=$1; shift; "$@" >"$log" 2>&1 & echo $!; read -r _; kill -KILL $! 2>/dev/null; wait"#;

impl Process {
    /// Starts it in the workspace.
    ///
    /// # Panics
    ///
    /// Where there is no shell.
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
            .expect("the shell tells");
        Self {
            guard,
            pid: pid.trim().parse().expect("a number"),
            log,
        }
    }

    /// Ends it by SIGTERM, and waits until it has ended.
    ///
    /// # Panics
    ///
    /// When it does not end.
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

    /// Nobody waits for it but the shell, which does so last.
    fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, state)| state.starts_with('Z'))
    }

    /// What it has of memory, in KiB.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        crate::resident(self.pid)
    }

    /// All that it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What is logged after some words, up to the next space or quote.
    pub fn told(&self, words: &str) -> String {
        wait_for(words, || {
            let log = self.log();
            let told = log.lines().find_map(|line| {
                Some(
                    line.split_once(words)?
                        .1
                        .split([' ', '"'])
                        .next()?
                        .to_owned(),
                )
            });
            told.ok_or(log)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
