//! The memory limit of a child: less than its container has left, because Kubernetes ends the whole
//! container when its processes together exceed its limit.
//!
//! Read from `/proc` and `/sys/fs/cgroup` (version 1 and 2) on Linux; elsewhere the free memory is
//! unknown.

use std::fs;
use std::path::{Path, PathBuf};

pub(super) const MIB: u64 = 1 << 20;

/// The largest limit of a child, however much is free. A child with a JavaScript engine takes some
/// 400 MiB.
const MAX_MEMORY: u64 = 1 << 30;

/// The smallest limit that is worth an attempt: a Rust guest takes some 50 MiB.
const MIN_MEMORY: u64 = 64 << 20;

/// The bytes that stay free for the serving process: for reviews in flight, and the code that comes
/// back.
pub(super) const RESERVE: u64 = 32 << 20;

/// Returns the memory limit of a child, given the free memory.
///
/// # Errors
///
/// Returns the free and the needed memory in MiB when too little is free.
pub(super) fn child_limit(free: Option<u64>) -> Result<u64, (u64, u64)> {
    let Some(free) = free else {
        return Ok(MAX_MEMORY);
    };
    let child_limit = free.saturating_sub(RESERVE).min(MAX_MEMORY);
    if child_limit >= MIN_MEMORY {
        Ok(child_limit)
    } else {
        Err((free / MIB, MIN_MEMORY / MIB))
    }
}

/// Returns true if so little is free that reviews may fail.
pub(super) fn is_short() -> bool {
    free().is_some_and(|free| free < RESERVE / 2)
}

/// Returns the bytes that this process, its children and its container together may still take.
pub(super) fn free() -> Option<u64> {
    groups()
        .iter()
        .filter_map(|group| free_in(group))
        .chain(available())
        .min()
}

/// Returns the resident bytes of a process.
pub(super) fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    kilobytes(&status, "RssAnon:")
}

/// Returns the available bytes of the machine.
fn available() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// Returns the directories of this process's control groups and of those around them. In a
/// container the group's path may be the host's, while its files are at the root.
fn groups() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut groups = vec![];
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let root = match parts.next() {
            Some("") => "/sys/fs/cgroup",
            Some(controllers) if controllers.split(',').any(|one| one == "memory") => {
                "/sys/fs/cgroup/memory"
            }
            _ => continue,
        };
        let path = Path::new(parts.next().unwrap_or_default().trim_start_matches('/'));
        groups.extend(path.ancestors().map(|path| Path::new(root).join(path)));
    }
    groups
}

/// Returns a control group's limit minus its use, not counting page cache that can be dropped.
/// `None`: no limit here.
fn free_in(group: &Path) -> Option<u64> {
    let number = |file| {
        fs::read_to_string(group.join(file))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let (limit, used, dropped) = match number("memory.max") {
        Some(limit) => (limit, number("memory.current")?, "inactive_file "),
        None => (
            number("memory.limit_in_bytes")?,
            number("memory.usage_in_bytes")?,
            "total_inactive_file ",
        ),
    };
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let dropped = statistics
        .lines()
        .find_map(|line| line.strip_prefix(dropped)?.parse().ok())
        .unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(dropped)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_gets_less_than_is_free() {
        assert_eq!(child_limit(None), Ok(MAX_MEMORY));
        assert_eq!(child_limit(Some(u64::MAX)), Ok(MAX_MEMORY));
        assert_eq!(child_limit(Some(200 * MIB)), Ok(168 * MIB));
        assert_eq!(child_limit(Some(95 * MIB)), Err((95, 64)));
    }

    #[test]
    fn a_group_is_read_in_both_versions() {
        let group = |files: &[(&str, &str)]| {
            let directory = tempfile::tempdir().expect("a directory");
            for (name, text) in files {
                fs::write(directory.path().join(name), text).expect("written");
            }
            free_in(directory.path())
        };
        let stat = (
            "memory.stat",
            "anon 5\ninactive_file 30\ntotal_inactive_file 40\n",
        );
        assert_eq!(
            group(&[("memory.max", "100\n"), ("memory.current", "70\n"), stat]),
            Some(60)
        );
        assert_eq!(
            group(&[
                ("memory.limit_in_bytes", "100\n"),
                ("memory.usage_in_bytes", "70\n"),
                stat
            ]),
            Some(70)
        );
        assert_eq!(
            group(&[("memory.max", "max\n"), ("memory.current", "70\n")]),
            None
        );
        assert_eq!(group(&[]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_and_this_machine_are_measured() {
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes > 100 << 10));
        assert!(free().is_some_and(|bytes| bytes > MIB));
    }
}
