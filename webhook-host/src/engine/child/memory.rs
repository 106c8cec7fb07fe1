//! The memory that a child may take: less than its container has left, because where a container's
//! processes together exceed its limit, Kubernetes ends all of them.
//!
//! Linux alone says so, in `/proc` and `/sys/fs/cgroup` (version 1 and 2); elsewhere nothing is
//! known.

use std::fs;
use std::path::{Path, PathBuf};

pub(super) const MIB: u64 = 1 << 20;

/// The most of a child, however much is free. One with a JavaScript engine takes some 400 MiB.
const MAX_CHILD_MEMORY: u64 = 1 << 30;

/// The least with which it is worth trying: a Rust guest takes some 50 MiB.
const LEAST: u64 = 64 << 20;

/// Stays free for the serving process: reviews in flight, and the code that comes back.
pub(super) const RESERVE: u64 = 32 << 20;

/// Returns the memory that a child may take where so much is free.
///
/// # Errors
///
/// Where that is too little, what is free and what is needed, in MiB.
pub(super) fn share(free: Option<u64>) -> Result<u64, (u64, u64)> {
    let Some(free) = free else {
        return Ok(MAX_CHILD_MEMORY);
    };
    let share = free.saturating_sub(RESERVE).min(MAX_CHILD_MEMORY);
    if share >= LEAST {
        Ok(share)
    } else {
        Err((free / MIB, LEAST / MIB))
    }
}

/// Returns whether so little is free that reviews may suffer.
pub(super) fn is_short() -> bool {
    free().is_some_and(|free| free < RESERVE / 2)
}

/// Bytes that this process, its children and its container together may still take.
pub(super) fn free() -> Option<u64> {
    groups()
        .iter()
        .filter_map(|group| free_in(group))
        .chain(available())
        .min()
}

/// Bytes of a process that are in memory.
pub(super) fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    kilobytes(&status, "RssAnon:")
}

/// Returns the memory that the whole machine has left.
fn available() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// The directories of this process' control groups that may limit memory, with those around them.
/// Inside of a container the group's path may be the host's, and its files still lie at the root.
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

/// Limit less use, the page cache that can be dropped not counted. `None`: no limit here.
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
        assert_eq!(share(None), Ok(MAX_CHILD_MEMORY));
        assert_eq!(share(Some(u64::MAX)), Ok(MAX_CHILD_MEMORY));
        assert_eq!(share(Some(200 * MIB)), Ok(168 * MIB));
        assert_eq!(share(Some(95 * MIB)), Err((95, 64)));
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
