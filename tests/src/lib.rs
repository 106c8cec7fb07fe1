//! The tests of Sallyport that need more than one crate: see `tests/`, `fixtures/` and `guests/`.
//! Here is what all test binaries need: where the workspace is, the real program, and a real API
//! server.

pub mod cluster;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The real program: `src/bin/sallyport-tested.rs`, which cargo builds before it runs these tests.
pub static SALLYPORT: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().expect("a test is a file");
    // target/debug/deps/TEST
    let directory = test.ancestors().nth(2).expect("cargo's layout");
    let program = directory.join("sallyport-tested");
    assert!(
        program.exists(),
        "{} is missing: run the tests by cargo",
        program.display()
    );
    program
});

/// `cargo`, as if no cargo ran these tests: build scripts such as ring's watch what it tells its
/// children, and would run, and everything above them be compiled, each time anew.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"]
            .iter()
            .any(|prefix| shown.starts_with(prefix))
        {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// The workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// For whatever must come true on a busy machine: an API server alone takes 13 s there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what must come true; one look is often a run of kubectl.
const LOOK: Duration = Duration::from_millis(100);

/// Looks until something is there; what is told last says why it never was.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if began.elapsed() > PATIENCE => {
                panic!("{what}: not after {PATIENCE:?}: {why}")
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// What a process has of memory, in KiB: VmRSS (proc_pid_status(5)). `None` when it is gone.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    status(pid, "VmRSS:")
}

/// The most that it had so far: VmHWM.
#[must_use]
pub fn most_resident(pid: u32) -> Option<u64> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
