//! The cache of compiled code: nothing is compiled twice, and damaged entries are never run.

use crate::command_line::{SALLYPORT, sallyport};
use crate::host::{
    VALIDATE, ask, built, command, manifest, misbehave, misbehave_unsnapshotable, root,
};
use sallyport::engine::{Cache, CacheCounts, Engine, EngineConfig};
use sallyport::evaluator;
use sallyport_core::admission::Admission;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::{LoadError, Policy};
use sallyport_core::units::Bytes;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// A process with a cache of its own, started anew for every load.
struct Start {
    engine: Arc<Engine>,
    cache: Cache,
}

impl Start {
    fn with(directory: &Path, limit: u64) -> Self {
        let cache = Cache::open(directory, limit).expect("a private directory");
        let config = EngineConfig {
            concurrency: 1,
            memory: Bytes::new(16 << 20),
            cache: Some(cache.clone()),
            ..EngineConfig::default()
        };
        Self {
            engine: Arc::new(Engine::new(&config).expect("this machine carries the engine")),
            cache,
        }
    }

    fn new(directory: &TempDir) -> Self {
        Self::with(directory.path(), Cache::SIZE.get() as u64)
    }

    fn load(&self, component: &[u8], spec: &Value) -> Result<Policy, LoadError> {
        evaluator::load(&self.engine, manifest(spec), component)
    }

    /// Loads the guest and evaluates a review.
    fn works(&self, component: &[u8], spec: &Value) {
        let policy = self.load(component, spec).expect("the guest can be loaded");
        let host = Admission::new(vec![policy], Inventory::default(), Exemptions::default());
        assert!(!ask(&host, VALIDATE, &command("deny")).response.allowed);
        let outcome = ask(&host, VALIDATE, &command("nothing"));
        assert_eq!(
            outcome.response.warnings,
            ["[misbehave] call 1 of this instance"]
        );
    }

    /// Returns hits, misses and damaged entries; and compilations.
    fn counts(&self) -> ([u64; 3], u64) {
        let CacheCounts {
            hits,
            misses,
            corrupt,
        } = self.cache.counts();
        ([hits, misses, corrupt], self.engine.compilations())
    }
}

fn directory() -> TempDir {
    let private = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new()
        .permissions(private)
        .tempdir()
        .expect("a place to write")
}

fn entries(directory: &TempDir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory.path()).expect("readable");
    entries
        .map(|entry| entry.expect("readable").path())
        .collect()
}

/// Returns the one entry of a cache after one load.
fn filled(directory: &TempDir) -> PathBuf {
    Start::new(directory).works(&misbehave(), &json!({}));
    let [entry] = entries(directory).try_into().expect("one entry");
    entry
}

#[test]
fn a_second_start_compiles_nothing() {
    let directory = directory();
    let first = Start::new(&directory);
    first.works(&misbehave(), &json!({}));
    assert_eq!(first.counts(), ([0, 1, 0], 2));
    let second = Start::new(&directory);
    second.works(&misbehave(), &json!({}));
    assert_eq!(second.counts(), ([1, 0, 0], 0));
}

#[test]
fn a_component_without_a_snapshot_is_compiled_once() {
    let (directory, component) = (directory(), misbehave_unsnapshotable());
    let why = |start: &Start| {
        start.works(&component, &json!({}));
        let policy = start
            .load(&component, &json!({}))
            .expect("the guest can be loaded");
        policy.configured_per_instance().map(str::to_owned)
    };
    let first = why(&Start::new(&directory));
    let second = Start::new(&directory);
    assert_eq!(why(&second), first);
    assert_eq!(
        first.as_deref(),
        Some("nested components with modules not currently supported")
    );
    assert_eq!(second.counts(), ([2, 0, 0], 0));
}

#[test]
fn other_settings_and_other_limits_are_other_entries() {
    let directory = directory();
    let first = Start::new(&directory);
    for spec in [
        json!({}),
        json!({"settings": {"atConfigure": "log"}}),
        json!({"limits": {"memory": "8Mi"}}),
    ] {
        first.works(&misbehave(), &spec);
    }
    assert_eq!(first.counts().0, [0, 3, 0]);
    assert_eq!(entries(&directory).len(), 3);
}

#[test]
fn what_is_no_part_of_the_code_shares_an_entry() {
    let directory = directory();
    let first = Start::new(&directory);
    for spec in [
        json!({}),
        json!({"failurePolicy": "Ignore"}),
        json!({"limits": {"deadline": "1s"}}),
    ] {
        first
            .load(&misbehave(), &spec)
            .expect("the guest can be loaded");
    }
    assert_eq!(first.counts().0, [2, 1, 0]);
}

#[test]
fn settings_that_are_refused_leave_nothing_behind() {
    let directory = directory();
    let start = Start::new(&directory);
    for _ in 0..2 {
        start
            .load(
                &misbehave(),
                &json!({"settings": {"atConfigure": "refuse"}}),
            )
            .expect_err("refused");
    }
    assert_eq!(entries(&directory), [""; 0].map(PathBuf::from));
}

#[test]
fn the_description_after_configure_counts_and_is_cached() {
    let directory = directory();
    let renamed = json!({"settings": {"atConfigure": "rename"}});
    for counts in [[0, 1, 0], [1, 0, 0]] {
        let start = Start::new(&directory);
        let policy = start
            .load(&misbehave(), &renamed)
            .expect("the guest can be loaded");
        assert_eq!(
            policy.description().map(|description| &*description.name),
            Some("renamed")
        );
        assert_eq!(start.counts().0, counts);
    }
}

#[test]
fn changed_defaults_after_configure_are_not_cached() {
    let directory = directory();
    let other = json!({"settings": {"atConfigure": "other-defaults"}});
    for _ in 0..2 {
        let start = Start::new(&directory);
        start
            .load(&misbehave(), &other)
            .expect("the guest can be loaded");
        assert_eq!(start.counts().0, [0, 1, 0]);
    }
}

#[test]
fn a_flipped_byte_is_noticed_wherever_it_is() {
    let directory = directory();
    let entry = filled(&directory);
    let sound = std::fs::read(&entry).expect("readable");
    // The digest, the length of the description, the header of the code, and the code.
    for place in [
        0,
        31,
        32,
        40,
        sound.len() / 3,
        sound.len() / 2,
        sound.len() - 1,
    ] {
        let mut damaged = sound.clone();
        damaged[place] ^= 1;
        std::fs::write(&entry, damaged).expect("ours");
        let start = Start::new(&directory);
        start.works(&misbehave(), &json!({}));
        assert_eq!(start.counts(), ([0, 0, 1], 2), "byte {place}");
        assert!(
            std::fs::read(&entry).expect("written anew").len() == sound.len(),
            "byte {place}"
        );
    }
}

#[test]
fn a_truncated_entry_is_noticed_wherever_it_ends() {
    let directory = directory();
    let entry = filled(&directory);
    let sound = std::fs::read(&entry).expect("readable");
    for length in [0, 1, 32, 36, sound.len() / 2, sound.len() - 1] {
        std::fs::write(&entry, &sound[..length]).expect("ours");
        let start = Start::new(&directory);
        start.works(&misbehave(), &json!({}));
        assert_eq!(start.counts(), ([0, 0, 1], 2), "cut at {length}");
    }
}

#[test]
fn an_entry_under_another_ones_name_is_noticed() {
    let directory = directory();
    let first = filled(&directory);
    let logs = json!({"settings": {"atConfigure": "log"}});
    Start::new(&directory).works(&misbehave(), &logs);
    let second = entries(&directory)
        .into_iter()
        .find(|entry| *entry != first)
        .expect("two entries");
    std::fs::copy(&first, &second).expect("ours");
    let start = Start::new(&directory);
    start.works(&misbehave(), &logs);
    assert_eq!(start.counts().0, [0, 0, 1]);
}

#[test]
fn all_entries_together_stay_within_the_limit() {
    let directory = directory();
    let size = std::fs::metadata(filled(&directory))
        .expect("readable")
        .len();
    let start = Start::with(directory.path(), size * 5 / 2);
    for word in ["a", "b", "c"] {
        start.works(&misbehave(), &json!({"settings": {"atConfigure": word}}));
        assert!(entries(&directory).len() <= 2, "{word}");
    }
    // The latest entries are kept.
    let start = Start::new(&directory);
    start.works(&misbehave(), &json!({"settings": {"atConfigure": "c"}}));
    assert_eq!(start.counts().0, [1, 0, 0]);
}

#[test]
fn an_entry_that_is_too_large_is_not_kept() {
    let directory = directory();
    let start = Start::with(directory.path(), 1000);
    start.works(&misbehave(), &json!({}));
    assert!(entries(&directory).is_empty());
}

#[test]
fn what_inspect_tells_does_not_depend_on_the_cache() {
    let directory = directory();
    let component = built("policies/nodeport_range.wasm");
    let inspect = |start: &Start| {
        let inspection = evaluator::inspect(&start.engine, &component).expect("a shipped policy");
        serde_json::to_value(inspection).expect("JSON")
    };
    let first = inspect(&Start::new(&directory));
    let second = Start::new(&directory);
    assert_eq!(inspect(&second), first);
    assert_eq!(second.counts(), ([1, 0, 0], 0));
}

#[test]
fn a_cache_that_others_may_enter_is_refused_with_the_fix() {
    let directory = directory();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
        .expect("ours");
    let shown = directory.path().to_str().expect("UTF-8");
    let output = sallyport(&[
        "inspect",
        "target/policies/service_type.wasm",
        "--cache-dir",
        shown,
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!(
            "error: --cache-dir: can't keep compiled policies in {shown}: it is open to other \
             users (mode 755), who could \
             make this process run their code; run `chmod 700 {shown}`\n"
        )
    );
}

/// `make assets` creates such a directory: its downloads are beside the compiled policies.
#[test]
fn the_default_cache_is_private_in_a_shared_directory() {
    let caches = directory();
    let ours = caches.path().join("sallyport");
    std::fs::create_dir(&ours).expect("ours");
    std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let mut inspect = Command::new(&*SALLYPORT);
    inspect
        .args(["inspect", "target/policies/service_type.wasm"])
        .env("XDG_CACHE_HOME", caches.path());
    let output = inspect
        .current_dir(root())
        .output()
        .expect("the program runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let compiled = ours.join("compiled");
    let mode = std::fs::metadata(&compiled)
        .expect("it was made")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(
        std::fs::read_dir(&compiled)
            .expect("readable")
            .next()
            .is_some(),
        "it keeps what was compiled"
    );
}

/// Counts everything in a directory except directories.
fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("readable").count()
}

#[test]
fn a_link_that_is_pointed_elsewhere_later_leads_nowhere() {
    let parent = directory();
    let [real, elsewhere, link] =
        ["real", "elsewhere", "link"].map(|name| parent.path().join(name));
    std::fs::create_dir(&real).expect("ours");
    std::fs::create_dir(&elsewhere).expect("ours");
    // Others may write to this directory.
    std::fs::set_permissions(&elsewhere, std::fs::Permissions::from_mode(0o777)).expect("ours");
    std::os::unix::fs::symlink(&real, &link).expect("ours");
    // A link on the way to the directory does no harm.
    let start = Start::with(&link.join("compiled"), Cache::SIZE.get() as u64);
    std::fs::remove_file(&link).expect("ours");
    std::os::unix::fs::symlink(&elsewhere, &link).expect("ours");
    std::fs::create_dir(elsewhere.join("compiled")).expect("ours");
    start.works(&misbehave(), &json!({}));
    assert_eq!(files(&elsewhere.join("compiled")), 0);
    assert_eq!(files(&real.join("compiled")), 1);
    start.works(&misbehave(), &json!({}));
    assert_eq!(start.counts().0, [1, 1, 0], "and it is found there again");
}

#[test]
fn a_directory_that_is_moved_away_and_replaced_is_used_on() {
    let parent = directory();
    let [path, moved] = ["compiled", "moved"].map(|name| parent.path().join(name));
    let start = Start::with(&path, Cache::SIZE.get() as u64);
    std::fs::rename(&path, &moved).expect("ours");
    std::fs::create_dir(&path).expect("ours");
    start.works(&misbehave(), &json!({}));
    assert_eq!((files(&path), files(&moved)), (0, 1));
}

#[test]
fn a_link_is_no_cache() {
    let parent = directory();
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(directory().path(), parent.path().join("dangling")).expect("ours");
    std::fs::create_dir(parent.path().join("real")).expect("ours");
    std::os::unix::fs::symlink(parent.path().join("real"), &link).expect("ours");
    let error = Cache::open(&link, 1).expect_err("a link").to_string();
    assert!(
        error.ends_with("it is a symbolic link or no directory; name the directory itself"),
        "{error}"
    );
    Cache::open(&parent.path().join("dangling"), 1).expect_err("a link to nowhere");
}

#[test]
fn an_entry_that_others_could_have_written_is_not_used() {
    let directory = directory();
    let entry = filled(&directory);
    let sound = std::fs::read(&entry).expect("readable");
    let outside = self::directory();
    let open = |mode| {
        std::fs::write(&entry, &sound).expect("ours");
        std::fs::set_permissions(&entry, std::fs::Permissions::from_mode(mode)).expect("ours");
    };
    let link = |target: &Path| {
        std::fs::write(target, &sound).expect("ours");
        std::os::unix::fs::symlink(target, &entry).expect("ours");
    };
    let kinds: [(&str, &dyn Fn()); 4] = [
        ("others may write", &|| open(0o622)),
        ("others may read", &|| open(0o644)),
        ("a link", &|| link(&outside.path().join("entry"))),
        ("a named pipe", &|| {
            let made = Command::new("mkfifo")
                .args(["-m", "600"])
                .arg(&entry)
                .status();
            assert!(made.is_ok_and(|status| status.success()));
        }),
    ];
    for (kind, make) in kinds {
        std::fs::remove_file(&entry).expect("ours");
        make();
        let start = Start::new(&directory);
        start.works(&misbehave(), &json!({}));
        assert_eq!(start.counts(), ([0, 0, 1], 2), "{kind}");
        let found = std::fs::symlink_metadata(&entry).expect("written anew");
        assert!(
            found.is_file() && found.permissions().mode() & 0o777 == 0o600,
            "{kind}"
        );
    }
    assert_eq!(
        std::fs::read(outside.path().join("entry")).expect("untouched"),
        sound
    );
}

/// An emptyDir of Kubernetes belongs to root and is writable by everybody; with an fsGroup its
/// group is inherited.
#[test]
fn a_private_directory_is_made_in_a_shared_one() {
    let volume = directory();
    std::fs::set_permissions(volume.path(), std::fs::Permissions::from_mode(0o2777)).expect("ours");
    let compiled = volume.path().join("compiled");
    let shown = compiled.to_str().expect("UTF-8");
    let output = sallyport(&[
        "inspect",
        "target/policies/service_type.wasm",
        "--cache-dir",
        shown,
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        std::fs::metadata(&compiled)
            .expect("made")
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    assert_eq!(files(&compiled), 1);
}
