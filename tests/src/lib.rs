//! The shared part of all test binaries: paths of the workspace, the program under test, a real API
//! server and registry, a collector, projects of `sallyport new`, and a reader who runs what a page
//! shows. The tests themselves are in `tests/`, `fixtures/` and `guests/`.

pub mod cluster;
pub mod collector;
pub mod parity;
pub mod project;
pub mod prometheus;
pub mod registry;
pub mod tutorial;
pub mod walkthrough;
pub mod widening;

use sallyport::engine::Cache;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The program under test: `src/bin/sallyport-tested.rs`, which cargo builds before it runs these
/// tests; or the released one, which `make release-check` names in `SALLYPORT_PROGRAM`.
pub static SALLYPORT: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(released) = std::env::var_os("SALLYPORT_PROGRAM") {
        return released.into();
    }
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

/// Returns a `cargo` command without the variables that cargo sets for its children. Build scripts
/// such as ring's watch these, and would run again together with everything that depends on them.
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

/// The bytes of [`compiled`]: each settings value of each suite has an entry.
const COMPILED: u64 = 1 << 30;

/// Opens the cache of compiled policies that the tests share, `target/compiled`: several of them
/// ask all suites, and compiling takes longer than everything else.
#[must_use]
pub fn compiled() -> Cache {
    Cache::open(&root().join("target/compiled"), COMPILED).expect("target/ is this user's")
}

/// Returns the workspace's directory.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Says past the test harness that a test does not run on this machine, and why. `.ci/run` then
/// counts its step as incomplete and not as passed; it names the file that collects such sentences.
///
/// # Panics
///
/// When that file or standard error can't be written.
pub fn left_out(sentence: &str) {
    writeln!(std::io::stderr(), "*** LEFT OUT: {sentence} ***").expect("standard error is open");
    if let Some(file) = std::env::var_os("SALLYPORT_LEFT_OUT") {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .expect("a file");
        writeln!(file, "{sentence}").expect("written");
    }
}

/// The timeout of [`wait_for`] on a busy machine, where an API server alone takes 13 s to start.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The first and the longest pause of [`wait_for`]. A poll often runs kubectl, which takes 40 ms of
/// processor time.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));

/// Polls until `look` returns a value, each time after a longer pause. On timeout, panics with its
/// last error.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    let (mut pause, longest) = LOOKS;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if began.elapsed() > WAIT_TIMEOUT => {
                panic!("{what}: not after {WAIT_TIMEOUT:?}: {why}")
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = longest.min(pause * 3 / 2);
    }
}

/// Returns the resident memory of a process in KiB: VmRSS (proc_pid_status(5)). `None` when it has
/// ended.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    status(pid, "VmRSS:")
}

/// Returns the peak of a process' resident memory in KiB: VmHWM.
#[must_use]
pub fn most_resident(pid: u32) -> Option<u64> {
    status(pid, "VmHWM:")
}

/// Returns the running children of a process, on Linux.
pub fn children(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| status(*process, "PPid:") == Some(pid.into()))
        .collect()
}

fn status(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
