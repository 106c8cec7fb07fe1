//! One run of kubectl.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// The output and exit status of kubectl.
#[derive(Debug)]
pub struct Ran {
    /// True when the exit code was 0.
    pub done: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    pub(super) fn of(mut command: Command, input: &str) -> Self {
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // A command that does not read its input may have ended already.
        let _ = child
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes());
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().expect("it is a child");
        let text = |bytes| {
            String::from_utf8(bytes)
                .expect("UTF-8")
                .trim_end()
                .to_owned()
        };
        Self {
            done: status.success(),
            out: text(stdout),
            err: text(stderr),
        }
    }

    /// Returns standard output. Panics when the command failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.done, "{}\n{}", self.out, self.err);
        self.out
    }

    /// Returns standard error. Panics when the command succeeded.
    #[track_caller]
    pub fn error(self) -> String {
        assert!(!self.done, "it did not fail: {}\n{}", self.out, self.err);
        self.err
    }

    /// Returns output or error, for `wait_for`.
    pub fn result(self) -> Result<String, String> {
        if self.done {
            Ok(self.out)
        } else {
            Err(self.err)
        }
    }
}
