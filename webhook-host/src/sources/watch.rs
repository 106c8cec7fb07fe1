//! Watches files by polling: they are read when they have changed and then stay unchanged for one
//! interval. Objects of the cluster have a revision instead, are always complete, and are read at
//! once.
//!
//! Polling is preferred to the kernel's notifications
//! (docs/decisions/0004-polling-instead-of-inotify.md): it works the same for plain directories,
//! for the links of a mounted ConfigMap or Secret and for network file systems, costs a few system
//! calls, and has no queue that can overflow. Used by `reload` for policies, and by `cli` for
//! certificates and `test --watch`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// The number of attempts to read files that keep changing, and the pause between two.
const ATTEMPTS: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A fingerprint of files. It differs whenever one of them is written, replaced, added or removed,
/// also when a link on the way to it is swapped, which is how a kubelet updates a mounted ConfigMap
/// or Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    files: BTreeMap<PathBuf, FileAttributes>,
    /// The revision of the cluster's objects, which are never half-written.
    revision: u64,
}

/// Attributes of the file that a path leads to: device, inode, size, and the times of the last
/// write and of the last change of the inode.
#[cfg(unix)]
type FileAttributes = (u64, u64, u64, (i64, i64), (i64, i64));

#[cfg(unix)]
fn attributes(found: &Metadata) -> FileAttributes {
    use std::os::unix::fs::MetadataExt as _;
    (
        found.dev(),
        found.ino(),
        found.size(),
        (found.mtime(), found.mtime_nsec()),
        (found.ctime(), found.ctime_nsec()),
    )
}

/// Attributes that every system has: size, and the time of the last write.
#[cfg(not(unix))]
type FileAttributes = (u64, Option<std::time::SystemTime>);

#[cfg(not(unix))]
fn attributes(found: &Metadata) -> FileAttributes {
    (found.len(), found.modified().ok())
}

impl Fingerprint {
    /// Returns the current fingerprint of these files. Unreadable files are left out.
    pub(crate) fn of(files: impl Iterator<Item = PathBuf>) -> Self {
        let look = |path: PathBuf| {
            let found = std::fs::metadata(&path).ok()?;
            Some((path, attributes(&found)))
        };
        Self {
            files: files.filter_map(look).collect(),
            revision: 0,
        }
    }

    /// Returns the files that differ between two fingerprints.
    pub(crate) fn changed<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a PathBuf> {
        let differs = |path: &&PathBuf| self.files.get(*path) != other.files.get(*path);
        let all = self.files.keys().chain(other.files.keys());
        all.filter(differs).collect()
    }

    /// Returns the files.
    pub(crate) fn files(&self) -> impl ExactSizeIterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// Returns the fingerprint without some files.
    pub(crate) fn without(mut self, files: &BTreeSet<PathBuf>) -> Self {
        self.files.retain(|file, _| !files.contains(file));
        self
    }

    /// Adds the files of another fingerprint that this one lacks.
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (file, attributes) in other.files {
            self.files.entry(file).or_insert(attributes);
        }
        self
    }

    /// Adds the revision of the cluster's objects.
    pub(crate) fn with_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    fn has_files_of(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

/// Runs `read` until no file changes meanwhile. Returns its result with the fingerprint before it,
/// or `None` when files changed at every attempt. A revision that arrives meanwhile is left for the
/// next poll, whether it was read or not.
pub(crate) fn settled<T>(
    look: impl Fn() -> Fingerprint,
    read: impl Fn() -> T,
) -> (Fingerprint, Option<T>) {
    let mut before = look();
    for _ in 0..ATTEMPTS {
        let found = read();
        let after = look();
        if after.has_files_of(&before) {
            return (before, Some(found));
        }
        before = after;
        std::thread::sleep(RETRY_PAUSE);
    }
    (before, None)
}

/// Requests a reload from the thread.
#[derive(Debug, Clone)]
pub(crate) struct Ask(Sender<()>);

impl Ask {
    pub(crate) fn now(&self) {
        // The receiver lives as long as the process.
        let _ = self.0.send(());
    }
}

/// Waits for the next reason to read the files.
pub(crate) struct Watch {
    asked: Receiver<()>,
    /// `None` disables polling.
    interval: Option<Duration>,
}

impl Watch {
    pub(crate) fn new(interval: Option<Duration>) -> (Ask, Self) {
        let (ask, asked) = mpsc::channel();
        (Ask(ask), Self { asked, interval })
    }

    /// Blocks until a reload is requested, or until the fingerprint differs from `seen` and the
    /// files stay unchanged for one interval. Returns false when no request can come any more.
    pub(crate) fn next(&self, seen: &Fingerprint, look: impl Fn() -> Fingerprint) -> bool {
        self.next_or_after(seen, look, None)
    }

    /// Like `next`, but returns true after the time `again` at the latest.
    pub(crate) fn next_or_after(
        &self,
        seen: &Fingerprint,
        look: impl Fn() -> Fingerprint,
        again: Option<Duration>,
    ) -> bool {
        let mut last = seen.clone();
        let end = again.map(|time| Instant::now() + time);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let next = match (self.interval, left) {
                (Some(interval), left) => self
                    .asked
                    .recv_timeout(left.map_or(interval, |left| left.min(interval))),
                (None, Some(left)) => self.asked.recv_timeout(left),
                (None, None) => self
                    .asked
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) if left.is_some_and(|left| left.is_zero()) => {
                    return true;
                }
                Err(RecvTimeoutError::Timeout) if self.interval.is_none() => {}
                Err(RecvTimeoutError::Timeout) => {
                    let now = look();
                    if now != *seen && now.has_files_of(&last) {
                        return true;
                    }
                    last = now;
                }
                Ok(()) => {
                    // Several requests need one reload.
                    while self.asked.try_recv().is_ok() {}
                    return true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const SOON: Duration = Duration::from_millis(1);

    /// Returns the fingerprint of a single file with this size.
    fn print(size: u64, revision: u64) -> Fingerprint {
        Fingerprint {
            files: BTreeMap::from([(PathBuf::from("p.yaml"), (0, 0, size, (0, 0), (0, 0)))]),
            revision,
        }
    }

    /// Returns the number of polls until a repeated fingerprint triggers a read.
    fn looks(seen: &Fingerprint, look: impl Fn(u64) -> Fingerprint) -> u64 {
        let (_ask, watch) = Watch::new(Some(SOON));
        let count = Cell::new(0);
        let counted = || {
            count.set(count.get() + 1);
            look(count.get())
        };
        assert!(watch.next(seen, counted));
        count.get()
    }

    #[test]
    fn files_have_to_stand_still_and_revisions_have_not() {
        let seen = print(0, 0);
        assert_eq!(
            looks(&seen, |count| print(count.min(3), 0)),
            4,
            "written until the third look"
        );
        assert_eq!(looks(&seen, |count| print(0, count)), 1);
        assert_eq!(looks(&seen, |count| print(count.min(3), count)), 4, "both");
    }

    #[test]
    fn another_attempt_is_made_though_nothing_changed() {
        for interval in [Some(SOON), None] {
            let (_ask, watch) = Watch::new(interval);
            let began = Instant::now();
            let pause = Duration::from_millis(20);
            assert!(watch.next_or_after(&print(0, 0), || print(0, 0), Some(pause)));
            assert!(began.elapsed() >= pause);
        }
    }

    #[test]
    fn a_revision_during_a_read_is_left_for_the_next_poll() {
        let count = Cell::new(0);
        let look = || {
            count.set(count.get() + 1);
            print(0, count.get())
        };
        assert_eq!(settled(look, || "read"), (print(0, 1), Some("read")));
    }
}
