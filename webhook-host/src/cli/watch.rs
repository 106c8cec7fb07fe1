//! Files that change while the host serves: looked at every now and then, and read when they stand still.
//!
//! Looking is preferred to being told by the kernel: it works alike for plain directories, for the links of a mounted ConfigMap
//! or Secret, for network file systems and for a configuration's own directory, costs a few system calls, and has no queue that
//! can overflow. Used by `reload` for policies and by `certificate` for certificates.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// How often files that change while they are read are read again, and after what time.
const ATTEMPTS: u32 = 5;
const SETTLE: Duration = Duration::from_millis(200);

/// What the files look like from outside: it differs whenever one of them was written, replaced, added or removed, also by the
/// swap of a link on the way to them, which is how a kubelet updates a mounted ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    files: BTreeMap<PathBuf, Looks>,
    /// Of what is no file.
    revision: u64,
}

/// Of what a path leads to: device, inode, size, and the times of the last write and of the last change of the inode.
type Looks = (u64, u64, u64, (i64, i64), (i64, i64));

impl Fingerprint {
    /// What these files look like now. What can't be looked at is absent.
    pub(super) fn of(files: impl Iterator<Item = PathBuf>) -> Self {
        let look = |path: PathBuf| {
            let found = std::fs::metadata(&path).ok()?;
            let times = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
            Some((path, (found.dev(), found.ino(), found.size(), times.0, times.1)))
        };
        Self { files: files.filter_map(look).collect(), revision: 0 }
    }

    /// The same beside something that has revisions instead of looks.
    pub(super) fn with_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }
}

/// What `read` makes of the files when nothing changes meanwhile, and what they looked like then; nothing when they changed each
/// time.
pub(super) fn settled<T>(look: impl Fn() -> Fingerprint, read: impl Fn() -> T) -> (Fingerprint, Option<T>) {
    let mut before = look();
    for _ in 0..ATTEMPTS {
        let found = read();
        let after = look();
        if after == before {
            return (before, Some(found));
        }
        before = after;
        std::thread::sleep(SETTLE);
    }
    (before, None)
}

/// Asks for a reload at once.
#[derive(Debug, Clone)]
pub(super) struct Ask(Sender<()>);

impl Ask {
    pub(super) fn now(&self) {
        // The thread ends with the process, not before.
        let _ = self.0.send(());
    }
}

/// Waits for the next reason to read the files.
pub(super) struct Watch {
    asked: Receiver<()>,
    /// Without one nothing is looked at.
    interval: Option<Duration>,
}

impl Watch {
    pub(super) fn new(interval: Option<Duration>) -> (Ask, Self) {
        let (ask, asked) = mpsc::channel();
        (Ask(ask), Self { asked, interval })
    }

    /// Returns true when somebody asked, or when the files are not as they were `seen` and stand still from one look to the next;
    /// false when nobody can ask any more.
    pub(super) fn next(&self, seen: &Fingerprint, look: impl Fn() -> Fingerprint) -> bool {
        let mut changed = None;
        loop {
            let next = match self.interval {
                Some(interval) => self.asked.recv_timeout(interval),
                None => self.asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    let now = look();
                    let stands = changed.as_ref() == Some(&now);
                    changed = (now != *seen).then_some(now);
                    if stands && changed.is_some() {
                        return true;
                    }
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
