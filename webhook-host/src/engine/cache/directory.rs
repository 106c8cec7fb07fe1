//! A directory where only the user of this process can write.
//!
//! It is opened once, without following a link, checked, and used by that handle from then on, so
//! that later changes of a path or a link have no effect. Each entry must be the user's own file,
//! closed to others.

use super::CacheError;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

/// An open directory that was checked.
#[derive(Debug)]
pub(super) struct Directory {
    handle: File,
    /// The owner of the directory and of all entries.
    owner: u32,
}

impl Directory {
    /// Opens a directory that is closed to others, and creates it if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, CacheError> {
        let unusable = |error| CacheError::Unusable {
            directory: path.to_owned(),
            error,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(CacheError::Link(path.to_owned())),
            Err(error) => return Err(unusable(error.into())),
        };
        let found = handle.metadata().map_err(unusable)?;
        let mode = found.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CacheError::Shared {
                directory: path.to_owned(),
                mode,
            });
        }
        Ok(Self {
            handle,
            owner: found.uid(),
        })
    }

    /// Fails if the directory belongs to another user than a file that this process created in it.
    pub(super) fn check_owner(&self, path: &Path, created: &File) -> Result<(), CacheError> {
        let found = created.metadata().map_err(|error| CacheError::Unusable {
            directory: path.to_owned(),
            error,
        })?;
        if found.uid() == self.owner {
            return Ok(());
        }
        Err(CacheError::Foreign {
            directory: path.to_owned(),
            owner: self.owner,
            user: found.uid(),
        })
    }

    /// Lists the names in it that are UTF-8.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = vec![];
        for entry in Dir::read_from(&self.handle)? {
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Opens an entry, which must be a file of this user that is closed to others.
    pub(super) fn open_entry(&self, name: &str) -> io::Result<File> {
        let file = self.open_file(name)?;
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != self.owner || found.mode() & 0o077 != 0 {
            let (owner, mode) = (found.uid(), found.mode() & 0o777);
            return Err(io::Error::other(format!(
                "it is no file that only user {} may use (owner {owner}, mode {mode:o})",
                self.owner
            )));
        }
        Ok(file)
    }

    /// Opens a file without blocking, as opening a named pipe would.
    pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, name, flags, Mode::empty())?.into())
    }

    /// Creates a file that only its owner can use.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.handle, name, flags, mode)?.into())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.handle, from, &self.handle, to)?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())?)
    }
}
