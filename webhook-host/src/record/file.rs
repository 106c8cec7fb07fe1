//! A file of lines that is rotated by size and that only its owner can read.
//!
//! `FILE` is written, `FILE.1` is the one before, and so on. Invariants: a line is in one file,
//! whole, since a line that a full disk cut off is removed; one process writes a file at a time,
//! which a lock ensures. When the file is moved or removed (by logrotate), a new one is opened.

use std::fs::{File, Metadata, TryLockError};
use std::io::{Error, Read as _, Result, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The mode of the files. Reviews name users and what they did, so only the owner may read them.
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;

/// The size and number of rotated files.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// The bytes at which a file is rotated. A file may exceed them by one line.
    pub size: u64,
    /// The number of older files that are kept.
    pub keep: u32,
}

/// The file that is written.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    opened: u64,
}

impl LogFile {
    /// Opens a file to append to, or creates it.
    ///
    /// # Errors
    ///
    /// Fails when it can't be written, is not a regular file, or is locked by another process.
    pub fn open(path: &Path, rotation: Rotation) -> Result<Self> {
        let (file, size) = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            rotation,
            file,
            size,
            opened: 1,
        })
    }

    /// Appends one or more lines, given without the last line break.
    ///
    /// # Errors
    ///
    /// Fails mostly when the disk is full. The file then holds nothing of these lines, and a later
    /// call may succeed.
    pub fn append(&mut self, lines: &[u8]) -> Result<()> {
        self.make_room()?;
        let written = self.file.write_all(&[lines, b"\n"].concat());
        match written {
            Ok(()) => self.size += lines.len() as u64 + 1,
            // If that fails too, the reader skips an incomplete line.
            Err(_) => self.file.set_len(self.size).unwrap_or_default(),
        }
        written
    }

    /// Rotates the files when this one is full.
    ///
    /// # Errors
    ///
    /// Fails when a file can't be moved or created.
    pub fn make_room(&mut self) -> Result<()> {
        if self.size >= self.rotation.size {
            self.rotate()
        } else {
            Ok(())
        }
    }

    /// Returns the bytes that are left until the file is full.
    pub fn room(&self) -> u64 {
        self.rotation.size.saturating_sub(self.size)
    }

    /// Returns the number of files that were opened so far. A new number means a new file.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Opens a new file when the path leads to another file by now, or to none.
    ///
    /// # Errors
    ///
    /// Fails when the new file can't be opened.
    pub fn follow(&mut self) -> Result<()> {
        let (there, here) = (
            std::fs::metadata(&self.path).map(identity),
            self.file.metadata().map(identity)?,
        );
        if there.is_ok_and(|there| there == here) {
            return Ok(());
        }
        self.reopen()
    }

    fn rotate(&mut self) -> Result<()> {
        let name = |number: u32| match number {
            0 => self.path.clone(),
            _ => {
                let mut name = self.path.clone().into_os_string();
                name.push(format!(".{number}"));
                name.into()
            }
        };
        // If opening failed the last time, the older files have been moved already.
        if !std::fs::exists(&self.path)? {
            return self.reopen();
        }
        if self.rotation.keep == 0 {
            std::fs::remove_file(&self.path)?;
        }
        for number in (0..self.rotation.keep).rev() {
            match std::fs::rename(name(number), name(number + 1)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.reopen()
    }

    fn reopen(&mut self) -> Result<()> {
        (self.file, self.size) = open(&self.path)?;
        self.opened += 1;
        Ok(())
    }
}

fn open(path: &Path) -> Result<(File, u64)> {
    // Opening a pipe would block, and a device keeps nothing.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Error::other("it is no regular file"));
    }
    let mut file = open_private(path)?;
    // Two processes that rotate one file lose each other's lines. A file system without locks is
    // accepted.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(Error::other(
            "another process writes it; give each one a file of its own",
        ));
    }
    make_private(&file)?;
    let mut size = file.metadata()?.len();
    if size > 0 {
        // A process that was killed may have left an incomplete line.
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    Ok((file, size))
}

#[cfg(unix)]
fn open_private(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
}

/// Refuses: on this system the program can't tell who else may read a file.
#[cfg(not(unix))]
fn open_private(_: &Path) -> Result<File> {
    Err(Error::new(
        std::io::ErrorKind::Unsupported,
        "on this system a record can't be kept from other users",
    ))
}

/// Closes a file to others that an earlier process left open to them.
#[cfg(unix)]
fn make_private(file: &File) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(FILE_MODE))
}

#[cfg(not(unix))]
fn make_private(_: &File) -> Result<()> {
    Ok(())
}

/// Returns device and inode, which together identify a file on its machine.
#[cfg(unix)]
fn identity(found: Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

/// Files have no identity here: `open_private` never opens one.
#[cfg(not(unix))]
fn identity(_: Metadata) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_full_file_makes_room_and_the_oldest_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut log = LogFile::open(&path, Rotation { size: 4, keep: 2 }).expect("opened");
        for line in ["one", "two", "three", "four", "five"] {
            log.append(line.as_bytes()).expect("written");
        }
        let older = |number| text(&directory.path().join(format!("log.{number}")));
        assert_eq!(
            [text(&path), older(1), older(2), older(3)],
            ["five\n", "four\n", "three\n", ""]
        );
        for file in fs::read_dir(directory.path()).expect("read") {
            assert_eq!(
                file.expect("an entry").metadata().expect("its mode").mode() & 0o777,
                FILE_MODE
            );
        }
    }

    #[test]
    fn a_file_is_gone_on_with_after_the_last_whole_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        fs::write(&path, "half").expect("written");
        let mut log = LogFile::open(
            &path,
            Rotation {
                size: 1 << 20,
                keep: 1,
            },
        )
        .expect("opened");
        log.append(b"whole").expect("written");
        assert_eq!(text(&path), "half\nwhole\n");
        assert_eq!(
            fs::metadata(&path).expect("there").mode() & 0o777,
            FILE_MODE
        );
    }

    #[test]
    fn a_file_that_was_moved_is_begun_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, moved) = (
            directory.path().join("log"),
            directory.path().join("log-2026"),
        );
        let mut log = LogFile::open(
            &path,
            Rotation {
                size: 1 << 20,
                keep: 1,
            },
        )
        .expect("opened");
        log.append(b"one").expect("written");
        fs::rename(&path, &moved).expect("moved");
        log.follow().expect("followed");
        log.append(b"two").expect("written");
        assert_eq!([text(&moved), text(&path)], ["one\n", "two\n"]);
    }

    #[test]
    fn a_file_is_one_writers() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let rotation = Rotation { size: 1, keep: 1 };
        let mut log = LogFile::open(&path, rotation).expect("opened");
        for line in ["one", "two"] {
            log.append(line.as_bytes()).expect("written");
            let error = LogFile::open(&path, rotation)
                .expect_err("it is taken")
                .to_string();
            assert!(error.contains("another process writes it"), "{error}");
        }
        drop(log);
        LogFile::open(&path, rotation).expect("it is free again");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        LogFile::open(Path::new("/dev/null"), Rotation { size: 1, keep: 1 }).expect_err("a device");
    }
}
