//! Stands for `directory` on systems whose owners and modes this program can't check: no directory
//! can be opened there, so nothing is cached.

use super::CacheError;
use std::fs::File;
use std::io;
use std::path::Path;

/// A type without values.
#[derive(Debug)]
pub(super) enum Directory {}

impl Directory {
    /// Refuses every directory.
    pub(super) fn open(path: &Path) -> Result<Self, CacheError> {
        let error = io::Error::new(
            io::ErrorKind::Unsupported,
            "this system does not tell which other users may write to it",
        );
        Err(CacheError::Unusable {
            directory: path.to_owned(),
            error,
        })
    }

    pub(super) fn check_owner(&self, _: &Path, _: &File) -> Result<(), CacheError> {
        match *self {}
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        match *self {}
    }

    pub(super) fn open_entry(&self, _: &str) -> io::Result<File> {
        match *self {}
    }

    pub(super) fn open_file(&self, _: &str) -> io::Result<File> {
        match *self {}
    }

    pub(super) fn create(&self, _: &str) -> io::Result<File> {
        match *self {}
    }

    pub(super) fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn remove(&self, _: &str) -> io::Result<()> {
        match *self {}
    }
}
