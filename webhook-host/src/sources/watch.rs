//! Files that change while the host serves: looked at every now and then, and read when they stand
//! still. What has revisions instead is whole at any time, and need not stand still.
//!
//! Looking is preferred to being told by the kernel: it works alike for plain directories, for the
//! links of a mounted ConfigMap or Secret, for network file systems and for a configuration's own
//! directory, costs a few system calls, and has no queue that can overflow. Used by `reload` for
//! policies and by `certificate` for certificates.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// How often files that change while they are read are read again, and after what time.
const ATTEMPTS: u32 = 5;
const SETTLE: Duration = Duration::from_millis(200);

/// What the files look like from outside: it differs whenever one of them was written, replaced,
/// added or removed, also by the swap of a link on the way to them, which is how a kubelet updates
/// a mounted ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    files: BTreeMap<PathBuf, Looks>,
    /// Of what is no file, and never found half-written.
    revision: u64,
}

/// Of what a path leads to: device, inode, size, and the times of the last write and of the last
/// change of the inode.
type Looks = (u64, u64, u64, (i64, i64), (i64, i64));

impl Fingerprint {
    /// What these files look like now. What can't be looked at is absent.
    pub(crate) fn of(files: impl Iterator<Item = PathBuf>) -> Self {
        let look = |path: PathBuf| {
            let found = std::fs::metadata(&path).ok()?;
            let times = (
                (found.mtime(), found.mtime_nsec()),
                (found.ctime(), found.ctime_nsec()),
            );
            Some((
                path,
                (found.dev(), found.ino(), found.size(), times.0, times.1),
            ))
        };
        Self {
            files: files.filter_map(look).collect(),
            revision: 0,
        }
    }

    /// The same beside something that has revisions instead of looks.
    pub(crate) fn with_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    fn has_files_of(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

/// What `read` makes of the files when none changes meanwhile, and what they looked like before;
/// nothing when they changed each time. A revision that comes while it reads differs at the next
/// look, whether it was read or not.
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
        std::thread::sleep(SETTLE);
    }
    (before, None)
}

/// Asks for a reload at once.
#[derive(Debug, Clone)]
pub(crate) struct Ask(Sender<()>);

impl Ask {
    pub(crate) fn now(&self) {
        // The thread ends with the process, not before.
        let _ = self.0.send(());
    }
}

/// Waits for the next reason to read the files.
pub(crate) struct Watch {
    asked: Receiver<()>,
    /// Without one nothing is looked at.
    interval: Option<Duration>,
}

impl Watch {
    pub(crate) fn new(interval: Option<Duration>) -> (Ask, Self) {
        let (ask, asked) = mpsc::channel();
        (Ask(ask), Self { asked, interval })
    }

    /// Returns true when somebody asked, or when something is not as it was `seen` and the files
    /// stand still from one look to the next; false when nobody can ask any more.
    pub(crate) fn next(&self, seen: &Fingerprint, look: impl Fn() -> Fingerprint) -> bool {
        let mut last = seen.clone();
        loop {
            let next = match self.interval {
                Some(interval) => self.asked.recv_timeout(interval),
                None => self
                    .asked
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    let now = look();
                    if now != *seen && now.has_files_of(&last) {
                        return true;
                    }
                    last = now;
                }
                Ok(()) => {
                    // Several at once are one.
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

    /// As if one file had this size.
    fn print(size: u64, revision: u64) -> Fingerprint {
        Fingerprint {
            files: BTreeMap::from([(PathBuf::from("p.yaml"), (0, 0, size, (0, 0), (0, 0)))]),
            revision,
        }
    }

    /// How many looks it takes until what is seen over and over is reason to read.
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
    fn a_revision_that_comes_while_files_are_read_is_left_for_the_next_look() {
        let count = Cell::new(0);
        let look = || {
            count.set(count.get() + 1);
            print(0, count.get())
        };
        assert_eq!(settled(look, || "read"), (print(0, 1), Some("read")));
    }
}
