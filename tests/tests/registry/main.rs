//! Policies in a real registry: Debian's `docker-registry`, on the loopback interface, with openssl
//! as the independent signer and verifier.
//!
//! They are reported as ignored unless `make registry-test` runs them, which gets the registry.

mod openssl;
mod transport;
mod ways;

use sallyport_tests::{SALLYPORT, root};
use std::path::Path;
use std::process::{Command, Output};

/// A run of the program.
struct Run {
    code: Option<i32>,
    out: String,
    error: String,
}

/// Runs the program with a home of its own.
fn sallyport(home: &Path, arguments: &[&str]) -> Run {
    let output = Command::new(&*SALLYPORT)
        .args(arguments)
        .current_dir(root())
        .env("HOME", home)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("DOCKER_CONFIG")
        .output()
        .expect("the program runs");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    Run {
        code: status.code(),
        out: String::from_utf8(stdout).expect("UTF-8"),
        error: String::from_utf8(stderr).expect("UTF-8"),
    }
}

impl Run {
    /// Returns the output of a run that must succeed, without the line's end.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.error);
        self.out.trim_end().to_owned()
    }

    /// Returns the error of a run that must fail with one line.
    #[track_caller]
    fn failed(self) -> String {
        assert_eq!(self.code, Some(2), "{}{}", self.out, self.error);
        let error = self.error.trim_end();
        assert_eq!(error.lines().count(), 1, "{error}");
        error.to_owned()
    }
}

/// A component of a shipped policy.
const COMPONENT: &str = "target/policies/nodeport_range.wasm";
